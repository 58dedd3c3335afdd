"""Flat spectra are those of the fields, and of the sphere that patches are cut from."""

from itertools import pairwise

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.centres import uniform
from cmbml.sky.flat import binning, convolved, coupled_spectrum, flat_spectra, gaussian_patches
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.patches import PatchSpec, cut_exactly

SHAPE, PIXEL = (96, 96), (np.radians(3 / 60),) * 2
ELL = np.arange(5001)
C_ELL = 1e4 / (1.0 + ELL / 80) ** 3
EDGES = np.array([150, 300, 500, 800, 1200, 1700, 2300, 3000.0])


def test_spectra_of_500_gaussian_patches() -> None:
    """Periodic ones, without a window, have the spectrum itself; others what the window makes of it."""
    for margin, window in ((1.0, np.ones(SHAPE)), (2.0, None)):
        patches = gaussian_patches(C_ELL, 500, SHAPE, PIXEL, np.random.default_rng(1), margin)
        found = flat_spectra(patches[:, 0], EDGES, PIXEL, window=window, remove_mean=False)
        mean, error = found.c_ell.mean(axis=0), found.c_ell.std(axis=0, ddof=1) / np.sqrt(500)
        wanted = coupled_spectrum(C_ELL, EDGES, SHAPE, PIXEL, window).c_ell
        if window is not None:
            wanted = flat_mean(C_ELL)
        assert (np.abs(mean - wanted) < 3 * error).all()


def flat_mean(c_ell: np.ndarray) -> np.ndarray:
    """Mean of C_l over the modes of each bin, worked out by hand from all modes of the plane."""
    frequency = np.fft.fftfreq(SHAPE[0], PIXEL[0])
    ell = 2 * np.pi * np.hypot(frequency[:, None], frequency).ravel()
    return np.array([np.interp(ell[(ell >= low) & (ell < high)], ELL, c_ell).mean() for low, high in pairwise(EDGES)])


def test_fields_that_are_drawn_together_are_correlated() -> None:
    matrix = np.array([[C_ELL, 0.6 * C_ELL], [0.6 * C_ELL, 4 * C_ELL]])
    first, second = np.moveaxis(gaussian_patches(matrix, 200, SHAPE, PIXEL, np.random.default_rng(2)), 1, 0)
    auto, cross = flat_spectra(first, EDGES, PIXEL), flat_spectra(first, EDGES, PIXEL, second)
    ratio = cross.c_ell.mean(axis=0) / auto.c_ell.mean(axis=0)
    np.testing.assert_allclose(ratio, 0.6, atol=0.06)
    np.testing.assert_allclose(flat_spectra(second, EDGES, PIXEL).c_ell.mean(0) / auto.c_ell.mean(0), 4.0, rtol=0.1)


def test_white_noise_has_the_level_of_its_pixels() -> None:
    noise = 7.0 * np.random.default_rng(3).standard_normal((300, *SHAPE))
    found = flat_spectra(noise, EDGES, PIXEL)
    np.testing.assert_allclose(found.c_ell.mean(axis=0), 49 * PIXEL[0] * PIXEL[1], rtol=0.03)


def test_spectra_of_patches_are_those_of_the_sphere() -> None:
    nside, lmax = 128, 383
    ell = np.arange(lmax + 1)
    c_ell = 1e4 / (1.0 + ell / 30) ** 2
    rng = np.random.default_rng(5)
    alm = _drawn(c_ell, rng)
    pixel = 20.0
    spec = PatchSpec(maps=MapSpec(nside=nside, lmax=lmax), height=60, width=60, pixel_arcmin=(pixel, pixel))
    patches = np.stack(list(cut_exactly(alm, spec, uniform(300, rng))))[:, 0]
    found = flat_spectra(patches, np.array([60, 120, 180, 240, 300, 350.0]), (np.radians(pixel / 60),) * 2)
    realised = hp.alm2cl(alm[0])
    sphere = [realised[int(a) : int(b)].mean() for a, b in zip(found.l_edges[:-1], found.l_edges[1:], strict=True)]
    np.testing.assert_allclose(found.c_ell.mean(axis=0), sphere, rtol=0.06)


def _drawn(c_ell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ell, m = hp.Alm.getlm(len(c_ell) - 1)
    parts = rng.standard_normal((2, len(ell))) * np.sqrt(c_ell[ell] / 2)
    return np.where(m == 0, np.sqrt(2) * parts[0], parts[0] + 1j * parts[1])[np.newaxis]


def test_convolution_multiplies_the_spectrum() -> None:
    window = np.exp(-((ELL / 1500.0) ** 2))
    patches = gaussian_patches(C_ELL, 20, SHAPE, PIXEL, np.random.default_rng(6), 1.0)
    edges, flat = np.array([900.0, 960.0]), np.ones(SHAPE)
    before, after = (
        flat_spectra(p, edges, PIXEL, window=flat).c_ell for p in (patches, convolved(patches, window, PIXEL))
    )
    np.testing.assert_allclose(after / before, window[930] ** 2, rtol=0.1)


def test_bin_without_modes_is_refused() -> None:
    with pytest.raises(MapError, match=r"from l = 100 to 101 holds no mode of such patches, whose modes are 75 apart"):
        flat_spectra(np.zeros(SHAPE), np.array([100.0, 101.0]), PIXEL)


def test_weights_of_bins_are_those_of_spectra() -> None:
    shape, pixel, edges = (16, 12), (0.01, 0.012), np.array([60.0, 130.0, 250.0])
    images = np.random.default_rng(0).standard_normal((3, *shape))
    power = np.abs(np.fft.rfft2(images)) ** 2 * pixel[0] * pixel[1] / (shape[0] * shape[1])
    found = np.einsum("bhw,nhw->nb", binning(shape, pixel, edges), power)
    wanted = flat_spectra(images, edges, pixel, window=np.ones(shape), remove_mean=False)
    np.testing.assert_allclose(found, wanted.c_ell)
    np.testing.assert_allclose(binning(shape, pixel, edges).sum(axis=(1, 2)), 1)
