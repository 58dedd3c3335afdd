"""What a comparison says of itself."""

import math
import re

import numpy as np
import pytest
from books import Given, book

from cmbml.metrics.intervals import Interval
from cmbml.metrics.scores import Place
from cmbml.metrics.verdict import About, PartRow, Resampled, markdown, part_grid, part_rows, verdict

FOOTING = "60 arcmin"
PLACE = Place(FOOTING, "I", "mask", "rmse")
ABOUT = About("nside 64", ("100", "143"), "foregrounds EmbeddedSky", 7, "test")


def scores(sky="own", n=20, **means):
    """Return scores whose scatter is mostly shared."""
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 0.3, n)
    return [
        Given(
            name,
            f"{i:04d}",
            PLACE,
            mean + hard[i] + rng.normal(0, 0.05),
            0.0,
            0.5,
            f"main_{i}" if sky == "own" else sky,
        )
        for name, mean in means.items()
        for i in range(n)
    ]


def said(given, parts=(), about=ABOUT, controls=("zero",), memory=("memory",)):
    return verdict(book(given), about, PLACE, controls, memory, parts)


def test_it_begins_with_the_data_and_the_winner():
    lines = said(scores(nilc=2.0, cnilc=4.0, memory=9.0, zero=100.0))
    facts = ["Data", "Benchmark", "Winner", "Certainty", "What limits it", "Controls", "Memory"]
    assert list(lines) == ["In short", *facts]
    assert lines["Data"].startswith(
        "nside 64; channels 100, 143; foregrounds EmbeddedSky, 20 skies, one for each simulation; seed 7; 20 sim"
    )
    assert "nilc 2." in lines["Winner"]
    assert "Next is cnilc" in lines["Winner"]
    assert "µK more" in lines["Winner"]
    assert lines["Certainty"].startswith("These 20 simulations tell nilc from every other method")
    assert "over 20 skies" in lines["Certainty"]
    assert "zero 100" in lines["Controls"]
    assert lines["Memory"].endswith("have shown nothing: none.")


def test_a_control_cannot_win_and_memory_shames_those_that_it_beats():
    lines = said(scores(nilc=2.0, cnilc=4.0, memory=1.0, zero=0.1))
    assert "nilc" in lines["Winner"]
    assert lines["Memory"].startswith("On this dataset, memory alone scores 1")
    assert lines["Memory"].endswith("shown nothing: nilc, cnilc.")
    assert said(scores(memory=1.0, zero=2.0))["In short"].startswith("No method but controls")


def test_one_sentence_says_who_is_best_by_how_much_and_how_sure():
    """The share is that of the paired difference in the score of the next; its interval is that of the differences."""
    given = scores(nilc=2.0, cnilc=4.0, zero=0.1, memory=1.0)
    found = said(given)["In short"]
    assert re.fullmatch(
        r"nilc is best: its RMSE at 60 arcmin, inside the mask is [\d.]+ µK, \d+ % \[\d+, \d+\] below that of the "
        r"next, cnilc; these 20 simulations tell them apart\.",
        found,
    )
    means = {name: np.mean([one.value for one in given if one.method == name]) for name in ("nilc", "cnilc")}
    by, low, high = (float(text) for text in re.search(r"(\d+) % \[(\d+), (\d+)\]", found).groups())
    assert by == pytest.approx(100 * (1 - means["nilc"] / means["cnilc"]), abs=0.5)
    assert low <= by <= high
    tied = said(scores(nilc=2.0, other=2.001, cnilc=4.0))["In short"]
    assert re.fullmatch(r"These 20 simulations cannot tell \w+ from \w+: RMSE at .*, inside the mask .*µK\.", tied)
    assert "cnilc" not in tied
    assert said(scores(nilc=2.0))["In short"].startswith("nilc was compared with no other method: RMSE at 60 arcmin")
    assert said(scores(n=1, a=2.0, b=3.0))["In short"].startswith("This 1 simulation cannot tell a from b")


@pytest.mark.parametrize(("n", "text"), [(1, "One simulation tells nothing"), (3, "known to 50 % only")])
def test_few_simulations_are_warned_of(n, text):
    found = said(scores(n=n, nilc=2.0, cnilc=4.0))["Warning"]
    assert text in found
    assert "Take splits.test=8 or more" in found
    assert "Warning" not in said(scores(n=8, nilc=2.0, cnilc=4.0))


def test_what_cannot_be_told_apart_is_named():
    lines = said(scores(nilc=2.0, other=2.001, cnilc=4.0))
    assert "cannot tell" in lines["Certainty"]
    assert "cnilc" not in lines["Certainty"]
    assert "not known" in lines["Memory"]


@pytest.mark.parametrize(("n", "text"), [(1, "This 1 simulation cannot tell"), (2, "no interval below 3 simulations")])
def test_few_simulations_tell_nothing(n, text):
    assert text in said(scores(n=n, nilc=2.0, cnilc=4.0))["Certainty"]


