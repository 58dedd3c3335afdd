"""Figures of what was learnt, and of how it holds on another sky."""

import dataclasses
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cmbml.core.handler import Stamp
from cmbml.figures.generalisation import generalisation_figure
from cmbml.figures.learning import learning_figure
from cmbml.figures.palette import method_styles
from cmbml.figures.report import render_report
from cmbml.figures.results import FigureError, TrainingRun
from cmbml.handlers.figure import PdfFigure, PngFigure
from cmbml.handlers.html_file import HtmlFile

METHODS = ["control_truth", "nilc", "cmbnncs", "control_channel"]
FOOTINGS = ("deconvolved", "60 arcmin")
VALUES = {"nilc": (4.0, 5.0), "cmbnncs": (3.0, 9.0), "control_channel": (40.0, 100.0)}


def two_skies(splits=("shift",)):
    rows = [
        {
            **{"method": method, "footing": footing, "field": "I", "region": "mask", "metric": metric},
            **{"reference_split": "test", "split": split, "n_reference": 5, "n": 4},
            **{"reference": known, "reference_std": 0.1, "mean": other + i, "std": 0.2},
            **{
                "ratio": (other + i) / known,
                "ratio_low": other / known - 0.1,
                "ratio_high": other / known + 0.1,
                "over": "skies",
            },
        }
        for i, split in enumerate(splits)
        for footing in FOOTINGS
        for metric in ("mae", "rmse")
        for method, (known, other) in VALUES.items()
    ]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def curve(n=6, start=8.0):
    epoch = np.arange(n)
    loss = start * 0.7**epoch
    return {"epoch": epoch, "train_loss": loss, "valid_loss": 1.1 * loss + 0.2 * epoch, "valid_rmse_uk": 9 * loss}


def pixels(figure, tmp_path):
    path = tmp_path / "figure.png"
    PngFigure().write(path, figure, Stamp("test", "f" * 64))
    PdfFigure().write(tmp_path / "figure.pdf", figure, Stamp("test", "f" * 64))
    return path.read_bytes()


def test_both_skies_are_drawn_at_their_values_with_their_ratio(tmp_path):
    figure = generalisation_figure(two_skies(), METHODS, FOOTINGS, "rmse", label="RMSE (µK_CMB)")
    assert len(figure.axes) == len(FOOTINGS)
    styles = method_styles(METHODS)
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_yticklabels()] == list(VALUES)
        points = [line for line in axes.lines if line.get_marker() not in ("None", "")]
        for place, (method, (known, other)) in enumerate(VALUES.items()):
            mine = [line for line in points if line.get_ydata()[0] == place]
            assert [line.get_xdata()[0] for line in mine] == [known, other]
            assert {line.get_color() for line in mine} == {styles[method].colour}
        texts = [text.get_text() for text in axes.texts]
        assert "3.00 [2.90, 3.10]" in texts
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[-1].get_xlabel() == "RMSE (µK_CMB)"
    first = pixels(figure, tmp_path)
    assert first == pixels(
        generalisation_figure(two_skies(), METHODS, FOOTINGS, "rmse", label="RMSE (µK_CMB)"), tmp_path
    )


def test_nothing_is_cut_off_by_long_names_or_several_skies():
    table = two_skies(("shift", "other"))
    table["method"] = np.char.add(table["method"], "-learning_rate-0.001-batch_size-12")
    methods = list(dict.fromkeys(table["method"].tolist()))
    figure = generalisation_figure(table, methods, FOOTINGS, "mae")
    edges = figure.bbox
    for axes in figure.axes:
        for text in (*axes.get_yticklabels(), *axes.texts):
            box = text.get_window_extent()
            assert box.x0 >= edges.x0
            assert box.x1 <= edges.x1


def test_what_was_not_compared_is_not_drawn():
    with pytest.raises(FigureError, match="no crps of field I in region mask on two skies"):
        generalisation_figure(two_skies(), METHODS, FOOTINGS, "crps")


