"""Scores of made-up methods."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from cmbml.metrics.pixel import PIXEL_METRICS
from cmbml.metrics.scores import Metric, Place, Score, ScoreBook, score_columns
from cmbml.metrics.uncertainty import UNCERTAINTY_METRICS
from cmbml.tables import Stack

METRICS = {metric.name: metric for metric in (*PIXEL_METRICS, *UNCERTAINTY_METRICS)}


class Given(NamedTuple):
    """A method's score of one simulation."""

    method: str
    sim: str
    place: Place
    value: float
    floor: float = math.nan
    noise_floor: float = math.nan
    sky: str = ""


def metric_of(place: Place) -> Metric:
    return METRICS[place.metric]


def book(given: Iterable[Given]) -> ScoreBook:
    """Return the scores as the programs have them."""
    of: dict[str, dict[str, list[Given]]] = {}
    for one in given:
        of.setdefault(one.method, {}).setdefault(one.sim, []).append(one)
    stacks = {}
    for method, sims in of.items():
        tables, skies = [], []
        for sim, ones in sorted(sims.items()):
            scores = [
                Score(
                    metric_of(g.place), g.place.footing, g.place.field, g.place.region, g.value, g.floor, g.noise_floor
                )
                for g in ones
            ]
            table = score_columns(scores)
            tables.append((sim, {name: column for name, column in table.items() if name != "sky"}))
            skies.append(ones[0].sky)
        stacks[method] = Stack.of(tables, {"sky": skies})
    return ScoreBook(stacks)
