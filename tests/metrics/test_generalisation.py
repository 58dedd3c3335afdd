"""The ratio of scores on two skies."""

import dataclasses
import math

import pytest
from books import Given, book

from cmbml.metrics.generalisation import compare_skies as compare_books
from cmbml.metrics.generalisation import other_sky_csv, other_sky_grid
from cmbml.metrics.scores import Place, ScoreError

PLACE = Place("60 arcmin", "I", "mask", "rmse")
R2 = dataclasses.replace(PLACE, metric="r2")


def compare_skies(scores, reference, metrics=("rmse",)):
    return compare_books({split: book(given) for split, given in scores.items()}, reference, metrics)


def scores(method, values, place=PLACE, skies=()):
    found = [Given(method, f"sim{i:04d}", place, value) for i, value in enumerate(values)]
    return [score._replace(sky=sky) for score, sky in zip(found, skies or [""] * len(found), strict=True)]


def test_the_ratio_is_that_of_the_means():
    rows = compare_skies({"test": scores("a", [1.0, 3.0]), "shift": scores("a", [2.0, 5.0, 8.0])}, "test")
    (row,) = rows
    assert (row.reference_split, row.split, row.n_reference, row.n) == ("test", "shift", 2, 3)
    assert (row.reference, row.mean, row.ratio) == (2.0, 5.0, 2.5)
    assert row.reference_std == pytest.approx(math.sqrt(2))
    assert row.std == pytest.approx(3.0)
    # Two simulations do not say how far a third would be from them.
    assert math.isnan(row.ratio_low)
    assert row.over == "simulations"


def test_the_interval_stands_on_skies_where_there_are_some():
    known, other = [1.0, 1.1, 1.2, 0.9], [2.0, 2.2, 2.4, 2.1, 1.9, 2.3]
    pairs = {
        "test": scores("a", known, skies=["a", "b", "c", "d"]),
        "shift": scores("a", other, skies=["e", "e", "f", "f", "g", "g"]),
    }
    (row,) = compare_skies(pairs, "test")
    assert row.over == "skies"
    by_mean = {"test": pairs["test"], "shift": scores("a", [2.1, 2.25, 2.1], skies=["e", "f", "g"])}
    (same,) = compare_skies(by_mean, "test")
    assert (row.ratio_low, row.ratio_high) == pytest.approx((same.ratio_low, same.ratio_high))


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
        compare_skies({"test": scores("a", [1.0]) + scores("a", [1.0], R2), "shift": []}, "test", ["r2"])


def test_tables_hold_what_was_found():
    mae = dataclasses.replace(PLACE, metric="mae")
    far = dataclasses.replace(PLACE, footing="deconvolved")
    pairs = {
        "test": scores("a", [1.0, 3.0]) + scores("a", [1.0, 1.0], mae) + scores("a", [5.0, 5.0], far),
        "shift": scores("a", [4.0, 4.0]) + scores("a", [2.0, 2.0], mae) + scores("a", [5.0, 5.0], far),
    }
    rows = compare_skies(pairs, "test", ["rmse", "mae"])
    grid = other_sky_grid(rows, ["deconvolved", "60 arcmin"], ["rmse", "mae"])
    assert grid.heads[2:5] == ["↓ RMSE (µK_CMB), test", "↓ RMSE (µK_CMB), shift", "shift / test [95 %]"]
    assert [line[0] for line in grid.lines] == ["deconvolved", "60 arcmin"]
    assert grid.lines[0][2:] == ["5 ± 0", "5 ± 0", "1", "–", "–", "–"]
    assert grid.lines[1][2:4] == ["2.0 ± 1.4", "4 ± 0"]
    assert grid.lines[1][5:] == ["1 ± 0", "2 ± 0", "2"]
    assert grid.markdown().count("\n") == 4
    lines = other_sky_csv(rows).splitlines()
    assert lines[0].startswith("method,footing,field,region,metric,reference_split,split")
    assert len(lines) == 1 + len(rows)
