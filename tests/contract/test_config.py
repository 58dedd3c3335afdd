"""What holds for every file in `cfg/`: each option composes, and says what its classes take."""

import inspect
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from cmbml.core.app import CONFIG_FOLDER, build_pipeline
from cmbml.core.errors import ConfigError
from cmbml.core.pipeline import Pipeline
from cmbml.metrics.frozen import LISTS
from cmbml.stages.assets import FREQ

PROGRAMS = sorted(
    path.stem for path in CONFIG_FOLDER.glob("*.yaml") if path.stem not in {"common", "export", "status", "verify"}
)
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONFIG_FOLDER.glob("*/*.yaml"))
# What has no default, for nobody can guess it.
GIVEN = {
    "noise=planck": ["noise.folder=/given"],
    "stages=import": ["import_from=/given"],
    "stages=learnt": ["weights=/given"],
    "stages=learnt_inpaint": ["weights=/given", "hardware=auto"],
    "stages=learnt_with_parts": ["weights=/given"],
    "stages=learnt_calibrated": ["weights=/given"],
    # Of a network alone.
    "uncertainty=gaussian_nll": ["method=cenn"],
    "hydrogen=files": ["hydrogen.source.cube=/given", "hydrogen.source.dust=/given"],
}
HOLES = "cmbml.stages.tasks.holes."
# Sequences of stages whose names do not begin with that of the program's own.
PROGRAM_OF_STAGES = {
    "stages=import": "sims",
    "stages=patches": "sims",
    "stages=patches_of_generated_dust": "sims",
    "stages=dust_patches": "sims",
    "stages=population": "analysis",
    "stages=hi": "sims",
    "stages=comparison": "analysis",
    "stages=hole_analysis": "analysis",
    "stages=patch_analysis": "analysis",
    "stages=dust_analysis": "analysis",
    "stages=sweep": "analysis",
    "stages=dust_sweep": "analysis",
    "stages=learn_inpaint": "inpaint",
    "stages=learnt_inpaint": "inpaint",
    "stages=learn": "cmbnncs",
    "stages=learn_calibrated": "cmbnncs",
    "stages=learnt": "cmbnncs",
    "stages=learnt_calibrated": "cmbnncs",
    "stages=learn_tuned": "cmbnncs",
    "stages=learnt_tuned": "cmbnncs",
    "stages=learn_with_parts": "cmbnncs",
    "stages=learnt_with_parts": "cmbnncs",
}


@pytest.fixture(autouse=True)
def _folder_of_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMBML_ASSETS", os.environ.get("CMBML_ASSETS", "/given"))


def composed(program: str, *overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        return hydra.compose(program, list(overrides))


def program_of(option: str) -> str:
    """Return a program that an option is for: one that has chosen an option of its group, or else may choose one."""
    if option in PROGRAM_OF_STAGES:
        return PROGRAM_OF_STAGES[option]
    group, _, name = option.partition("=")
    choices = {program: choices_of(program) for program in PROGRAMS}
    if group == "stages":
        return next(program for program, chosen in choices.items() if name.startswith(str(chosen[group])))
    having = [program for program, chosen in choices.items() if chosen.get(group)]
    return (having or [program for program, chosen in choices.items() if group in chosen])[0]


@cache
def choices_of(program: str) -> dict[str, str | None]:
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        return dict(hydra.compose(program, return_hydra_config=True).hydra.runtime.choices)


def dataset_of(program: str) -> tuple[str, ...]:
    """Return which dataset a program works on by default."""
    datasets = {"generate": ("stages=dust_patches",), "predict": ("stages=hi", "scenario=nside64", "vary=shared")}
    return datasets.get(program, ())


def on_a_dataset(program: str, root: Path, dataset: tuple[str, ...] = (), *overrides: str) -> DictConfig:
    """Compose a program as it is composed when it takes over what a dataset was made with."""
    config, made = composed(program, *overrides), composed("sims", *dataset)
    for name in config.get("from_dataset", []):
        # A manifest holds values, not references to other keys.
        found = made[name]
        config[name] = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    for stage in (*made.stages, "clean"):
        if config.get("from_dataset") and stage not in config.stages:
            (root / ".records" / str(stage)).mkdir(parents=True, exist_ok=True)
    return config


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
    pipeline = built(on_a_dataset(program, tmp_path, dataset_of(program)), tmp_path)
    assert pipeline.graph.stages
    assert {path.name for path in tmp_path.iterdir()} <= {".records"}


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.startswith("method=")])
def test_every_method_makes_a_pipeline(option: str, tmp_path: Path) -> None:
    """On maps that a shipped network fits, and with all channels that one may ask for."""
    name, folder = option.partition("=")[2], tmp_path / "given"
    more = [f"predictions.folder={folder}", "predictions.fwhm_arcmin=5"] if name == "imported" else []
    config = composed("clean", option)
    cases = config.cases["_target_"].rpartition(".")[2]
    holed = (config.method.get("_target_", ""), config.cases["_target_"])
    program = "inpaint" if any(target.startswith(("cmbml.methods.holes.", HOLES)) for target in holed) else "clean"
    program = {"DustPatches": "generate", "VelocityCubes": "predict"}.get(cases, program)
    # A network that is too large for a CPU is planned for another machine.
    more += ["hardware.force=true"] if name == "cosmovae_paper" else []
    datasets = {"DrawnPatches": ("stages=patches",), "DustPatches": ("stages=dust_patches",)}
    dataset = datasets.get(cases, dataset_of(program) or ("scenario=nside64",))
    try:
        pipeline = built(on_a_dataset(program, tmp_path, dataset, option, *more), tmp_path)
    except ConfigError as error:
        # Packages and files that not everybody has are asked for by name.
        assert "needs the package" in str(error) or str(folder) in str(error)
        return
    assert any(asset.name == "cleaned_map" for stage in pipeline.graph.stages.values() for asset in stage.writes)


