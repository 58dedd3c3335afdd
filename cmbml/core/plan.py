"""What a run has to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from cmbml.core.space import Key

Unit = tuple[str, Key]


@dataclass(frozen=True)
class StagePlan:
    """What one stage has to do.

    Attributes:
        stage: its name.
        todo: points of the units to be done.
        fresh: how many units are done already.
        disk_bytes: estimated size of what will be written.
    """

    stage: str
    todo: tuple[Key, ...]
    fresh: int
    disk_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a run has to do, worked out from config and records alone.

    Attributes:
        stages: one entry per stage, makers before users.
        fingerprints: of every unit.
        needs: for every unit to be done, the units to be done before it.
    """

    stages: tuple[StagePlan, ...]
    fingerprints: Mapping[Unit, str]
    needs: Mapping[Unit, tuple[Unit, ...]]

    @property
    def n_todo(self) -> int:
        """How many units are to be done."""
        return sum(len(stage.todo) for stage in self.stages)

    @property
    def disk_bytes(self) -> int:
        """Estimated size of all that will be written."""
        return sum(stage.disk_bytes for stage in self.stages)

    def sentence(self) -> str:
        """Say in plain words how much is to do."""
        before = sum(stage.fresh for stage in self.stages)
        if not self.n_todo:
            return f"nothing to do: all {before} units of work were done before"
        todo = "1 unit" if self.n_todo == 1 else f"{self.n_todo} units"
        return f"{todo} of work to do; {before} {'was' if before == 1 else 'were'} done before"

    def table(self) -> str:
        """Return the plan as text, a line per stage."""
        rows = [("stage", "to do", "fresh", "disk")]
        rows += [(s.stage, str(len(s.todo)), str(s.fresh), human_bytes(s.disk_bytes)) for s in self.stages]
        total_fresh = sum(stage.fresh for stage in self.stages)
        rows.append(("total", str(self.n_todo), str(total_fresh), human_bytes(self.disk_bytes)))
        width = max(len(row[0]) for row in rows)
        return "\n".join(f"{a:<{width}} {b:>8} {c:>8} {d:>10}" for a, b, c, d in rows)


def human_bytes(size: float) -> str:
    """Write a size as a person would.

    Example:
        >>> human_bytes(12_600_000)
        '12.6 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
