"""Answer with a method that needs nothing but what it is shown."""

import time
from dataclasses import replace
from typing import ClassVar

from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.stages.assets import BANDPOWERS, CLEANED_MAP, INFERENCE, METHOD, SAMPLES, SIM, SPLIT, UNCERTAINTY_MAP
from cmbml.stages.modelling.stage import MethodStage, write_answer


@settings
class Clean(MethodStage):
    """Answer one simulation."""

    looks_at: ClassVar[tuple[str, ...]] = ("shown", "asked")
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP, SAMPLES, BANDPOWERS)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 3

    def process(self, io: UnitIO) -> None:
        """Read what is shown, answer, write."""
        case = self.shown(self.cases.read(io))
        if self.method.needs_truth:
            case = replace(case, asked=self.cases.read_asked(io))
        started = time.perf_counter()
        with io.scratch() as scratch:
            answer = self.method.clean(case, scratch, io.threads)
        seconds = time.perf_counter() - started
        write_answer(io, self.method.name, answer, self.method.accepts(case.spec))
        shown = list(self.method.channels_shown(case.spec))
        io.write(INFERENCE, {"inference_seconds": round(seconds, 4), "threads": io.threads, "channels": shown})
