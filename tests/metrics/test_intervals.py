"""Intervals of few values, of skewed ones, and of simulations that share skies."""

import math

import numpy as np
import pytest
from scipy import stats

from cmbml.metrics.intervals import Interval, by_sky, mean_interval, ratio_interval


def test_without_skewness_it_is_student_s():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((3.0, low, high))
    assert found.over == "simulations"


def test_a_long_tail_moves_both_ends_towards_it():
    values = np.exp(np.random.default_rng(1).standard_normal(30))
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert found.low > low
    assert found.high > high
    mirrored = mean_interval(-values)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(("n", "least"), [(5, 0.85), (20, 0.90), (100, 0.92)])
def test_it_holds_the_mean_of_a_lognormal_as_often_as_is_stated(n, least):
    """Skewness 1.75; 2,000 trials know a coverage to 0.6 %; `benchmarks/intervals.py` has the figures."""
    rng = np.random.default_rng(n)
    draws = np.exp(0.5 * rng.standard_normal((2000, n)))
    found = [mean_interval(values) for values in draws]
    held = np.mean([one.low < np.exp(0.125) < one.high for one in found])
    assert least < held < 0.98


@pytest.mark.parametrize("n", [0, 1, 2])
def test_of_two_nothing_is_claimed(n):
    found = mean_interval(np.arange(n, dtype=float))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.value) == (n == 0)


def test_equal_values_have_no_width():
    assert mean_interval(np.full(4, 2.0)) == Interval(2.0, 2.0, 2.0)


def test_simulations_that_share_a_sky_are_one_witness():
    """200 simulations on 8 skies: as wide as 8 values are, not as 200."""
    rng = np.random.default_rng(5)
    held = wrong = 0
    for _ in range(400):
        values = np.repeat(rng.normal(0, 1, 8), 25) + rng.normal(0, 0.1, 200)
        skies = [f"sky{i // 25}" for i in range(200)]
        held += abs_in(mean_interval(values, skies))
        wrong += abs_in(mean_interval(values))
    assert 0.91 < held / 400 < 0.985
    assert wrong / 400 < 0.5


def abs_in(found):
    return found.low < 0 < found.high


def test_unequal_skies_keep_the_mean_of_all():
    values, skies = np.array([1.0, 2.0, 3.0, 10.0]), ["a", "a", "b", "c"]
    found, over = by_sky(values, skies)
    assert over == "skies"
    assert found.mean() == pytest.approx(values.mean())
    assert by_sky(values, ["a", "a", "b", "b"])[1] == "simulations"
    assert by_sky(values, None)[1] == "simulations"


def test_the_ratio_s_interval_is_that_of_error_propagation():
    """(s / r)^2 = (s_a / a)^2 + (s_b / b)^2, for means of many values with a small scatter."""
    rng = np.random.default_rng(3)
    known, other = rng.normal(10, 1.0, 300), rng.normal(15, 3.0, 300)
    found = ratio_interval(known, other)
    spread = np.hypot(*(x.std() / x.mean() / math.sqrt(x.size) for x in (known, other))) * found.value
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.02)
    assert found.value == pytest.approx(other.mean() / known.mean())


def test_the_ratio_s_interval_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(8)
    draws = [(rng.normal(10, 2, 6), rng.normal(20, 4, 12)) for _ in range(1000)]
    held = np.mean([found.low < 2 < found.high for found in (ratio_interval(*pair) for pair in draws)])
    assert 0.93 < held < 0.97


def test_two_sets_are_drawn_apart():
    """Drawn together, equal values would have a ratio of 1 without an error."""
    values = np.linspace(1, 2, 20)
    found = ratio_interval(values, values)
    assert found.low < 0.9 < 1.1 < found.high
