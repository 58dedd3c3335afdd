"""Training and cleaning with a network through the program, after any interruption."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import healpy as hp
import numpy as np
import pytest
import torch
import yaml
from astropy.io import fits
from astropy.table import Table
from outcomes import done, refused
from safetensors import safe_open

from cmbml.handlers import tensors
from cmbml.methods.training import callbacks

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Learn = Callable[..., "Outcome"]  # noqa: F821
Start = Callable[..., subprocess.Popen[str]]
EPOCHS = 3
LONG = "method.train.epochs=40"
# The least network that there is, on one thread, so that the same bits come of every run.
TINY = (
    "dataset=small",
    "runner.threads=1",
    "hardware.threads=1",
    "hardware.device=cpu",
    'method.examples.channels=["100","143"]',
    "method.network.widths=[8,16]",
    "method.network.encoder_kernels=[4,4]",
    "method.network.decoder_kernels=[4,2]",
    f"method.train.epochs={EPOCHS}",
    "method.train.batch_size=2",
)
STATE = Path("small/train/cmbnncs/state.safetensors")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory, simulate: Callable[..., None]) -> Path:
    """Make a dataset to learn from; return the folder that holds it."""
    root = tmp_path_factory.mktemp("simulated")
    simulate(root, train=4, valid=2, test=2)
    return root


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory, simulated: Path, calling: Callable[..., int]) -> Path:
    """Learn from it and clean it; return the folder that holds both."""
    root = Path(shutil.copytree(simulated, tmp_path_factory.mktemp("learnt") / "root"))
    assert calling("cmbnncs", root, *TINY) == 0
    return root


@pytest.fixture
def fresh(simulated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(simulated, tmp_path / "root"))


@pytest.fixture
def known(learnt: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(learnt, tmp_path / "root"))


@pytest.fixture
def learn(command: Command) -> Learn:
    return lambda root, *overrides: command("cmbnncs", root, *TINY, *overrides)


def to_do(out: str) -> dict[str, int]:
    """Read a plan: units to be done of each stage that has any."""
    rows = [line.split() for line in out.splitlines() if re.match(r"\w+ +\d+ +\d+ ", line)]
    return {row[0]: int(row[1]) for row in rows if row[0] != "total" and row[1] != "0"}


# What is made


def test_everything_that_was_promised_is_there(learnt: Path) -> None:
    folder = learnt / "small" / "train" / "cmbnncs"
    assert sorted(path.name for path in folder.iterdir()) == [
        "state.safetensors",
        "training.yaml",
        "training_curve.ecsv",
        "training_figure.png",
    ]
    curve, facts = Table.read(folder / "training_curve.ecsv"), yaml.safe_load((folder / "training.yaml").read_text())
    assert list(curve["epoch"]) == list(range(EPOCHS))
    assert np.isfinite(curve["valid_rmse_uk"]).all()
    assert (facts["epochs"], facts["device"], facts["method"]["batch_size"]) == (EPOCHS, "cpu", 2)
    with safe_open(learnt / STATE, framework="numpy") as stream:
        assert sum(stream.get_tensor(name).size for name in stream.keys() if "num_" not in name) > 1000  # noqa: SIM118
    assert not (learnt / "small" / ".work" / "train").exists() or not list((learnt / "small" / ".work").rglob("*.ckpt"))
    assert list((learnt / "small" / "logs" / "train" / "cmbnncs").rglob("events.out.tfevents.*"))
    assert list((learnt / "small" / "logs" / "train" / "cmbnncs").rglob("epochs.csv"))


def test_parts_of_a_network_s_map_add_up_to_it(
    learn: Learn, known: Path, command: Command, scoring: tuple[str, ...]
) -> None:
    assert "2 units of work to do; 14 were done before" in done(learn(known, "stages=learn_with_parts"))
    for sim in ("sim0000", "sim0001"):
        whole = hp.read_map(known / f"small/clean/cmbnncs/test/{sim}/cleaned_map.fits")
        folder = known / f"small/parts/cmbnncs/test/{sim}"
        parts = [hp.read_map(folder / f"{name}_part.fits") for name in ("signal", "foreground", "noise")]
        np.testing.assert_allclose(sum(parts), whole, atol=1e-4 * whole.std())
        assert all(part.std() > 0 for part in parts)
    small = ("dataset=small", "methods=[cmbnncs]", *scoring, "spectra.lmax=16", "spectra.bin_width=5")
    done(command("analysis", known, *small, "stages=analysis_with_parts"))
    assert "What the errors are made of" in (known / "small/summary/test/summary_table.md").read_text()


def test_weights_that_a_format_scrambles_are_not_kept(
    learn: Learn, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As safetensors did with the layout that weights have once they are compiled."""
    monkeypatch.setattr(torch, "compile", lambda network: network)
    monkeypatch.setattr(tensors, "in_file_order", lambda array: array)
    outcome = learn(fresh, "method.train.compile=true", "method.train.learning_rate=0.05")
    refused(outcome, "read back, have a validation loss of", "method.train.compile=false", "(now true, 32-true, true)")
    assert not (fresh / STATE).exists()
    monkeypatch.undo()
    monkeypatch.setattr(torch, "compile", lambda network: network)
    assert learn(fresh, "method.train.compile=true", "method.train.learning_rate=0.05").status == 0


