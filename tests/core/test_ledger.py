"""What an earlier program has left is read only if it is up to date, and what was written."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from test_upstream import UPSTREAM, Count, Gather, Learn, Recite, make, of_methods
from toys import Add, Draw, Emit, build, overwrite, toy_space, toy_stages

from cmbml.core.errors import MissingAssetError, StaleError, UnitFailedError
from cmbml.core.executor import Executor
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings

SERIAL = Serial(threads=1)


@settings
class Weigh(Executor):
    """Learn what comes out otherwise each time, as a training may."""

    writes: ClassVar = Learn.writes
    per: ClassVar = Learn.per
    reproducible: ClassVar = False

    def process(self, io: UnitIO) -> None:
        io.write(self.writes[0], {"rate": float(np.random.default_rng().random())})


# What an earlier program has left undone


@pytest.mark.parametrize("trouble", ["value", "bug"])
def test_half_rebuilt_dataset_is_refused_until_it_is_whole(tmp_path: Path, trouble: str) -> None:
    build(tmp_path)
    with pytest.raises(UnitFailedError):
        build(tmp_path, signal=Draw(sigma=2), total=Add(at="test/sim0000", trouble=trouble))
    with pytest.raises(StaleError, match=r"units of 'total' are not up to date; first: 'total .* is stale") as error:
        make(tmp_path, {"count": Count()}, UPSTREAM)
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith("; run: python main_sims.py dataset=toy")
    build(tmp_path, signal=Draw(sigma=2))
    assert make(tmp_path, {"count": Count()}, UPSTREAM) == {"count": 2}


def test_run_that_was_killed_before_any_work_is_seen(tmp_path: Path) -> None:
    build(tmp_path)
    other = Pipeline(toy_stages(signal=Draw(sigma=2)), toy_space(), tmp_path, 0)
    other.announce(other.plan())
    with pytest.raises(StaleError, match="made with other settings or inputs than were last asked for"):
        make(tmp_path, {"count": Count()}, UPSTREAM)
    build(tmp_path)
    assert make(tmp_path, {"count": Count()}, UPSTREAM) == {"count": 2}


def test_what_was_made_from_something_stale_is_stale(tmp_path: Path) -> None:
    """The second program's stage is as it was asked for; the first program's is no more."""
    build(tmp_path)
    make(tmp_path, {"count": Count()}, UPSTREAM)
    build(tmp_path, signal=Draw(sigma=2))
    later = {"again": Copy()}
    with pytest.raises(StaleError, match=r"'count train' is stale: 'total train_sim0000' has been made anew since"):
        make(tmp_path, later, {"count": Count})
    make(tmp_path, {"count": Count()}, UPSTREAM)
    assert make(tmp_path, later, {"count": Count}) == {"again": 2}
    other = Pipeline(toy_stages(emission=Emit(levels={"a": 5.0, "b": 2.0})), toy_space(), tmp_path, 0)
    other.announce(other.plan())
    with pytest.raises(StaleError, match=r"from 'total .*', which is stale"):
        make(tmp_path, later, {"count": Count})


@settings
class Copy(Executor):
    """Copy the counts."""

    reads: ClassVar = Count.writes
    writes: ClassVar = ()
    per: ClassVar = Count.per

    def process(self, io: UnitIO) -> None:
        io.read(self.reads[0])


def test_plan_alone_writes_nothing(tmp_path: Path) -> None:
    Pipeline(toy_stages(), toy_space(), tmp_path / "new", 0).plan()
    assert not (tmp_path / "new").exists()


def test_what_follows_a_new_training_is_stale_though_its_settings_are_the_same(tmp_path: Path) -> None:
    of_methods(tmp_path, {"learn": Weigh()}, "network")
    recite = {"recite": Recite()}
    of_methods(tmp_path, recite, "network", upstream={"learn": Weigh})
    (tmp_path / "learn" / "network" / "lesson.yaml").unlink()
    of_methods(tmp_path, {"learn": Weigh()}, "network")
    with pytest.raises(StaleError, match="'recite network' is stale: 'learn network' has been made anew since"):
        of_methods(tmp_path, {"hear": Hear()}, "network", upstream={"recite": Recite})
    assert of_methods(tmp_path, recite, "network", upstream={"learn": Weigh}) == {"recite": 1}
    assert of_methods(tmp_path, {"hear": Hear()}, "network", upstream={"recite": Recite}) == {"hear": 1}


@settings
class Hear(Copy):
    """Read what was recited."""

    reads: ClassVar = Recite.writes
    per: ClassVar = Recite.per


def test_optional_input_that_is_stale_is_refused_and_one_that_was_never_finished_is_not(tmp_path: Path) -> None:
    of_methods(tmp_path, {"learn": Learn()}, "a")
    unfinished = Pipeline({"learn": Learn()}, Space((), {Learn.per[0]: ("b",)}), tmp_path, 0)
    unfinished.announce(unfinished.plan())
    assert of_methods(tmp_path, {"gather": Gather()}, "a", "b", upstream={"learn": Learn}) == {"gather": 1}
    other = Pipeline({"learn": Learn(rate=0.7)}, Space((), {Learn.per[0]: ("a",)}), tmp_path, 0)
    other.announce(other.plan())
    with pytest.raises(StaleError, match="'learn a' is stale"):
        of_methods(tmp_path, {"gather": Gather()}, "a", "b", upstream={"learn": Learn})


def test_units_made_with_other_settings_than_their_like_are_refused(tmp_path: Path) -> None:
    """With `over`, a run changes some units of a stage and leaves the others."""
    signal = Draw(over={"split": ["test"]}, sigma=2)
    make(tmp_path, {"signal": Draw()})
    make(tmp_path, {"signal": signal})
    with pytest.raises(StaleError, match=r"'signal test/sim0000' was made with other settings than 'signal train/sim0"):
        make(tmp_path, {"emission": toy_stages()["emission"], "total": Add()}, {"signal": Draw})
    make(tmp_path, {"signal": Draw(sigma=2)})
    make(tmp_path, {"emission": toy_stages()["emission"], "total": Add()}, {"signal": Draw})


def test_dataset_of_a_version_that_noted_less_is_refused_and_made_again(tmp_path: Path) -> None:
    build(tmp_path)
    for path in (tmp_path / ".records").rglob("*.json"):
        old = json.loads(path.read_text())
        for key in ("sources", "settings"):
            old.pop(key, None)
        path.unlink() if path.name.endswith(".plan.json") else path.write_text(json.dumps(old))
    with pytest.raises(StaleError, match="by a version of cmbml that did not note what it was made from; run the prog"):
        make(tmp_path, {"count": Count()}, UPSTREAM)
    build(tmp_path)
    assert make(tmp_path, {"count": Count()}, UPSTREAM) == {"count": 2}


# What is no part of the dataset any more


# Altered bytes


@pytest.mark.parametrize("integrity", ["hash", "size"])
def test_altered_bytes_are_refused_when_they_are_read(tmp_path: Path, integrity: str) -> None:
    """Where sizes and times are believed, a change that hides from them is not seen; that is what was asked for."""
    build(tmp_path)
    overwrite(tmp_path / "total" / "train" / "sim0001" / "total_a.npy")
    pipeline = Pipeline({"count": Count()}, toy_space(), tmp_path, 0, UPSTREAM, integrity=integrity)
    if integrity == "size":
        pipeline.run(pipeline.plan(), SERIAL)
        return
    with pytest.raises(UnitFailedError) as error:
        pipeline.run(pipeline.plan(), SERIAL)
    words = ("count train: ", "sim0001/total_a.npy is altered: its SHA-256", "; delete it and run: python main_sims.py")
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("integrity", ["hash", "size"])
def test_altered_bytes_are_seen_before_work_by_their_time(tmp_path: Path, integrity: str) -> None:
    build(tmp_path)
    overwrite(tmp_path / "total" / "train" / "sim0001" / "total_a.npy", keep_time=False)
    pipeline = Pipeline({"count": Count()}, toy_space(), tmp_path, 0, UPSTREAM, integrity=integrity)
    with pytest.raises(StaleError, match=r"'total train/sim0001' is not as it was written: .*total_a.npy is altered"):
        pipeline.plan()


def test_altered_file_of_a_stage_of_its_own_is_remade(
    tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    build(tmp_path)
    before = digests(tmp_path)
    overwrite(tmp_path / "signal" / "train" / "sim0001" / "signal.npy", keep_time=False)
    build(tmp_path)
    assert digests(tmp_path) == before


def test_file_with_another_time_and_the_same_bytes_is_good(tmp_path: Path) -> None:
    """As in a dataset that was copied."""
    build(tmp_path)
    for path in tmp_path.rglob("*.npy"):
        os.utime(path, ns=(1, 1))
    assert make(tmp_path, {"count": Count()}, UPSTREAM) == {"count": 2}
    assert build(tmp_path).plan().n_todo == 0


def test_file_of_a_stage_of_its_own_is_looked_at_when_it_is_read(tmp_path: Path) -> None:
    build(tmp_path)
    overwrite(tmp_path / "signal" / "train" / "sim0001" / "signal.npy")
    with pytest.raises(UnitFailedError, match=r"signal.npy is altered: .*; delete it and run: python main_sims.py"):
        build(tmp_path, emission=Emit(levels={"a": 5.0, "b": 2.0}))


# A whole dataset


def test_work_of_a_plan_grows_in_proportion_where_all_is_there(tmp_path: Path) -> None:
    def calls(train: int) -> int:
        count = [0]
        stages, space = {"count": Count()}, toy_space(train=train, test=0)
        build(tmp_path / str(train), space)
        pipeline = Pipeline(stages, space, tmp_path / str(train), 0, UPSTREAM)
        sys.setprofile(lambda _frame, event, _arg: count.__setitem__(0, count[0] + event.endswith("call")))
        try:
            pipeline.plan()
        finally:
            sys.setprofile(None)
        return count[0]

    assert calls(80) < 2.2 * calls(40)


def test_missing_file_is_no_stale_one(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="'learn a' is not finished"):
        of_methods(tmp_path, {"recite": Recite()}, "a", upstream={"learn": Learn})
