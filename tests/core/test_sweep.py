"""Sweeps: which jobs there are, what their results are called, and that none disturbs another."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy as hp
import hydra
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from cmbml.core.app import CONFIG_FOLDER
from cmbml.core.errors import ConfigError
from cmbml.core.sweep import Job, end_names, expand, naming, suffix

Sweep = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
RATE = "method.train.learning_rate"


def jobs(*overrides: str) -> list[Job]:
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        return expand(overrides, GlobalHydra.instance().config_loader())


def names(*overrides: str) -> list[str]:
    return [suffix(job.swept) for job in jobs(*overrides)]


# Names


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([f"{RATE}=0.1"], [""]),
        ([f"{RATE}=1e-1,1e-2"], ["-learning_rate-0.1", "-learning_rate-0.01"]),
        ([f"+{RATE}=1,2"], ["-learning_rate-1", "-learning_rate-2"]),
        ([f"{RATE}=choice(1e-5,-3)"], ["-learning_rate-1e-05", "-learning_rate--3"]),
        (["method.n=range(1,4)"], ["-n-1", "-n-2", "-n-3"]),
        (["method.x=1e20,1.0"], ["-x-1e20", "-x-1"]),
        ([f"{RATE}=1e-1,0.1,1"], ["-learning_rate-0.1", "-learning_rate-0.1", "-learning_rate-1"]),
        (["method.batch=12", f"{RATE}=0.1,1"], ["-learning_rate-0.1", "-learning_rate-1"]),
        (["method.a=1,2", "method.b=x,y"], ["-a-1-b-x", "-a-1-b-y", "-a-2-b-x", "-a-2-b-y"]),
        (["method.a.rate=1,2", "method.b.rate=3,3.5"], [f"-a.rate-{a}-b.rate-{b}" for a in (1, 2) for b in (3, 3.5)]),
        (["method.on=true,false"], ["-on-true", "-on-false"]),
        (["method/network=unet5,unet8"], ["-network-unet5", "-network-unet8"]),
        (["method=nilc,cnilc", "method.name=a,b", "dataset=c,d", "methods.x=1,2"], [""] * 16),
        (["method=glob(control_z*)"], [""]),
    ],
)
def test_suffix(overrides: list[str], expected: list[str]) -> None:
    assert names(*overrides) == expected


def test_values_that_no_name_can_hold_are_told_apart() -> None:
    """Whatever is lost in writing them is in the hash."""
    values = ["null", "'null'", "true", "'true'", "[1,2]", "[12]", "[[1],2]", "'1 2'", "'1/2'", "{a:1}", "''", "'/'"]
    long = [f"{'x' * 40}{end}" for end in "ab"]
    found = names(f"method.value={','.join([*values, *long, '0.1', 'inf'])}")
    assert len(set(found)) == len(values) + len(long) + 2
    assert found == names(f"method.value={','.join([*values, *long, '0.1', 'inf'])}")
    for name in found:
        assert re.fullmatch(r"-value-[A-Za-z0-9_.-]+", name)
        assert len(name) < 50


def test_command_lines_that_say_the_same_give_the_same_names() -> None:
    assert names(f"{RATE}=1e-1,1e-2") == names(f"++{RATE}=choice(0.1,0.010)")


def test_part_of_what_is_swept() -> None:
    swept = {"method.examples.nside": 32, RATE: 0.1, "method.examples_too": 1}
    assert suffix(swept, "method.examples") == "-nside-32"
    assert suffix(swept, RATE) == "-learning_rate-0.1"
    assert suffix(swept, "method.exam") == ""


def test_resolver_is_empty_but_within_a_job() -> None:
    config = OmegaConf.create({"whole": "nilc${swept:}", "part": "x${swept:method.examples}"})
    assert (config.whole, config.part) == ("nilc", "x")
    with naming(Job((), {"method.examples.nside": 32, RATE: 0.1}, "")):
        assert (config.whole, config.part) == ("nilc-nside-32-learning_rate-0.1", "x-nside-32")
    assert (config.whole, config.part) == ("nilc", "x")


@pytest.mark.parametrize(("name", "expected"), [("foo", "foo-a-1"), ("of_${dataset}", "of_sky-a-1"), (7, "7-a-1")])
def test_name_gets_its_end_whoever_gave_it(name: Any, expected: str) -> None:
    names = ["method.name", "method.examples.name", "method.network.name"]
    method = {"name": name, "a": 1, "examples": {"name": "planes"}}
    config = OmegaConf.create({"dataset": "sky", "swept_names": names, "method": method})
    end_names(config)
    with naming(Job((), {"method.a": 1}, "")):
        assert (config.method.name, config.method.examples.name) == (expected, "planes")
    with naming(Job((), {"method.examples.nside": 32}, "")):
        assert config.method.examples.name == "planes-nside-32"
    assert "network" not in config.method


def test_group_whose_files_belong_below_the_method(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "small.yaml").write_text("# @package method.network\nwidth: 1\n")
    (tmp_path / "program.yaml").write_text("defaults: [network: small]\n")
    with hydra.initialize_config_dir(version_base=None, config_dir=str(tmp_path)):
        found = expand(["network=small,large"], GlobalHydra.instance().config_loader())
    assert [suffix(job.swept) for job in found] == ["-network-small", "-network-large"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("method.a", "write KEY=VALUE"),
        ("method.a=[", "is no override of a sweep"),
        ("method.a=interval(0,1)", "list them, or use range"),
        ("method.a=range(2,1)", "has no value"),
        ("method=glob(nothing*)", "has no value"),
        ("hydra/launcher=joblib", "jobs run one after another"),
    ],
)
def test_word_that_cannot_be_swept(word: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)) as caught:
        jobs("dataset=sky", word)
    assert word in str(caught.value)


# The program


@pytest.fixture
def sweep(command: Callable[..., "Outcome"]) -> Sweep:  # noqa: F821
    """Return what cleans the dataset `sky` in a folder with a sweep."""
    return lambda root, *words: command("clean", root, "-m", "dataset=sky", "method=control_channel", *words)


def made(root: Path) -> dict[str, np.ndarray]:
    """Return the first cleaned map of each method."""
    found = (root / "sky" / "clean").glob("*/test/sim0000/cleaned_map.fits")
    return {path.parents[2].name: hp.read_map(path, dtype=None) for path in found}


def test_each_job_is_a_method_of_its_own(
    sky: Path,
    sweep: Sweep,
    command: Callable[..., "Outcome"],  # noqa: F821
    digests: Callable[[Path], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = digests(sky / "sky")
    outcome = sweep(sky, "method.channel=100,217", "runner.threads=1")
    assert (outcome.status, outcome.err) == (0, "")
    assert "sweep 1 of 2: method.channel=100\n" in outcome.out
    assert "sweep 2 of 2: method.channel=217\n" in outcome.out
    assert "sweep done: sky/control_channel-channel-100, sky/control_channel-channel-217" in outcome.out
    assert before.items() <= digests(sky / "sky").items()
    maps = made(sky)
    for channel in ("100", "217"):
        observed = hp.read_map(sky / f"sky/observe/test/sim0000/obs_map_{channel}.fits", dtype=None)
        np.testing.assert_array_equal(maps[f"control_channel-channel-{channel}"], observed)
    assert not list(Path.cwd().iterdir())
    # A job run by itself, under its name, is the same work.
    alone = ("method=control_channel", "method.channel=100", "method.name=control_channel-channel-100")
    assert "nothing to do: all 3 units" in command("clean", sky, "dataset=sky", *alone).out
    # A longer sweep does what is new.
    out = sweep(sky, "method.channel=100,353").out
    assert re.findall(r"(nothing|\d units of work) to do", out) == ["nothing", "3 units of work"]


def test_job_that_fails_leaves_the_others(sky: Path, sweep: Sweep) -> None:
    outcome = sweep(sky, "method.channel=144,100", "method.name=mine", "+over.sim=[sim0000]")
    assert outcome.status == 1
    assert "failed: clean: the observation has no channel '144'" in outcome.out
    assert outcome.err.startswith("error: 1 of 2 jobs of the sweep failed\nmethod.channel=144: clean: ")
    assert "Traceback" not in outcome.err
    assert {"mine-channel-100"} == {name for name in made(sky) if name.startswith("mine")}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["method.chanel=100,143"], "'method.chanel' is no key of the config; did you mean 'method.channel'?"),
        (["method.channel=100,143", "sead=1"], "'sead' is no key of the config; did you mean 'seed'?"),
        (["+methd.channel=100,143"], "'+methd.channel' adds a key that nothing reads; did you mean 'method.channel'?"),
        (["method=control_zero,contrl_truth"], "method=contrl_truth: there is no such option; did you mean"),
        (["method=control_zero,control_truth", "method.name=a"], "in sky/a: 'method=control_zero' and 'method="),
        (["method.channel=100,100"], "in sky/control_channel: 'method.channel=100' twice; let method.name hold"),
        (["predictions.folder=/a,/b", "method=imported"], "sky/imported: 'predictions.folder=/a' and"),
        (["system.root=null", "seed=1,2"], "seed=1' and 'seed=2'"),
    ],
)
def test_sweep_that_is_refused_before_any_work(tmp_path: Path, sweep: Sweep, words: list[str], expected: str) -> None:
    outcome = sweep(tmp_path, *words)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert expected in outcome.err
    assert not list(tmp_path.iterdir())


def test_several_values_without_the_flag(command: Callable[..., "Outcome"], tmp_path: Path) -> None:  # noqa: F821
    outcome = command("clean", tmp_path, "method.channel=100,143")
    assert "error: method.channel=100,143: several values are a sweep, which needs -m" in outcome.err


def test_sweep_over_datasets(command: Callable[..., "Outcome"], tmp_path: Path) -> None:  # noqa: F821
    """Each job composed for itself: the same fault is told once, with all whom it befell."""
    outcome = command("sims", tmp_path, "-m", "dataset=a,b", "scenario.nside=100")
    assert outcome.out.count("sweep ") == 2
    fault = "dataset=a, dataset=b: scenario.nside: nside must be a power of two, not 100"
    assert f"error: 2 of 2 jobs of the sweep failed\n{fault}" in outcome.err
