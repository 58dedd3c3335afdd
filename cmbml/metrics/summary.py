"""Scores over simulations: mean and scatter, how sure a difference between methods is, ranks, and tables to print."""

import csv
import io
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from cmbml.metrics.intervals import Interval, mean_interval
from cmbml.metrics.scores import Metric, Numbers, Place, ScoreBook, ScoreError, require_same


@dataclass(frozen=True)
class SummaryRow:
    """One metric of one method at one place, over simulations.

    Attributes:
        n: simulations with a value.
        mean: over them.
        std: their sample standard deviation (ddof 1); NaN for one simulation.
        floor: mean of what a perfect map would score.
        noise_floor: mean of what noise alone allows.
        rank: 1 for the best mean; 0 for what takes no part.
        difference: mean minus that of the best method (or of the reference), over the simulations that both have.
        ci_low: lower end of its 95 % interval; NaN for fewer than three simulations.
        ci_high: upper end.
        n_skies: different skies that the simulations see; 0 where nobody knows. From three on, intervals are over them.
        train_seconds: of the method.
        inference_seconds: of the method, for one simulation.
        label: what the metric is called.
        unit: of the metric.
        best: the value that a method should have, infinite where more, or less, is always better.
    """

    method: str
    footing: str
    field: str
    region: str
    metric: str
    n: int
    mean: float
    std: float
    floor: float
    noise_floor: float
    rank: int
    difference: float
    ci_low: float
    ci_high: float
    n_skies: int
    train_seconds: float
    inference_seconds: float
    label: str
    unit: str
    best: float

    @property
    def kind(self) -> Metric:
        """The metric."""
        return Metric(self.metric, self.label, self.unit, self.best)


def mean_and_std(values: Numbers) -> tuple[int, float, float]:
    """Return the number, mean and sample standard deviation of the values that are not NaN.

    The mean of values of which one is infinite is infinite, and then there is no standard deviation.

    Example:
        >>> mean_and_std(np.array([1.0, 3.0, np.nan]))
        (2, 2.0, 1.4142135623730951)
    """
    kept = values[~np.isnan(values)].tolist()
    if not kept:
        return 0, math.nan, math.nan
    if not all(map(math.isfinite, kept)):
        return len(kept), float(np.mean(kept)), math.nan
    # `fsum` rounds once: the order of simulations cannot change the result.
    mean = math.fsum(kept) / len(kept)
    std = math.sqrt(math.fsum((x - mean) ** 2 for x in kept) / (len(kept) - 1)) if len(kept) > 1 else math.nan
    return len(kept), mean, std


def paired_interval(values: Numbers, reference: Numbers, skies: Sequence[str] | None = None) -> Interval:
    """Compare two methods on the same simulations.

    What is hard for both about one simulation drops out of their difference.

    Args:
        values: `(n_sim,)`.
        reference: `(n_sim,)`, in the same order.
        skies: the sky of each simulation; None where nobody knows.

    Returns:
        Mean of values - reference over the simulations where both are finite, and its 95 % interval.
    """
    both = np.isfinite(values) & np.isfinite(reference)
    differences = (values - np.where(both, reference, 0.0))[both]
    return mean_interval(differences, None if skies is None else list(itertools.compress(skies, both.tolist())))


def ranks(means: Mapping[str, float], metric: Metric, unranked: Collection[str] = ()) -> dict[str, int]:
    """Rank methods by their means, from 1 for the best; equals share a rank, and 0 is for what takes no part.

    Example:
        >>> ranks({"a": 2.0, "b": 1.0, "c": 2.0, "d": math.nan}, Metric("mae", "MAE", "uK_CMB", -math.inf))
        {'a': 2, 'b': 1, 'c': 2, 'd': 0}
    """
    part = {name: metric.badness(x) for name, x in means.items() if name not in unranked and not math.isnan(x)}
    return {name: 1 + sum(other < part[name] for other in part.values()) if name in part else 0 for name in means}