@pytest.mark.parametrize("sim", ["sim0000", "sim0001"])
def test_cleaned_maps_are_what_was_promised(learnt: Path, sim: str) -> None:
    folder = learnt / "small" / "clean" / "cmbnncs" / "test" / sim
    header = fits.getheader(folder / "cleaned_map.fits", 1)
    assert (header["BEAMTYPE"], header["FWHM"], header["LMAX"]) == ("none", 0.0, 23)
    assert (header["TUNIT1"], header["NSIDE"], header["STAGE"]) == ("uK_CMB", 8, "clean")
    found = hp.read_map(folder / "cleaned_map.fits", dtype=None)
    truth = hp.read_map(learnt / "small" / "cmb" / "test" / sim / "cmb_map.fits", dtype=None)
    assert np.isfinite(found).all()
    assert 0.01 < found.std() / truth.std() < 10, "whatever it has learnt, it is in the right unit"
    told = yaml.safe_load((folder / "inference.yaml").read_text())
    assert told["threads"] == 1
    # The time of one of two simulations; both times are rounded.
    unit = json.loads((learnt / "small/.records/predict/cmbnncs_test.json").read_text())
    assert 0 < told["inference_seconds"] < unit["seconds"] / 2 + 1e-3


def test_other_programs_take_it_like_any_method(known: Path, command: Command, scoring: tuple[str, ...]) -> None:
    for method in ("control_truth", "control_channel"):
        words = (f"method={method}", "runner.threads=1", 'method.channel="100"')
        done(command("clean", known, "dataset=small", *words[: 3 if method == "control_channel" else 2]))
    methods = "methods=[control_truth,control_channel,cmbnncs]"
    done(command("analysis", known, "dataset=small", methods, "spectra.lmax=20", *scoring))
    summary = Table.read(known / "small" / "summary" / "test" / "summary.ecsv")
    assert {"control_truth", "control_channel", "cmbnncs"} <= set(summary["method"])
    assert np.isfinite(summary[summary["method"] == "cmbnncs"]["train_seconds"]).all()


