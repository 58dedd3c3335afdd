"""Correlation of residuals with foregrounds, against what it must be."""

import numpy as np
import pytest

from cmbml.metrics.coupling import SpectrumError, octave_bins
from cmbml.metrics.foregrounds import chance_correlation, correlation_with
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.spectral import masked_alm
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_alm, random_alm, synthesise

NSIDE, LMAX = 32, 64
EDGES = octave_bins(LMAX)


def masked(alm: np.ndarray) -> np.ndarray:
    """Return the coefficients outside a belt around the equator, with a soft edge."""
    z = np.abs(np.linspace(1, -1, 12 * NSIDE**2))  # RING goes by latitude, about evenly in its sine
    weight = np.clip((z - 0.3) / 0.2, 0, 1)
    values = synthesise(alm[None], NSIDE)
    return masked_alm(values, weight, LMAX, MonopoleDipole.outside(weight > 0), 0)[0]


def drawn(seed: int, tilt: float) -> np.ndarray:
    ell = np.maximum(np.arange(LMAX + 1.0), 1)
    return filter_alm(random_alm(np.random.default_rng(seed), LMAX), ell ** (tilt / 2))[0]


def test_dust_and_noise_of_known_shares() -> None:
    """r^2 = a^2 C_d / (a^2 C_d + C_n) with independent noise; the sky that is left has so many modes of scatter."""
    dust, noise, share = drawn(0, -2.4), drawn(1, -2.4), 0.5
    residual = masked(share * dust + noise)
    r = correlation_with(residual, masked(dust)[None], EDGES)[0]
    expected = share / np.sqrt(share**2 + 1)
    chance = chance_correlation(0.5, EDGES)
    # (1 - r^2) / sqrt(modes), as the scatter of a correlation is.
    assert (np.abs(r - expected) < 3.5 * chance * (1 - expected**2)).all()
    assert np.mean(r[2:]) == pytest.approx(expected, abs=0.04)


def test_noise_alone_is_left_to_chance_and_dust_alone_is_found_under_any_beam() -> None:
    dust = drawn(0, -2.4)
    r = correlation_with(masked(drawn(1, 0.0)), masked(dust)[None], EDGES)[0]
    assert (np.abs(r) < 4 * chance_correlation(0.5, EDGES)).all()
    seen = filter_alm(dust, gaussian_window(120.0, LMAX))
    both = np.stack([masked(dust), masked(-dust)])
    with_beam = correlation_with(masked(0.01 * seen), both, EDGES)
    assert (with_beam[0] > 0.99).all()
    np.testing.assert_allclose(with_beam[1], -with_beam[0], rtol=1e-6)


def test_nothing_has_no_correlation() -> None:
    dust = masked(drawn(0, -2.4))
    assert np.isnan(correlation_with(0 * dust, dust[None], EDGES)).all()


def test_chance_is_the_scatter_of_independent_fields() -> None:
    """On the whole sky, over 200 pairs: to 10 % (one part in sqrt(400) of scatter, at most 2.5 times)."""
    found = [
        correlation_with(random_alm(rng, LMAX)[0], random_alm(rng, LMAX), EDGES)[0]
        for rng in (np.random.default_rng(seed) for seed in range(200))
    ]
    np.testing.assert_allclose(np.std(found, axis=0), chance_correlation(1.0, EDGES), rtol=0.13)


@pytest.mark.parametrize(("highest", "per_octave"), [(1, 2), (64, 0)])
def test_bins_that_cannot_be_are_refused(highest: int, per_octave: int) -> None:
    with pytest.raises(SpectrumError, match="need one at least"):
        octave_bins(highest, per_octave)


@pytest.mark.parametrize("highest", [2, 7, 8, 9, 33, 128, 1000])
def test_bins_reach_all_multipoles(highest: int) -> None:
    edges = octave_bins(highest)
    assert (edges[0], edges[-1]) == (2, highest + 1)
    assert (np.diff(edges) > 0).all()
