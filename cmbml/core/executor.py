"""A stage of the pipeline: the work for one unit."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, ClassVar

from cmbml.core.asset import Asset
from cmbml.core.space import Axis, Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings


@settings
class Executor(ABC):
    """Read, compute, write: for one unit. It never loops over units, builds a path or opens a pool.

    A subclass is decorated with `@settings`: its fields are its settings, checked when they are read from config.

    Attributes:
        over: over which values of which axes the stage runs, such as `{split: [test]}`; all by default. It is no part
            of the fingerprint: it says how much is made, not what.
    """

    reads: ClassVar[tuple[Asset[Any], ...]] = ()
    writes: ClassVar[tuple[Asset[Any], ...]] = ()
    may_read: ClassVar[tuple[Asset[Any], ...]] = ()
    """Assets that are read where some stage makes them; `io.read_optional` gives None elsewhere."""
    may_write: ClassVar[tuple[Asset[Any], ...]] = ()
    """Assets that a unit writes where it has something to write."""
    per: ClassVar[tuple[Axis, ...]] = ()
    inside: ClassVar[tuple[Axis, ...]] = ()
    """Axes with folders along which one unit writes many files: where work on many at once is worth it."""
    version: ClassVar[int] = 1
    reproducible: ClassVar[bool] = True
    """Whether the same inputs give the same bytes on any machine. If not, what follows is done again with a unit."""
    tells: ClassVar[bool] = False
    """Whether `io.history` gives the commands that have led to a unit, which it may write down."""
    along: ClassVar[Mapping[str, Axis]] = {}
    """Settings that are a mapping with one entry per value of an axis: a unit depends on its own entry alone."""

    over: dict[str, list[str | int]] = field(default_factory=dict)

    def __init_subclass__(cls) -> None:
        """Refuse what is called otherwise now, and would have no effect.

        Raises:
            TypeError: the class says something under an old name.
        """
        super().__init_subclass__()
        for old, new in (("exact", "reproducible"), ("sees", "restricts")):
            if old in cls.__dict__:
                message = f"{cls.__name__}.{old} has no effect: it is called {new} now"
                raise TypeError(message)

    @abstractmethod
    def process(self, io: UnitIO) -> None:
        """Do the work of one unit."""

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return what a unit reads: `reads`, or what the settings say where they decide on it."""
        return self.reads

    def may_need(self) -> tuple[Asset[Any], ...]:
        """Return what a unit reads where some stage makes it: `may_read`, or what the settings say."""
        return self.may_read

    def check(self, space: Space) -> None:
        """Look, before any work, whether the settings can be met.

        Args:
            space: the points over which the stage would run.

        Raises:
            ValueError: they cannot; the message says why and what would mend it.
        """

    def restricts(self) -> Mapping[Axis, Collection[str]]:
        """Return the values to which a unit keeps on axes inside it, and beyond which it depends on nothing."""
        return {}

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the raw files, made by nobody in the pipeline, that the unit depends on."""
        return ()

    def fetch(self) -> None:
        """Fetch ahead of time what the stage would download."""

    def disk_bytes(self) -> int:
        """Estimate how much one unit writes, in bytes."""
        return 20_000

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Return the settings that matter for one unit."""
        mine = {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.name != "over" and entry.metadata.get("matters", True)
        }
        for name, axis in self.along.items():
            mine[name] = mine[name][key[axis]] if axis in key else mine[name]
        return mine