# No more work than needed


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {}),
        (["hardware.threads=2", "hardware.workers=1", "hardware.predict_batch=1", "hardware.devices=2"], {}),
        (["method.train.learning_rate=0.02"], {"train": 1, "predict": 1, "clean": 2}),
        (["learn.train=test"], {"preprocess": 2, "preprocess_parts": 2, "train": 1, "predict": 1, "clean": 2}),
        (["method.features.limit=null"], {"train": 1, "predict": 1, "clean": 2}),
        (["method.name=other"], {"train": 1, "predict": 1, "clean": 2}),
        (
            ["method.examples.target_fwhm_arcmin=60"],
            {"preprocess": 6, "preprocess_parts": 4, "train": 1, "predict": 1, "clean": 2},
        ),
        (["over.split=[test,valid]"], {"predict": 1, "clean": 2}),
    ],
    ids=str,
)
def test_change_redoes_only_what_follows(
    learnt: Path, learn: Learn, overrides: list[str], expected: dict[str, int]
) -> None:
    assert to_do(done(learn(learnt, "plan_only=true", *overrides))) == expected


def test_more_test_simulations_are_cleaned_without_training(
    known: Path, simulate: Callable[..., None], learn: Learn
) -> None:
    before = (known / STATE).read_bytes()
    simulate(known, train=4, valid=2, test=3)
    assert to_do(done(learn(known, "plan_only=true"))) == {"predict": 1, "clean": 3}
    assert "training" not in done(learn(known))
    assert (known / STATE).read_bytes() == before
    assert (known / "small/clean/cmbnncs/test/sim0002/cleaned_map.fits").exists()
    assert "nothing to do" in done(learn(known))


def test_lost_array_is_remade_without_training(known: Path, learn: Learn) -> None:
    (known / "small/preprocess/cmbnncs_planes/train/sim0001/features.npy").unlink()
    assert to_do(done(learn(known, "plan_only=true"))) == {"preprocess": 1}


@pytest.mark.slow
def test_training_in_a_worker_tells_of_every_epoch(fresh: Path, learn: Learn) -> None:
    done(learn(fresh, "runner=processes", "runner.workers=1"))
    (log,) = (fresh / "small" / "runs").glob("*_cmbnncs/run.log")
    assert [f"epoch {epoch} of {EPOCHS}:" in log.read_text() for epoch in range(1, EPOCHS + 2)] == [True] * EPOCHS + [
        False
    ]


# What cannot be


def test_impossible_settings_are_refused_before_work(fresh: Path, learn: Learn) -> None:
    refused(
        learn(fresh, "learn.train=trian"), "learn.train=trian: the dataset has no such split; did you mean 'train'?"
    )
    refused(learn(fresh, "learn.valid=val"), "learn.valid=val: the dataset has no such split")
    refused(learn(fresh, "learn.valid=train"), "learn.train and learn.valid are both 'train'")
    refused(learn(fresh, "method.train.epochs=0"), "method.train.epochs: Input should be greater than 0")
    refused(learn(fresh, "method.objective.los=l2"), "method.objective.los", "did you mean 'method.objective.loss'")
    refused(learn(fresh, 'method.examples.channels=["100","999"]'), "no channel '999'")
    deep = ("widths=[2,2,2,2]", "encoder_kernels=[4,4,4,4]", "decoder_kernels=[4,4,4,4]")
    refused(
        learn(fresh, *(f"method.network.{word}" for word in deep)), "32 x 24 cannot be, both sides must be multiples"
    )
    refused(learn(fresh, 'method.examples.channels=["100","100"]'), "method.examples.channels: name each once")
    refused(learn(fresh, "hardware.devices=3"), "batch_size=2 cannot be shared by hardware.devices=3")
    refused(learn(fresh, "method.target.kind=whiten"), "kind=whiten and limit= are for features alone")
    assert not (fresh / "small" / "preprocess").exists()


# Interruptions


def until(run: subprocess.Popen[str], word: str) -> None:
    """Read what a run says up to a word."""
    said = ""
    for line in run.stdout:
        said += line
        if word in line:
            return
    pytest.fail(said + run.stderr.read())


@pytest.fixture(scope="module")
def long(learnt: Path, tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int]) -> tuple[Path, bytes]:
    """Train for many epochs without a break; return a folder before that, and the weights after it."""
    root = Path(shutil.copytree(learnt, tmp_path_factory.mktemp("long") / "root"))
    before = Path(shutil.copytree(root, root.parent / "before"))
    assert calling("cmbnncs", root, *TINY, LONG) == 0
    return before, (root / STATE).read_bytes()


