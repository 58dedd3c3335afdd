"""Say what the CMB, the foregrounds and the noise of a simulation have become in the cleaned map."""

from typing import ClassVar

from cmbml.core.unit_io import UnitIO
from cmbml.metrics.residual import require_sum
from cmbml.settings import settings
from cmbml.sky.maps import SkyMap
from cmbml.sky.observation import Observation
from stages.assets import (
    CHANCE_PART,
    CLEANED_MAP,
    CMB_MAP,
    FOREGROUND_MAP,
    FOREGROUND_PART,
    FREQ,
    METHOD,
    NOISE_PART,
    OBS_MAP,
    SIGNAL_PART,
    SIM,
    SPLIT,
)
from stages.modelling.method import MethodStage
from stages.sims.noise import NOISE_PARTS, draw_channels

PARTS = {"signal": SIGNAL_PART, "foregrounds": FOREGROUND_PART, "noise": NOISE_PART}


@settings
class Decompose(MethodStage):
    """Decompose one cleaned map; the noise is made again from the seed."""

    reads: ClassVar = (CLEANED_MAP, CMB_MAP, OBS_MAP, FOREGROUND_MAP, *NOISE_PARTS)
    writes: ClassVar = tuple(PARTS.values())
    may_write: ClassVar = (CHANCE_PART,)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Read the parts, ask the method, write what it says."""
        maps = dict(io.read_each(OBS_MAP, FREQ))
        foregrounds = dict(io.read_each(FOREGROUND_MAP, FREQ))
        drawn = draw_channels(io, list(maps))
        noise = {freq: SkyMap(values, maps[freq].spec) for freq, values in zip(maps, drawn, strict=True)}
        with io.scratch() as scratch:
            truth = io.read(CMB_MAP) if self.method.needs_truth else None
            observation = Observation(self.observation_spec(list(maps)), maps, truth)
            found = self.method.decompose(observation, foregrounds, noise, scratch, io.threads)
        whole = io.read(CLEANED_MAP).values
        require_sum({name: part.values for name, part in found.items()}, whole)
        for name, part in found.items():
            io.write((PARTS | {"chance": CHANCE_PART})[name], SkyMap(part.values.astype("f4"), part.spec))