def summarise(
    book: ScoreBook,
    seconds: Mapping[str, tuple[float, float]] | None = None,
    unranked: Collection[str] = (),
    reference: str | None = None,
) -> list[SummaryRow]:
    """Summarise the scores of all methods over simulations.

    Args:
        book: every method on the same simulations.
        seconds: method -> (training, inference of one simulation).
        unranked: methods that are shown and take no part in the ranking, such as controls that see the truth.
        reference: what differences are taken to; the best ranked method of each place by default.

    Returns:
        Rows sorted by place and method.

    Raises:
        ScoreError: methods were scored on different simulations, or there is no such reference.
    """
    rows: list[SummaryRow] = []
    for place in book.places:
        rows += _summarise_place(book, place, seconds or {}, unranked, reference)
    return rows


def _summarise_place(
    book: ScoreBook,
    place: Place,
    seconds: Mapping[str, tuple[float, float]],
    unranked: Collection[str],
    reference: str | None,
) -> list[SummaryRow]:
    values, metric = book.at(place), book.metrics[place.metric]
    if reference is not None and reference not in values:
        message = f"the reference '{reference}' has no score at {place}; there are {', '.join(values)}"
        raise ScoreError(message)
    require_same(place, values, book.sims)
    floors = [book.at(place, kind) for kind in ("floor", "noise_floor")]
    moments = {name: mean_and_std(array) for name, array in values.items()}
    rank = ranks({name: mean for name, (_, mean, _) in moments.items()}, metric, unranked)
    best = reference or min((name for name in rank if rank[name]), key=rank.__getitem__, default=None)
    n_skies = len(set(book.skies or ()))
    rows = []
    for name, array in values.items():
        floor, noise_floor = (mean_and_std(kind[name])[1] for kind in floors)
        found = paired_interval(array, values[best], book.skies) if best else Interval(math.nan)
        n, mean, std = moments[name]
        train, inference = seconds.get(name, (math.nan, math.nan))
        rows.append(
            SummaryRow(
                method=name,
                footing=place.footing,
                field=place.field,
                region=place.region,
                metric=metric.name,
                n=n,
                mean=mean,
                std=std,
                floor=floor,
                noise_floor=noise_floor,
                rank=rank[name],
                difference=found.value,
                ci_low=found.low,
                ci_high=found.high,
                n_skies=n_skies,
                train_seconds=train,
                inference_seconds=inference,
                label=metric.label,
                unit=metric.unit,
                best=metric.best,
            )
        )
    return rows


def plus_minus(mean: float, std: float) -> str:
    """Write a mean and its scatter, to two digits of the scatter.

    Example:
        >>> plus_minus(18.4961, 0.1904), plus_minus(3.0, math.nan), plus_minus(math.inf, math.nan)
        ('18.50 ± 0.19', '3', '∞')
    """
    if not math.isfinite(mean):
        return "–" if math.isnan(mean) else "∞" if mean > 0 else "-∞"
    if math.isnan(std) or std == 0:
        return f"{mean:.4g}" + (" ± 0" if std == 0 else "")
    digits = max(0, 1 - math.floor(math.log10(std)))
    return f"{mean:.{digits}f} ± {std:.{digits}f}" if digits <= 8 else f"{mean:.2g} ± {std:.2g}"


