import csv
import io
import math
import random

import numpy as np
import pytest
from books import METRICS, Given, book

from cmbml.metrics.scores import Metric, Place, ScoreBook, ScoreError, score_columns
from cmbml.metrics.summary import mean_and_std, paired_interval, plus_minus, ranks, score_grid, to_csv
from cmbml.metrics.summary import summarise as summarise_book

PLACE = Place("60 arcmin", "I", "mask", "rmse")


def summarise(given, **options):
    return summarise_book(book(given), **options)


def scores(n_sim=20, place=PLACE, **methods):
    """Return scores whose scatter is mostly shared: some skies are harder than others, for every method."""
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 1.0, n_sim)
    return [
        Given(name, f"{i:04d}", place, float(mean + hard[i] + rng.normal(0, 0.1)), floor=1.25)
        for name, mean in methods.items()
        for i in range(n_sim)
    ]


def test_mean_and_std_against_numpy():
    values = np.random.default_rng(2).standard_normal(50)
    n, mean, std = mean_and_std(values)
    assert (n, mean, std) == (50, pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)))
    assert mean_and_std(values[::-1]) == (n, mean, std)
    assert mean_and_std(np.append(values, np.nan)) == (n, mean, std)


def test_mean_and_std_where_there_is_little_to_tell():
    assert mean_and_std(np.array([3.0]))[:2] == (1, 3.0)
    assert math.isnan(mean_and_std(np.array([3.0]))[2])
    assert mean_and_std(np.array([np.nan]))[0] == 0
    n, mean, std = mean_and_std(np.array([np.inf, np.inf]))
    assert (n, mean) == (2, math.inf)
    assert math.isnan(std)


def test_what_is_hard_for_both_drops_out_of_a_difference():
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 100, 400)
    found = paired_interval(shared + rng.normal(1, 2, 400), shared)
    assert found.value == pytest.approx(1, abs=0.5)
    assert 0.3 < found.high - found.low < 0.5


def test_differences_of_what_cannot_be_compared():
    one = paired_interval(np.array([2.0]), np.array([1.0]))
    assert one.value == 1.0
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(paired_interval(np.array([np.inf]), np.array([np.inf])).value)
    assert paired_interval(np.array([1.0, 2.0, np.nan]), np.ones(3)).value == 0.5


def test_each_metric_is_ranked_in_its_own_direction():
    assert ranks({"a": 1.0, "b": 2.0}, METRICS["mae"]) == {"a": 1, "b": 2}
    assert ranks({"a": 1.0, "b": 2.0, "c": math.inf}, METRICS["psnr_truth"]) == {"a": 3, "b": 2, "c": 1}
    assert ranks({"a": -1.0, "b": 0.5}, METRICS["bias"]) == {"a": 2, "b": 1}
    assert ranks({"a": 0.9, "b": 0.7}, METRICS["coverage68"]) == {"a": 2, "b": 1}
    assert ranks({"a": 2.0, "b": 0.9}, METRICS["calibration"]) == {"a": 2, "b": 1}
    assert ranks({"a": 0.0, "b": 2.0, "c": 3.0}, METRICS["mae"], unranked=["a"]) == {"a": 0, "b": 1, "c": 2}


def test_pairing_tells_apart_what_the_scatter_hides():
    rows = {row.method: row for row in summarise(scores(good=5.0, bad=5.3))}
    assert (rows["good"].rank, rows["bad"].rank) == (1, 2)
    assert rows["bad"].std > rows["bad"].difference
    assert 0 < rows["bad"].ci_low < rows["bad"].difference < rows["bad"].ci_high
    assert (rows["good"].difference, rows["good"].ci_low, rows["good"].ci_high) == (0, 0, 0)
    assert rows["good"].floor == 1.25
    assert math.isnan(rows["good"].noise_floor)


def test_the_order_of_scores_does_not_change_a_bit():
    given = scores(a=1.0, b=2.0, c=3.0) + scores(a=1.0, b=2.0, place=Place("deconvolved", "I", "mask", "psnr_truth"))
    table = to_csv(summarise(given))
    random.Random(1).shuffle(given)
    assert to_csv(summarise(given)) == table


def test_a_method_more_does_not_change_the_others():
    of_two = summarise(scores(a=1.0, b=2.0))
    more = scores(a=1.0, b=2.0, z=9.0)
    assert [row for row in summarise(more) if row.method != "z"] == of_two


def test_differences_to_a_chosen_reference():
    rows = {row.method: row for row in summarise(scores(a=1.0, b=2.0, c=3.0), reference="b")}
    assert rows["b"].difference == 0
    assert rows["a"].difference < 0 < rows["c"].difference
    with pytest.raises(ScoreError, match=r"reference 'd' has no score.*a, b, c"):
        summarise(scores(a=1.0, b=2.0, c=3.0), reference="d")


def test_one_simulation_has_a_mean_and_no_scatter():
    rows = summarise(scores(n_sim=1, a=1.0, b=2.0))
    assert [row.n for row in rows] == [1, 1]
    assert all(math.isnan(row.std) and math.isnan(row.ci_low) for row in rows if row.method == "b")
    assert "±" not in score_grid(rows, metrics=["rmse"], floors=False).markdown()


