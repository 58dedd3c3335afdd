"""What a score is: a metric, the place where it was taken, and the scores of all methods on one split.

Whoever judges answers says what its metrics are called, in which unit, and which way is better; nobody keeps a list of
all metrics that there may be.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.maps import MapError
from cmbml.tables import Columns, Stack

Numbers = NDArray[np.float64]
Number = TypeVar("Number", float, Numbers)
LOW, HIGH = -math.inf, math.inf


class ScoreError(MapError):
    """Answers that cannot be scored."""


@dataclass(frozen=True)
class Metric:
    """How a metric is read.

    Attributes:
        name: of its rows.
        label: in tables.
        unit: in tables; empty for a pure number.
        best: the value that a method should have: -inf if smaller is always better, +inf if larger is.
    """

    name: str
    label: str
    unit: str
    best: float

    def badness(self, value: Number) -> Number:
        """Return a number, or an array of them, that is smaller for better values."""
        return abs(value - self.best) if math.isfinite(self.best) else -math.copysign(1.0, self.best) * value

    @property
    def axis_label(self) -> str:
        """What it is called, with its unit."""
        return self.label + (f" ({self.unit.replace('u', 'µ', 1)})" if self.unit else "")

    @property
    def heading(self) -> str:
        """The same after an arrow towards the better values."""
        arrow = "→" if math.isfinite(self.best) else "↑" if self.best > 0 else "↓"
        goal = f" {self.best:g}" if math.isfinite(self.best) else ""
        return f"{arrow}{goal} {self.axis_label}"


@dataclass(frozen=True, order=True)
class Place:
    """Where a score was taken.

    Attributes:
        footing: on which footing maps were compared, such as a common beam.
        field: `I`, `Q`, `U`, or whatever was asked for.
        region: part of the sky, or of the cases.
        metric: name of the metric.
    """

    footing: str
    field: str
    region: str
    metric: str


@dataclass(frozen=True)
class Score:
    """A judge's number, of one case.

    Attributes:
        metric: what it is.
        footing, field, region: where it was taken.
        value: of the metric; NaN where it is not defined.
        floor: what a perfect answer would score there.
        noise_floor: what the noise alone allows.
        count: pixels, or whatever they are, over which it was taken.
    """

    metric: Metric
    footing: str
    field: str
    region: str
    value: float
    floor: float = math.nan
    noise_floor: float = math.nan
    count: int = 0


WORDS = ("sky", "footing", "field", "region", "metric", "label", "unit")
"""The columns of words of a table of scores."""
NUMBERS = ("value", "floor", "noise_floor", "count", "best")
"""Its columns of numbers."""


def score_columns(scores: Iterable[Score], sky: str = "") -> Columns:
    """Lay out the scores of one case as a table.

    Args:
        scores: of all judges.
        sky: that the case sees; empty where nobody knows.

    Raises:
        ScoreError: a metric has two scores at one place.
    """
    rows: dict[Place, tuple[tuple[str, ...], tuple[float, ...]]] = {}
    for score in scores:
        metric, where = score.metric, (score.footing, score.field, score.region)
        place = Place(*where, metric.name)
        if place in rows:
            message = f"two scores of '{metric.name}' at {', '.join(where)}; each metric has one judge"
            raise ScoreError(message)
        words = (sky, *where, metric.name, metric.label, metric.unit)
        rows[place] = (words, (score.value, score.floor, score.noise_floor, score.count, metric.best))
    columns: dict[str, NDArray[Any]] = {}
    for i, name in enumerate(WORDS):
        columns[name] = np.array([words[i] for words, _ in rows.values()], dtype=str)
    for i, name in enumerate(NUMBERS):
        columns[name] = np.array([numbers[i] for _, numbers in rows.values()], dtype=float)
    return columns


class ScoreBook:
    """The scores of several methods on the simulations of one split.

    Args:
        stacks: method -> its scores; the sky of each simulation is among their facts.
    """

    def __init__(self, stacks: Mapping[str, Stack]) -> None:
        self.stacks = dict(sorted(stacks.items()))
        self._rows = {method: _places_of(stack) for method, stack in self.stacks.items()}

    @cached_property
    def sims(self) -> list[str]:
        """The simulations of all methods, sorted."""
        return sorted({sim for stack in self.stacks.values() for sim in stack.sims.tolist()})

    @cached_property
    def places(self) -> list[Place]:
        """Where a method has a score, sorted."""
        return sorted({place for method, rows in self._rows.items() for place in rows if self._any(method, place)})

    @cached_property
    def skies(self) -> list[str] | None:
        """The sky of each simulation; None where nobody knows that of one."""
        of: dict[str, str] = {}
        for stack in self.stacks.values():
            known = stack.facts.get("sky", np.full(len(stack.sims), ""))
            of |= zip(stack.sims.tolist(), known.tolist(), strict=True)
        skies = [of[sim] for sim in self.sims]
        return skies if skies and all(skies) else None

    @cached_property
    def footings(self) -> list[str]:
        """The footings, in the order in which judges had them."""
        return list(dict.fromkeys(place.footing for rows in self._rows.values() for place in rows))

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Name -> metric, of all that were scored, in the order in which judges had them."""
        found: dict[str, Metric] = {}
        for method, stack in self.stacks.items():
            for place, row in self._rows[method].items():
                if place.metric not in found:
                    label, unit = (str(stack.words[name][row]) for name in ("label", "unit"))
                    # What is the same in all simulations; some may not have the row.
                    best = stack.numbers["best"][:, row]
                    found[place.metric] = Metric(place.metric, label, unit, float(best[~np.isnan(best)][0]))
        return found

    def at(self, place: Place, column: str = "value") -> dict[str, Numbers]:
        """Return method -> `(n_sim,)`, NaN where it has no score; without methods that have none at all.

        Args:
            place: where.
            column: `value`, `floor` or `noise_floor`.
        """
        return {
            method: self._aligned(method, stack.numbers[column][:, self._rows[method][place]])
            for method, stack in self.stacks.items()
            if place in self._rows[method] and self._any(method, place)
        }

    def _any(self, method: str, place: Place) -> bool:
        return not np.isnan(self.stacks[method].numbers["value"][:, self._rows[method][place]]).all()

    def _aligned(self, method: str, values: Numbers) -> Numbers:
        """Bring values of a method's simulations to those of all."""
        own = self.stacks[method].sims.tolist()
        if own == self.sims:
            return values
        found = dict(zip(own, values.tolist(), strict=True))
        return np.array([found.get(sim, math.nan) for sim in self.sims])


def _places_of(stack: Stack) -> dict[Place, int]:
    columns = [stack.words[name].tolist() for name in ("footing", "field", "region", "metric")]
    return {Place(*where): row for row, where in enumerate(zip(*columns, strict=True))}


def require_same(place: Place, values: Mapping[str, Numbers], sims: Sequence[str]) -> None:
    """Check that methods were scored on the same simulations.

    Raises:
        ScoreError: they were not.
    """
    there = {method: ~np.isnan(of) for method, of in values.items()}
    every = np.logical_or.reduce(list(there.values()))
    lacking = {method: np.flatnonzero(every & ~own) for method, own in there.items() if (every & ~own).any()}
    if lacking:
        parts = [
            f"'{method}' lacks {len(which)} ({', '.join(sims[i] for i in which[:5])}, ...)"
            for method, which in lacking.items()
        ]
        message = (
            f"methods were not scored on the same {every.sum()} simulations at {place.footing}, {place.field}, "
            f"{place.region}, {place.metric}: {'; '.join(parts)}; clean these, or compare over the "
            "simulations that all have"
        )
        raise ScoreError(message)
