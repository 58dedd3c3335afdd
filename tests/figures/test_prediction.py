import dataclasses

import numpy as np
import pytest

from cmbml.core.handler import Stamp
from cmbml.figures.prediction import difference_limit, prediction_figure
from cmbml.figures.results import FigureError
from cmbml.figures.style import GREY
from cmbml.handlers.figure import PdfFigure, PngFigure


@pytest.fixture(scope="module")
def maps(comparison):
    return next(maps for maps in comparison.maps if maps.method == "cmbnncs")


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes if axes.images}


def test_it_shows_prediction_truth_and_difference_with_their_scales_and_units(maps):
    figure = prediction_figure(maps, 300, 50)
    found = panels(figure)
    assert list(found) == ["prediction", "truth", "prediction − truth"]
    limits = [axes.images[0].norm.vmax for axes in found.values()]
    assert limits == [300, 300, 50]
    units = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum("CMB" in text for text in units) == 3
    assert all(name in figure.texts[0].get_text() for name in (maps.method, maps.simulation, maps.footing))


def test_what_the_mask_leaves_out_is_grey(maps):
    image = panels(prediction_figure(maps, 300))["truth"].images[0]
    assert np.allclose(image.cmap.get_bad()[:3], float(GREY))
    shown = image.get_array()
    middle = shown[shown.shape[0] // 2]  # the equator, which the mask leaves out
    assert np.isnan(np.ma.getdata(middle)[~np.ma.getmaskarray(middle)]).all()


def test_the_histogram_counts_every_kept_pixel_and_states_the_rms(maps):
    errors = (maps.prediction - maps.truth)[maps.mask > 0.5].astype(float)
    end = 2 * np.abs(errors).max()
    (histogram,) = (axes for axes in prediction_figure(maps, 300, end).axes if "rms" in axes.get_title())
    assert histogram.patches[0].get_data().values.sum() == errors.size
    assert f"rms {np.sqrt(np.mean(errors**2)):.3g}" in histogram.get_title()


def test_a_perfect_prediction_can_be_drawn(maps, tmp_path):
    perfect = dataclasses.replace(maps, prediction=maps.truth)
    assert difference_limit(perfect) == 1.0
    PngFigure().write(tmp_path / "perfect.png", prediction_figure(perfect, 300), Stamp("figures", "f" * 64))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"truth": np.zeros(12)}, "must each be"), ({"mask": np.zeros(12 * 64**2)}, "keeps no pixel")],
)
def test_maps_that_cannot_be_compared_are_refused(maps, wrong, message):
    with pytest.raises(FigureError, match=message):
        dataclasses.replace(maps, **wrong)


@pytest.mark.parametrize("handler", [PngFigure(), PdfFigure()], ids=["png", "pdf"])
def test_two_drawings_have_the_same_bytes(maps, handler, tmp_path):
    paths = [tmp_path / f"{i}{handler.suffix}" for i in range(2)]
    for path in paths:
        handler.write(path, prediction_figure(maps, 300), Stamp("figures", "f" * 64))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"CreationDate" not in paths[0].read_bytes()
    assert paths[0].stat().st_size < 1e6
    with pytest.raises(TypeError, match="not read back"):
        handler.read(paths[0])
