"""What is measured of filled holes."""

import healpy as hp
import numpy as np
import pytest

from cmbml.metrics.holes import RADII_DEG, colour_metrics, energy_score, hole_regions, pixels_around
from cmbml.sky.maps import MapSpec

NSIDE = 64
SPEC = MapSpec(nside=NSIDE, lmax=96)


def observed_with(*disks: tuple[float, float, float]) -> np.ndarray:
    observed = np.ones(SPEC.n_pix, dtype=bool)
    for lon, lat, radius in disks:
        observed[hp.query_disc(NSIDE, hp.ang2vec(lon, lat, lonlat=True), np.radians(radius))] = False
    return observed


def test_holes_are_told_apart_by_radius() -> None:
    """Every pixel of a hole belongs to one range of radii, that of its own hole."""
    observed = observed_with((0, 0, 2), (90, 30, 4), (180, -40, 8))
    regions = dict(hole_regions(observed))
    by_radius = {name: pixels for name, pixels in regions.items() if name.startswith("radius")}
    assert list(by_radius) == ["radius 1.5-2.5 deg", "radius 2.5-5 deg", "radius beyond 5 deg"]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(by_radius.values()))), regions["holes"])
    assert RADII_DEG[-1] == np.inf


def test_patches_are_square_and_only_about_holes_that_they_hold() -> None:
    observed = observed_with((10, 20, 2), (120, -30, 9))
    ((pixels, holes),) = pixels_around(SPEC, observed, 12.0)
    area = pixels.size * hp.nside2pixarea(NSIDE, degrees=True)
    # One of 100 pixels less at each side: gnomonic pixels at the edge are 2 % smaller on the sky.
    assert area == pytest.approx(144, rel=0.05)
    assert set(holes) == set(hp.query_disc(NSIDE, hp.ang2vec(10, 20, lonlat=True), np.radians(2)))


def test_colours_go_from_the_least_to_the_greatest_truth() -> None:
    """A tenth of the range off in half of the pixels of a patch, and in all of those in its hole."""
    truth, filled = np.linspace(-50, 150, 40), np.linspace(-50, 150, 40)
    filled[:20] += 20
    whole, inside = colour_metrics(truth, filled, [(np.arange(40), np.arange(20)), (np.arange(40), np.arange(20))])
    assert whole == pytest.approx((0.005, 0.05, -10 * np.log10(0.005)))
    assert inside == pytest.approx((0.01, 0.1, 20.0))
    assert colour_metrics(truth, truth, [(np.arange(40), np.arange(20))])[0][2] == np.inf


def test_the_energy_score_tells_a_posterior_from_what_only_looks_like_it_pixel_by_pixel() -> None:
    """Of the truth's own law in n dimensions it is s (sqrt(2) - 1 / sqrt(2)) in the limit; of one answer, its error.

    The truth here is one number in all pixels: draws whose pixels are independent have the right scatter each.
    """
    rng = np.random.default_rng(1)
    n, scatter = 4000, 3.0
    truth, samples = scatter * rng.standard_normal(n), scatter * rng.standard_normal((30, n))
    # The norm of n normal numbers scatters by 1 / sqrt(2 n) of itself: 1 %.
    assert energy_score(truth, samples) == pytest.approx(scatter / np.sqrt(2), rel=0.03)
    assert energy_score(truth, np.zeros((2, n))) == pytest.approx(np.sqrt(np.mean(truth**2)))
    assert energy_score(truth, 2 * samples) > energy_score(truth, samples)
    together, apart = [], []
    for _ in range(200):
        ones = np.full(50, rng.standard_normal())
        together.append(energy_score(ones, np.repeat(rng.standard_normal((10, 1)), 50, axis=1)))
        apart.append(energy_score(ones, rng.standard_normal((10, 50))))
    assert np.mean(apart) - np.mean(together) > 3 * np.std(np.subtract(apart, together)) / np.sqrt(200)
