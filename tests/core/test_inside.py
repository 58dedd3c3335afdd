"""Units that write many files along an axis, that see a part of what there is, and that go on after a break."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from toys import FREQ, SIGNAL, SIM, SPLIT, toy_space, toy_stages

from cmbml.core.asset import Asset
from cmbml.core.errors import GraphError, UndeclaredError, UnitFailedError
from cmbml.core.executor import Executor
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.space import Axis, Key
from cmbml.core.store import Store
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.array import Array
from cmbml.settings import settings

FITTED = Asset("fitted", Array(), per=())
ANSWER = Asset("answer", Array(), per=(SPLIT, SIM))


@settings
class Fit(Executor):
    """Take the mean of the training signals, in steps that outlive a failure."""

    split: str = "train"
    other: str = ""
    fails_at: int = -1
    factor: float = 1.0
    reads: ClassVar = (SIGNAL,)
    writes: ClassVar = (FITTED,)

    def settings_at(self, key: Key) -> dict[str, object]:  # noqa: ARG002
        return {"split": self.split, "factor": self.factor}

    def restricts(self) -> Mapping[Axis, tuple[str, ...]]:
        return {SPLIT: (self.split,)}

    def process(self, io: UnitIO) -> None:
        done = io.workdir() / "done"
        steps = int(done.read_text()) if done.exists() else 0
        with (io.logdir() / "log").open("a") as log:
            for step in range(steps, 3):
                if step == self.fails_at:
                    message = "the signal is too loud"
                    raise ValueError(message)
                log.write(f"{step} ")
                done.write_text(str(step + 1))
        found = [value for key, value in io.read_all(SIGNAL, {SPLIT: [self.other]} if self.other else None)]
        io.write(FITTED, self.factor * np.mean(found, axis=0) if found else np.zeros(4))


@settings
class Answer(Executor):
    """Answer all simulations of a split at once."""

    reads: ClassVar = (FITTED, SIGNAL)
    writes: ClassVar = (ANSWER,)
    per: ClassVar = (SPLIT,)
    inside: ClassVar = (SIM,)
    left_out: str = ""

    def process(self, io: UnitIO) -> None:
        fitted = io.read(FITTED)
        for sim, signal in io.read_each(SIGNAL, SIM):
            if sim != self.left_out:
                io.write(ANSWER, signal - fitted, {SIM: sim})


def pipeline(root: Path, train: int = 3, test: int = 2, **changed: Executor) -> Pipeline:
    stages = {"signal": toy_stages()["signal"], "fit": Fit(), "answer": Answer()} | changed
    return Pipeline(stages, toy_space(train, test), root, 0)


def run(root: Path, **changed: object) -> dict[str, int]:
    """Run, and return how many units of each stage there were to do."""
    made = pipeline(root, **changed)
    plan = made.plan()
    made.run(plan, Serial(threads=1))
    return {stage.stage: len(stage.todo) for stage in plan.stages if stage.todo}


def read(root: Path, place: str) -> np.ndarray:
    return np.load(root / f"{place}.npy")


# Many files of one unit


def test_one_unit_writes_a_file_for_every_simulation(tmp_path: Path) -> None:
    assert run(tmp_path) == {"signal": 5, "fit": 1, "answer": 2}
    mean = np.mean([read(tmp_path, f"signal/train/sim000{n}/signal") for n in range(3)], axis=0)
    for split, count in (("train", 3), ("test", 2)):
        for n in range(count):
            signal, answer = (read(tmp_path, f"{s}/{split}/sim000{n}/{s}") for s in ("signal", "answer"))
            np.testing.assert_array_equal(answer, signal - mean)
    assert run(tmp_path) == {}


def test_a_lost_file_is_made_again_with_its_unit(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "answer/test/sim0001/answer.npy").unlink()
    assert run(tmp_path) == {"answer": 1}
    assert (tmp_path / "answer/test/sim0001/answer.npy").exists()


def test_every_file_must_be_written(tmp_path: Path) -> None:
    with pytest.raises(UnitFailedError, match=r"did not write answer/train/sim0001/answer.npy"):
        run(tmp_path, answer=Answer(left_out="sim0001"))


def test_an_axis_that_is_not_declared_is_too_wide(tmp_path: Path) -> None:
    @settings
    class Narrow(Answer):
        inside: ClassVar = ()

    with pytest.raises(GraphError, match="'answer' is coarser than 'answer': give it the axes"):
        pipeline(tmp_path, answer=Narrow())


# What a unit sees


def test_what_is_not_seen_does_not_matter(tmp_path: Path) -> None:
    run(tmp_path)
    before = (tmp_path / "fit/fitted.npy").stat().st_mtime_ns
    assert run(tmp_path, test=4) == {"signal": 2, "answer": 1}, "more test simulations, and no new fit"
    assert (tmp_path / "fit/fitted.npy").stat().st_mtime_ns == before
    assert run(tmp_path, train=4, test=4) == {"signal": 1, "fit": 1, "answer": 2}
    assert run(tmp_path, train=4, test=4, fit=Fit(split="test")) == {"fit": 1, "answer": 2}


def test_what_is_not_seen_cannot_be_read(tmp_path: Path) -> None:
    run(tmp_path, fit=Fit(other="test"))
    assert not read(tmp_path, "fit/fitted").any(), "of the other split there was nothing"
    made = pipeline(tmp_path / "again")
    access = made._task("fit", Key(), made.plan(), 1).access
    assert [str(key) for key, _ in access.inputs["signal"]] == [f"train/sim000{n}" for n in range(3)]
    assert UnitIO(access).along(SIGNAL, SIM) == ["sim0000", "sim0001", "sim0002"]
    with pytest.raises(UndeclaredError, match="'fit' may not touch answer"):
        UnitIO(access).along(ANSWER, FREQ)


def test_what_is_not_seen_need_not_be_there(tmp_path: Path) -> None:
    run(tmp_path, answer=Answer(over={"split": ["train"]}), signal=toy_stages()["signal"])
    assert not (tmp_path / "answer/test").exists()
    assert (tmp_path / "fit/fitted.npy").exists()


# What outlives a failure


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".work" / "fit" / "only").glob("*"))


def log_of(root: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in (root / "logs" / "fit" / "only").glob("*/log")}


def test_work_survives_a_failure_and_is_removed_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(UnitFailedError, match="the signal is too loud"):
        run(tmp_path, fit=Fit(fails_at=2))
    assert len(folders(tmp_path)) == 1
    assert (tmp_path / ".work/fit/only" / folders(tmp_path)[0] / "done").read_text() == "2"
    assert run(tmp_path) == {"fit": 1, "answer": 2}
    assert folders(tmp_path) == []
    assert list(log_of(tmp_path).values()) == ["0 1 2 "], "it went on where it stood, and the log is kept"


def test_work_for_other_settings_is_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(UnitFailedError):
        run(tmp_path, fit=Fit(fails_at=2))
    stale = folders(tmp_path)
    with pytest.raises(UnitFailedError):
        run(tmp_path, fit=Fit(fails_at=1, factor=2.0))
    assert len(folders(tmp_path)) == 1
    assert folders(tmp_path) != stale, "what other settings have left is gone"
    run(tmp_path, fit=Fit(factor=2.0))
    assert sorted(log_of(tmp_path).values()) == ["0 1 ", "0 1 2 "], "one log for each of the settings"


def test_work_is_kept_when_a_run_tidies_up(tmp_path: Path) -> None:
    """Half-written files and scratch space of killed runs go; work does not."""
    with pytest.raises(UnitFailedError):
        run(tmp_path, fit=Fit(fails_at=1))
    (tmp_path / ".work/fit/only" / folders(tmp_path)[0] / ".last.ckpt.part").write_text("half")
    assert Store(tmp_path).remove_parts() == 1
    assert len(folders(tmp_path)) == 1
