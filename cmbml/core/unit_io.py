"""All that the work of one unit may touch."""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cmbml.core.asset import Asset
from cmbml.core.errors import UndeclaredError
from cmbml.core.handler import Stamp
from cmbml.core.integrity import Integrity
from cmbml.core.record import Output
from cmbml.core.seeds import generator, seed_for
from cmbml.core.space import Axis, Key
from cmbml.core.store import Store, storage_errors

T = TypeVar("T")
Places = tuple[tuple[Key, str], ...]


@dataclass(frozen=True)
class Access:
    """What the work of one unit may touch, by names and paths, so that it may travel to another process or machine.

    Attributes:
        stage: name of the stage.
        key: the unit's point.
        inputs: for each asset read, the points and the paths that the unit sees.
        outputs: the same for each asset written.
        makers: asset name -> name of the stage that makes it.
        fingerprint: of the unit.
        root: the dataset's folder.
        seed: root seed of the dataset.
        threads: CPU threads that the work may use.
        optional: names of the inputs whose files may be missing.
        written: path of each file that is read -> what is recorded of it.
        commands: name of each stage that is read -> the command that makes it, for messages.
        integrity: how closely files are looked at before they are read.
        history: the commands that have led to the unit, of stages that tell them.
    """

    stage: str
    key: Key
    inputs: Mapping[str, Places]
    outputs: Mapping[str, Places]
    makers: Mapping[str, str]
    fingerprint: str
    root: Path
    seed: int
    threads: int
    optional: frozenset[str] = frozenset()
    written: Mapping[str, Output] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    integrity: Integrity = "hash"
    history: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.stage} {self.key}".strip()


class UnitIO:
    """The declared assets, the random numbers and the scratch space of one unit.

    Args:
        access: of the unit.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._store = Store(access.root, access.integrity)
        self._outputs: list[Output] = []

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What has been written so far."""
        return tuple(self._outputs)

    @property
    def key(self) -> Key:
        """The point of the unit."""
        return self._access.key

    @property
    def threads(self) -> int:
        """How many CPU threads the work may use. They must not change a bit of the result."""
        return self._access.threads

    @property
    def history(self) -> tuple[str, ...]:
        """The commands that lead to the unit, in order, without words that change no byte; see `Executor.tells`."""
        return self._access.history

    def read(self, asset: Asset[T]) -> T:
        """Read the one file of an asset that belongs to the unit."""
        places = self._places(asset, self._access.inputs, "read")
        if len(places) != 1:
            message = f"stage '{self._access.stage}' sees {len(places)} files of {asset}: use read_each"
            raise UndeclaredError(message)
        return self._load(asset, places[0][1])

    def read_optional(self, asset: Asset[T]) -> T | None:
        """Read the one file of an asset that belongs to the unit; None where nobody made it."""
        if asset.name not in self._access.inputs:
            return None
        places = self._places(asset, self._access.inputs, "read")
        if not places or (len(places) == 1 and not (self._access.root / places[0][1]).exists()):
            return None
        return self.read(asset)

    def read_all(self, asset: Asset[T], only: Mapping[Axis, Collection[str]] | None = None) -> Iterator[tuple[Key, T]]:
        """Read, one after the other, the files of an asset that the unit sees.

        Args:
            asset: what is read; nothing comes of one that the unit may read and nobody makes, or has written.
            only: the values on some axes to keep to; all by default.
        """
        optional = asset.name in self._access.optional
        if asset.name not in self._access.inputs and optional:
            return
        for key, path in self._places(asset, self._access.inputs, "read"):
            if optional and not (self._access.root / path).exists():
                # Its maker had nothing to write there: a file that was lost would have been noticed before.
                continue
            if all(key[axis] in values for axis, values in (only or {}).items()):
                yield key, self._load(asset, path)

    def read_each(self, asset: Asset[T], axis: Axis) -> Iterator[tuple[str, T]]:
        """Read, one after the other, the files of an asset along an axis inside the unit."""
        return ((key[axis], value) for key, value in self.read_all(asset))

    def along(self, asset: Asset[Any], axis: Axis) -> list[str]:
        """Return the values on an axis inside the unit at which an asset is read or written.

        There are none of one that the unit may read and nobody makes.
        """
        both = dict(self._access.inputs) | dict(self._access.outputs)
        if asset.name not in both and asset.name in self._access.optional:
            return []
        return [key[axis] for key, _ in self._places(asset, both, "touch")]

    def write(
        self,
        asset: Asset[T],
        value: T,
        at: Mapping[Axis, str] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Write one file of an asset.

        Args:
            asset: what is written.
            value: what its handler takes.
            at: the values on the axes inside the unit, where the asset has such.
            notes: what formats with a header are to say in it beside stage and fingerprint; see `Stamp`.
        """
        key = self.key.joined(Key.of(at or {})).on(asset.per)
        paths = dict(self._places(asset, self._access.outputs, "write"))
        if key not in paths:
            message = f"stage '{self._access.stage}' at '{self.key}' may not write {asset} at '{key}'"
            raise UndeclaredError(message)
        stamp = Stamp(self._access.stage, self._access.fingerprint, notes or {})
        self._outputs.append(self._store.write(asset, paths[key], value, stamp))

    def rng(
        self, purpose: str, at: Mapping[Axis, str] | None = None, per: Iterable[Axis] | None = None
    ) -> np.random.Generator:
        """Return the random generator for a purpose: the same in any order, on any worker, in any stage.

        Args:
            purpose: what it is for.
            at: the values on axes inside the unit, where there are such.
            per: the axes that it depends on, for stages that have more of them; all by default.
        """
        point = self.key.joined(Key.of(at or {}))
        return generator(self._access.seed, purpose, point if per is None else point.on(per))

    def seed(self, purpose: str) -> int:
        """Return a seed for a purpose that is the same for every unit of the dataset."""
        return seed_for(self._access.seed, purpose, Key()) % 2**63

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder of the unit's own that is removed afterwards."""
        folder = self._access.root / ".scratch" / self._access.stage / self.key.name
        with storage_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def workdir(self) -> Path:
        """Give a folder in which long work leaves what it needs to go on after it was killed.

        It is the same for the same settings and inputs, and it is removed when the unit is finished. What other
        settings have left is removed at once.
        """
        folder = self._work / self._access.fingerprint[:16]
        with storage_errors(folder):
            for other in self._work.glob("*"):
                if other != folder:
                    shutil.rmtree(other)
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def logdir(self) -> Path:
        """Give a folder for logs that are watched while the unit runs; it is kept, and nothing reads it."""
        folder = self._access.root / "logs" / self._access.stage / self.key.name / self._access.fingerprint[:8]
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def _work(self) -> Path:
        return self._access.root / ".work" / self._access.stage / self.key.name

    def _load(self, asset: Asset[T], path: str) -> T:
        """Read a file, and keep it in memory where the next unit reads it too: where it lacks the innermost axis."""
        shared = bool(self.key) and self.key.items[-1][0] not in asset.per and not asset.handler.mapped
        maker = self._access.makers[asset.name]
        written, command = self._access.written.get(path), self._access.commands.get(maker, "")
        value: T = self._store.read(asset, path, maker, shared, written, command)
        return value

    def _places(self, asset: Asset[Any], table: Mapping[str, Places], verb: str) -> Places:
        if asset.name not in table:
            declared = ", ".join(table) or "nothing"
            message = f"stage '{self._access.stage}' may not {verb} {asset}: it declares {declared}"
            raise UndeclaredError(message)
        return table[asset.name]
