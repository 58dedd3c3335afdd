"""Turn a network's answers back into maps."""

from typing import ClassVar

from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.trained import Examples
from cmbml.settings import settings
from cmbml.stages.assets import ANSWER, ANSWER_TIME, CLEANED_MAP, INFERENCE, METHOD, SIM, SPLIT
from cmbml.stages.modelling.method import ObservationStage


@settings
class Postprocess(ObservationStage):
    """Make the cleaned map of one simulation.

    Attributes:
        examples: how simulations were made into arrays.
    """

    examples: Examples
    reads: ClassVar = (ANSWER, ANSWER_TIME)
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def check(self, space: Space) -> None:
        """Look whether such observations can be turned into arrays, and back."""
        self.examples.accepts(self.spec_of(space))

    def disk_bytes(self) -> int:
        """One map, and the answer that it is made of: how many `Predict` writes is not known there."""
        return 2 * 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Read the answer, turn it back, write."""
        spec = self.observation_spec(list(self.channels))
        io.write(CLEANED_MAP, self.examples.to_map(io.read(ANSWER), spec))
        io.write(INFERENCE, io.read(ANSWER_TIME) | {"channels": list(self.examples.channels_shown(spec))})
