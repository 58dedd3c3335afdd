"""Trainings that are interrupted, and what can go wrong in one."""

import copy
import errno
import os
import pickle
import re
import shutil
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from learning import CPU, N_TRAIN, TINY, Forgetful, Power, fit, method, said, same, stops_at
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.trained import Hardware, Lesson
from cmbml.methods.training import devices
from cmbml.methods.training import method as training_method
from cmbml.methods.training.checkpoint import WholeCheckpoints, read_checkpoint
from cmbml.methods.training.faults import out_of_memory

# Going on


@pytest.mark.parametrize(
    "train",
    [{}, {"ema_decay": 0.9}, {"network": Forgetful()}, {"patience": 3, "passes": 2}, {"precision": "bf16-mixed"}],
    ids=["plain", "average", "dropout", "patience", "half precision"],
)
def test_interrupted_training_ends_the_same(lesson: Lesson, train: dict[str, Any]) -> None:
    whole = fit(lesson, epochs=4, **train)
    shutil.rmtree(lesson.workdir)
    lesson.workdir.mkdir()
    for stop in ("epoch 2", "epoch 4"):
        with pytest.raises(Power):
            again = method(**{"epochs": 4} | train)
            again.fit(replace(lesson, report=partial(stops_at, stop)), CPU)
    lines: list[str] = []
    found = method(**{"epochs": 4} | train).fit(replace(lesson, report=lines.append), CPU)
    assert same(found, whole)
    assert "going on after epoch 3" in lines[1]
    assert len(lines) == 3, "one epoch was left"


def test_losses_are_said_of_the_weights_that_are_kept(lesson: Lesson) -> None:
    """Killed after the best checkpoint was written and before the last, a training may do the epoch otherwise."""
    fit(lesson, epochs=3)
    shutil.copy(lesson.workdir / "last.ckpt", lesson.workdir / "best.ckpt")
    row = read_checkpoint(lesson.workdir / "best.ckpt")["callbacks"]["Curve"]["rows"][-1]
    found = method(epochs=3).fit(lesson, CPU).summary
    assert (found["kept_epoch"], found["valid_loss"]) == (2, row[4])


def test_time_is_counted_over_interruptions(lesson: Lesson) -> None:
    with pytest.raises(Power):
        shutil.rmtree(lesson.workdir, ignore_errors=True)
        method(epochs=3).fit(replace(lesson, report=partial(stops_at, "epoch 3"), workdir=made(lesson)), CPU)
    before = measured(lesson)
    assert before["maps"] == 2 * N_TRAIN
    trained = method(epochs=3).fit(lesson, CPU)
    after = measured(lesson)
    assert after["maps"] == 3 * N_TRAIN
    assert all(after[name] > before[name] for name in ("seconds", "training", "waiting"))
    assert trained.summary["seconds"] == round(after["seconds"], 2)
    rates = [float(re.search(r"([\d.]+) maps/s", line).group(1)) for line in said(lesson) if "maps/s" in line]
    busy = sum(after[name] - before[name] for name in ("training", "waiting"))
    assert rates == [pytest.approx(N_TRAIN / busy, abs=0.06)], "of the epoch that was left, to a tenth"


def measured(lesson: Lesson) -> dict[str, float]:
    """Return what the last checkpoint says of the time."""
    return read_checkpoint(lesson.workdir / "last.ckpt")["callbacks"]["Clock"]["measured"]


def made(lesson: Lesson) -> Path:
    lesson.workdir.mkdir()
    return lesson.workdir


def test_training_goes_on_where_the_dataset_was_moved_to(lesson: Lesson, tmp_path: Path) -> None:
    """As one is advised to do when the disk is full. The best epoch is not forgotten."""
    whole = fit(lesson, epochs=4)
    shutil.rmtree(lesson.workdir)
    with pytest.raises(Power):
        method(epochs=4).fit(replace(lesson, report=partial(stops_at, "epoch 3"), workdir=made(lesson)), CPU)
    moved = replace(lesson, workdir=Path(shutil.move(lesson.workdir, tmp_path / "elsewhere")))
    assert same(method(epochs=4).fit(moved, CPU), whole)
    assert not lesson.workdir.exists()


@pytest.mark.parametrize("damage", ["cut", "foreign", "pickle", "empty"])
def test_damaged_checkpoint_is_refused(lesson: Lesson, damage: str) -> None:
    fit(lesson)
    last = lesson.workdir / "last.ckpt"
    wrong = {"cut": last.read_bytes()[:-5000], "foreign": b"x" * 999, "empty": b"", "pickle": pickle.dumps(stops_at)}
    last.write_bytes(wrong[damage])
    with pytest.raises(MethodError, match=r"last.ckpt cannot be read .*; delete .*work to train from the start"):
        method().fit(lesson, CPU)


