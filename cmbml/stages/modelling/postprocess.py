"""Turn a network's answers back into what was asked for."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.asset import Asset
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import MethodError
from cmbml.methods.recalibration import Recalibration, recalibrated
from cmbml.methods.spnet.examples import CmbFree
from cmbml.methods.spnet.tuning import Tuning
from cmbml.methods.trained import Examples
from cmbml.settings import later, settings
from cmbml.sky.case import Answer, Bandpowers, Case, CaseSpec
from cmbml.stages.assets import (
    ANSWER,
    ANSWER_BANDPOWERS,
    ANSWER_SIGMA,
    ANSWER_TIME,
    BANDPOWERS,
    CALIBRATION,
    CLEANED_MAP,
    INFERENCE,
    METHOD,
    SAMPLES,
    SIM,
    SPLIT,
    UNCERTAINTY_MAP,
)
from cmbml.stages.modelling.calibrate import placed
from cmbml.stages.modelling.stage import write_answer
from cmbml.stages.tasks.cases import CaseStage


def put_together(
    examples: Examples,
    values: NDArray[np.float32],
    sigma: NDArray[np.float32] | None,
    bandpowers: Bandpowers | None,
    case: Case[Any],
) -> Answer[Any]:
    """Make an answer of a network's replies to all samples of a case.

    Args:
        examples: how the case became samples.
        values: `(n_sample, ...)`.
        sigma: the same, of methods that tell it.
        bandpowers: a row for each sample, of methods that tell them.
        case: what was shown, where the examples look at it once more.
    """
    answer = examples.completed(values, sigma, case)
    return answer if bandpowers is None else replace(answer, bandpowers=placed(bandpowers, examples.places(case.spec)))


def require_tunable(tuning: Tuning | None, examples: Examples) -> None:
    """Look, before any work, whether there is something to tune, if it is to be.

    Raises:
        MethodError: there is not.
    """
    if tuning is not None and not isinstance(examples, CmbFree):
        message = (
            f"method.examples={type(examples).__name__}: only what is subtracted from an estimate can be tuned on the "
            "sky (method=spnet); take stages=learn or stages=learnt"
        )
        raise MethodError(message)


def tuned(
    tuning: Tuning | None, examples: Examples, replies: NDArray[np.float32], answer: Answer[Any], spec: CaseSpec[Any]
) -> Answer[Any]:
    """Tune an answer if it is to be.

    Args:
        tuning: how; None: it stays.
        examples: how replies become answers.
        replies: of which the answer was made.
        answer: the cleaned map.
        spec: what was cleaned.
    """
    if tuning is None or not isinstance(examples, CmbFree):
        return answer
    return tuning.applied(examples, replies, answer, spec)


@settings
class Postprocess(CaseStage):
    """Make the answer to one simulation.

    Attributes:
        examples: how simulations were made into arrays.
        recalibration: how its standard deviations were compared with errors, by which they are then multiplied; None:
            they are left as they are.
        tuning: how much of a correction is subtracted, of what corrects an estimate; None: all of it.
    """

    examples: Examples
    recalibration: Recalibration | None = None
    tuning: Tuning | None = later(None)
    reads: ClassVar = (ANSWER, ANSWER_TIME)
    may_read: ClassVar = (ANSWER_SIGMA, ANSWER_BANDPOWERS)
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP, SAMPLES, BANDPOWERS)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 3

    @property
    def _sees(self) -> bool:
        """Whether what was shown is looked at once more."""
        return self.examples.keeps_shown or self.recalibration is not None

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return the replies, what was shown where answers need it, and the factors of a recalibration."""
        shown = self.cases.shown if self._sees else ()
        return (*super().needs(), *shown, *(() if self.recalibration is None else (CALIBRATION,)))

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether such cases can be turned into arrays, and back."""
        self.examples.accepts(self.cases.spec())
        require_tunable(self.tuning, self.examples)

    def disk_bytes(self) -> int:
        """The answer, and the arrays that it is made of: how many `Predict` writes is not known there."""
        return 2 * self.cases.disk_bytes()

    def process(self, io: UnitIO) -> None:
        """Read the arrays, turn them back, write."""
        spec = self.cases.spec()
        case = self.cases.read(io) if self._sees else Case(spec, {})
        replies = io.read(ANSWER), io.read_optional(ANSWER_SIGMA), io.read_optional(ANSWER_BANDPOWERS)
        answer = put_together(self.examples, *replies, case)
        answer = tuned(self.tuning, self.examples, replies[0], answer, spec)
        if self.recalibration is not None:
            tracer = case.shown[self.recalibration.tracer_of(spec)]
            calibration: dict[str, Any] = io.read(CALIBRATION)
            answer = recalibrated(answer, tracer, calibration)
        write_answer(io, self.examples.name, answer, self.examples.accepts(spec))
        io.write(INFERENCE, io.read(ANSWER_TIME) | {"channels": list(self.examples.channels_shown(spec))})
