"""A pipeline small enough to see through: `total = signal + emission`, and a summary of each split."""

import errno
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import PositiveFloat

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.intent import Origin
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.space import Axis, Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.array import Array
from cmbml.handlers.yaml_file import YamlFile
from cmbml.settings import settings

SIMS = Origin("sims", "python main_sims.py dataset=toy")

SKY = Axis(1, "sky")
SPLIT = Axis(2, "split")
SIM = Axis(3, "sim")
FREQ = Axis(4, "freq", "file")

EMISSION = Asset("emission", Array(), per=(SKY, FREQ))
SIGNAL = Asset("signal", Array(), per=(SPLIT, SIM))
TOTAL = Asset("total", Array(), per=(SPLIT, SIM, FREQ))
SUMMARY = Asset("summary", YamlFile(), per=(SPLIT,))


@settings
class Emit(Executor):
    levels: Mapping[str, float]
    table: Path | None = None
    writes: ClassVar = (EMISSION,)
    per: ClassVar = (SKY, FREQ)
    along: ClassVar = {"levels": FREQ}

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        return () if self.table is None else (self.table,)

    def process(self, io: UnitIO) -> None:
        io.write(EMISSION, np.full(4, self.levels[io.key[FREQ]]))


@settings
class Draw(Executor):
    sigma: PositiveFloat = 1.0
    writes: ClassVar = (SIGNAL,)
    per: ClassVar = (SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        io.write(SIGNAL, self.sigma * io.rng("signal").standard_normal(4))


@settings
class Add(Executor):
    """Attributes:
    trouble: what goes wrong at the unit `at`.
    """

    at: str = ""
    trouble: str = ""
    reads: ClassVar = (SIGNAL, EMISSION)
    writes: ClassVar = (TOTAL,)
    per: ClassVar = (SPLIT, SIM)

    def settings_at(self, key: Key) -> dict[str, object]:  # noqa: ARG002
        return {}

    def process(self, io: UnitIO) -> None:
        if str(io.key) == self.at:
            _get_into(self.trouble)
        signal_map = io.read(SIGNAL)
        for freq, emission in io.read_each(EMISSION, FREQ):
            io.write(TOTAL, signal_map + emission, {FREQ: freq})


@settings
class Summarise(Executor):
    reads: ClassVar = (TOTAL,)
    writes: ClassVar = (SUMMARY,)
    per: ClassVar = (SPLIT,)

    def process(self, io: UnitIO) -> None:
        io.write(SUMMARY, {"mean": float(np.mean([total for _, total in io.read_each(TOTAL, FREQ)]))})


def _get_into(trouble: str) -> None:
    if trouble == "value":
        message = "the signal is too loud; turn it down"
        raise ValueError(message)
    if trouble == "bug":
        {}["key"]
    if trouble == "full disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    if trouble == "exit":
        os._exit(3)
    if trouble == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def toy_stages(**changed: Executor) -> dict[str, Executor]:
    """Return the stages, users before makers, as the graph must not mind."""
    stages = {"summary": Summarise(), "total": Add(), "signal": Draw(), "emission": Emit(levels={"a": 1.0, "b": 2.0})}
    return stages | changed


def toy_space(train: int = 3, test: int = 2, freqs: tuple[str, ...] = ("a", "b")) -> Space:
    """Return the points: the test split sees another sky."""
    counts = {"train": ("main", train), "test": ("other", test)}
    rows = [
        {SPLIT: split, SIM: f"sim{number:04d}", SKY: sky}
        for split, (sky, count) in counts.items()
        for number in range(count)
    ]
    return Space(tuple(rows), {FREQ: freqs})


def build(root: Path, space: Space | None = None, origin: Origin = SIMS, **changed: Executor) -> Pipeline:
    """Build the toy dataset, as the program that lays it out."""
    pipeline = Pipeline(toy_stages(**changed), space or toy_space(), root, 0, origin=origin)
    pipeline.run(pipeline.plan(), Serial(threads=1))
    return pipeline


def overwrite(path: Path, keep_time: bool = True) -> None:
    """Change the last bytes of a file, and neither its size nor, if so wished, its time of modification."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
