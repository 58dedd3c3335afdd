import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from cmbml.metrics.pixel import Regions, State, combine
from cmbml.metrics.scores import ScoreError
from cmbml.metrics.uncertainty import crps_gaussian, sweep_uncertainty, uncertainty_metrics

N_PIX = 12 * 64**2


@pytest.fixture(scope="module")
def regions():
    return Regions.of(np.arange(N_PIX) > N_PIX // 4)


@pytest.fixture(scope="module")
def sigma():
    return np.random.default_rng(1).uniform(5, 15, N_PIX)


def score(factor, sigma, regions):
    """Score error bars that are `factor` times too long."""
    rng = np.random.default_rng(2)
    truth = rng.standard_normal(N_PIX)
    states = sweep_uncertainty(truth, truth + sigma * rng.standard_normal(N_PIX), factor * sigma, regions)
    return uncertainty_metrics(states["mask"])


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_gaussian_errors_score_what_theory_says(factor, sigma, regions):
    found, n_pix = score(factor, sigma, regions), regions.n_pix["mask"]
    for name, part in (("coverage68", 0.68), ("coverage95", 0.95)):
        wanted = 2 * norm.cdf(factor * norm.ppf(0.5 + part / 2)) - 1
        assert found[name] == pytest.approx(wanted, abs=4 * math.sqrt(wanted * (1 - wanted) / n_pix))
    assert found["calibration"] == pytest.approx(1 / factor, rel=4 / math.sqrt(2 * n_pix))
    # E CRPS of N(0, s) under N(0, f s): s [ (2 (1 + f^2) / pi)^1/2 - f / pi^1/2 ], from E|X - Y| - E|X - X'| / 2.
    wanted = sigma.mean() * (math.sqrt(2 * (1 + factor**2) / math.pi) - factor / math.sqrt(math.pi))
    assert found["crps"] == pytest.approx(wanted, rel=0.02)


def test_crps_is_the_integral_that_defines_it():
    for error, sigma in ((0.0, 1.0), (1.3, 0.4), (-2.0, 3.0)):
        below = quad(lambda x, s=sigma: norm.cdf(x, scale=s) ** 2, -40, error)[0]
        above = quad(lambda x, s=sigma: norm.sf(x, scale=s) ** 2, error, 40)[0]
        assert crps_gaussian(np.array([error]), np.array([sigma]))[0] == pytest.approx(below + above, rel=1e-6)
    assert crps_gaussian(np.array([2.0]), np.array([1e-9]))[0] == pytest.approx(2.0)


def test_states_add_up(sigma, regions):
    zero = np.zeros(N_PIX)
    whole = sweep_uncertainty(zero, sigma, sigma, regions)["mask"]
    parts = [sweep_uncertainty(zero, sigma, sigma, regions, blocks)["mask"] for blocks in (slice(1, None), slice(1))]
    assert combine(parts) == whole
    assert uncertainty_metrics(whole)["calibration"] == pytest.approx(1)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_error_bars_must_be_positive(sigma, regions, bad):
    broken = sigma.copy()
    broken[-1] = bad
    with pytest.raises(ScoreError, match="zero, negative or NaN"):
        sweep_uncertainty(sigma, sigma, broken, regions)
    with pytest.raises(ScoreError, match="NaN or infinity"):
        sweep_uncertainty(sigma, np.where(np.isnan(broken) | (broken <= 0), np.nan, sigma), sigma, regions)


def test_a_region_without_pixels_has_no_score():
    assert all(math.isnan(value) for value in uncertainty_metrics(State()).values())
