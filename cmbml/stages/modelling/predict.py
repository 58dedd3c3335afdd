"""Ask a trained method for its answers, many simulations at a time."""

import time
from dataclasses import field
from typing import ClassVar

from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.trained import Hardware, State, TrainedMethod
from cmbml.settings import settings
from cmbml.stages.assets import ANSWER, ANSWER_TIME, FEATURES, METHOD, SIM, SPLIT, STATE
from cmbml.stages.modelling.method import ObservationStage


@settings
class Predict(ObservationStage):
    """Answer the simulations of one split.

    Attributes:
        method: what answers.
        hardware: what it runs on.
    """

    method: TrainedMethod
    hardware: Hardware = field(metadata={"matters": False})
    reads: ClassVar = (STATE, FEATURES)
    writes: ClassVar = (ANSWER, ANSWER_TIME)
    per: ClassVar = (METHOD, SPLIT)
    exact: ClassVar = False
    inside: ClassVar = (SIM,)

    def check(self, space: Space) -> None:
        """Ask the method whether it accepts such observations."""
        self.method.accepts(self.spec_of(space))

    def process(self, io: UnitIO) -> None:
        """Stream the features through the method, and write answer after answer."""
        state = State(*io.read(STATE))
        self.method.require_fit(state, self.observation_spec(list(self.channels)))
        sims = io.along(FEATURES, SIM)
        answers = self.method.predict(state, (array for _, array in io.read_each(FEATURES, SIM)), self.hardware)
        seconds = 0.0
        for sim in sims:
            started = time.perf_counter()
            answer = next(answers)
            seconds += time.perf_counter() - started
            io.write(ANSWER, answer, {SIM: sim})
        mean = round(seconds / len(sims), 4)
        for sim in sims:
            io.write(ANSWER_TIME, {"inference_seconds": mean, "threads": self.hardware.threads_used}, {SIM: sim})
