"""Figures of what is left in cleaned maps, and of recovered spectra."""

import numpy as np
import pytest

from cmbml.figures.recovered import recovered_figure
from cmbml.figures.report.inserts import inserts, joined
from cmbml.figures.residuals import foregrounds_figure, shapes_figure
from cmbml.figures.results import Section

METHODS = ("control_truth", "nilc")


def test_shapes_have_a_column_for_each_functional_and_a_line_for_each_method() -> None:
    x, curve = np.linspace(-3, 3, 9), np.zeros((2, 9))
    of = {(field, name): curve for field in ("truth", "map") for name in ("v0", "v1", "v2")}
    left = of | {("residual", name): curve + 1 for name in ("v0", "v1", "v2")}
    figure = shapes_figure(x, {name: np.ones(9) for name in ("v0", "v1", "v2")}, {"control_truth": of, "nilc": left})
    axes = np.array(figure.axes).reshape(3, 3)
    # A method that leaves nothing has no residual to draw, beside the Gaussian field's curve.
    assert [len(panel.lines) for panel in axes[:, 0]] == [2, 3, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(METHODS)
    assert axes[2, 1].get_xlabel() == "threshold / standard deviation"


@pytest.mark.parametrize("number", [1, 2, 9])
def test_every_foreground_has_a_panel(number: int) -> None:
    edges, row = np.array([2, 8, 16]), (np.array([0.5, -0.5]), np.array([0.1, 0.1]))
    names = [f"part {i}" for i in range(number)]
    figure = foregrounds_figure(edges, np.array([0.2, 0.1]), {name: {"nilc": row} for name in names}, METHODS)
    shown = [panel for panel in figure.axes if panel.get_title()]
    assert [panel.get_title() for panel in shown] == names
    assert shown[0].get_ylim() == (-1.05, 1.05)
    assert all(panel.get_xlabel() for panel in shown[-min(3, number) :])


def test_recovered_spectra_are_drawn_beside_what_was_published() -> None:
    edges = np.array([[20.0, 100.0], [100.0, 300.0]])
    one = (
        edges,
        np.array([1.01, 0.98]),
        np.array([0.01, np.nan]),
        np.ones((5, 2)) * [[0.9], [0.95], [1], [1.05], [1.1]],
    )
    figure = recovered_figure({"nilc": one}, METHODS, (1400.0, 0.01))
    (panel,) = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any(label.startswith("published: 1 %") for label in labels)
    assert panel.get_xlim() == (0, 300)


def test_pictures_and_tables_of_several_stages_are_joined() -> None:
    figure = foregrounds_figure(np.array([2, 8]), np.ones(1), {"dust": {"nilc": (np.ones(1), np.ones(1))}}, METHODS)
    section = Section.plain("Numbers", "of something", ["set", "n"], [["a", "1"]])
    pictures, sections = joined([inserts({"one": figure}), None, inserts({}, [section])])
    assert list(pictures) == ["one"] and pictures["one"].startswith("data:image/png;base64,")
    assert sections == [section]
    assert "| a | 1 |" in section.markdown()
