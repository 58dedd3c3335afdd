"""Train a method that learns."""

import logging
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cmbml.core.asset import Asset
from cmbml.core.errors import ConfigError
from cmbml.core.handler import Stamp
from cmbml.core.space import Axis, Key, Space
from cmbml.core.store import storage_errors
from cmbml.core.unit_io import UnitIO
from cmbml.figures.learning import learning_figure
from cmbml.handlers.mapped_array import MappedArrays
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Hardware, Lesson, State, TrainedMethod
from cmbml.settings import settings
from cmbml.stages.assets import (
    ARRAY_MOMENTS,
    FEATURE_PARTS,
    FEATURES,
    METHOD,
    SIM,
    SPLIT,
    STATE,
    TARGET,
    TRAINING,
    TRAINING_CURVE,
    TRAINING_FIGURE,
)
from cmbml.stages.tasks.cases import CaseStage

log = logging.getLogger(f"cmbml.{__name__}")


@settings
class Train(CaseStage):
    """Train one method.

    Attributes:
        method: what learns.
        train: the split that it learns from, and that normalisations are taken from.
        valid: the split that it is validated on after every epoch.
        hardware: what it is trained on.
    """

    method: TrainedMethod
    train: str
    valid: str
    hardware: Hardware = field(metadata={"matters": False})
    reads: ClassVar = (FEATURES, TARGET, ARRAY_MOMENTS)
    may_read: ClassVar = (FEATURE_PARTS,)
    writes: ClassVar = (STATE, TRAINING)
    may_write: ClassVar = (TRAINING_CURVE, TRAINING_FIGURE)
    per: ClassVar = (METHOD,)
    reproducible: ClassVar = False

    def restricts(self) -> Mapping[Axis, tuple[str, ...]]:
        """Look at two splits alone."""
        return {SPLIT: (self.train, self.valid)}

    def check(self, space: Space) -> None:
        """Look whether the method accepts such observations and such hardware, and whether the two splits are there.

        Raises:
            ConfigError: a split is not there, or both are one.
        """
        if missing := [str(path) for path in self.method.files() if not path.is_file()]:
            message = f"{self.method.name} is told to read {', '.join(missing)}, and there is no such file"
            raise ConfigError(message)
        self.method.accepts(self.cases.spec())
        self.method.require_hardware(self.hardware)
        for name, split in (("train", self.train), ("valid", self.valid)):
            space.require(SPLIT, split, f"learn.{name}={split}")
        if self.train == self.valid:
            message = (
                f"learn.train and learn.valid are both '{self.train}'; a method is validated on what it has not seen"
            )
            raise ConfigError(message)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return what the method's settings name."""
        return self.method.files()

    def disk_bytes(self) -> int:
        """The weights, and the checkpoints: last, best and the one being written, with two moments for each weight."""
        return 10 * self.method.state_bytes(self.cases.spec())

    def process(self, io: UnitIO) -> None:
        """Map the arrays, train, write what came of it, once it has proved itself."""
        learnt, looked_at = ({SPLIT: [split]} for split in (self.train, self.valid))
        lesson = Lesson(
            spec=self.cases.spec(),
            train=(_samples(io, FEATURES, learnt), _samples(io, TARGET, learnt)),
            valid=(_samples(io, FEATURES, looked_at), _samples(io, TARGET, looked_at)),
            names=_names(io, learnt),
            moments=(_moments(io, "features", learnt), _moments(io, "target", learnt)),
            seed=io.seed("training"),
            workdir=io.workdir(),
            logdir=io.logdir(),
            report=log.info,
            parts=_samples(io, FEATURE_PARTS, learnt) or None,
        )
        with storage_errors(lesson.workdir):
            trained = self.method.fit(lesson, self.hardware)
            state = self._read_back(trained.state, lesson.workdir / f"state{STATE.handler.suffix}")
            self.method.require_score(state, lesson, self.hardware)
        io.write(STATE, (state.arrays, state.about))
        io.write(TRAINING, dict(trained.summary) | {"method": dict(trained.state.about["training"])})
        if trained.curve:
            io.write(TRAINING_CURVE, Table(dict(trained.curve)))
            curve = {column: np.asarray(values) for column, values in trained.curve.items()}
            io.write(TRAINING_FIGURE, learning_figure({self.method.name: curve}, [self.method.name]))

    def _read_back(self, state: State, path: Path) -> State:
        """Send a state through its format: what is kept is what a prediction will read."""
        STATE.handler.write(path, (state.arrays, state.about), Stamp(self.method.name, ""))
        return State(*STATE.handler.read(path))


def _samples(io: UnitIO, asset: Asset[NDArray[Any]], only: Mapping[Axis, list[str]]) -> MappedArrays:
    """Look once whether all files are whole; return their samples, which are read when they are needed."""
    return MappedArrays.of(array for _, array in io.read_all(asset, only))


def _names(io: UnitIO, only: Mapping[Axis, list[str]]) -> list[str]:
    """Name every sample, for messages: its simulation, and which of several it is."""
    return [
        f"{key[SPLIT]}/{key[SIM]}" + (f" sample {number}" if found["samples"] > 1 else "")
        for key, found in io.read_all(ARRAY_MOMENTS, only)
        for number in range(found["samples"])
    ]


def _moments(io: UnitIO, which: str, only: Mapping[Axis, list[str]]) -> Moments:
    return Moments.of_all(Moments.from_plain(found[which]) for _, found in io.read_all(ARRAY_MOMENTS, only))
