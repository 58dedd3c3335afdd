"""A sky for each simulation: another one each time, made again from its recipe, and one mask for all."""

import shutil
from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
import yaml

Simulate = Callable[..., None]
WHOLE = [f"sky.{name}={{}}" for name in ("dust", "synchrotron")]


def observed(root: Path, split: str, sim: str) -> np.ndarray:
    return hp.read_map(root / f"small/observe/{split}/{sim}/obs_map_143.fits")


def recipes(root: Path) -> dict[str, object]:
    return {path.parent.name: yaml.safe_load(path.read_text()) for path in root.glob("small/sky/*/sky_recipe.yaml")}


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory, simulate: Simulate) -> Path:
    root = tmp_path_factory.mktemp("varied")
    simulate(root, *WHOLE, "vary=each", train=2, valid=1, test=2)
    return root


def test_every_simulation_has_a_sky_of_its_own(varied: Path) -> None:
    found = recipes(varied)
    assert set(found) == {
        f"main_{name}" for name in ("train_sim0000", "train_sim0001", "valid_sim0000", "test_sim0000", "test_sim0001")
    }
    assert len({recipe["seed"] for recipe in found.values()}) == len(found)
    indices = {recipe["settings"]["dust"]["index"] for recipe in found.values()}
    assert len(indices) == len(found)
    assert not list(varied.rglob("foreground_map*"))
    assert len(list(varied.rglob("mask.fits"))) == 1


def test_kept_maps_are_those_that_are_made_again(varied: Path, tmp_path: Path, simulate: Simulate) -> None:
    simulate(tmp_path, *WHOLE, "vary=each", "keep_foregrounds=true", train=2, valid=1, test=2)
    assert len(list(tmp_path.rglob("foreground_map_143.fits"))) == 5
    for split, sim in (("train", "sim0001"), ("test", "sim0000")):
        np.testing.assert_array_equal(observed(tmp_path, split, sim), observed(varied, split, sim))


@pytest.mark.slow
def test_skies_may_be_few_and_more_simulations_change_none(varied: Path, tmp_path: Path, simulate: Simulate) -> None:
    simulate(tmp_path, *WHOLE, "vary=2", train=3, valid=0, test=1)
    assert set(recipes(tmp_path)) == {"main_train_sky0000", "main_train_sky0001", "main_test_sky0000"}
    simulate(tmp_path, *WHOLE, "vary=each", train=3, valid=1, test=2)
    np.testing.assert_array_equal(observed(tmp_path, "train", "sim0001"), observed(varied, "train", "sim0001"))
    masks = [hp.read_map(root / "small/mask/mask.fits") for root in (tmp_path, varied)]
    np.testing.assert_array_equal(*masks)


def test_a_control_that_remembers_is_cleaned_with_and_compared(
    varied: Path, tmp_path: Path, calling: Callable[..., int]
) -> None:
    """It has a training and no curve, which the figures and the report must not ask for."""
    root = Path(shutil.copytree(varied, tmp_path / "root"))
    small = ("dataset=small", "runner.threads=1")
    memory = ("method=control_memory", 'method.examples.channels=["100","143"]', "method.simulations=2")
    assert calling("clean", root, *small, *memory) == 0
    assert calling("clean", root, *small, "method=control_channel") == 0
    left_out = (
        "power_spectra",
        "gathered_spectra",
        "coupling",
        "comparison",
        "band",
        "report",
        "predictions",
        "residual",
        "residual_figures",
    )
    stages = [f"~stages.{name}" for name in left_out]
    assert (
        calling("analysis", root, *small, "methods=[control_memory,control_channel]", "spectra.lmax=20", *stages) == 0
    )
    table = (root / "small/summary/test/summary_table.md").read_text()
    assert "control_memory" in table
    assert not list(root.rglob("learning.png"))