@pytest.fixture
def before(long: tuple[Path, bytes], tmp_path: Path) -> Path:
    return Path(shutil.copytree(long[0], tmp_path / "root"))


@pytest.mark.parametrize("epochs", [(15,), pytest.param((1, 2, 3, 20, 39), marks=pytest.mark.slow)], ids=str)
@pytest.mark.slow
def test_killed_training_ends_with_the_same_bytes(
    before: Path, long: tuple[Path, bytes], learn: Learn, program_apart: Start, epochs: tuple[int, ...]
) -> None:
    for epoch in epochs:
        # Somewhere between what it says of one epoch and of the next, while it writes a checkpoint or trains on.
        run = program_apart(before, *TINY, LONG, name="cmbnncs", until=f"epoch {epoch + 1} of")
        until(run, f"epoch {epoch} of")
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    resumed = re.search(r"going on after epoch (\d+)", done(learn(before, LONG)))
    assert resumed
    # What was said of an epoch may have been said while the checkpoint of the one before was written.
    assert int(resumed.group(1)) in range(epochs[-1] - 2, epochs[-1] + 1)
    assert (before / STATE).read_bytes() == long[1]
    curve = Table.read(before / "small/train/cmbnncs/training_curve.ecsv")
    assert list(curve["epoch"]) == list(range(40))
    assert not list((before / "small").rglob("*.ckpt")) + list((before / "small").rglob(".*.part*"))


class Killed(BaseException):
    """What a process does when it is killed: nothing more."""


