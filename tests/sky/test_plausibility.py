"""What a map of the sky may be, and what it may not."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.maps import MapError
from cmbml.sky.plausibility import outside_plane, require_beam, require_error_bars, require_plausible

NSIDE = 32
CMB = np.random.default_rng(0).normal(0, 70, (3, 12 * NSIDE**2))
CMB[1:] /= 20
LATITUDE = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)[1]


@pytest.mark.parametrize("nside", [1, 4, 64, 256])
@pytest.mark.parametrize("frame", ["G", "C", "E"])
def test_half_of_the_sky_lies_outside_the_plane(nside: int, frame: str) -> None:
    values = np.zeros((1, 12 * nside**2))
    assert outside_plane(values, frame).shape[1] == pytest.approx(6 * min(nside, 148) ** 2, rel=0.2, abs=3)


def test_the_plane_may_be_bright() -> None:
    bright = CMB + 1e7 * (np.abs(LATITUDE) < 20)
    require_plausible(bright, "G", "m.fits", "mend")
    with pytest.raises(MapError, match="rms of I at"):
        require_plausible(bright, "C", "m.fits", "mend")


def test_a_monopole_does_not_count() -> None:
    require_plausible(CMB + 2.7e6, "G", "m.fits", "mend")


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("n_field", [1, 3])
def test_another_multiple_of_the_kelvin(factor: float, n_field: int) -> None:
    require_plausible(CMB[:n_field], "G", "m.fits", "mend")
    with pytest.raises(MapError, match=r"^m.fits: the rms of I at \|b\| > 30 degrees is .* uK_CMB.*; mend$"):
        require_plausible(factor * CMB[:n_field], "G", "m.fits", "mend")


def test_dust_may_be_far_brighter_at_high_frequencies() -> None:
    """At 857 GHz the sky has half a K_CMB outside the plane."""
    require_plausible(1e4 * CMB[:1], "G", "m.fits", "mend", 857.0)
    for factor, freq in ((1e4, 353.0), (1e10, 857.0)):
        with pytest.raises(MapError, match="rms of I"):
            require_plausible(factor * CMB[:1], "G", "m.fits", "mend", freq)


@pytest.mark.parametrize(
    ("bars", "words"),
    [([-1.0, 5.0, 5.0], "is -1 uK_CMB; it cannot be negative"), ([1e-5] * 3, "median.*; mend"), ([1e6] * 3, "median")],
)
def test_standard_deviations(bars: list[float], words: str) -> None:
    require_error_bars(np.array([[0.0, 5.0, 1e6]]), "m.fits", "mend")
    with pytest.raises(MapError, match=words):
        require_error_bars(np.array([bars]), "m.fits", "mend")


def test_beam_in_another_unit() -> None:
    require_beam(1200.0, "a.fwhm_arcmin")
    with pytest.raises(MapError, match=r"a.fwhm_arcmin=1e\+06 arcmin is wider than 1800"):
        require_beam(1e6, "a.fwhm_arcmin")