@pytest.mark.parametrize("levels", [5, 6, 7, 8])
def test_every_network_fits_the_maps_that_it_is_for(levels: int, tmp_path: Path) -> None:
    def config(nside: int) -> DictConfig:
        size = (f"scenario.nside={nside}", f"scenario.nside_sky={nside}", f"scenario.lmax={2 * nside}")
        return on_a_dataset("cmbnncs", tmp_path, size, f"network=unet{levels}")

    assert "train" in built(config(2**levels), tmp_path).graph.stages
    fits = rf"take network=unet{levels - 1}" if levels > 5 else "no shipped network fits"
    with pytest.raises(ConfigError, match=f"cannot be, both sides must be multiples of {2**levels}; .*{fits}"):
        built(config(2 ** (levels - 1)), tmp_path)


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


def unexplained(text: str) -> list[str]:
    """Return the keys of a config file that no comment explains.

    A comment explains the key on its line, the key below it and the siblings that follow at once, and every key that it
    names. What holds others, or is taken from elsewhere, is explained there; so is what the file has explained before.
    Names in quotes are channels, not keys.
    """
    named = set(re.findall(r"\w+", " ".join(re.findall(r"#.*", text))))
    known, missing, shared = {"_target_", "_partial_", "defaults"}, [], -1
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            shared = len(line) - len(line.lstrip())
        elif found := re.match(r"([ -]*)([\w-]+|override [\w/]+):(?: +|$)([^#]*)(#?)", line):
            indent, key, value, comment = len(found[1]), found[2], found[3].strip(), found[4]
            shared = shared if indent >= shared else -1
            elsewhere = not value or value.startswith("${") or key.startswith("override")
            if comment or elsewhere or indent == shared or key in named:
                known.add(key)
            elif key not in known:
                missing.append(key)
        elif not line.strip():
            shared = -1
    return missing


@pytest.mark.parametrize("option", OPTIONS)
def test_every_key_of_a_file_is_explained(option: str) -> None:
    group, _, name = option.partition("=")
    text = (CONFIG_FOLDER / group / f"{name}.yaml").read_text()
    assert not unexplained(text), "a config file says what its keys mean"
    assert "\t" not in text


@pytest.mark.parametrize("name", sorted(path.stem for path in LISTS.glob("*.yaml")))
def test_one_word_asks_for_all_of_a_frozen_benchmark(name: str) -> None:
    config = composed("sims", f"scenario={name}")
    assert config.benchmark == {"name": name, "splits": ["test"]}
    assert (config.seed, config.vary, config.splits.test, config.scenario.nside) == (1, "each", 40, 64)
    assert config.space.splits == config.splits


def test_key_without_a_comment_is_found() -> None:
    text = """# What it is for; third is said here.
first: 1
second: 2

third: 3
fourth: 4     # said
fifth: 5
other:
  sixth: ${first}
  seventh: 7
  fourth: 8
"""
    assert unexplained(text) == ["fifth", "seventh"]


@pytest.mark.parametrize("scenario", sorted(path.stem for path in (CONFIG_FOLDER / "scenario").glob("*.yaml")))
@pytest.mark.parametrize("instrument", sorted(path.stem for path in (CONFIG_FOLDER / "instrument").glob("*.yaml")))
@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_scenarios_instruments_and_fields_go_together(
    tmp_path: Path, scenario: str, instrument: str, fields: str
) -> None:
    config = composed("sims", f"scenario={scenario}", f"instrument={instrument}", f"scenario.fields={fields}")
    pipeline = built(config, tmp_path)
    assert len(pipeline.space.keys((FREQ,))) == len(config.instrument.channels)
    skies = sum(config.splits.values()) if config.vary == "each" else 1
    assert len(pipeline.spaces["sky"].keys(pipeline.graph.stages["sky"].per)) == skies


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
    skies = next(stage for stage in pipeline.plan().stages if stage.stage == "sky")
    assert {str(key).partition("_")[0] for key in skies.todo} == {"main", "shifted"}
    assert len(skies.todo) == 8
