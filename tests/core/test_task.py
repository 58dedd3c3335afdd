"""The doing of one unit."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from toys import SIGNAL, toy_space, toy_stages

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.pipeline import Pipeline
from cmbml.core.record import Record
from cmbml.core.task import Failure, Task, run_task
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.array import Array
from cmbml.settings import settings

SIDE = Asset("side", Array(), per=SIGNAL.per)


@settings
class Choosy(Executor):
    """Write of `signal` and `side` what is asked for."""

    chosen: tuple[str, ...]
    writes: ClassVar = (SIGNAL,)
    may_write: ClassVar = (SIDE,)
    per: ClassVar = SIGNAL.per

    def process(self, io: UnitIO) -> None:
        (io.workdir() / "left").write_text("x")
        for asset in (SIGNAL, SIDE):
            if asset.name in self.chosen:
                io.write(asset, np.zeros(4))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Return the first task of a stage that writes `signal` and `side`."""
    pipeline = Pipeline(toy_stages(signal=Choosy(chosen=("signal", "side"))), toy_space(), tmp_path, 0)
    plan = pipeline.plan()
    first = next(stage.todo[0] for stage in plan.stages if stage.stage == "signal")
    return pipeline._task("signal", first, plan, 1)


def files_of(task: Task, name: str) -> list[Path]:
    return [task.access.root / path for _, path in task.access.outputs[name]]


def test_what_was_done_is_recorded_and_what_helped_goes_away(task: Task) -> None:
    record = run_task(task)
    assert isinstance(record, Record)
    assert Record.read(task.access.root / task.record) == record
    assert record.fingerprint == task.access.fingerprint
    assert sorted(output.asset for output in record.outputs) == ["side", "signal"]
    assert not list((task.access.root / ".work").rglob("left"))


def test_what_was_promised_must_be_written(task: Task) -> None:
    failure = run_task(replace(task, executor=Choosy(chosen=("side",))))
    assert isinstance(failure, Failure)
    assert failure.unit == "signal train/sim0000"
    assert "'signal' declared and did not write signal/train/sim0000/signal.npy" in failure.message
    assert not (task.access.root / task.record).exists()
    assert list((task.access.root / ".work").rglob("left"))


def test_an_optional_file_of_an_earlier_run_does_not_stay(task: Task) -> None:
    run_task(task)
    assert all(path.exists() for path in files_of(task, "side"))
    record = run_task(replace(task, executor=Choosy(chosen=("signal",))))
    assert isinstance(record, Record)
    assert not any(path.exists() for path in files_of(task, "side"))
    assert all(path.exists() for path in files_of(task, "signal"))
