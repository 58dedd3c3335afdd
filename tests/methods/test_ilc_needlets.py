"""Windows: a partition of unity whatever the family, the published shapes, and what the families refuse."""

import numpy as np
import pytest

from cmbml.methods.ilc.needlets import (
    Bands,
    CosineNeedlets,
    GaussianNeedlets,
    MexicanNeedlets,
    StandardNeedlets,
    TopHatBands,
    falls_to,
    kernel,
)
from cmbml.sky.beams import gaussian_window

LMAX, NSIDE = 1024, 512
FAMILIES = {
    "cosine": CosineNeedlets(peaks=(200, 715, 1025)),
    "gaussian": GaussianNeedlets(fwhm_arcmin=(600, 300, 120, 60, 30, 15, 10)),
    "standard": StandardNeedlets(base=2.0, first=16.0, n_scale=8),
    "mexican": MexicanNeedlets(base=1.7, first=10.0, n_scale=9),
    "mexican of order 3": MexicanNeedlets(base=1.7, first=10.0, n_scale=9, order=3),
    "top hats": TopHatBands(edges=(50, 300, 700)),
    "one band": TopHatBands(),
}


@pytest.mark.parametrize("bands", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("lmax", [47, 383, LMAX, 1535])
def test_squares_add_up_to_one(bands: Bands, lmax: int) -> None:
    windows = bands.windows(lmax, NSIDE)
    assert windows.shape[1] == lmax + 1
    assert windows.min() >= 0
    np.testing.assert_allclose((windows**2).sum(axis=0), 1, atol=1e-12)
    assert (windows.max(axis=1) > 0).all(), "a scale that holds nothing is left out"


@pytest.mark.parametrize("bands", FAMILIES.values(), ids=FAMILIES)
def test_scales_go_from_large_to_small(bands: Bands) -> None:
    windows = bands.windows(LMAX, NSIDE)
    ell = np.arange(LMAX + 1)
    centres = (windows**2 * ell).sum(axis=1) / (windows**2).sum(axis=1)
    assert (np.diff(centres) > 0).all()


def test_cosine_windows_are_quarters_of_cosines_between_their_peaks() -> None:
    windows = FAMILIES["cosine"].windows(LMAX, NSIDE)
    assert len(windows) == 4
    ell = np.arange(LMAX + 1)
    for window, (below, peak, above) in zip(windows[1:3], [(0, 200, 715), (200, 715, 1025)], strict=True):
        rises, falls = (ell >= below) & (ell < peak), (ell >= peak) & (ell < above)
        np.testing.assert_allclose(window[rises], np.cos(np.pi / 2 * (peak - ell[rises]) / (peak - below)), atol=1e-8)
        np.testing.assert_allclose(window[falls], np.cos(np.pi / 2 * (ell[falls] - peak) / (above - peak)), atol=1e-8)
        assert not window[~rises & ~falls].any()


def test_gaussian_windows_are_differences_of_beams() -> None:
    windows = GaussianNeedlets(fwhm_arcmin=(300, 60)).windows(LMAX, NSIDE)
    wide, narrow = gaussian_window(300, LMAX), gaussian_window(60, LMAX)
    np.testing.assert_allclose(windows**2, [wide**2, narrow**2 - wide**2, 1 - narrow**2], atol=1e-12)


def test_standard_needlets_reach_over_one_octave_each_way() -> None:
    windows = FAMILIES["standard"].windows(LMAX, NSIDE)
    for j, window in enumerate(windows[1:-1], start=1):
        support = np.flatnonzero(window)
        assert support[0] >= 16 * 2.0 ** (j - 2)
        assert support[-1] <= 16 * 2.0**j
        assert window[int(16 * 2.0 ** (j - 1))] == pytest.approx(1)


def test_multipoles_are_scaled_to_other_resolutions() -> None:
    stated = CosineNeedlets(peaks=(200, 716, 1024), nside=512)
    np.testing.assert_array_equal(stated.windows(256, 128), CosineNeedlets(peaks=(50, 179, 256)).windows(256, 128))
    np.testing.assert_array_equal(stated.windows(LMAX, 512), CosineNeedlets(peaks=(200, 716, 1024)).windows(LMAX, 512))


def test_where_a_window_falls() -> None:
    window = CosineNeedlets(peaks=(200, 715, 1025)).windows(LMAX, NSIDE)
    assert [falls_to(w, 1e-3) for w in window] == [200, 715, 1024, 1024]
    beam = gaussian_window(60, LMAX)
    assert beam[falls_to(beam, 1e-3)] == pytest.approx(1e-3, rel=0.05)


def test_kernel_is_that_of_its_standard_deviation() -> None:
    ell = np.arange(50)
    np.testing.assert_allclose(kernel(0.1, 49), np.exp(-0.5 * ell * (ell + 1) * 0.01), rtol=1e-12)


@pytest.mark.parametrize(
    ("family", "arguments", "words"),
    [
        (CosineNeedlets, {"peaks": (200, 100)}, "peaks must rise"),
        (CosineNeedlets, {"peaks": ()}, "at least 1 item"),
        (GaussianNeedlets, {"fwhm_arcmin": (60, 300)}, "must rise"),
        (TopHatBands, {"edges": (50, 50)}, "edges must rise"),
        (StandardNeedlets, {"base": 1.0, "first": 8, "n_scale": 4}, "greater than 1"),
        (MexicanNeedlets, {"base": 2.0, "first": 8, "n_scale": 1}, "greater than or equal to 2"),
        (CosineNeedlets, {"peaks": (200,), "nside": 100}, "power of two"),
    ],
)
def test_impossible_settings(family: type[Bands], arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        family(**arguments)
