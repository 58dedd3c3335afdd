"""Say what the CMB, the foregrounds and the noise of a simulation have become in the cleaned map."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cmbml.core.asset import Asset
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import minus, paired_parts
from cmbml.methods.trained import Hardware, State, TrainedMethod
from cmbml.metrics.residual import require_signal, require_sum
from cmbml.settings import settings
from cmbml.sky.case import Observation, require_map
from cmbml.sky.maps import SkyMap
from cmbml.stages.assets import (
    CHANCE_PART,
    CLEANED_MAP,
    FOREGROUND_MAP,
    FOREGROUND_PART,
    METHOD,
    NOISE_PART,
    SIGNAL_PART,
    SIM,
    SKY_RECIPE,
    SPLIT,
    STATE,
)
from cmbml.stages.modelling.stage import MethodStage
from cmbml.stages.sims.noise import NOISE_PARTS, draw_channels
from cmbml.stages.sims.sky import foregrounds_of
from cmbml.stages.tasks.cases import CaseStage
from cmbml.stages.tasks.observations import Observations

PARTS = {"signal": SIGNAL_PART, "foregrounds": FOREGROUND_PART, "noise": NOISE_PART}


@dataclass(frozen=True)
class Simulated:
    """An observation and what is in it besides the CMB.

    Attributes:
        observation: the maps of all channels.
        foregrounds: channel -> its foregrounds.
        noise: channel -> its noise.
    """

    observation: Observation
    foregrounds: Mapping[str, SkyMap]
    noise: Mapping[str, SkyMap]


@settings
class Parts(CaseStage, ABC):
    """Decompose one cleaned map; the noise is made again from the seed."""

    cases: Observations
    looks_at: ClassVar[tuple[str, ...]] = ("shown", "asked")
    reads: ClassVar[tuple[Asset[Any], ...]] = (CLEANED_MAP, SKY_RECIPE, *NOISE_PARTS)
    may_read: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = tuple(PARTS.values())
    may_write: ClassVar = (CHANCE_PART,)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Read the parts, ask the method, write what it says."""
        observation = self.cases.read(io)
        maps = observation.shown
        foregrounds = dict(foregrounds_of(io, {freq: self.cases.channels[freq] for freq in maps}))
        drawn = draw_channels(io, list(maps))
        noise = {freq: SkyMap(values, maps[freq].spec) for freq, values in zip(maps, drawn, strict=True)}
        with io.scratch() as scratch:
            made = Simulated(observation, foregrounds, noise)
            found = self.decomposed(io, made, scratch)
        whole = io.read(CLEANED_MAP).values
        require_sum({name: part.values for name, part in found.items()}, whole)
        for name, part in found.items():
            io.write((PARTS | {"chance": CHANCE_PART})[name], SkyMap(part.values.astype("f4"), part.spec))

    @abstractmethod
    def decomposed(self, io: UnitIO, made: Simulated, scratch: Path) -> dict[str, SkyMap]:
        """Return the parts by their names; their sum is the cleaned map."""


@settings
class Decompose(Parts, MethodStage):
    """Decompose what a method has cleaned that needs nothing but the observation.

    That parts add up says little of a method that gives what is left for the signal. So the weights of a linear one are
    applied to the CMB itself, too, which must give its signal part.
    """

    def decomposed(self, io: UnitIO, made: Simulated, scratch: Path) -> dict[str, SkyMap]:
        """Ask the method; templates are foregrounds."""
        seen = self.shown(made.observation)
        seen = replace(seen, asked=self.cases.read_asked(io) if self.method.needs_truth else None)
        templates = {name: seen.shown[name] for name in seen.spec.templates}
        blank = {name: SkyMap(np.zeros_like(found.values), found.spec) for name, found in templates.items()}
        foregrounds, noise = {**made.foregrounds, **templates}, {**made.noise, **blank}
        found = self.method.decompose(seen, foregrounds, noise, scratch, io.threads)
        if self.method.linear:
            # Other weights are found with the CMB in the foregrounds' place, and these leave it as it is, too.
            cmb = minus(minus(seen, foregrounds), noise).shown
            beside = {**made.noise, **templates}
            applied = self.method.decompose(seen, cmb, beside, scratch, io.threads)["foregrounds"]
            require_signal(found["signal"].values, applied.values)
        return found


@settings
class DecomposeTrained(Parts):
    """Decompose what a method has cleaned that learns.

    Attributes:
        method: which.
        hardware: what it runs on.
    """

    method: TrainedMethod
    hardware: Hardware = field(metadata={"matters": False})
    reads: ClassVar[tuple[Asset[Any], ...]] = (*Parts.reads, STATE)
    reproducible: ClassVar = False

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Ask the method whether it accepts such observations."""
        self.method.accepts(self.cases.spec())

    def decomposed(self, io: UnitIO, made: Simulated, scratch: Path) -> dict[str, SkyMap]:
        """Answer growing parts of the observation."""
        del scratch
        state, examples = State(*io.read(STATE)), self.method.examples
        self.method.require_fit(state, made.observation.spec)

        def clean(part: Observation) -> SkyMap:
            replies = list(self.method.predict(state, examples.features(part), self.hardware))
            return require_map(examples.completed(np.stack([reply.value for reply in replies]), None, part).value)

        return paired_parts(clean, made.observation, made.foregrounds, made.noise)
