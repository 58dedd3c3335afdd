"""Programs that stand on what an earlier one made, and assets that may be missing."""

from pathlib import Path
from typing import ClassVar

import pytest
from toys import SIGNAL, SIM, SPLIT, TOTAL, Add, Draw, Emit, toy_space, toy_stages

from cmbml.core.asset import Asset
from cmbml.core.errors import GraphError, MissingAssetError
from cmbml.core.executor import Executor
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.space import Axis, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.yaml_file import YamlFile
from cmbml.settings import settings

SERIAL = Serial(threads=1)
METHOD = Axis(0, "method")
NOTE = Asset("note", YamlFile(), per=(SPLIT, SIM))
LESSON = Asset("lesson", YamlFile(), per=(METHOD,))
LESSONS = Asset("lessons", YamlFile())
COUNT = Asset("count", YamlFile(), per=(SPLIT,))


@settings
class Annotate(Executor):
    """Write a note about some simulations alone."""

    noted: tuple[str, ...] = ()
    reads: ClassVar = (SIGNAL,)
    may_write: ClassVar = (NOTE,)
    per: ClassVar = (SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        if str(io.key) in self.noted:
            io.write(NOTE, {"mean": float(io.read(SIGNAL).mean())})


@settings
class Count(Executor):
    """Count the totals of a split, and say whether the first simulation has a note."""

    reads: ClassVar = (TOTAL,)
    may_read: ClassVar = (NOTE,)
    writes: ClassVar = (COUNT,)
    per: ClassVar = (SPLIT,)

    def process(self, io: UnitIO) -> None:
        io.write(COUNT, {"totals": len(list(io.read_all(TOTAL)))})


@settings
class ReadNote(Executor):
    """Copy the note where there is one."""

    may_read: ClassVar = (NOTE,)
    writes: ClassVar = (Asset("copy", YamlFile(), per=(SPLIT, SIM)),)
    per: ClassVar = (SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        io.write(self.writes[0], {"note": io.read_optional(NOTE)})


@settings
class Learn(Executor):
    """Learn a lesson; some methods have none to learn."""

    rate: float = 0.1
    writes: ClassVar = (LESSON,)
    per: ClassVar = (METHOD,)

    def process(self, io: UnitIO) -> None:
        io.write(LESSON, {"rate": self.rate})


@settings
class Gather(Executor):
    """Say what each method has learnt."""

    may_read: ClassVar = (LESSON,)
    writes: ClassVar = (LESSONS,)

    def process(self, io: UnitIO) -> None:
        io.write(LESSONS, {key[METHOD]: lesson["rate"] for key, lesson in io.read_all(LESSON)})


@settings
class Recite(Executor):
    """Copy each method's lesson, of which there may be none, or must be."""

    reads: ClassVar = (LESSON,)
    writes: ClassVar = (Asset("recital", YamlFile(), per=(METHOD,)),)
    per: ClassVar = (METHOD,)

    def process(self, io: UnitIO) -> None:
        io.write(self.writes[0], io.read(LESSON))


@settings
class Recall(Executor):
    """Copy each method's lesson, if there is one."""

    may_read: ClassVar = (LESSON,)
    writes: ClassVar = (Asset("memory", YamlFile(), per=(METHOD,)),)
    per: ClassVar = (METHOD,)

    def process(self, io: UnitIO) -> None:
        io.write(self.writes[0], io.read_optional(LESSON) or {"rate": None})


def make(root: Path, stages: dict[str, Executor], upstream: dict[str, type[Executor]] | None = None) -> dict[str, int]:
    pipeline = Pipeline(stages, toy_space(), root, 0, upstream)
    plan = pipeline.plan()
    pipeline.run(plan, SERIAL)
    return {stage.stage: len(stage.todo) for stage in plan.stages}


UPSTREAM = {"signal": Draw, "emission": Emit, "total": Add}


def test_a_later_program_reads_what_an_earlier_one_made(tmp_path: Path) -> None:
    make(tmp_path, toy_stages())
    assert make(tmp_path, {"count": Count()}, UPSTREAM) == {"count": 2}
    assert make(tmp_path, {"count": Count()}, UPSTREAM) == {"count": 0}
    text = (tmp_path / "count" / "train" / "count.yaml").read_text()
    n_files = len(list((tmp_path / "total" / "train").rglob("*.npy")))
    assert f"totals: {n_files}" in text


def test_a_change_in_the_earlier_program_is_seen(tmp_path: Path) -> None:
    make(tmp_path, toy_stages())
    make(tmp_path, {"count": Count()}, UPSTREAM)
    make(tmp_path, toy_stages(signal=Draw(sigma=2.0)))
    assert make(tmp_path, {"count": Count()}, UPSTREAM) == {"count": 2}


def test_what_was_not_made_is_named(tmp_path: Path) -> None:
    make(tmp_path, toy_stages())
    next((tmp_path / "total" / "train").rglob("*.npy")).unlink()
    with pytest.raises(MissingAssetError, match=r"'total train/.*\.npy is missing; run the program that makes it"):
        make(tmp_path, {"count": Count()}, UPSTREAM)
    with pytest.raises(GraphError, match="no stage makes"):
        make(tmp_path, {"count": Count()})


def test_an_optional_asset_comes_and_goes(tmp_path: Path) -> None:
    stages = {"signal": Draw(), "note": Annotate(noted=("train/sim0",)), "copy": ReadNote()}
    first = toy_space().keys((SPLIT, SIM))[0]
    stages["note"] = Annotate(noted=(str(first),))
    assert make(tmp_path, stages)["copy"] == len(toy_space().keys((SPLIT, SIM)))
    copies = sorted((tmp_path / "copy").rglob("copy.yaml"))
    assert sum("mean" in path.read_text() for path in copies) == 1
    stages["note"] = Annotate()
    make(tmp_path, stages)
    assert not list((tmp_path / "note").rglob("note.yaml"))
    assert all("note: null" in path.read_text() for path in copies)


def test_an_optional_asset_that_nobody_makes_reads_as_none(tmp_path: Path) -> None:
    make(tmp_path, {"copy": ReadNote()})
    assert all("note: null" in path.read_text() for path in (tmp_path / "copy").rglob("copy.yaml"))


def of_methods(
    root: Path, stages: dict[str, Executor], *methods: str, upstream: dict[str, type[Executor]] | None = None
) -> dict[str, int]:
    pipeline = Pipeline(stages, Space((), {METHOD: methods}), root, 0, upstream)
    plan = pipeline.plan()
    pipeline.run(plan, SERIAL)
    return {stage.stage: len(stage.todo) for stage in plan.stages}


def lessons(root: Path) -> dict[str, float]:
    return LESSONS.handler.read(root / "gather" / "lessons.yaml")


def test_what_only_some_have_made_is_read_where_it_is(tmp_path: Path) -> None:
    upstream, stages = {"learn": Learn}, {"gather": Gather(), "recall": Recall()}
    of_methods(tmp_path, {"learn": Learn()}, "network")
    assert of_methods(tmp_path, stages, "blind", "network", upstream=upstream) == {"gather": 1, "recall": 2}
    assert lessons(tmp_path) == {"network": 0.1}
    assert "rate: null" in (tmp_path / "recall" / "blind" / "memory.yaml").read_text()
    assert "rate: 0.1" in (tmp_path / "recall" / "network" / "memory.yaml").read_text()
    assert of_methods(tmp_path, stages, "blind", "network", upstream=upstream) == {"gather": 0, "recall": 0}


def test_what_is_learnt_later_or_anew_is_seen(tmp_path: Path) -> None:
    upstream, stages = {"learn": Learn}, {"gather": Gather(), "recall": Recall()}
    of_methods(tmp_path, {"learn": Learn()}, "network")
    of_methods(tmp_path, stages, "blind", "network", upstream=upstream)
    of_methods(tmp_path, {"learn": Learn(rate=0.2)}, "network")
    assert of_methods(tmp_path, stages, "blind", "network", upstream=upstream) == {"gather": 1, "recall": 1}
    assert lessons(tmp_path) == {"network": 0.2}
    of_methods(tmp_path, {"learn": Learn(rate=0.3)}, "blind")
    assert of_methods(tmp_path, stages, "blind", "network", upstream=upstream) == {"gather": 1, "recall": 1}
    assert lessons(tmp_path) == {"blind": 0.3, "network": 0.2}


def test_what_another_stage_cannot_do_without_is_still_asked_for(tmp_path: Path) -> None:
    of_methods(tmp_path, {"learn": Learn()}, "network")
    for stages in ({"gather": Gather(), "recite": Recite()}, {"recite": Recite(), "gather": Gather()}):
        with pytest.raises(MissingAssetError, match="'learn blind' is not finished"):
            of_methods(tmp_path, stages, "blind", "network", upstream={"learn": Learn})


def test_what_was_made_and_is_lost_is_named_even_where_it_is_optional(tmp_path: Path) -> None:
    of_methods(tmp_path, {"learn": Learn()}, "network")
    (tmp_path / "learn" / "network" / "lesson.yaml").unlink()
    with pytest.raises(MissingAssetError, match=r"'learn network' .*lesson.yaml is missing"):
        of_methods(tmp_path, {"gather": Gather()}, "blind", "network", upstream={"learn": Learn})
