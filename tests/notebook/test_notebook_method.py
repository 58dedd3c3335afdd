"""Methods on arrays in memory, beside what the pipeline makes of the same maps."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy import units

import cmbml
from cmbml.core.errors import ConfigError
from cmbml.methods.base import MethodError
from cmbml.notebook.skymap import SkyMap
from cmbml.sky.maps import MapError, MapSpec

OBSERVED = 'method.channels=["100","143","217","353","545"]'


@pytest.mark.parametrize(("method", "words"), [("ilc_pixel", ()), ("control_channel", ()), ("control_truth", ())])
def test_answers_are_those_of_the_pipeline(cleaned: Path, method: str, words: tuple[str, ...]) -> None:
    data = cmbml.open_dataset(cleaned / "sky")
    answer = cmbml.load_method(method, *words).clean(data.observation("test", 2), threads=1)
    assert answer.value.spec == data.map("cleaned_map", "test", 2, method=method).spec
    assert np.array_equal(answer.value.values, data.map("cleaned_map", "test", 2, method=method).values)


def test_arrays_in_memory_are_cleaned_as_files_are(cleaned: Path) -> None:
    data = cmbml.open_dataset(cleaned / "sky")
    arrays = {freq: data.map("obs_map", "test", 0, freq=freq).to_healpy() for freq in data.channels}
    answer = cmbml.load_method("ilc_pixel").clean(cmbml.observation(arrays, lmax=47), threads=1)
    assert np.allclose(answer.value.values, data.map("cleaned_map", "test", 0, method="ilc_pixel").values, atol=1e-3)


def test_overrides_are_those_of_the_command_line(cleaned: Path, calling: Callable[..., int], sky: Path) -> None:
    words = (OBSERVED, "method.fwhm_arcmin=300", "method.uncertainty=false")
    assert calling("clean", sky, "dataset=sky", "method=nilc", *words, "runner.threads=1") == 0
    data = cmbml.open_dataset(sky / "sky")
    nilc = cmbml.load_method("nilc", *words)
    assert nilc.settings.fwhm_arcmin == 300
    answer = nilc.clean(data.observation("test", 0), threads=1)
    assert np.array_equal(answer.value.values, data.map("cleaned_map", "test", 0, method="nilc").values)
    assert answer.sigma is None


def test_what_has_learnt_is_handed_on_with_a_card(
    tmp_path: Path,
    simulate: Callable[..., None],
    command: Callable[..., "Outcome"],  # noqa: F821
) -> None:
    simulate(tmp_path, train=2, valid=1, test=1)
    words = ("method=control_memory", 'method.examples.channels=["100","143"]', "runner.threads=1")
    ran = command("clean", tmp_path, "dataset=small", *words)
    assert ran.status == 0, ran.err
    file = tmp_path / "memory.safetensors"
    asked = ("dataset=small", f"to={file}", "licence=CC0-1.0")
    refusal = command("export", tmp_path, "method=nilc", *asked)
    assert refusal.status == 1
    assert "has learnt nothing in" in refusal.err
    assert "those that have learnt: control_memory" in refusal.err
    assert "method= must name a method of it; those that have" in command("export", tmp_path, *asked).err
    alone = command("export", tmp_path, "method=control_memory", "beside=[nilc]", *asked)
    assert "beside=nilc: it has no scores in" in alone.err
    assert not file.exists()
    ran = command("export", tmp_path, "method=control_memory", *asked)
    assert ran.status == 0, ran.err
    again = command("export", tmp_path, "method=control_memory", *asked)
    assert "the file is there already" in again.err
    memory = cmbml.load_method("control_memory", *words[1:2], weights=file)
    assert memory.card["licence"] == "CC0-1.0"
    assert memory.card["data"]["splits"]["train"]["sims"] == 2
    data = cmbml.open_dataset(tmp_path / "small")
    here = data.map("cleaned_map", "test", 0, method="control_memory")
    assert np.allclose(memory.clean(data.observation("test", 0)).value.values, here.values, atol=1e-3)
    elsewhere = ("method.name=given", "stages=learnt", f"weights={file}")
    ran = command("clean", tmp_path, "dataset=small", *words, *elsewhere)
    assert ran.status == 0, ran.err
    assert np.array_equal(data.map("cleaned_map", "test", 0, method="given").values, here.values)


@pytest.mark.parametrize(
    ("name", "overrides", "weights", "words"),
    [
        ("nlic", (), None, "method=nlic: there is no such option; did you mean 'nilc'?"),
        ("nilc", ("method.fwhm=3",), None, "'method.fwhm' is no key of the config"),
        ("nilc", (), "x.safetensors", "it takes no weights"),
        ("control_memory", (), None, "name what it has learnt, weights=FILE.safetensors"),
        ("control_memory", (), "x.safetensors", "weights=x.safetensors: there is no such file"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    name: str, overrides: tuple[str, ...], weights: str | None, words: str
) -> None:
    with pytest.raises((ConfigError, MethodError)) as error:
        cmbml.load_method(name, *overrides, weights=weights)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"101": np.zeros(48)}, "the instrument has no channel 101; it has 30, 44"),
        ({"100": np.zeros(48), "143": np.zeros(192)}, "maps of one shape are needed"),
        ({"100": np.full(48, np.nan)}, "48 of 48 pixel values are NaN"),
        ({}, "these are: none"),
        (np.zeros((2, 48)), "channels must name each map, {'100': MAP, ...}, and are ndarray"),
        ({"100": np.zeros(108)}, "maps of shape (1, 108) are none of HEALPix"),
        ({"100": np.zeros(100)}, "maps of shape (1, 100) are none of HEALPix"),
        ({"100": np.zeros((2, 48))}, "maps of shape (2, 48) are none of HEALPix"),
        ({"100": np.zeros((1, 1, 48))}, "the map of channel 100 is no map of real numbers: float64, shape (1, 1, 48)"),
        ({"100": np.zeros(48, complex)}, "the map of channel 100 is no map of real numbers: complex128"),
        ({"100": ["a"] * 48}, "the map of channel 100 is no map of real numbers"),
        ({"100": np.ma.masked_all(48)}, "the map of channel 100 is masked in part: fill the 48 pixels first"),
        (
            {"100": np.zeros(48) * units.MJy / units.sr},
            "in MJy / sr: bring it to uK_CMB first",
        ),
    ],
)
def test_maps_that_cannot_be_are_refused(arrays: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises((ConfigError, MapError)) as error:
        cmbml.observation(arrays)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lmax": 7}, "lmax=7: maps of nside 2 hold multipoles from 2 to 5"),
        ({"lmax": -1}, "lmax=-1: maps of nside 2"),
        ({"frame": "X"}, "frame=X: allowed are G, C, E"),
        ({"truth": np.zeros((1, 1, 48))}, "the truth is no map of real numbers"),
    ],
)
def test_observations_that_cannot_be_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(MapError) as error:
        cmbml.observation({"100": np.zeros(48)}, **given)
    assert words in str(error.value)


def test_maps_with_a_unit_are_brought_to_that_of_the_framework() -> None:
    values = np.random.default_rng(1).standard_normal(48)
    for unit in (units.K, units.mK, units.uK):
        case = cmbml.observation({"100": (values * units.uK).to(unit)})
        np.testing.assert_allclose(case.shown["100"].values[0], values, rtol=1e-12)


def test_what_is_no_observation_is_not_cleaned() -> None:
    with pytest.raises(MethodError, match="makes what can be cleaned; this is dict"):
        cmbml.load_method("control_zero").clean({"100": np.zeros(48)})


@pytest.mark.parametrize("limit", [-5.0, 0.0, np.nan])
def test_colour_scale_that_cannot_be_is_refused(limit: float) -> None:
    sky = SkyMap(np.zeros((1, 48)), MapSpec(nside=2))
    with pytest.raises(MapError, match=r"limit=.*: a number above 0 is needed"):
        sky.plot(limit=limit)
