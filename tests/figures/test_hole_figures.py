"""Holes as every method fills them."""

import numpy as np
import pytest

from cmbml.figures.holes import FilledHole, filled_holes_figure
from cmbml.figures.report.embed import figure_uri
from cmbml.figures.results import FigureError


def hole(sigma: bool) -> FilledHole:
    rng = np.random.default_rng(1)
    truth, known = rng.standard_normal((20, 20)) * 100, np.ones((20, 20), bool)
    known[8:12, 8:12] = False
    filled = {"first": np.where(known, truth, 0), "second": np.where(known, truth, truth + 30)}
    return FilledHole("radius 1 deg", truth, known, filled, {"second": np.full((20, 20), 9.0)} if sigma else {})


@pytest.mark.parametrize("sigma", [False, True])
def test_a_row_of_maps_a_row_of_errors_and_one_of_sigmas(sigma: bool) -> None:
    figure = filled_holes_figure([hole(sigma), hole(sigma)], 10.0)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    above = ["truth", "known", "first", "second"]
    assert titles[:4] == above
    assert titles[5] == "error, rms 30 µK"
    assert titles.count("its sigma") == (2 if sigma else 0)
    assert len(titles) == 2 * (len(above) + 2 + (1 if sigma else 0))
    errors = next(axes for axes in figure.axes if axes.get_title() == "error, rms 30 µK").images[0]
    assert np.ma.getmaskarray(errors.get_array()).sum() == 400 - 16, "of the hole alone"
    assert figure_uri(figure).startswith("data:image/png;base64,")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(FigureError, match="no hole to draw"):
        filled_holes_figure([], 10.0)
