import healpy as hp
import numpy as np
import pytest
from pydantic import ValidationError

from cmbml.sims.scan import ScanError, ScanStrategy, hits, spin_axis

PLANCK = ScanStrategy()
LITEBIRD = ScanStrategy(opening_deg=50, precession_deg=45, precession_days=0.13357)


def ecliptic(nside):
    """Ecliptic latitude of every pixel of a Galactic map, degrees."""
    vectors = hp.Rotator(coord=["G", "E"])(np.array(hp.pix2vec(nside, np.arange(12 * nside**2))))
    return np.rad2deg(np.arcsin(vectors[2]))


def test_mean_is_one_and_every_pixel_is_seen():
    pattern = hits(64, PLANCK)
    assert pattern.mean() == pytest.approx(1, abs=1e-12)
    assert pattern.min() > 0.3
    assert not pattern.flags.writeable


@pytest.mark.slow
def test_equals_counted_rings():
    """Against a histogram of samples along the rings, smoothed like the focal plane."""
    nside = 256
    axis = hp.Rotator(coord=["E", "G"])(spin_axis(PLANCK)[:, ::4])
    helper = np.array([0.3, -0.5, 0.8])[:, None]
    first = np.cross(axis, helper, axis=0)
    first /= np.linalg.norm(first, axis=0)
    second = np.cross(axis, first, axis=0)
    opening = np.deg2rad(PLANCK.opening_deg)
    counts = np.zeros(12 * nside**2)
    for angle in np.linspace(0, 2 * np.pi, 6000, endpoint=False):
        sight = np.cos(opening) * axis + np.sin(opening) * (np.cos(angle) * first + np.sin(angle) * second)
        counts += np.bincount(hp.vec2pix(nside, *sight), minlength=len(counts))
    counts = hp.smoothing(counts / counts.mean(), fwhm=np.deg2rad(PLANCK.focal_plane_deg), lmax=400, pol=False)
    pattern = hits(nside, PLANCK)
    # The counting grid and its pixel window leave a few per cent at the sharp edges of the deep fields.
    assert np.std(counts / pattern - 1) < 0.01
    assert np.abs(counts / pattern - 1).max() < 0.06


@pytest.mark.parametrize("nside", [16, 32, 128])
def test_same_pattern_at_each_resolution(nside):
    fine, here = hits(256, PLANCK), hits(nside, PLANCK)
    vectors = hp.pix2vec(nside, np.arange(12 * nside**2))
    theta, phi = hp.vec2dir(np.array(vectors))
    # Sampling is at pixel centres and the mean is set to one on each grid: a small common factor may remain.
    assert np.abs(here / hp.get_interp_val(fine, theta, phi) - 1).max() < 0.05
    assert np.median(here / hp.get_interp_val(fine, theta, phi)) == pytest.approx(1, abs=0.01)


def test_deep_fields_at_the_ecliptic_poles():
    pattern, latitude = hits(64, PLANCK), ecliptic(64)
    assert pattern[np.abs(latitude) > 80].mean() > 4
    assert pattern[np.abs(latitude) < 40].mean() < 0.9
    north, south = pattern[latitude > 80].mean(), pattern[latitude < -80].mean()
    assert north == pytest.approx(south, rel=0.02)
    assert np.argmax(pattern) in np.flatnonzero(np.abs(latitude) > 75)


def test_fast_precession_spreads_the_time_evenly():
    pattern, latitude = hits(64, LITEBIRD), ecliptic(64)
    assert pattern.max() / pattern.min() < 5
    # One year round the Sun: the pattern depends on ecliptic latitude alone, to the width of a pixel row.
    for low in range(-80, 80, 20):
        belt = pattern[(latitude > low) & (latitude < low + 1)]
        assert belt.std() / belt.mean() < 0.05


def test_depends_on_nothing_but_the_settings():
    first = hits(16, ScanStrategy(precession_deg=8.0)).copy()
    hits.cache_clear()
    assert np.array_equal(first, hits(16, ScanStrategy(precession_deg=8.0)))


def test_unobserved_sky_is_refused():
    with pytest.raises(ScanError, match=r"unobserved.*add up to at least 90"):
        hits(32, ScanStrategy(precession_deg=0.0))


@pytest.mark.parametrize(
    "wrong", [{"opening_deg": 100}, {"precession_deg": -1}, {"years": 0}, {"focal_plane_deg": 0}, {"spin_rpm": 1}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ScanStrategy(**wrong)
