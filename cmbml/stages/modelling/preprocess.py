"""Turn simulations into the arrays that a network is shown."""

from math import prod
from typing import ClassVar

import numpy as np

from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Examples
from cmbml.settings import settings
from cmbml.sky.maps import SkyMap
from cmbml.sky.observation import Observation
from cmbml.stages.assets import (
    ARRAY_MOMENTS,
    ARRAYS,
    CMB_ALM,
    CMB_MAP,
    FEATURE_PARTS,
    FEATURES,
    FREQ,
    OBS_MAP,
    SIM,
    SPLIT,
    TARGET,
)
from cmbml.stages.modelling.method import ObservationStage
from cmbml.stages.sims.noise import NOISE_PARTS, draw_channels
from cmbml.stages.sims.observe import signal_in


@settings
class Preprocess(ObservationStage):
    """Make the arrays of one simulation.

    Attributes:
        examples: how.
    """

    examples: Examples
    reads: ClassVar = (OBS_MAP, CMB_MAP)
    writes: ClassVar = (FEATURES, TARGET, ARRAY_MOMENTS)
    per: ClassVar = (ARRAYS, SPLIT, SIM)

    def check(self, space: Space) -> None:
        """Look whether such observations can be turned into arrays."""
        self.examples.accepts(self.spec_of(space))

    def disk_bytes(self) -> int:
        """Four bytes for each value."""
        shapes = self.examples.shapes(self.observation_spec(list(self.channels)))
        return 4 * sum(prod(shape) for shape in shapes)

    def process(self, io: UnitIO) -> None:
        """Read the maps, arrange, write."""
        features = self.examples.features(self.read_observation(io))
        target = self.examples.target(io.read(CMB_MAP))
        io.write(FEATURES, features)
        io.write(TARGET, target)
        io.write(ARRAY_MOMENTS, {"features": Moments.of(features).plain(), "target": Moments.of(target).plain()})


@settings
class PreprocessParts(ObservationStage):
    """Make the arrays of the signal and of the noise in one simulation, from which a training mixes new ones.

    Foregrounds are what is left of the features. Both are made again, from the coefficients and from the seed.

    Attributes:
        examples: how.
    """

    examples: Examples
    reads: ClassVar = (CMB_ALM, *NOISE_PARTS)
    writes: ClassVar = (FEATURE_PARTS,)
    per: ClassVar = (ARRAYS, SPLIT, SIM)

    def check(self, space: Space) -> None:
        """Look whether such observations can be turned into arrays, and turned and reflected."""
        self.examples.accepts(self.spec_of(space))
        if self.examples.n_symmetries == 1:
            message = f"{type(self.examples).__name__} know no symmetries of the sphere; take method.train.mix=false"
            raise ValueError(message)

    def disk_bytes(self) -> int:
        """Four bytes for each value."""
        return 8 * prod(self.examples.shapes(self.observation_spec(list(self.channels)))[0])

    def process(self, io: UnitIO) -> None:
        """Make both parts, arrange, write."""
        freqs, alm = io.along(NOISE_PARTS[0], FREQ), io.read(CMB_ALM)
        spec = self.observation_spec(freqs)
        noise = dict(zip(freqs, draw_channels(io, freqs), strict=True))
        signal = {
            freq: signal_in(alm, self.channels[freq], self.nside, self.lmax, self.pixel_windows, io.threads)
            for freq in freqs
        }
        arrays = [
            self.examples.features(Observation(spec, {freq: SkyMap(part[freq], spec.maps[freq]) for freq in freqs}))
            for part in (signal, noise)
        ]
        io.write(FEATURE_PARTS, np.stack(arrays))