class HalfWritten:
    """Writes checkpoints, and fails in the middle of one."""

    def __init__(self, number: int, error: BaseException) -> None:
        self.left, self.error, self.save = number, error, torch.save

    def __call__(self, checkpoint: object, stream: BinaryIO) -> None:
        self.save(checkpoint, stream)
        self.left -= 1
        if self.left == 0:
            stream.truncate(stream.tell() // 2)
            stream.flush()
            raise self.error


def checkpoint_of(root: Path) -> Path:
    (found,) = (root / "small" / ".work").rglob("last.ckpt")
    return found


def test_training_killed_while_it_writes_a_checkpoint(
    before: Path, long: tuple[Path, bytes], learn: Learn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (3, 4, 9):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(torch, "save", HalfWritten(number, Killed()))
            learn(before, LONG)
        assert list((before / "small" / ".work").rglob(".*.ckpt.part"))
        assert torch.load(checkpoint_of(before), weights_only=True)["state_dict"]
    assert "going on after epoch" in done(learn(before, LONG))
    assert (before / STATE).read_bytes() == long[1]


def test_full_disk_loses_no_checkpoint(
    before: Path, long: tuple[Path, bytes], learn: Learn, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", HalfWritten(7, full))
        outcome = learn(before, LONG)
    refused(outcome, "cannot write the checkpoint", "No space left on device", "free some space", "goes on from there")
    assert torch.load(checkpoint_of(before), weights_only=True)["epoch"] > 1
    assert not list((before / "small").rglob(".*.part*"))
    assert "going on after epoch" in done(learn(before, LONG))
    assert (before / STATE).read_bytes() == long[1]


def test_disk_too_full_for_logs_is_told(before: Path, learn: Learn, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(callbacks.csv, "writer", full)
    refused(learn(before, LONG), "train cmbnncs: cannot write", "the disk is full: free some space")


def test_damaged_checkpoint_is_named(before: Path, learn: Learn, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(torch, "save", HalfWritten(5, Killed()))
        learn(before, LONG)
    last = checkpoint_of(before)
    last.write_bytes(last.read_bytes()[:1000])
    refused(
        learn(before, LONG), f"the checkpoint {last} cannot be read", f"delete {last.parent} to train from the start"
    )
    shutil.rmtree(last.parent)
    assert "going on" not in done(learn(before, "method.train.epochs=2"))


@pytest.mark.slow
def test_restart_trains_from_the_start(before: Path, learn: Learn, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(torch, "save", HalfWritten(5, Killed()))
        learn(before, LONG)
    assert checkpoint_of(before).exists()
    assert "going on" not in done(learn(before, LONG, "resume=restart"))


def test_ctrl_c_ends_with_a_message_and_goes_on(
    before: Path, long: tuple[Path, bytes], learn: Learn, program_apart: Start
) -> None:
    run = program_apart(before, *TINY, LONG, name="cmbnncs", until="epoch 4 of")
    until(run, "epoch 3 of")
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=300)
    assert run.returncode == 130
    assert err == "\nstopped; what was finished is kept, and the same command goes on from here\n"
    assert "going on after epoch" in done(learn(before, LONG))
    assert (before / STATE).read_bytes() == long[1]


# Weights from elsewhere


def test_weights_from_elsewhere_clean_as_at_home(fresh: Path, learnt: Path, learn: Learn, tmp_path: Path) -> None:
    given = Path(shutil.copy(learnt / STATE, tmp_path / "given.safetensors"))
    words = ("stages=learnt", f"weights={given}")
    assert to_do(done(learn(fresh, *words, "plan_only=true"))) == {
        "weights": 1,
        "predict": 1,
        "clean": 2,
    }
    done(learn(fresh, *words))
    assert not (fresh / "small" / "train").exists()
    place = "small/clean/cmbnncs/test/sim0001/cleaned_map.fits"
    np.testing.assert_array_equal(hp.read_map(fresh / place), hp.read_map(learnt / place))
    assert "nothing to do" in done(learn(fresh, *words))
    shutil.move(given, tmp_path / "moved.safetensors")
    assert "nothing to do" in done(learn(fresh, "stages=learnt", f"weights={tmp_path / 'moved.safetensors'}"))


def test_weights_that_do_not_fit_are_refused_before_work(
    fresh: Path, learnt: Path, learn: Learn, tmp_path: Path
) -> None:
    given = Path(shutil.copy(learnt / STATE, tmp_path / "given.safetensors"))
    words = ("stages=learnt", f"weights={given}")
    refused(
        learn(fresh, *words, 'method.examples.channels=["100"]'), "channels.143", "examples.channels is ['100', '143']"
    )
    refused(learn(fresh, *words, "method.network.widths=[8,32]"), "network.widths is [8, 16], not [8, 32]")
    refused(learn(fresh, *words, "method.examples.target_fwhm_arcmin=30"), "target_fwhm_arcmin is 0.0, not 30.0")
    refused(learn(fresh, "stages=learnt"), "weights: must be given")
    refused(
        learn(fresh, "stages=learnt", "weights=/none.safetensors"), "weights=/none.safetensors: there is no such file"
    )
    whole = given.read_bytes()
    given.write_bytes(whole[:-100])
    refused(learn(fresh, *words), f"weights={given}: it is no whole safetensors file", "stage 'train' has written")
    pickled = tmp_path / "given.pt"
    torch.save({"weights": torch.zeros(3)}, pickled)
    refused(learn(fresh, "stages=learnt", f"weights={pickled}"), "it is no whole safetensors file")
    assert not (fresh / "small" / "preprocess").exists()


@pytest.mark.slow
def test_weights_for_other_maps_are_refused(
    learnt: Path, learn: Learn, simulate: Callable[..., None], tmp_path: Path
) -> None:
    simulate(tmp_path, "scenario.nside=16", "scenario.nside_sky=16", "scenario.lmax=47", train=0, valid=0, test=1)
    outcome = learn(tmp_path, "stages=learnt", f"weights={learnt / STATE}")
    refused(outcome, "of the weights, observations.lmax is 23, not 47", "observations.nside is 8, not 16")
