"""Say what the CMB, the foregrounds and the noise of a simulation have become in the cleaned map."""

from typing import ClassVar

from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import minus
from cmbml.metrics.residual import require_signal, require_sum
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
    SKY_RECIPE,
    SPLIT,
)
from stages.modelling.method import MethodStage
from stages.sims.noise import NOISE_PARTS, draw_channels
from stages.sims.sky import foregrounds_of

PARTS = {"signal": SIGNAL_PART, "foregrounds": FOREGROUND_PART, "noise": NOISE_PART}


@settings
class Decompose(MethodStage):
    """Decompose one cleaned map; the noise is made again from the seed.

    That parts add up says little of a method that gives what is left for the signal. So the weights of a linear one are
    applied to the CMB itself, too, which must give its signal part.
    """

    reads: ClassVar = (CLEANED_MAP, CMB_MAP, OBS_MAP, SKY_RECIPE, *NOISE_PARTS)
    may_read: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = tuple(PARTS.values())
    may_write: ClassVar = (CHANCE_PART,)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Read the parts, ask the method, write what it says."""
        maps = dict(io.read_each(OBS_MAP, FREQ))
        foregrounds = dict(foregrounds_of(io, {freq: self.channels[freq] for freq in maps}))
        drawn = draw_channels(io, list(maps))
        noise = {freq: SkyMap(values, maps[freq].spec) for freq, values in zip(maps, drawn, strict=True)}
        with io.scratch() as scratch:
            truth = io.read(CMB_MAP) if self.method.needs_truth else None
            observation = Observation(self.observation_spec(list(maps)), maps, truth)
            found = self.method.decompose(observation, foregrounds, noise, scratch, io.threads)
            if self.method.linear:
                # Other weights are found with the CMB in the foregrounds' place, and these leave it as it is, too.
                cmb = minus(minus(observation, foregrounds), noise).maps
                applied = self.method.decompose(observation, cmb, noise, scratch, io.threads)["foregrounds"]
                require_signal(found["signal"].values, applied.values)
        whole = io.read(CLEANED_MAP).values
        require_sum({name: part.values for name, part in found.items()}, whole)
        for name, part in found.items():
            io.write((PARTS | {"chance": CHANCE_PART})[name], SkyMap(part.values.astype("f4"), part.spec))
