"""Turn simulations into the arrays that a network is shown."""

from math import prod
from typing import ClassVar

from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Examples
from cmbml.settings import settings
from stages.assets import ARRAY_MOMENTS, ARRAYS, CMB_MAP, FEATURES, OBS_MAP, SIM, SPLIT, TARGET
from stages.modelling.method import ObservationStage


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