def test_checkpoint_holds_no_code(lesson: Lesson) -> None:
    fit(lesson)
    for name in ("last", "best"):
        found = torch.load(lesson.workdir / f"{name}.ckpt", weights_only=True)
        assert found["epoch"] in (0, 1)


# Beside the training


class Saving:
    """Writes checkpoints slowly; the one of a number is cut short by an error."""

    def __init__(self, seconds: float, number: int = 0, error: BaseException | None = None) -> None:
        self.seconds, self.number, self.error, self.save, self.begun = seconds, number, error, torch.save, 0

    def __call__(self, checkpoint: object, stream: BinaryIO) -> None:
        self.begun += 1
        time.sleep(self.seconds)
        self.save(checkpoint, stream)
        if self.begun == self.number:
            stream.truncate(stream.tell() // 2)
            raise self.error


def parts(lesson: Lesson) -> list[Path]:
    return list(lesson.workdir.rglob(".*.part"))


def test_checkpoint_holds_what_was_when_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is written, weights, moments and rows go on changing."""
    network, rows, goes_on, save = TINY.build(2, 1), [[1.0]], threading.Event(), torch.save
    optimiser = torch.optim.Adam(network.parameters(), fused=True)

    def learn() -> None:
        network(torch.randn(2, 2, 8, 8)).square().sum().backward()
        optimiser.step()

    def when_told(*words: Any) -> None:
        assert goes_on.wait(10)
        save(*words)

    learn()
    checkpoint = {
        "state_dict": network.state_dict(),
        "optimizers": [optimiser.state_dict()],
        "callbacks": {"rows": rows},
    }
    wanted = copy.deepcopy(checkpoint)
    monkeypatch.setattr(torch, "save", when_told)
    writer, paths = WholeCheckpoints(), [tmp_path / name for name in ("best.ckpt", "last.ckpt")]
    writer.save_checkpoint(checkpoint, paths[0], paths[1:])
    learn()
    rows.append([2.0])
    assert not any(path.exists() for path in paths)
    writer.look()
    goes_on.set()
    writer.wait()
    for path in paths:
        found = read_checkpoint(path)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
        assert found["state_dict"]._metadata == wanted["state_dict"]._metadata
        assert type(found["state_dict"]) is type(wanted["state_dict"])


def test_slow_disk_changes_nothing(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(lesson, epochs=3, ema_decay=0.9)
    saving = Saving(0.1)
    monkeypatch.setattr(torch, "save", saving)
    assert same(whole, fit(lesson, epochs=3, ema_decay=0.9))
    assert saving.begun in range(4, 7)


@pytest.mark.parametrize(("stop", "raised"), [(Power, Power), (KeyboardInterrupt, KeyboardInterrupt)])
def test_what_is_written_when_a_training_ends_is_written_whole(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], raised: type[BaseException]
) -> None:
    whole = fit(lesson, epochs=4)
    shutil.rmtree(lesson.workdir)
    saving = Saving(0.2)

    def stops(line: str) -> None:
        if line.startswith("epoch 3"):
            raise stop

    with monkeypatch.context() as patch, pytest.raises(raised):
        patch.setattr(torch, "save", saving)
        method(epochs=4).fit(replace(lesson, report=stops, workdir=made(lesson)), CPU)
    assert read_checkpoint(lesson.workdir / "last.ckpt")["epoch"] == 1
    assert not parts(lesson)
    assert same(method(epochs=4).fit(lesson, CPU), whole)


@pytest.mark.parametrize("number", [3, 5], ids=["on the way", "at the end"])
def test_checkpoint_that_cannot_be_written_stops_the_training(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = fit(lesson, epochs=3)
    first, second, third = whole.curve["valid_loss"]
    assert second < min(first, third), "two epochs write both checkpoints, and the third one writes one"
    with monkeypatch.context() as patch, pytest.raises(MethodError) as caught:
        patch.setattr(torch, "save", Saving(0.05, number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        fit(lesson, epochs=3)
    assert re.match(r"cannot write the checkpoint .*\.ckpt: .*No space left on device; free some", str(caught.value))
    assert not parts(lesson)
    assert read_checkpoint(lesson.workdir / "last.ckpt")["epoch"] == (0 if number == 3 else 1)
    assert same(method(epochs=3).fit(lesson, CPU), whole)


def test_training_that_fails_says_why_and_not_what_failed_later(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "save", Saving(0.5, 1, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    shutil.rmtree(lesson.workdir, ignore_errors=True)
    with pytest.raises(Power):
        method(epochs=4).fit(replace(lesson, report=partial(stops_at, "epoch 2"), workdir=made(lesson)), CPU)
    assert not list(lesson.workdir.rglob("*.ckpt")) + parts(lesson)


# What can go wrong


@pytest.mark.parametrize(("which", "word"), [(0, "features"), (1, "target")])
def test_simulation_without_numbers_is_named(lesson: Lesson, which: int, word: str) -> None:
    train = [list(part) for part in lesson.train]
    train[which][4] = np.full_like(train[which][4], np.nan)
    with pytest.raises(MethodError) as caught:
        fit(replace(lesson, train=tuple(train)))
    pattern = (
        r"the loss became nan in epoch 1, batch [123], step [123] \(train/sim\d{4}, train/sim\d{4}\): "
        rf"the {word} of train/sim0004 holds values that are no numbers; look at those maps"
    )
    assert re.fullmatch(pattern, str(caught.value))


def test_loss_that_is_no_number_is_answered_with_advice(lesson: Lesson) -> None:
    with pytest.raises(MethodError) as caught:
        fit(lesson, learning_rate=1e30, final_learning_rate=1e30, precision="bf16-mixed")
    message = str(caught.value)
    assert re.search(r"the loss became (nan|inf) in epoch \d, batch \d, step \d \(train/sim", message)
    assert "a lower method.train.learning_rate (it is 1e+30)" in message
    assert "method.train.gradient_clip=1" in message and "method.train.precision=32-true" in message


def test_validation_that_is_no_number_stops_too(lesson: Lesson) -> None:
    broken = [np.full_like(array, np.nan) for array in lesson.valid[0]]
    with pytest.raises(MethodError, match=r"the validation loss became nan in epoch 1, step 3; look for simulations"):
        fit(replace(lesson, valid=(broken, lesson.valid[1])))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_memory_that_is_used_up_is_answered_with_what_to_try(
    lesson: Lesson, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = fit(lesson).state

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(nn.Conv2d, "forward", fails)
    with pytest.raises(MethodError, match=r"used up with method.train.batch_size=5; try method.train.batch_size=2"):
        fit(lesson, batch_size=5)
    with pytest.raises(MethodError, match=r"batch_size=1; take a smaller network, or hardware.device=cpu"):
        fit(lesson, batch_size=1)
    with (
        pytest.raises(MethodError, match=r"batch_size=6; try method.train.batch_size=2 "),
        out_of_memory("method.train.batch_size", 6, shares=2),
    ):
        raise error
    with pytest.raises(MethodError, match=r"with hardware.predict_batch=4; try hardware.predict_batch=2"):
        list(method().predict(state, lesson.train[0], CPU))


def test_other_faults_are_left_as_they_are(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        message = "a bug"
        raise RuntimeError(message)

    monkeypatch.setattr(nn.Conv2d, "forward", fails)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        fit(lesson)


def test_device_that_is_not_there_is_refused(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.chosen_device(Hardware()) == "cpu"
    with pytest.raises(MethodError, match=r"hardware.device=cuda: there is none here; there is cpu"):
        fit(lesson, Hardware(device="cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.chosen_device(Hardware()) == "cuda"
    assert devices.chosen_device(Hardware(devices=8)) == "cuda", "to predict, one is enough"
    with pytest.raises(MethodError, match=r"hardware.devices=3: this machine has 2 of cuda"):
        fit(lesson, Hardware(devices=3))


@pytest.mark.parametrize("number", [1, 2])
def test_gpus_that_share_a_batch_normalise_by_all_of_it(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def asked(**words: object) -> None:
        assert words["accelerator"] == "gpu"
        assert words["sync_batchnorm"] is (number == 2)
        raise Power

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(training_method, "Trainer", asked)
    with pytest.raises(Power):
        fit(lesson, Hardware(devices=number), batch_size=2)


def test_worker_that_may_start_no_processes_reads_with_threads(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Dask's are."""
    alone = fit(lesson)
    monkeypatch.setattr(training_method, "current_process", lambda: SimpleNamespace(daemon=True))
    assert same(alone, fit(lesson, Hardware(device="cpu", threads=1, workers=2)))
    with pytest.raises(MethodError, match=r"hardware.devices: a worker .* may start no processes; take runner=serial"):
        fit(lesson, Hardware(device="cpu", devices=2))


def test_half_precision_that_a_cpu_lacks_is_refused(lesson: Lesson) -> None:
    with pytest.raises(MethodError, match="precision=16-mixed needs a GPU; take bf16-mixed"):
        fit(lesson, precision="16-mixed")
