"""How much worse methods are on a sky that they do not know."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from cmbml.metrics.pixel import ScoreError
from cmbml.metrics.summary import METRICS, Grid, Numbers, Place, Score, csv_text, mean_and_std, plus_minus, resamples


@dataclass(frozen=True)
class OtherSkyRow:
    """One metric of one method at one place, on the sky that it knows and on another.

    Attributes:
        reference_split: the split on the known sky.
        split: the split on the other.
        n_reference: simulations of the former with a finite value.
        n: of the latter.
        reference: mean over the former.
        reference_std: their sample standard deviation.
        mean: mean over the latter.
        std: their sample standard deviation.
        ratio: mean / reference: above 1 where the method is worse on the other sky.
        ratio_low: lower end of its 95 % interval; NaN where a split has one simulation only.
        ratio_high: upper end.
    """

    method: str
    footing: str
    field: str
    region: str
    metric: str
    reference_split: str
    split: str
    n_reference: int
    n: int
    reference: float
    reference_std: float
    mean: float
    std: float
    ratio: float
    ratio_low: float
    ratio_high: float


def compare_skies(
    scores: Mapping[str, Sequence[Score]],
    reference: str,
    metrics: Sequence[str] = ("rmse", "mae"),
    n_resamples: int = 10_000,
    seed: int = 0,
) -> list[OtherSkyRow]:
    """Compare the scores of every method on one split with those on others.

    Args:
        scores: split -> scores of all methods and simulations, in any order.
        reference: the split that the others are compared with.
        metrics: which; of those whose smaller values are better.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Rows sorted by other split, place and method; without those where a split has no finite value.

    Raises:
        ScoreError: there is no such split, or a metric of which a ratio says nothing.
    """
    if reference not in scores:
        message = f"the reference split '{reference}' has no scores; there are {', '.join(sorted(scores))}"
        raise ScoreError(message)
    for name in metrics:
        if name not in METRICS or METRICS[name].best != -math.inf:
            known = ", ".join(name for name, metric in METRICS.items() if metric.best == -math.inf)
            message = f"of the metric '{name}' no ratio can be taken; of these it can: {known}"
            raise ScoreError(message)
    tables = {split: _values(found, metrics) for split, found in scores.items()}
    rows = []
    for split in sorted(tables.keys() - {reference}):
        for place, method in sorted(tables[reference].keys() & tables[split].keys()):
            known, other = (tables[name][place, method] for name in (reference, split))
            low, high = ratio_interval(known, other, n_resamples, seed)
            (n_known, mean_known, std_known), (n, mean, std) = mean_and_std(known), mean_and_std(other)
            ratio = mean / mean_known if mean_known else math.nan
            where = (method, place.footing, place.field, place.region, place.metric, reference, split)
            rows.append(OtherSkyRow(*where, n_known, n, mean_known, std_known, mean, std, ratio, low, high))
    return rows


def _values(scores: Sequence[Score], metrics: Sequence[str]) -> dict[tuple[Place, str], Numbers]:
    """Return the finite values at each place of each method, in the order of the simulations' names."""
    found: dict[tuple[Place, str], dict[str, float]] = {}
    for score in scores:
        if score.place.metric in metrics and math.isfinite(score.value):
            found.setdefault((score.place, score.method), {})[score.sim] = score.value
    return {key: np.array([values[sim] for sim in sorted(values)]) for key, values in found.items()}


def ratio_interval(
    reference: Numbers, values: Numbers, n_resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the ratio of two means by the bootstrap (Efron & Tibshirani 1993, sections 8.3 and 13.3).

    The simulations of two splits have nothing to do with one another, so each split is resampled by itself.

    Args:
        reference: `(n_reference,)`, positive: the means in the denominator.
        values: `(n,)`, the means in the numerator.
        n_resamples: number of draws.
        seed: of the draws.
        level: of the interval.

    Returns:
        Its ends; NaN where one of the two has less than two values.
    """
    if min(len(reference), len(values)) < 2 or not (reference > 0).all():
        return math.nan, math.nan
    # Not by BLAS, whose sums depend on the number of threads; and with two seeds, lest both be drawn alike.
    below = np.einsum("bn,n->b", resamples(len(reference), n_resamples, 2 * seed), reference)
    above = np.einsum("bn,n->b", resamples(len(values), n_resamples, 2 * seed + 1), values)
    low, high = np.quantile(above / below, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def other_sky_csv(rows: Sequence[OtherSkyRow]) -> str:
    """Return all rows as CSV, numbers to their last bit."""
    return csv_text([entry.name for entry in fields(OtherSkyRow)], map(astuple, rows))


def other_sky_grid(
    rows: Sequence[OtherSkyRow], footings: Sequence[str], metrics: Sequence[str], field: str = "I", region: str = "mask"
) -> Grid:
    """Lay out a table: a line per footing and method; for each metric and other split, both values and their ratio.

    Args:
        rows: as `compare_skies` returns them.
        footings: in the order of the table.
        metrics: in the order of the columns.
        field: which field.
        region: which part of the sky.
    """
    cells = {
        (row.footing, row.method, row.metric, row.split): row
        for row in rows
        if (row.field, row.region) == (field, region)
    }
    columns = [(metric, split) for metric in metrics for split in dict.fromkeys(key[3] for key in cells)]
    heads = ["Beam", "Method"]
    for metric, split in columns:
        known, name = rows[0].reference_split, METRICS[metric].heading()
        heads += [f"{name}, {known}", f"{name}, {split}", f"{split} / {known} [95 %]"]
    lines = []
    for footing in footings:
        for i, method in enumerate(dict.fromkeys(key[1] for key in cells if key[0] == footing)):
            texts = [text for column in columns for text in _cells(cells.get((footing, method, *column)))]
            lines.append(["" if i else footing, method, *texts])
    return Grid(heads, lines, [[False] * len(heads)] * len(lines))


def _cells(row: OtherSkyRow | None) -> list[str]:
    if row is None:
        return [plus_minus(math.nan, math.nan)] * 3
    interval = "" if math.isnan(row.ratio_low) else f" [{row.ratio_low:.3g}, {row.ratio_high:.3g}]"
    known, other = plus_minus(row.reference, row.reference_std), plus_minus(row.mean, row.std)
    return [known, other, f"{row.ratio:.3g}{interval}"]
