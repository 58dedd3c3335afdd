"""What holds for every file in `cfg/`: each option composes, and says what its classes take."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from cmbml.core.app import CONFIG_FOLDER, build_pipeline
from cmbml.core.pipeline import Pipeline

# The programs that start from nothing; others work on a dataset that has been built.
PROGRAMS = [
    path.stem for path in CONFIG_FOLDER.glob("*.yaml") if path.stem != "common" and "inherit:" not in path.read_text()
]
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONFIG_FOLDER.glob("*/*.yaml"))
# What has no default, for nobody can guess it.
GIVEN = {
    "noise=planck": ["noise.folder=/given"],
    "stages=import": ["import_from=/given"],
}


@pytest.fixture(autouse=True)
def _folder_of_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMBML_ASSETS", os.environ.get("CMBML_ASSETS", "/given"))


def composed(program: str, *overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        return hydra.compose(program, list(overrides))


def program_of(option: str) -> str:
    """Return a program that has the option's group; of the sequences of stages, each has its own."""
    group, _, name = option.partition("=")
    for program in sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml") if path.stem != "common"):
        entries = yaml.safe_load((CONFIG_FOLDER / f"{program}.yaml").read_text())["defaults"]
        chosen = {key: value for entry in entries if isinstance(entry, dict) for key, value in entry.items()}
        if group in chosen and (group != "stages" or name.startswith(chosen[group])):
            return program
    return "sims"


def built(config: DictConfig, root: Path) -> Pipeline:
    return build_pipeline(config, root)[0]


def targets(node: Any, place: str = "") -> Iterator[tuple[str, DictConfig]]:
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield place, node
        for name in node:
            # What is interpolated stands somewhere else too, or comes from the dataset that is worked on.
            if not OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, name):
                yield from targets(node[name], f"{place}.{name}".lstrip("."))


@pytest.mark.parametrize("program", PROGRAMS)
def test_defaults_make_a_pipeline_that_holds_together(program: str, tmp_path: Path) -> None:
    pipeline = built(composed(program), tmp_path)
    assert pipeline.graph.stages
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", OPTIONS)
def test_option_names_settings_that_its_class_has(option: str) -> None:
    """Without making the class, for an option may need files that are not here."""
    config = composed(program_of(option), option, *GIVEN.get(option, []))
    for place, node in targets(config):
        if node.get("_partial_"):
            continue
        kind = hydra.utils.get_object(node["_target_"])
        known = set(getattr(kind, "__dataclass_fields__", None) or inspect.signature(kind).parameters)
        unknown = {str(name) for name in node} - known - {"_target_"}
        assert not unknown, f"{place} sets {unknown}, which {kind.__name__} has not"


@pytest.mark.parametrize("option", OPTIONS)
def test_every_line_of_a_small_file_is_reached_and_described(option: str) -> None:
    group, _, name = option.partition("=")
    text = (CONFIG_FOLDER / group / f"{name}.yaml").read_text()
    assert "#" in text, "a config file says what its keys mean"
    assert "\t" not in text


@pytest.mark.parametrize("scenario", sorted(path.stem for path in (CONFIG_FOLDER / "scenario").glob("*.yaml")))
@pytest.mark.parametrize("instrument", sorted(path.stem for path in (CONFIG_FOLDER / "instrument").glob("*.yaml")))
@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_scenarios_instruments_and_fields_go_together(
    tmp_path: Path, scenario: str, instrument: str, fields: str
) -> None:
    config = composed("sims", f"scenario={scenario}", f"instrument={instrument}", f"scenario.fields={fields}")
    pipeline = built(config, tmp_path)
    assert len(pipeline.spaces["beam"].keys(pipeline.graph.stages["beam"].per)) == len(config.instrument.channels)


def test_nside_channels_and_fields_are_said_once(tmp_path: Path) -> None:
    """A change of the scenario reaches every stage."""
    config = composed("sims", "scenario.nside=64", "scenario.nside_sky=128", "scenario.lmax=100", "scenario.fields=IQU")
    for executor in built(config, tmp_path).graph.stages.values():
        assert getattr(executor, "nside", 64) == 64
        assert getattr(executor, "lmax", 100) == 100
        assert getattr(executor, "nside_sky", 128) == 128
        assert getattr(executor, "fields", "IQU") == "IQU"


def test_no_dataset_hangs_on_where_it_is_or_who_runs_it(tmp_path: Path) -> None:
    here = built(composed("sims"), tmp_path / "here").plan().fingerprints
    there = built(composed("sims", "runner=processes", "dataset=other"), tmp_path / "there").plan().fingerprints
    assert here == there


def test_a_shifted_split_sees_its_own_sky(tmp_path: Path) -> None:
    pipeline = built(composed("sims", "splits=shifted"), tmp_path)
    emission = next(stage for stage in pipeline.plan().stages if stage.stage == "sky")
    assert {str(key).partition("/")[0] for key in emission.todo} == {"main", "shifted"}