def test_a_perfect_control_is_shown_and_not_ranked():
    place = Place("60 arcmin", "I", "mask", "psnr_union")
    given = [Given("truth", f"{i:04d}", place, math.inf) for i in range(20)] + scores(a=1.0, b=2.0, place=place)
    rows = {row.method: row for row in summarise(given, unranked=["truth"])}
    assert {name: row.rank for name, row in rows.items()} == {"a": 2, "b": 1, "truth": 0}
    assert rows["truth"].mean == math.inf
    assert math.isnan(rows["truth"].difference)
    assert "∞" in score_grid(list(rows.values()), metrics=["psnr_union"]).markdown()


def test_bad_input_is_refused():
    given = scores(a=1.0, b=2.0)
    with pytest.raises(ScoreError, match=r"'b' lacks 1 \(0019"):
        summarise(given[:-1])
    with pytest.raises(ScoreError, match=r"two scores of 'rmse' at 60 arcmin, I, mask"):
        summarise([*given, given[0]])


def test_metrics_are_their_judges():
    """Nobody keeps a list: a metric that no module knows is ranked in its own direction, under its own name."""
    strange = Metric("r150", "r at l > 150", "", math.inf)
    METRICS["r150"] = strange
    place = Place("as asked", "dust", "south", "r150")
    rows = summarise(scores(a=0.2, b=0.4, place=place))
    del METRICS["r150"]
    assert {row.method: row.rank for row in rows} == {"a": 2, "b": 1}
    grid = score_grid(rows, "dust", "south", metrics=["rmse"], floors=False)
    assert grid.heads == ["Beam", "Method", "↑ r at l > 150"]


def test_a_book_keeps_to_what_there_is():
    place = Place("60 arcmin", "I", "empty", "rmse")
    found = book([*scores(a=1.0), *(Given("a", f"{i:04d}", place, math.nan) for i in range(20))])
    assert found.places == [PLACE]
    assert found.skies is None
    assert found.footings == ["60 arcmin"]
    assert found.metrics["rmse"].axis_label == "RMSE (µK_CMB)"
    some = ScoreBook({"a": found.stacks["a"], "b": found.stacks["a"].of_sims(["0003", "0001"])})
    values = some.at(PLACE)
    assert np.isfinite(values["b"]).nonzero()[0].tolist() == [1, 3]
    assert values["b"][3] == values["a"][3]
    assert len(score_columns([])["value"]) == 0


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (18.4961, 0.1904, "18.50 ± 0.19"),
        (0.22801, 0.00301, "0.2280 ± 0.0030"),
        (6.3911, 0.42, "6.39 ± 0.42"),
        (1234.5, 56.0, "1234 ± 56"),
        (12345.0, 678.0, "12345 ± 678"),
        (2.0, 0.0, "2 ± 0"),
        (1e-12, 3e-13, "1e-12 ± 3e-13"),
        (math.nan, math.nan, "–"),
        (-math.inf, math.nan, "-∞"),
    ],
)
def test_numbers_are_written_to_the_digits_that_mean_something(mean, std, text):
    assert plus_minus(mean, std) == text


@pytest.fixture(scope="module")
def rows():
    given = []
    for footing in ("deconvolved", "60 arcmin"):
        for metric in ("rmse", "psnr_union"):
            given += scores(place=Place(footing, "I", "mask", metric), net_8=5.0, ilc=7.0)
    return summarise(given, seconds={"net_8": (3600.0, 0.5), "ilc": (0.0, 108.0)})


def test_the_grid_reads_like_the_paper_s_table(rows):
    grid = score_grid(rows, metrics=["rmse", "psnr_union"], footings=["deconvolved", "60 arcmin"])
    assert grid.heads[:3] == ["Beam", "Method", "↓ RMSE (µK_CMB)"]
    assert grid.heads[3:] == ["↑ PSNR, union range (dB)", "training (s)", "inference (s)"]
    assert [line[:2] for line in grid.lines] == [
        ["deconvolved", "ilc"],
        ["", "net_8"],
        ["60 arcmin", "ilc"],
        ["", "net_8"],
    ]
    assert [marks[2:4] for marks in grid.best] == [[False, True], [True, False]] * 2
    assert grid.lines[1][-2:] == ["3600", "0.5"]
    assert grid.lines[0][2].endswith(" [1.25]")


def test_markdown_and_latex(rows):
    grid = score_grid(rows, metrics=["rmse"], floors=False)
    lines = grid.markdown().splitlines()
    assert len(lines) == 2 + 4
    assert {line.count("|") for line in lines} == {6}
    assert lines[1] == "| --- | --- | ---: | ---: | ---: |"
    latex = grid.latex()
    assert latex.count(r"\\") == 5
    assert r"net\_8" in latex
    assert r"$\downarrow$ RMSE ($\mu$K$_\mathrm{CMB}$)" in latex
    assert latex.count(r"\boldmath $") == 2
    assert latex.count(r"\pm") == 4
    assert latex.isascii()


def test_csv_keeps_every_bit(rows):
    read = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [float(line["mean"]) for line in read] == [row.mean for row in rows]
    assert [line["method"] for line in read] == [row.method for row in rows]
