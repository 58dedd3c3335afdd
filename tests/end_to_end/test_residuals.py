"""What is left in cleaned maps, by the programs: their shapes, and what they have in common with each foreground."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from comparing import METHODS

from cmbml.handlers.rows import Rows


@pytest.fixture(scope="module")
def tables(compared: Path) -> dict[str, Table]:
    place = compared / "sky/metrics"
    return {method: Table.read(place / f"{method}/test/sim0001/scores.csv", format="ascii.csv") for method in METHODS}


def of(table: Table, metric: str) -> np.ndarray:
    return np.asarray(table["value"][table["metric"] == metric], float)


def test_a_channel_holds_all_foregrounds_and_an_empty_map_none(tables: dict[str, Table]) -> None:
    """The channel of the control is the one that components are seen in; the CMB knows nothing of the sky."""
    chance = np.asarray(tables["control_zero"]["noise_floor"][tables["control_zero"]["metric"] == "r_dust"], float)
    assert (of(tables["control_channel"], "r_all_foregrounds") > 0.99).all()
    assert of(tables["control_channel"], "r_dust").mean() > 0.8
    assert (np.abs(of(tables["control_zero"], "r_all_foregrounds")) < 4 * chance).all()
    assert np.isnan(of(tables["control_truth"], "r_dust")).all()
    regions = list(dict.fromkeys(tables["control_zero"]["region"][tables["control_zero"]["metric"] == "r_dust"]))
    assert (regions[0], regions[-1]) == ("l 2-7", "l 23-32")


def test_the_truth_has_its_own_shapes_and_an_empty_map_none(tables: dict[str, Table], compared: Path) -> None:
    for name in ("map_v0", "map_v1", "map_v2"):
        assert of(tables["control_truth"], name) == pytest.approx(0, abs=1e-4)
        assert of(tables["control_zero"], name) > 0.4
        assert of(tables["ilc_pixel"], name) < of(tables["control_channel"], name)
    # What an empty map leaves is the CMB itself, upside down.
    assert of(tables["control_zero"], "residual_v1") < 0.5 * of(tables["control_channel"], "residual_v1")
    assert of(tables["control_truth"], "residual_v0").size == 0
    shapes = Rows("field", "functional").read(compared / "sky/shapes/control_zero/test/sim0001/shapes.csv")
    assert len(shapes["value"]) == 3 * 3 * 50


@pytest.mark.slow
def test_figures_stand_on_the_page(copy: Path, command: Callable, scoring: tuple[str, ...]) -> None:
    wanted = ("~stages.gathered_shapes", "~stages.residual_figures")
    words = (f"methods=[{','.join(METHODS)}]", *(word for word in scoring if word not in wanted))
    ran = command("analysis", copy, "dataset=sky", *words)
    assert ran.status == 0, ran.err
    place = copy / "sky/residual_figures/test"
    for name in ("shapes_figure", "foregrounds_left"):
        assert (place / f"{name}.png").stat().st_size > 30_000
    assert len(json.loads((place / "page_pictures.json").read_text())["pictures"]) == 2
