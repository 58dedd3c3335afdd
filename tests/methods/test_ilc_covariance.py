"""Local covariances against sums over pixels, and weights against their closed forms."""

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.covariance import (
    averaged,
    averaging_kernel,
    averaging_sigma,
    constrained_weights,
    local_covariance,
    upsampled,
)
from cmbml.methods.ilc.sed import ModifiedBlackBody, PowerLaw, ThermalSz, mixing_matrix
from cmbml.sky.harmonics import random_alm, synthesise

NSIDE = 16
FREQUENCIES = np.array([28.4, 44.1, 70.4, 100.9, 142.9, 221.2, 357.5, 555.2, 866.8])
NULLED = (
    ThermalSz(),
    ModifiedBlackBody(beta=1.6, temperature_k=20.0),
    ModifiedBlackBody(beta=1.6, temperature_k=20.0, moment="beta"),
    ModifiedBlackBody(beta=1.6, temperature_k=20.0, moment="temperature"),
    PowerLaw(beta=-3.1),
    PowerLaw(beta=-3.1, moment="beta"),
)


def sky_covariance(n_pix: int = 3) -> np.ndarray:
    """CMB, two bright foregrounds and noise, in channels that differ in variance by ten orders of magnitude."""
    rng = np.random.default_rng(2)
    mixing = mixing_matrix(FREQUENCIES, NULLED[1::3])
    found = []
    for _ in range(n_pix):
        covariance = 1e4 * np.outer(mixing[:, 0], mixing[:, 0]) + np.diag(rng.uniform(1, 3, FREQUENCIES.size) ** 4)
        for column, variance in zip(mixing.T[1:], (1e10, 1e6), strict=True):
            covariance += variance * np.outer(column, column)
        found.append(covariance)
    return np.stack(found)


def test_local_covariance_is_a_weighted_sum_over_pixels() -> None:
    maps = np.random.default_rng(0).standard_normal((3, 12 * NSIDE**2))
    sigma = 0.25
    window = averaging_kernel(sigma, 3 * NSIDE - 1)
    found = local_covariance(maps, window, NSIDE, 1)
    modes = (2 * np.arange(window.size) + 1) / (4 * np.pi)
    centres = np.stack(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)), axis=1)
    for pixel in (0, 1000, 3071):
        weight = np.polynomial.legendre.legval(centres @ centres[pixel], modes * window) * 4 * np.pi / len(centres)
        np.testing.assert_allclose(found[pixel], np.einsum("ap,bp,p->ab", maps, maps, weight), atol=1e-6)
    assert np.linalg.eigvalsh(found).min() > 0


def test_bright_pixel_far_away_leaves_no_trace() -> None:
    """The kernel's window is cut where its ringing is below what the Galactic plane at 857 GHz would show."""
    maps = np.ones((1, 12 * NSIDE**2))
    maps[0, :4] = 1e4
    found = averaged(maps**2, averaging_kernel(0.25, 3 * NSIDE - 1), NSIDE, 1)[0]
    np.testing.assert_allclose(found[-500:], 1, atol=1e-2)


def test_average_keeps_a_constant() -> None:
    """As well as HEALPix's quadrature with equal weights does at this nside; variances need no more."""
    constant = np.full((1, 12 * NSIDE**2), 3.0)
    np.testing.assert_allclose(averaged(constant, averaging_kernel(0.5, 47), 8, 1), 3, rtol=1e-3)


def test_weights_are_the_closed_form_for_a_foreground_in_noise() -> None:
    """By Woodbury: C = s 11^T + f gg^T + N gives w = (a - b) / (1^T (a - b)), a = N^-1 1, b = the part along g."""
    rng = np.random.default_rng(1)
    gains, noise = rng.uniform(0.1, 30, 6), rng.uniform(1, 100, 6)
    foreground = 250.0
    covariance = 400 + foreground * np.outer(gains, gains) + np.diag(noise)
    plain = 1 / noise
    along = gains / noise * (gains @ plain) / (1 / foreground + gains @ (gains / noise))
    expected = (plain - along) / (plain - along).sum()
    weights, variance = constrained_weights(covariance[None], np.ones((6, 1)))
    np.testing.assert_allclose(weights[0], expected, atol=1e-12)
    assert variance[0] == pytest.approx(weights[0] @ covariance @ weights[0], rel=1e-10)


@pytest.mark.parametrize("n_nulled", range(7))
def test_constraints_hold(n_nulled: int) -> None:
    covariance, mixing = sky_covariance(), mixing_matrix(FREQUENCIES, NULLED[:n_nulled])
    weights, variance = constrained_weights(covariance, mixing)
    np.testing.assert_allclose(weights @ mixing[:, 0], 1, atol=1e-10)
    terms = np.abs(weights[:, :, None] * mixing).max(axis=1)
    assert (np.abs(weights @ mixing)[:, 1:] <= 1e-8 * np.maximum(terms[:, 1:], 1e-3)).all()
    np.testing.assert_allclose(variance, np.einsum("pi,pij,pj->p", weights, covariance, weights), rtol=1e-5)


def test_nothing_within_the_constraints_has_less_variance() -> None:
    covariance, mixing = sky_covariance(1), mixing_matrix(FREQUENCIES, NULLED[:2])
    weights, variance = constrained_weights(covariance, mixing)
    free = np.linalg.svd(mixing.T)[2][3:]
    for step in np.random.default_rng(0).standard_normal((20, len(free))) @ free:
        other = weights[0] + 1e-2 * step
        assert other @ covariance[0] @ other > variance[0]


def test_constraints_cost_variance() -> None:
    variances = [
        constrained_weights(sky_covariance(), mixing_matrix(FREQUENCIES, NULLED[:n]))[1] for n in range(len(NULLED) + 1)
    ]
    assert (np.diff(variances, axis=0) > -1e-6).all()


def test_upsampling_keeps_what_weights_respond_to() -> None:
    rng = np.random.default_rng(4)
    smooth = synthesise(random_alm(rng, 12, 1)[None].repeat(3, axis=0) * rng.uniform(1, 9, (3, 1, 1)), 8)[:, 0]
    smooth[2] = 1 - smooth[0] - smooth[1]
    fine = upsampled(smooth, 64, 1)
    np.testing.assert_allclose(fine.sum(axis=0), 1, atol=1e-10)
    np.testing.assert_allclose(upsampled(fine, 64, 1), fine)


def test_upsampling_is_exact_for_band_limited_maps() -> None:
    alm = random_alm(np.random.default_rng(4), 12)
    np.testing.assert_allclose(upsampled(synthesise(alm, 8), 32, 1), synthesise(alm, 32), atol=1e-7)


def test_average_widens_with_channels_and_with_less_tolerance() -> None:
    assert averaging_sigma(7, 1e4, 1e-3) == pytest.approx(np.sqrt(1.4))
    assert averaging_sigma(6, 1e4, 1e-3) < averaging_sigma(7, 1e4, 1e-3) < averaging_sigma(7, 1e4, 1e-4)
    assert averaging_sigma(0, 1e4, 1e-3) == averaging_sigma(1, 1e4, 1e-3), "no bias, but still an average"


def test_channel_that_is_a_copy_of_another() -> None:
    covariance = np.ones((1, 2, 2))
    with pytest.raises(MethodError, match="cannot be inverted"):
        constrained_weights(covariance, np.ones((2, 1)))


def test_channel_that_is_empty() -> None:
    with pytest.raises(MethodError, match="a channel holds nothing there"):
        constrained_weights(np.diag([1.0, 0.0])[None], np.ones((2, 1)))