def test_all_curves_stand_in_one_figure(tmp_path):
    curves = {"cmbnncs": curve(), "nilc": curve(3, 5.0)}
    figure = learning_figure(curves, METHODS)
    losses, errors = figure.axes
    styles = method_styles(METHODS)
    assert [line.get_color() for line in losses.lines] == [
        styles[m].colour for m in ("nilc", "nilc", "cmbnncs", "cmbnncs")
    ]
    np.testing.assert_array_equal(losses.lines[2].get_xydata(), np.c_[curve()["epoch"] + 1, curve()["train_loss"]])
    np.testing.assert_array_equal(losses.lines[3].get_ydata(), curve()["valid_loss"])
    np.testing.assert_array_equal(errors.lines[2].get_ydata(), curve()["valid_rmse_uk"])
    assert errors.lines[3].get_xdata()[0] == 1 + np.argmin(curve()["valid_loss"])
    assert "µK" in errors.get_ylabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation", "nilc", "cmbnncs"]
    assert pixels(figure, tmp_path) == pixels(learning_figure(curves, METHODS), tmp_path)
    with pytest.raises(FigureError, match="no method has a training curve"):
        learning_figure({}, METHODS)


@pytest.fixture(scope="module")
def learnt(comparison):
    facts = {"n_parameters": 6265419, "samples": 400, "epochs": 6, "valid_rmse_uk": 12.5, "device": "cpu"}
    facts |= {"seconds": 3600.0, "maps_per_second": 20.0, "waiting_for_data": 0.0123}
    run = TrainingRun(method="cmbnncs", curve=curve(), kept_epoch=3, facts=facts)
    return dataclasses.replace(comparison.report, generalisation=two_skies(), training=[run])


def content_of(page):
    (text,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_the_report_has_both_sections_where_there_is_something_to_say(comparison, learnt):
    page, plain = render_report(learnt), render_report(comparison.report)
    for heading in (
        "On another sky",
        ">Training</h2>",
        'href="#generalisation"',
        "const skyTable",
        "const trainingTable",
    ):
        assert heading in page
        assert heading not in plain
    assert "not those of split <em>test</em>" in page
    content = content_of(page)
    assert content["generalisation"]["columns"]["ratio"][:3] == [1.25, 3, 2.5]
    (row,) = content["training"]
    assert (row["kept_epoch"], row["curve"]["epoch"][0], row["n_parameters"]) == (4, 1, 6265419)


@pytest.mark.parametrize("size", [0.004, 9.0, 64.0, 3000.0])
@pytest.mark.parametrize("steep", [0.7, 0.995])
def test_no_label_of_a_training_leaves_the_page(size, steep):
    """Whatever the numbers at the ticks are, and however many."""
    epoch = np.arange(6)
    loss = size * steep**epoch
    rows = {"epoch": epoch, "train_loss": loss, "valid_loss": 1.1 * loss, "valid_rmse_uk": 9 * loss}
    figure = learning_figure({"nilc": rows}, ["nilc"])
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        ticks = [label for label in axes.get_yticklabels() if label.get_text()]
        assert len(ticks) >= 2
        for label in (axes.yaxis.label, *ticks):
            assert label.get_window_extent().x0 >= 0
            assert "^" not in label.get_text()


def test_trainings_of_a_method_that_is_not_listed_are_refused(learnt):
    run = dataclasses.replace(learnt.training[0], method="other")
    with pytest.raises(FigureError, match="other"):
        dataclasses.replace(learnt, training=[run])


def test_a_browser_draws_both_sections(learnt, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("needs a browser: install chromium to look at the report")
    path = tmp_path / "report.html"
    HtmlFile().write(path, render_report(dataclasses.replace(learnt, maps=())), Stamp("report", "f" * 64))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000"]
    page = subprocess.run(
        [chromium, *flags, "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    sky, training = (
        re.search(rf'<table id="{name}">(.*?)</table>', page, re.DOTALL).group(1)
        for name in ("sky-table", "training-table")
    )
    assert sky.count("<tr") == 1 + len(VALUES)
    assert "3 [2.9, 3.1]" in sky
    for text in ("6,265,419", "400", "12.5", "cpu", "3600", "1.2 %"):
        assert text in training
    for plot in ("plot-generalisation", "plot-training"):
        assert re.search(rf'id="{plot}" class="[^"]*js-plotly-plot', page)
