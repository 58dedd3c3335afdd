"""Ask a trained method for its answers, many simulations at a time."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.space import Axis, Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.trained import Hardware, Reply, State, TrainedMethod
from cmbml.settings import settings
from cmbml.sky.case import Bandpowers
from cmbml.stages.assets import ANSWER, ANSWER_BANDPOWERS, ANSWER_SIGMA, ANSWER_TIME, METHOD, SIM, SPLIT, STATE
from cmbml.stages.tasks.cases import Cases, CaseStage

log = logging.getLogger(__name__)


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
    may_write: ClassVar = (ANSWER_SIGMA, ANSWER_BANDPOWERS)
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
        places = [{SIM: sim} for sim in sims]
        seconds, beyond = 0.0, dict.fromkeys(sims, None)
        for at, replies, took in asked_one_by_one(io, places, self.method, state, self.cases, self.hardware):
            seconds += took
            io.write(ANSWER, np.stack([reply.value for reply in replies]), at)
            if (sigma := sigmas(replies)) is not None:
                io.write(ANSWER_SIGMA, sigma, at)
            if (bandpowers := spectra(replies)) is not None:
                io.write(ANSWER_BANDPOWERS, bandpowers, at)
            beyond[at[SIM]] = strangeness(replies)
        warn_of_strangers(io.key[METHOD], {f"{io.key[SPLIT]}/{sim}": far for sim, far in beyond.items()})
        mean = round(seconds / len(sims), 4)
        for sim in sims:
            told = {"inference_seconds": mean, "threads": self.hardware.threads_used}
            far = beyond[sim]
            io.write(ANSWER_TIME, told if far is None else told | {"beyond_training": round(far, 3)}, {SIM: sim})


def strangeness(replies: Sequence[Reply]) -> float | None:
    """Return how far beyond those of the training the samples of a case are, in the median, of methods that know it."""
    told = [reply.beyond for reply in replies if reply.beyond is not None]
    return float(np.median(told)) if told else None


def warn_of_strangers(method: str, beyond: Mapping[str, float | None]) -> None:
    """Tell the user of cases that are like nothing that was learnt from.

    Args:
        method: its name.
        beyond: case -> what `strangeness` says of it.
    """
    strange = {name: far for name, far in beyond.items() if far is not None and far > 1}
    if strange:
        log.warning(
            "%s: %d of %d are unlike what it was trained on (%s is %.2f times as far from the mean of the training as "
            "99 in 100 of its samples): expect larger errors there than scores and bars say, or train on such skies",
            method,
            len(strange),
            len(beyond),
            max(strange, key=lambda name: strange[name]),
            max(strange.values()),
        )


def sigmas(replies: Sequence[Reply]) -> NDArray[np.float32] | None:
    """Return the standard deviations of the samples of a case, of methods that tell them."""
    told = [reply.sigma for reply in replies if reply.sigma is not None]
    return np.stack(told) if told else None


def spectra(replies: Sequence[Reply]) -> Bandpowers | None:
    """Return the spectra of the samples of a case, of methods that tell them."""
    told = [reply.bandpowers for reply in replies if reply.bandpowers is not None]
    return Bandpowers.joined(told) if told else None


def asked_one_by_one(
    io: UnitIO,
    places: Sequence[Mapping[Axis, str]],
    method: TrainedMethod,
    state: State,
    cases: Cases,
    hardware: Hardware,
) -> Iterator[tuple[Mapping[Axis, str], list[Reply], float]]:
    """Stream the samples of several simulations through a method: batches go on from one to the next.

    Args:
        io: of a unit that reads what the cases show.
        places: which simulations.
        method: what answers.
        state: what it has learnt.
        cases: which question is asked.
        hardware: what it runs on.

    Yields:
        The simulation, the replies to all its samples, and the seconds that they took.
    """
    counts: list[int] = []

    def samples() -> Iterator[NDArray[Any]]:
        for at in places:
            features = method.examples.features(cases.read(io, at))
            counts.append(len(features))
            yield from features

    replies = method.predict(state, samples(), hardware)
    for number, at in enumerate(places):
        started = time.perf_counter()
        found = [next(replies)]
        # How many samples the simulation has is known once the first of them has been asked for.
        found += [next(replies) for _ in range(counts[number] - 1)]
        yield at, found, time.perf_counter() - started
