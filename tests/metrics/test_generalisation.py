"""The ratio of scores on two skies."""

import dataclasses
import math

import numpy as np
import pytest

from cmbml.metrics.generalisation import compare_skies, other_sky_csv, other_sky_grid, ratio_interval
from cmbml.metrics.pixel import ScoreError
from cmbml.metrics.summary import Place, Score

PLACE = Place("60 arcmin", "I", "mask", "rmse")


def scores(method, values, place=PLACE):
    return [Score(method, f"sim{i:04d}", place, value) for i, value in enumerate(values)]


def test_the_ratio_is_that_of_the_means():
    rows = compare_skies({"test": scores("a", [1.0, 3.0]), "shift": scores("a", [2.0, 5.0, 8.0])}, "test")
    (row,) = rows
    assert (row.reference_split, row.split, row.n_reference, row.n) == ("test", "shift", 2, 3)
    assert (row.reference, row.mean, row.ratio) == (2.0, 5.0, 2.5)
    assert row.reference_std == pytest.approx(math.sqrt(2))
    assert row.std == pytest.approx(3.0)
    # The most extreme means that can be drawn bound every resample.
    assert 2 / 3 <= row.ratio_low < row.ratio < row.ratio_high <= 8


def test_the_interval_is_as_wide_as_error_propagation_says():
    """Fieller's leading order: (s/r)^2 = (s_a/a)^2 + (s_b/b)^2, for means of many values with a small scatter."""
    rng = np.random.default_rng(3)
    known, other = rng.normal(10, 1.0, 300), rng.normal(15, 3.0, 300)
    low, high = ratio_interval(known, other)
    spread = np.hypot(*(x.std() / x.mean() / math.sqrt(x.size) for x in (known, other))) * other.mean() / known.mean()
    # A quantile at 2.5 % of 10 000 draws is known to 2 %, and the next order in 1 / n is smaller.
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.05)
    assert 0.5 * (low + high) == pytest.approx(other.mean() / known.mean(), rel=0.01)


def test_two_splits_are_drawn_apart():
    """Drawn alike, equal values would have the ratio 1 in every resample."""
    values = np.linspace(1, 2, 20)
    low, high = ratio_interval(values, values)
    assert low < 0.9 < 1.1 < high


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(400):
        low, high = ratio_interval(rng.normal(10, 2, 40), rng.normal(20, 4, 40), n_resamples=400)
        held += low < 2 < high
    # 95 % less what a percentile interval of 40 values lacks (a per cent or two); 4 sigma of 400 trials are 4 %.
    assert 0.89 < held / 400 < 0.99


def test_order_does_not_matter():
    pairs = {
        "test": scores("a", [1.0, 2.0]) + scores("b", [3.0, 4.0]),
        "shift": scores("b", [5.0]) + scores("a", [2.0]),
    }
    turned = {split: list(reversed(found)) for split, found in reversed(pairs.items())}
    rows, again = compare_skies(pairs, "test"), compare_skies(turned, "test")
    assert [row.method for row in rows] == ["a", "b"]
    assert other_sky_csv(rows) == other_sky_csv(again)


def test_what_is_no_number_is_left_out():
    pairs = {"test": scores("a", [1.0, math.inf, math.nan]) + scores("b", [1.0]), "shift": scores("a", [4.0, math.nan])}
    (row,) = compare_skies(pairs, "test")
    assert (row.method, row.n_reference, row.n, row.ratio) == ("a", 1, 1, 4.0)
    assert math.isnan(row.ratio_low)
    assert math.isnan(row.reference_std)


def test_a_perfect_score_has_no_ratio():
    (row,) = compare_skies({"test": scores("a", [0.0, 0.0]), "shift": scores("a", [1.0, 2.0])}, "test")
    assert math.isnan(row.ratio)
    assert math.isnan(row.ratio_low)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ScoreError, match=r"'test' has no scores; there are other, shift"):
        compare_skies({"shift": [], "other": []}, "test")
    with pytest.raises(ScoreError, match=r"'r2' no ratio .* rmse"):
        compare_skies({"test": [], "shift": []}, "test", ["r2"])


def test_tables_hold_what_was_found():
    mae = dataclasses.replace(PLACE, metric="mae")
    far = dataclasses.replace(PLACE, footing="deconvolved")
    pairs = {
        "test": scores("a", [1.0, 3.0]) + scores("a", [1.0, 1.0], mae) + scores("a", [5.0, 5.0], far),
        "shift": scores("a", [4.0, 4.0]) + scores("a", [2.0, 2.0], mae) + scores("a", [5.0, 5.0], far),
    }
    rows = compare_skies(pairs, "test")
    grid = other_sky_grid(rows, ["deconvolved", "60 arcmin"], ["rmse", "mae"])
    assert grid.heads[2:5] == ["↓ RMSE (µK_CMB), test", "↓ RMSE (µK_CMB), shift", "shift / test [95 %]"]
    assert [line[0] for line in grid.lines] == ["deconvolved", "60 arcmin"]
    assert grid.lines[0][2:] == ["5 ± 0", "5 ± 0", "1 [1, 1]", "–", "–", "–"]
    assert grid.lines[1][2:4] == ["2.0 ± 1.4", "4 ± 0"]
    assert grid.lines[1][5:] == ["1 ± 0", "2 ± 0", "2 [2, 2]"]
    assert grid.markdown().count("\n") == 4
    lines = other_sky_csv(rows).splitlines()
    assert lines[0].startswith("method,footing,field,region,metric,reference_split,split")
    assert len(lines) == 1 + len(rows)