@pytest.mark.parametrize("n", [3, 5])
def test_what_the_intervals_of_few_hold_is_said(n):
    for sky in ("own", "main", ""):
        found = said(scores(sky=sky, n=n, nilc=2.0, cnilc=4.0))["Certainty"]
        assert f"Of {n} values, 95 % intervals hold the truth in 91 to 95 of 100 cases." in found
    assert "of 100 cases" not in said(scores(n=20, nilc=2.0, cnilc=4.0))["Certainty"]


def test_one_sky_is_said_to_be_one():
    assert "All on one sky" in said(scores(sky="main", nilc=2.0, cnilc=4.0))["Certainty"]
    assert "not known" in said(scores(sky="", nilc=2.0, cnilc=4.0))["Certainty"]


def test_what_limits_the_winner_comes_from_its_parts_or_from_the_noise():
    found = {("nilc", "foregrounds"): [1.5, 1.7], ("nilc", "noise"): [0.8], ("nilc", "residual"): [1.9]}
    found |= {("cnilc", "noise"): [9.0], ("cnilc", "chance"): [math.nan]}
    rows = part_rows((method, FOOTING, part, np.array(rms)) for (method, part), rms in found.items())
    assert rows[0] == PartRow("nilc", FOOTING, "foregrounds", 2, 1.6, pytest.approx(math.sqrt(0.02)))
    given = scores(nilc=2.0, cnilc=4.0)
    assert said(given, rows)["What limits it"].startswith("Most of the error of nilc is foregrounds (1.60 ± 0.14 µK)")
    times = np.mean([score.value for score in given if score.method == "nilc"]) / 0.5
    assert f"allows 0.5 µK: its error is {times:.3g} times that" in said(given)["What limits it"]
    grid = part_grid(rows, [FOOTING])
    assert grid.lines == [
        [FOOTING, "cnilc", "–", "9", "–"],
        ["", "nilc", "1.60 ± 0.14", "0.8", "1.9"],
    ]
    assert grid.best == [[False, False, False, True, False], [False, False, True, False, False]]


def test_any_metric_may_decide():
    """Where larger is better, the winner is the one with more."""
    place = Place("as asked", "I", "all sky", "r2")
    given = [Given(name, f"{i}", place, value + 0.01 * i) for name, value in (("a", 0.2), ("b", 0.7)) for i in range(5)]
    lines = verdict(book(given), ABOUT, place)
    assert lines["Winner"].startswith("R2 at as asked, in all sky: b 0.720 ± 0.016. Next is a")
    assert lines["Winner"].endswith("0.5 [0.5, 0.5] less.")


def test_the_frozen_benchmark_is_named():
    about = About("nside 64", ("100",), "foregrounds EmbeddedSky", 7, "test", "benchmark_v1, 40 simulations")
    assert said(scores(nilc=2.0), about=about)["Benchmark"] == "Benchmark_v1, 40 simulations."
    assert "None of the frozen" in said(scores(nilc=2.0))["Benchmark"]


def test_markdown_has_a_line_for_each():
    lines = said(scores(nilc=2.0, cnilc=4.0))
    assert markdown(lines).count("\n") == len(lines)


def test_one_sky_has_the_interval_of_its_tiles():
    """Where skies are too few for an interval, pieces of them that were drawn again give it; else they do not."""
    means = {"nilc": Interval(2.0, 1.8, 2.2), "cnilc": Interval(4.0, 3.7, 4.3), "hilc": Interval(2.3, 2.1, 2.6)}
    worse = {
        (one, other): Interval(means[one].value - means[other].value, means[one].value - means[other].value - 0.5, 9.0)
        for one in means
        for other in means
        if one != other
    }
    tiles = Resampled("23 tiles of the sky", means, worse)
    one = scores(sky="main", n=1, nilc=2.0, cnilc=4.0, hilc=2.3)
    lines = verdict(book(one), ABOUT, PLACE, resampled=tiles)
    assert "[1.8, 2.2] µK. Next is hilc" in lines["Winner"]
    assert lines["Winner"].endswith("0.3 [-0.2, 9] µK more.")
    assert "cannot tell nilc from hilc (95 % intervals" in lines["Certainty"]
    assert lines["Certainty"].endswith(
        "Intervals are those of a bootstrap over these tiles of one sky: the scatter over skies is not in them."
    )
    assert lines["Certainty"].startswith("The 23 tiles of the sky")
    assert "Memory" not in lines, "no method of such a task remembers"
    many = scores(nilc=2.0, cnilc=4.0, hilc=2.3)
    assert verdict(book(many), ABOUT, PLACE, resampled=tiles) == verdict(book(many), ABOUT, PLACE)
    assert "no interval below" in verdict(book(one), ABOUT, PLACE)["Certainty"]


def test_what_a_dataset_lacks_is_not_spoken_of():
    about = About("nside 64", (), "the CMB alone", 7, "test")
    assert said(scores(nilc=2.0), about=about)["Data"].startswith("nside 64; the CMB alone, 20 skies, one for")
    unknown = About("nside 64", ("100",), "", 7, "test")
    assert "foregrounds made elsewhere, how many skies" in said(scores(sky="", nilc=2.0), about=unknown)["Data"]
