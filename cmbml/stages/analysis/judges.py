"""Judge answers, each judge by its own metrics, and put the scores of all simulations together."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.scores import Score, ScoreBook, score_columns
from cmbml.settings import settings
from cmbml.stages.assets import (
    INFERENCE,
    METHOD,
    PARTS_RMS,
    PARTS_STACK,
    PREDICTION_SPEC,
    SCORE_STACK,
    SCORES,
    SHAPES,
    SHAPES_STACK,
    SIM,
    SKY,
    SKY_RECIPE,
    SPECTRA_SCORES,
    SPECTRA_STACK,
    SPLIT,
)
from cmbml.tables import Columns, Stack


@settings
class Judge(ABC):
    """One way to say how good an answer is. It owns its metrics: what they are called, and which way is better.

    Attributes:
        reads: the assets that it looks at.
        may_read: those that it looks at where they are.
        own_skies: whether every simulation has a sky of its own, of which no recipe tells.
    """

    reads: ClassVar[tuple[Asset[Any], ...]]
    may_read: ClassVar[tuple[Asset[Any], ...]] = ()
    own_skies: ClassVar[bool] = False

    @abstractmethod
    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give every metric at every place, of one simulation.

        Args:
            io: of a unit that reads what the judge reads.
        """

    def sky(self, io: UnitIO) -> str:
        """Return which sky a simulation sees, where no recipe tells; empty where nobody knows."""
        return f"{io.key[SPLIT]}_{io.key[SIM]}" if self.own_skies else ""

    def files(self) -> tuple[Path, ...]:
        """Return the raw files that it depends on."""
        return ()

    def check(self, space: Space) -> None:
        """Look, before any work, whether the settings can be met.

        Raises:
            ValueError: they cannot.
        """


@settings
class JudgeAnswers(Executor):
    """Ask every judge about the answer of a method to one simulation.

    Attributes:
        judges: by name; the name has no meaning.
    """

    judges: Mapping[str, Judge]
    writes: ClassVar = (SCORES,)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return what the judges read."""
        return tuple(dict.fromkeys(asset for judge in self.judges.values() for asset in judge.reads))

    def may_need(self) -> tuple[Asset[Any], ...]:
        """Return what they may read, and the sky."""
        return tuple(dict.fromkeys((*(a for judge in self.judges.values() for a in judge.may_read), SKY_RECIPE)))

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the files of all judges."""
        return tuple(path for judge in self.judges.values() for path in judge.files())

    def check(self, space: Space) -> None:
        """Let every judge look."""
        for judge in self.judges.values():
            judge.check(space)

    def process(self, io: UnitIO) -> None:
        """Judge, write a row per metric and place."""
        sky = sky_of(io) or next(filter(None, (judge.sky(io) for judge in self.judges.values())), "")
        io.write(SCORES, score_columns((s for judge in self.judges.values() for s in judge.scores(io)), sky))


def sky_of(io: UnitIO) -> str:
    """Return which sky a simulation sees; empty where nobody knows, as of imported simulations."""
    return next(iter(io.along(SKY_RECIPE, SKY)), "")


@settings
class GatherScores(Executor):
    """Put the scores of all simulations of a method on top of one another, so that they are read once.

    Everything that compares methods reads what this writes: a file per method and split, however many simulations.
    """

    reads: ClassVar = (SCORES,)
    may_read: ClassVar = (INFERENCE, PREDICTION_SPEC)
    writes: ClassVar = (SCORE_STACK,)
    per: ClassVar = (METHOD, SPLIT)

    def process(self, io: UnitIO) -> None:
        """Read the tables one by one, write them together with what is known of each simulation."""
        skies: list[str] = []
        maps = {key[SIM]: json.dumps(spec, sort_keys=True) for key, spec in io.read_all(PREDICTION_SPEC)}
        times = {key[SIM]: found["inference_seconds"] for key, found in io.read_all(INFERENCE)}

        def without_sky() -> Iterator[tuple[str, Columns]]:
            for key, table in io.read_all(SCORES):
                skies.append(str(table["sky"][0]) if len(table["sky"]) else "")
                yield key[SIM], {name: column for name, column in table.items() if name != "sky"}

        stack = Stack.of(without_sky())
        sims = stack.sims.tolist()
        seconds = ["" if times.get(sim) is None else repr(times[sim]) for sim in sims]
        facts = {"sky": skies, "map": [maps.get(sim, "") for sim in sims], "inference_seconds": seconds}
        io.write(SCORE_STACK, replace(stack, facts={name: np.array(of, dtype=str) for name, of in facts.items()}))


def put_together(io: UnitIO, scored: Asset[Columns], stacked: Asset[Stack]) -> None:
    """Put the tables of all simulations of a method on top of one another."""
    io.write(stacked, Stack.of((key[SIM], table) for key, table in io.read_all(scored)))


@settings
class GatherSpectra(Executor):
    """Put the spectra of all simulations of a method on top of one another."""

    reads: ClassVar = (SPECTRA_SCORES,)
    writes: ClassVar = (SPECTRA_STACK,)
    per: ClassVar = (METHOD, SPLIT)

    def process(self, io: UnitIO) -> None:
        """Read the tables one by one, write them together."""
        put_together(io, SPECTRA_SCORES, SPECTRA_STACK)


@settings
class GatherParts(Executor):
    """Put the sizes of the parts of a method's errors on top of one another."""

    reads: ClassVar = (PARTS_RMS,)
    writes: ClassVar = (PARTS_STACK,)
    per: ClassVar = (METHOD, SPLIT)

    def process(self, io: UnitIO) -> None:
        """Read the tables one by one, write them together."""
        put_together(io, PARTS_RMS, PARTS_STACK)


@settings
class GatherShapes(Executor):
    """Put the shapes of a method's maps and residuals on top of one another."""

    reads: ClassVar = (SHAPES,)
    writes: ClassVar = (SHAPES_STACK,)
    per: ClassVar = (METHOD, SPLIT)

    def process(self, io: UnitIO) -> None:
        """Read the tables one by one, write them together."""
        put_together(io, SHAPES, SHAPES_STACK)


def stacks_of(io: UnitIO, asset: Asset[Stack]) -> dict[str, Stack]:
    """Read what there is of every method."""
    return {key[METHOD]: stack for key, stack in io.read_all(asset)}


def score_book(io: UnitIO) -> ScoreBook:
    """Read the scores of every method."""
    return ScoreBook(stacks_of(io, SCORE_STACK))
