import math

import numpy as np
import pytest
from books import Given, book
from scipy.integrate import quad
from scipy.stats import norm

from cmbml.metrics.pixel import Regions, State, combine
from cmbml.metrics.scores import Place, ScoreError
from cmbml.metrics.uncertainty import (
    N_PIT,
    brightness_classes,
    covered,
    crps_gaussian,
    error_bar_rows,
    error_bar_table,
    error_state,
    sweep_uncertainty,
    uncertainty_metrics,
)
from cmbml.sky.flat import gaussian_patches, multipoles

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
    assert found["sharpness"] == pytest.approx(factor * sigma[N_PIX // 4 + 1 :].mean(), rel=1e-6)
    edges = norm.cdf(factor * norm.ppf(np.linspace(0, 1, N_PIT + 1)))
    for k, part in enumerate(np.diff(edges)):
        assert found[f"pit{k}"] == pytest.approx(part, abs=4 * math.sqrt(part / n_pix))


def test_crps_is_the_integral_that_defines_it():
    for error, sigma in ((0.0, 1.0), (1.3, 0.4), (-2.0, 3.0)):
        below = quad(lambda x, s=sigma: norm.cdf(x, scale=s) ** 2, -40, error)[0]
        above = quad(lambda x, s=sigma: norm.sf(x, scale=s) ** 2, error, 40)[0]
        assert crps_gaussian(np.array([error]), np.array([sigma]))[0] == pytest.approx(below + above, rel=1e-6)
    assert crps_gaussian(np.array([2.0]), np.array([1e-9]))[0] == pytest.approx(2.0)


def test_error_bars_are_held_against_the_best_constant(sigma, regions):
    """Right ones that vary are better than it; it is the rms of the errors, which is as good as itself."""
    right = score(1.0, sigma, regions)
    assert right["crps"] < 0.99 * right["crps_constant"]
    errors = np.random.default_rng(2).standard_normal(N_PIX)
    constant = np.full(N_PIX, np.sqrt(np.mean(errors[N_PIX // 4 + 1 :] ** 2)))
    found = uncertainty_metrics(sweep_uncertainty(np.zeros(N_PIX), errors, constant, regions)["mask"])
    assert found["crps"] == pytest.approx(found["crps_constant"], rel=1e-9)


def test_exact_posterior_has_exact_coverage():
    """Gaussian signal and white noise on periodic patches: the Wiener filter and its variance are the posterior.

    Pixels of a patch are correlated, patches are not: their scatter says how well a mean of all is known.
    """
    number, shape, pixel, depth = 300, (16, 16), (0.01, 0.01), 0.8
    rng, ell = np.random.default_rng(4), multipoles(shape, pixel)
    c_ell = 1e-4 / (1 + np.arange(2000) / 100) ** 2
    truth = gaussian_patches(c_ell, number, shape, pixel, rng, margin=1.0)[:, 0]
    power = np.interp(ell, np.arange(2000), c_ell, left=0, right=0) / pixel[0] ** 2
    power[0, 0] = 0
    truth -= truth.mean(axis=(1, 2), keepdims=True)
    gain = power / (power + depth**2)
    seen = truth + depth * rng.standard_normal(truth.shape)
    mean = np.fft.irfft2(np.fft.rfft2(seen) * gain, s=shape)
    # The variance of a pixel is the mean over all modes; rfft2 has those of inner columns once for two.
    twice = np.full(ell.shape, 2.0)
    twice[:, [0, -1]] = 1
    sigma = math.sqrt(float((twice * gain * depth**2).sum() / twice.sum()))
    patches = [
        uncertainty_metrics(error_state((m - t).ravel(), np.full(t.size, sigma)))
        for m, t in zip(mean, truth, strict=True)
    ]
    for name, wanted in (("coverage68", 0.68), ("coverage95", 0.95), *((f"pit{k}", 0.1) for k in range(N_PIT))):
        found = np.array([patch[name] for patch in patches])
        assert found.mean() == pytest.approx(wanted, abs=4 * found.std() / math.sqrt(number)), name
    squares = np.array([patch["calibration"] ** 2 for patch in patches])
    assert squares.mean() == pytest.approx(1, abs=4 * squares.std() / math.sqrt(number))


def test_classes_of_brightness_are_fifths_of_the_mask():
    mask = np.arange(N_PIX) % 3 > 0
    classes = brightness_classes(np.random.default_rng(1).lognormal(size=N_PIX), mask)
    assert list(classes) == [f"dust {k}/5" for k in range(1, 6)]
    assert np.array_equal(np.sum(list(classes.values()), axis=0), mask)
    sizes = [member.sum() for member in classes.values()]
    assert max(sizes) - min(sizes) <= 1


def test_rows_are_means_over_simulations():
    def at(region, metric):
        return Place("as given", "I", region, metric)

    given = [
        Given(method, f"sim{i}", at(region, metric), value + i)
        for method in ("a", "b")
        for i in (0, 1)
        for region, metric, value in (
            ("mask", "coverage68", 0.2), ("mask", "coverage95", 0.45), ("mask", "crps", 1.0), ("all", "rmse", 1.0)
        )
    ]  # fmt: skip
    rows = error_bar_rows(book(given))
    assert [(row.method, row.place) for row in rows] == [("a", ("as given", "mask")), ("b", ("as given", "mask"))]
    assert rows[0].values == pytest.approx({"coverage68": 0.7, "coverage95": 0.95, "crps": 1.5})
    assert covered(rows[0], "coverage68") and covered(rows[0], "coverage95")
    assert "| a | as given | mask | 70.0 | 95.0 |  | 1.5 |  |  |" in error_bar_table(rows)
    assert error_bar_rows(book([Given("a", "sim0", at("mask", "rmse"), 1.0)])) == []


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
