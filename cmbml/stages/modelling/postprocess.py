"""Turn a network's answers back into what was asked for."""

from typing import Any, ClassVar

from cmbml.core.asset import Asset
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.trained import Examples
from cmbml.settings import settings
from cmbml.sky.case import Case
from cmbml.stages.assets import (
    ANSWER,
    ANSWER_SIGMA,
    ANSWER_TIME,
    CLEANED_MAP,
    INFERENCE,
    METHOD,
    SAMPLES,
    SIM,
    SPLIT,
    UNCERTAINTY_MAP,
)
from cmbml.stages.modelling.stage import write_answer
from cmbml.stages.tasks.cases import CaseStage


@settings
class Postprocess(CaseStage):
    """Make the answer to one simulation.

    Attributes:
        examples: how simulations were made into arrays.
    """

    examples: Examples
    reads: ClassVar = (ANSWER, ANSWER_TIME)
    may_read: ClassVar = (ANSWER_SIGMA,)
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP, SAMPLES)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 3

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether such cases can be turned into arrays, and back."""
        self.examples.accepts(self.cases.spec())

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return the replies, and what was shown where answers are made of that, too."""
        return (*super().needs(), *(self.cases.shown if self.examples.keeps_shown else ()))

    def disk_bytes(self) -> int:
        """The answer, and the arrays that it is made of: how many `Predict` writes is not known there."""
        return 2 * self.cases.disk_bytes()

    def process(self, io: UnitIO) -> None:
        """Read the arrays, turn them back, write."""
        spec = self.cases.spec()
        case = self.cases.read(io) if self.examples.keeps_shown else Case(spec, {})
        answer = self.examples.completed(io.read(ANSWER), io.read_optional(ANSWER_SIGMA), case)
        write_answer(io, self.examples.name, answer, self.examples.accepts(spec))
        io.write(INFERENCE, io.read(ANSWER_TIME) | {"channels": list(self.examples.channels_shown(spec))})
