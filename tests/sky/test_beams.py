import healpy as hp
import numpy as np
import pytest
from astropy.table import Table

from cmbml.sky.beams import gaussian_window, read_window, signal_lmax
from cmbml.sky.harmonics import cut_alm, filter_components, random_alm, synthesise
from cmbml.sky.maps import MapError

NSIDE, LMAX = 64, 191


@pytest.mark.parametrize("fwhm_arcmin", [4.6, 20.6, 75.0])
def test_gaussian_windows_against_healpy(fwhm_arcmin):
    reference = hp.gauss_beam(np.deg2rad(fwhm_arcmin / 60), lmax=1500, pol=True)
    np.testing.assert_allclose(gaussian_window(fwhm_arcmin, 1500), reference[:, 0], rtol=1e-12)
    np.testing.assert_allclose(gaussian_window(fwhm_arcmin, 1500, spin=2), reference[:, 1], rtol=1e-12)
    np.testing.assert_allclose(gaussian_window(fwhm_arcmin, 1500, spin=2), reference[:, 2], rtol=1e-12)


def test_no_beam():
    assert np.all(gaussian_window(0.0, 100) == 1)


def test_smoothing_is_the_beam_of_a_point_source():
    """The window is the transform of a Gaussian of the same full width at half maximum on the sky."""
    fwhm_deg = 5.0
    window = gaussian_window(60 * fwhm_deg, 300)
    ell = np.arange(301)
    profile = np.polynomial.legendre.legval(
        np.cos(np.deg2rad([0.0, fwhm_deg / 2])), (2 * ell + 1) / (4 * np.pi) * window
    )
    # Flat-sky definition of the width: the curvature enters at the order of the width squared, here 4e-4.
    assert profile[1] / profile[0] == pytest.approx(0.5, abs=1e-3)


def test_tables_are_read(tmp_path):
    window = gaussian_window(30.0, 200)
    np.savetxt(tmp_path / "b.txt", np.stack([np.arange(201), window], axis=1))
    np.testing.assert_allclose(read_window(tmp_path / "b.txt", 150), window[:151], rtol=1e-12)
    np.savetxt(tmp_path / "one.txt", window)
    np.testing.assert_allclose(read_window(tmp_path / "one.txt", 200), window, rtol=1e-12)
    Table({"ELL": np.arange(201), "TEMPERATURE": window}).write(tmp_path / "b.fits")
    np.testing.assert_allclose(read_window(tmp_path / "b.fits", 200), window, rtol=1e-12)


def test_unfit_tables_are_refused(tmp_path):
    path = tmp_path / "b.txt"
    np.savetxt(path, gaussian_window(30.0, 200))
    with pytest.raises(MapError, match=r"ends at l = 200; the scenario needs l = 300"):
        read_window(path, 300)
    np.savetxt(path, np.linspace(0, 1, 50))
    with pytest.raises(MapError, match="is no beam window"):
        read_window(path, 20)
    np.savetxt(path, np.r_[1.0, np.nan, np.ones(50)])
    with pytest.raises(MapError, match="finite"):
        read_window(path, 20)


@pytest.mark.parametrize("fwhm_arcmin", [250.0, 300.0, 400.0])
def test_signal_ends_where_single_precision_does(fwhm_arcmin: float) -> None:
    """Even of a sky whose small scales are as bright as the large ones."""
    window = gaussian_window(fwhm_arcmin, LMAX)[None]
    alm = random_alm(np.random.default_rng(0), LMAX)
    top = signal_lmax(window)
    assert top < LMAX
    whole = synthesise(filter_components(alm, window), NSIDE)
    quick = synthesise(filter_components(cut_alm(alm, top), window), NSIDE)
    assert 0 < np.abs(quick - whole).max() < 1e-5 * whole.std()


def test_signal_of_a_narrow_beam_is_whole() -> None:
    assert signal_lmax(gaussian_window(30.0, LMAX)[None]) == LMAX
    # The component that ends last decides.
    windows = np.stack([gaussian_window(400.0, LMAX), gaussian_window(30.0, LMAX)])
    assert signal_lmax(windows) == LMAX
