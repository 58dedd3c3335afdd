"""The weights that come with the package: whole, described, found by name, and of use where they say so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from outcomes import done, refused

import cmbml
from cmbml.methods.base import MethodError
from cmbml.methods.shipped import FOLDER, shipped, weights_file
from cmbml.stages.modelling.import_state import read_state

NAME = "cmbnncs_nside64"
SKY = ("scenario=nside64", "splits.train=0", "splits.valid=0", "splits.test=1", "cosmology=fixed", "lensing=none")
FACTOR = 10
"""How many times as far from the truth as what the network answers the channel at 143 GHz is at least."""
CAMB = "+stages.spectrum.camb={min_lmax: 500, margin: 150, lens_potential_accuracy: 1, halofit_version: takahashi}"
QUICK = ("~stages.figures", "~stages.sky_figures", "runner.threads=1", CAMB)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int]) -> Path:
    """Return the folder of a dataset with a sky that no network has learnt from."""
    root = tmp_path_factory.mktemp("shipped")
    assert calling("sims", root, "dataset=sky", "seed=77", *SKY, *QUICK) == 0
    return root


@pytest.mark.parametrize("name", shipped())
def test_card_says_what_a_user_must_know(name: str) -> None:
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 1.5e6
    about = read_state(Path(name)).about
    card = about["card"]
    assert card["licence"]
    assert card["limits"]
    assert card["data"]["splits"]["train"] == about["training"]["samples"] >= 100
    assert card["data"]["vary"] == "each"
    ours, nilc = (
        {entry["metric"]: entry["mean"] for entry in scores if entry["region"] == "mask"}
        for scores in (card["scores"], card["beside"]["nilc"])
    )
    assert {entry["split"] for entry in card["scores"]} == {"test"}
    assert 0 < ours["rmse"] < 10
    assert nilc["rmse"] > 0


def test_file_of_the_user_comes_before_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_file(Path(NAME)) == FOLDER / f"{NAME}.safetensors"
    Path(NAME).touch()
    assert weights_file(Path(NAME)) == Path(NAME)


def test_name_that_is_not_shipped_is_answered_with_those_that_are() -> None:
    with pytest.raises(MethodError, match=rf"weights=cmbnncs_nside63: there is no such file.*has {NAME}"):
        cmbml.load_method(NAME, weights="cmbnncs_nside63")


def test_sky_is_cleaned_without_training(observed: Path, command: Callable[..., "Outcome"]) -> None:  # noqa: F821
    done(command("clean", observed, "dataset=sky", f"method={NAME}", "hardware.threads=1"))
    data = cmbml.open_dataset(observed / "sky")
    cleaned = data.map("cleaned_map", "test", 0, method=NAME).values[0]
    truth, kept = data.map("cmb_map", "test", 0).values[0], data.map("mask").values[0] > 0
    channel = data.map("obs_map", "test", 0, freq=143).values[0]
    rms = {name: np.std((values - truth)[kept]) for name, values in {"ours": cleaned, "143": channel}.items()}
    assert rms["ours"] < rms["143"] / FACTOR
    assert np.polyfit(truth[kept], cleaned[kept], 1)[0] == pytest.approx(1, abs=0.1)
    in_memory = cmbml.load_method(NAME).clean(data.observation("test", 0), threads=1)
    np.testing.assert_allclose(in_memory.value.values[0], cleaned, atol=1e-3)


def test_other_maps_are_refused_by_what_they_differ_in(
    observed: Path,
    tmp_path: Path,
    simulate: Callable[..., None],
    command: Callable[..., "Outcome"],  # noqa: F821
) -> None:
    simulate(tmp_path, test=1)
    refused(command("clean", tmp_path, "dataset=small", f"method={NAME}"), "channel")
    network, zero = cmbml.load_method(NAME), np.zeros(12 * 64**2)
    seen = cmbml.open_dataset(observed / "sky").observation("test", 0)
    with pytest.raises(MethodError, match=r"channels\.143\.fwhm_arcmin is 32\.4, not"):
        network.clean(cmbml.observation(dict.fromkeys(seen.shown, zero), instrument="planck"))
    with pytest.raises(MethodError, match=r"observations\.nside is 64, not 128"):
        network.clean(cmbml.observation(dict.fromkeys(seen.shown, np.zeros(12 * 128**2))))
