"""Ask a trained method for its answers, many simulations at a time."""

import time
from collections.abc import Iterator
from dataclasses import field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.trained import Hardware, State, TrainedMethod
from cmbml.settings import settings
from cmbml.stages.assets import ANSWER, ANSWER_SIGMA, ANSWER_TIME, METHOD, SIM, SPLIT, STATE
from cmbml.stages.tasks.cases import CaseStage


@settings
class Predict(CaseStage):
    """Answer the simulations of one split.

    Attributes:
        method: what answers.
        hardware: what it runs on.
    """

    method: TrainedMethod
    hardware: Hardware = field(metadata={"matters": False})
    looks_at: ClassVar = ("shown",)
    reads: ClassVar = (STATE,)
    writes: ClassVar = (ANSWER, ANSWER_TIME)
    may_write: ClassVar = (ANSWER_SIGMA,)
    per: ClassVar = (METHOD, SPLIT)
    reproducible: ClassVar = False
    inside: ClassVar = (SIM,)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Ask the method whether it accepts such cases."""
        self.method.accepts(self.cases.spec())

    def process(self, io: UnitIO) -> None:
        """Stream the samples of all simulations through the method, and write answer after answer."""
        state = State(*io.read(STATE))
        self.method.require_fit(state, self.cases.spec())
        sims = io.along(ANSWER, SIM)
        counts: list[int] = []
        replies = self.method.predict(state, self._samples(io, sims, counts), self.hardware)
        seconds = 0.0
        for number, sim in enumerate(sims):
            started = time.perf_counter()
            found = [next(replies)]
            # How many samples the simulation has is known once the first of them has been asked for.
            found += [next(replies) for _ in range(counts[number] - 1)]
            seconds += time.perf_counter() - started
            io.write(ANSWER, np.stack([reply.value for reply in found]), {SIM: sim})
            if sigmas := [reply.sigma for reply in found if reply.sigma is not None]:
                io.write(ANSWER_SIGMA, np.stack(sigmas), {SIM: sim})
        mean = round(seconds / len(sims), 4)
        for sim in sims:
            io.write(ANSWER_TIME, {"inference_seconds": mean, "threads": self.hardware.threads_used}, {SIM: sim})

    def _samples(self, io: UnitIO, sims: list[str], counts: list[int]) -> Iterator[NDArray[Any]]:
        """Give sample after sample; note in `counts` how many each simulation has."""
        for sim in sims:
            features = self.method.examples.features(self.cases.read(io, {SIM: sim}))
            counts.append(len(features))
            yield from features
