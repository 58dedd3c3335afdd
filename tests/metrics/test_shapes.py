"""Minkowski functionals on the sphere, against closed forms; and gaps of maps from their truth."""

import healpy as hp
import numpy as np
import pytest

from cmbml.metrics.shapes import (
    FUNCTIONALS,
    MAP_METRICS,
    RESIDUAL_METRICS,
    THRESHOLDS,
    curves,
    functionals,
    gaussian_functionals,
    shape_gaps,
    shapes,
    slope_of,
)
from cmbml.sky.harmonics import analyse, derivatives, filter_alm, random_alm

NSIDE, LMAX = 64, 64
SPECTRUM = np.concatenate([[0.0, 0.0], 1 / np.arange(2.0, LMAX + 1) ** 2])


def field(seed: int, nside: int = NSIDE) -> np.ndarray:
    alm = filter_alm(random_alm(np.random.default_rng(seed), LMAX), np.sqrt(SPECTRUM))[0]
    return derivatives(alm, nside)


def exponential(fields: np.ndarray, strength: float) -> np.ndarray:
    """Return the derivatives of exp(strength f) by the chain rule."""
    values, first, second, stretch, shear, laplacian = fields * strength
    grown = np.exp(values)
    found = (1, first, second, stretch + (first**2 - second**2) / 2, shear + first * second)
    return np.stack([grown * part for part in (*found, laplacian + first**2 + second**2)])


def test_derivatives_of_a_quadratic_form() -> None:
    """f = (v . n)^2 has the gradient 2 (v . n) v and the second derivatives 2 v v - 2 f, v in the tangent plane."""
    nside, v = 8, np.array([0.3, -0.5, 0.8])
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    down = v @ np.stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)])
    east = v @ np.stack([-np.sin(phi), np.cos(phi), 0 * phi])
    out = v @ np.stack(hp.ang2vec(theta, phi), axis=1)
    alm = analyse(out[None] ** 2, 4)[0]
    laplacian = 2 * (down**2 + east**2) - 4 * out**2
    expected = (out**2, 2 * out * down, 2 * out * east, down**2 - east**2, 2 * down * east, laplacian)
    np.testing.assert_allclose(derivatives(alm, nside), expected, atol=1e-6)


def test_functionals_of_gaussian_fields_are_those_of_theory() -> None:
    """Of white fields, which have most modes: 40 skies scatter by 0.1, 0.6 and 1.4 %, of which thrice is allowed."""
    white = np.where(np.arange(LMAX + 1) > 1, 1.0, 0.0)
    found, ell = [], np.arange(LMAX + 1)
    weight = (2 * ell + 1) * white
    sigma, slope = np.sqrt(weight.sum() / (4 * np.pi)), (weight * ell * (ell + 1)).sum() / weight.sum() / 2
    for seed in range(40):
        alm = filter_alm(random_alm(np.random.default_rng(seed), LMAX), white)[0]
        found.append(functionals(derivatives(alm, NSIDE), 0.0, float(sigma)))
    expected = gaussian_functionals(float(slope))
    gaps = np.abs(np.mean(found, axis=0) - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert (gaps < (0.004, 0.02, 0.042)).all(), gaps
    one = derivatives(alm, NSIDE)
    assert slope_of(one, float(one[0].std())) == pytest.approx(slope, rel=0.05)


def test_a_monotonic_function_of_a_field_has_the_same_contours() -> None:
    """Of exp(f) at the exponential of a threshold: curvature and slope follow the chain rule, contours stay."""
    one = field(3)
    one[0] -= one[0].mean()
    sigma = one[0].std()
    plain = functionals(one, 0.0, float(sigma))
    warped = exponential(one, 0.02 / sigma)
    # To first order exp(0.02 f / sigma) is 1 + 0.02 f / sigma; the second moves thresholds by 2 % of themselves.
    found = functionals(warped, 1.0, 0.02)
    assert np.abs(found - plain)[0].max() < 0.02
    tops = np.abs(plain).max(axis=1)
    assert (np.abs(found - plain).max(axis=1) / tops < (0.02, 0.12, 0.15)).all()


def test_gaps_tell_a_perfect_map_from_noise_and_from_foregrounds() -> None:
    truth, noise, bright = field(0), 0.1 * field(1), exponential(field(2), 4.0)
    bright[0] -= bright[0].mean()
    bright *= 0.1 * truth[0].std() / bright[0].std()
    perfect = shapes(truth, 0 * truth)
    assert set(perfect["field"]) == {"truth", "map"}, "nothing is left, and it has no shape"
    assert all(gap == 0 for gap, _ in shape_gaps(perfect).values())
    of_noise, of_dust = ({m.name: v for m, v in shape_gaps(shapes(truth, left)).items()} for left in (noise, bright))
    for metric in RESIDUAL_METRICS:
        gap, floor = of_noise[metric.name]
        # Two Gaussian skies scatter about the theory as one does.
        assert gap < 3 * floor
        assert of_dust[metric.name][0] > 4 * floor, "an exponential of a Gaussian field is none"
    for metric in MAP_METRICS:
        # A hundredth of the variance: a tenth of a sigma, which moves contours by as much.
        assert 0 < of_noise[metric.name][0] < 0.2
    table = shapes(truth, noise)
    assert len(table["value"]) == 3 * len(FUNCTIONALS) * THRESHOLDS.size
    assert curves(table)["truth", "v0"][0] == pytest.approx(1, abs=1e-3)


def test_scale_of_a_residual_does_not_count() -> None:
    truth, noise = field(0), field(1)
    small, large = (shape_gaps(shapes(truth, size * noise)) for size in (0.01, 10.0))
    for metric in RESIDUAL_METRICS:
        assert small[metric][0] == pytest.approx(large[metric][0], rel=1e-6)
