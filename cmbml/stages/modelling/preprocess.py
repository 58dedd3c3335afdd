"""Turn simulations into the arrays that a network learns from."""

from dataclasses import replace
from math import prod
from typing import ClassVar

import numpy as np

from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Examples
from cmbml.settings import settings
from cmbml.sky.case import Observation
from cmbml.sky.maps import SkyMap
from cmbml.stages.assets import ARRAY_MOMENTS, ARRAYS, CMB_ALM, FEATURE_PARTS, FEATURES, FREQ, SIM, SPLIT, TARGET
from cmbml.stages.sims.noise import NOISE_PARTS, draw_channels
from cmbml.stages.sims.observe import signal_in
from cmbml.stages.tasks.cases import CaseStage
from cmbml.stages.tasks.observations import Observations


@settings
class Preprocess(CaseStage):
    """Make the arrays of one simulation.

    Attributes:
        examples: how.
    """

    examples: Examples
    looks_at: ClassVar = ("shown", "asked")
    writes: ClassVar = (FEATURES, TARGET, ARRAY_MOMENTS)
    per: ClassVar = (ARRAYS, SPLIT, SIM)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether such cases can be turned into arrays."""
        self.examples.accepts(self.cases.spec())

    def disk_bytes(self) -> int:
        """Four bytes for each value."""
        spec = self.cases.spec()
        return 4 * self.examples.n_lessons(spec) * sum(prod(shape) for shape in self.examples.shapes(spec))

    def process(self, io: UnitIO) -> None:
        """Read the case, choose what is learnt from it, write."""
        case = replace(self.cases.read(io), asked=self.cases.read_asked(io))
        chosen = self.examples.choose(case.spec, io.rng("samples", per=(SPLIT, SIM)))
        features, target = self.examples.pair(case, chosen)
        io.write(FEATURES, features)
        io.write(TARGET, target)
        arrays = {"features": features, "target": target}
        moments = {name: Moments.of(np.moveaxis(samples, 1, 0)).plain() for name, samples in arrays.items()}
        io.write(ARRAY_MOMENTS, moments | {"samples": len(features)})


@settings
class PreprocessParts(CaseStage):
    """Make the arrays of the signal and of the noise in one simulation, from which a training mixes new ones.

    Foregrounds are what is left of the features. Both are made again, from the coefficients and from the seed.

    Attributes:
        examples: how.
    """

    cases: Observations
    examples: Examples
    reads: ClassVar = (CMB_ALM, *NOISE_PARTS)
    writes: ClassVar = (FEATURE_PARTS,)
    per: ClassVar = (ARRAYS, SPLIT, SIM)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether such observations can be turned into arrays, and turned and reflected."""
        self.examples.accepts(self.cases.spec())
        if self.examples.n_symmetries == 1:
            message = f"{type(self.examples).__name__} know no symmetries of the sphere; take method.train.mix=false"
            raise ValueError(message)
        if not self.examples.linear:
            message = (
                f"features of {type(self.examples).__name__} are not linear in the observation, so that parts of it "
                "cannot be put together; take method.train.mix=false, and method.train.turn=true"
            )
            raise ValueError(message)

    def disk_bytes(self) -> int:
        """Four bytes for each value."""
        spec = self.cases.spec()
        return 8 * self.examples.n_lessons(spec) * prod(self.examples.shapes(spec)[0])

    def process(self, io: UnitIO) -> None:
        """Make both parts of the same samples, write."""
        freqs, alm, spec = io.along(NOISE_PARTS[0], FREQ), io.read(CMB_ALM), self.cases.spec()
        noise = dict(zip(freqs, draw_channels(io, freqs), strict=True))
        maps, channels = self.cases.maps, self.cases.channels
        signal = {freq: signal_in(alm, channels[freq], maps, io.threads) for freq in freqs}
        chosen = self.examples.choose(spec, io.rng("samples", per=(SPLIT, SIM)))
        arrays = [
            self.examples.features(
                Observation(spec, {freq: SkyMap(part[freq], spec.shown[freq]) for freq in freqs}), chosen
            )
            for part in (signal, noise)
        ]
        io.write(FEATURE_PARTS, np.stack(arrays, axis=1))
