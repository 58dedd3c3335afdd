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
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.yaml_file import YamlFile
from cmbml.settings import settings

SERIAL = Serial(threads=1)
NOTE = Asset("note", YamlFile(), per=(SPLIT, SIM))
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


def make(root: Path, stages: dict[str, Executor], given: dict[str, type[Executor]] | None = None) -> dict[str, int]:
    pipeline = Pipeline(stages, toy_space(), root, 0, given)
    plan = pipeline.plan()
    pipeline.run(plan, SERIAL)
    return {stage.stage: len(stage.todo) for stage in plan.stages}


GIVEN = {"signal": Draw, "emission": Emit, "total": Add}


def test_a_later_program_reads_what_an_earlier_one_made(tmp_path: Path) -> None:
    make(tmp_path, toy_stages())
    assert make(tmp_path, {"count": Count()}, GIVEN) == {"count": 2}
    assert make(tmp_path, {"count": Count()}, GIVEN) == {"count": 0}
    text = (tmp_path / "count" / "train" / "count.yaml").read_text()
    n_files = len(list((tmp_path / "total" / "train").rglob("*.npy")))
    assert f"totals: {n_files}" in text


def test_a_change_in_the_earlier_program_is_seen(tmp_path: Path) -> None:
    make(tmp_path, toy_stages())
    make(tmp_path, {"count": Count()}, GIVEN)
    make(tmp_path, toy_stages(signal=Draw(sigma=2.0)))
    assert make(tmp_path, {"count": Count()}, GIVEN) == {"count": 2}


def test_what_was_not_made_is_named(tmp_path: Path) -> None:
    make(tmp_path, toy_stages())
    next((tmp_path / "total" / "train").rglob("*.npy")).unlink()
    with pytest.raises(MissingAssetError, match=r"'total train/.*' is not finished .* run the program that makes it"):
        make(tmp_path, {"count": Count()}, GIVEN)
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