@dataclass(frozen=True)
class Grid:
    """A table of scores as a paper prints it: a line per footing and method, a column per metric.

    Attributes:
        heads: of the columns.
        lines: the cells' texts.
        best: whether a cell holds the best of its footing.
    """

    heads: list[str]
    lines: list[list[str]]
    best: list[list[bool]]

    def markdown(self) -> str:
        """Return the table in Markdown, the best values bold."""
        lines = [self.heads, ["---", "---", *["---:"] * (len(self.heads) - 2)]]
        for texts, best in zip(self.lines, self.best, strict=True):
            lines.append([f"**{t}**" if b else t.replace("|", r"\|") for t, b in zip(texts, best, strict=True)])
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def latex(self) -> str:
        """Return the table in LaTeX (package `booktabs`), the best values bold."""
        out = [r"\begin{tabular}{ll" + "r" * (len(self.heads) - 2) + "}", r"\toprule"]
        out += [" & ".join(map(_tex, self.heads)) + r" \\", r"\midrule"]
        for i, (texts, best) in enumerate(zip(self.lines, self.best, strict=True)):
            if i and texts[0]:
                out.append(r"\addlinespace")
            numbers = [
                rf"\boldmath ${_tex_number(t)}$" if b else f"${_tex_number(t)}$"
                for t, b in zip(texts, best, strict=True)
            ]
            out.append(" & ".join([*map(_tex, texts[:2]), *numbers[2:]]) + r" \\")
        return "\n".join([*out, r"\bottomrule", r"\end{tabular}", ""])


_TEX: dict[str | int, str | int | None] = {
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "µ": r"$\mu$",
    "\\": r"\textbackslash{}",
}
_TEX.update({sign: "\\" + sign for sign in "_%&#${}"})
_TEX.update({"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"})


def _tex(text: str) -> str:
    return text.translate(str.maketrans(_TEX)).replace(r"K\_CMB", r"K$_\mathrm{CMB}$")


def _tex_number(text: str) -> str:
    return text.replace("±", r"\pm").replace("∞", r"\infty").replace("–", r"\mbox{--}")


def score_grid(
    rows: Sequence[SummaryRow],
    field: str = "I",
    region: str = "mask",
    metrics: Sequence[str] = ("mae", "rmse", "nrmse", "psnr_union"),
    footings: Sequence[str] | None = None,
    floors: bool = True,
) -> Grid:
    """Lay out a table in the style of the CMB-ML paper's Table 1.

    Args:
        rows: of the summary.
        field: which field.
        region: which part of the sky.
        metrics: the columns, of those that were scored; all that were, if none of these is.
        footings: in the order of the table; that of the rows by default.
        floors: whether to write, in brackets, what a perfect map would score.

    Returns:
        The table: `mean ± std [floor]`, and, where they are known, the seconds of training and of one inference.
    """
    chosen = {(row.footing, row.method, row.metric): row for row in rows if (row.field, row.region) == (field, region)}
    timed = any(not math.isnan(row.inference_seconds) for row in chosen.values())
    kinds = {row.metric: row.kind for row in chosen.values()}
    metrics = [name for name in metrics if name in kinds] or list(kinds)
    heads = ["Beam", "Method", *[kinds[name].heading for name in metrics]]
    heads += ["training (s)", "inference (s)"] * timed
    lines, marks = [], []
    for footing in footings or dict.fromkeys(row.footing for row in chosen.values()):
        for i, method in enumerate(dict.fromkeys(key[1] for key in chosen if key[0] == footing)):
            cells = [chosen.get((footing, method, name)) for name in metrics]
            line = ["" if i else footing, method, *[_cell(row, floors) for row in cells]]
            if timed:
                row = next(row for key, row in chosen.items() if key[:2] == (footing, method))
                line += [plus_minus(seconds, math.nan) for seconds in (row.train_seconds, row.inference_seconds)]
            lines.append(line)
            marks.append([False, False, *[row is not None and row.rank == 1 for row in cells], *[False, False] * timed])
    return Grid(heads, lines, marks)


def _cell(row: SummaryRow | None, floors: bool) -> str:
    if row is None:
        return plus_minus(math.nan, math.nan)
    floor = f" [{row.floor:.4g}]" if floors and math.isfinite(row.floor) else ""
    return plus_minus(row.mean, row.std) + floor


def to_csv(rows: Sequence[SummaryRow]) -> str:
    """Return all rows as CSV, numbers to their last bit."""
    return csv_text([entry.name for entry in fields(SummaryRow)], map(astuple, rows))


def csv_text(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV, numbers to their last bit; None leaves a cell empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(lines)
    return text.getvalue()
