"""How much worse methods are on a sky that they do not know."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from cmbml.metrics.intervals import ratio_interval
from cmbml.metrics.scores import LOW, Metric, Numbers, Place, ScoreBook, ScoreError
from cmbml.metrics.summary import Grid, csv_text, mean_and_std, plus_minus


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
        ratio_low: lower end of its 95 % interval; NaN where a split has fewer than three simulations.
        ratio_high: upper end.
        over: what the interval takes as independent: simulations, or the skies that they see.
        label: what the metric is called.
        unit: of the metric.
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
    over: str
    label: str
    unit: str


def compare_skies(
    books: Mapping[str, ScoreBook],
    reference: str,
    metrics: Sequence[str] = ("rmse", "mae"),
) -> list[OtherSkyRow]:
    """Compare the scores of every method on one split with those on others.

    Args:
        books: split -> scores of all methods.
        reference: the split that the others are compared with.
        metrics: which; of those whose smaller values are better.

    Returns:
        Rows sorted by other split, place and method; without those where a split has no finite value.

    Raises:
        ScoreError: there is no such split, or a metric of which a ratio says nothing.
    """
    if reference not in books:
        message = f"the reference split '{reference}' has no scores; there are {', '.join(sorted(books))}"
        raise ScoreError(message)
    kinds = {name: metric for book in books.values() for name, metric in book.metrics.items()}
    for name in metrics:
        if name not in kinds or kinds[name].best != LOW:
            known = ", ".join(name for name, metric in kinds.items() if metric.best == LOW)
            message = f"of the metric '{name}' no ratio can be taken; of these it can: {known}"
            raise ScoreError(message)
    rows = []
    for split in sorted(books.keys() - {reference}):
        for place in sorted({*books[reference].places} & {*books[split].places}):
            if place.metric in metrics:
                rows += _compare_place(place, kinds[place.metric], books, reference, split)
    return rows


def _compare_place(
    place: Place, kind: Metric, books: Mapping[str, ScoreBook], reference: str, split: str
) -> list[OtherSkyRow]:
    known, other = (books[name].at(place) for name in (reference, split))
    rows = []
    for method in sorted(known.keys() & other.keys()):
        (before, before_skies), (after, after_skies) = (
            _finite(found[method], books[name].skies) for found, name in ((known, reference), (other, split))
        )
        if not len(before) or not len(after):
            continue
        found = ratio_interval(before, after, before_skies, after_skies)
        (n_known, mean_known, std_known), (n, mean, std) = mean_and_std(before), mean_and_std(after)
        where = (method, place.footing, place.field, place.region, place.metric, reference, split)
        interval = (found.value, found.low, found.high, found.over)
        means = (n_known, n, mean_known, std_known, mean, std)
        rows.append(OtherSkyRow(*where, *means, *interval, kind.label, kind.unit))
    return rows


def _finite(values: Numbers, skies: Sequence[str] | None) -> tuple[Numbers, list[str] | None]:
    """Return the finite values, and their skies."""
    kept = np.isfinite(values)
    return values[kept], None if skies is None else list(itertools.compress(skies, kept.tolist()))


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
    kinds = {row.metric: Metric(row.metric, row.label, row.unit, LOW) for row in rows}
    for metric, split in columns:
        known, name = rows[0].reference_split, kinds[metric].heading
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
