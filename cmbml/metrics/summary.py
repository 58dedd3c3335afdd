"""Scores over simulations: mean and scatter, how sure a difference between methods is, ranks, and tables to print."""

import csv
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.intervals import Interval, mean_interval
from cmbml.metrics.pixel import ScoreError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """How a metric is read.

    Attributes:
        label: in tables.
        unit: in tables; empty for a pure number.
        best: the value that a method should have: -inf if smaller is always better, +inf if larger is.
    """

    label: str
    unit: str
    best: float

    def badness(self, value: float) -> float:
        """Return a number that is smaller for better values."""
        return abs(value - self.best) if math.isfinite(self.best) else -math.copysign(1.0, self.best) * value

    def heading(self, micro: str = "µ") -> str:
        """Return the label with an arrow towards the better values, and the unit."""
        arrow = "→" if math.isfinite(self.best) else "↑" if self.best > 0 else "↓"
        goal = f" {self.best:g}" if math.isfinite(self.best) else ""
        return f"{arrow}{goal} {self.label}" + (f" ({self.unit.replace('u', micro, 1)})" if self.unit else "")


LOW, HIGH = -math.inf, math.inf
METRICS: Mapping[str, Metric] = {
    "bias": Metric("bias", "uK_CMB", 0.0),
    "mae": Metric("MAE", "uK_CMB", LOW),
    "rmse": Metric("RMSE", "uK_CMB", LOW),
    "nrmse": Metric("NRMSE", "", LOW),
    "psnr_union": Metric("PSNR, union range", "dB", HIGH),
    "psnr_truth": Metric("PSNR, truth's range", "dB", HIGH),
    "r2": Metric("R2", "", HIGH),
    "coverage68": Metric("coverage 68 %", "", 0.68),
    "coverage95": Metric("coverage 95 %", "", 0.95),
    "calibration": Metric("error / sigma", "", 1.0),
    "crps": Metric("CRPS", "uK_CMB", LOW),
}


@dataclass(frozen=True, order=True)
class Place:
    """Where a score was taken."""

    footing: str
    field: str
    region: str
    metric: str


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
    return mean_interval(differences, None if skies is None else [skies[i] for i in np.flatnonzero(both)])


def ranks(means: Mapping[str, float], metric: Metric, unranked: Collection[str] = ()) -> dict[str, int]:
    """Rank methods by their means, from 1 for the best; equals share a rank, and 0 is for what takes no part.

    Example:
        >>> ranks({"a": 2.0, "b": 1.0, "c": 2.0, "d": math.nan}, METRICS["mae"])
        {'a': 2, 'b': 1, 'c': 2, 'd': 0}
    """
    part = {name: metric.badness(x) for name, x in means.items() if name not in unranked and not math.isnan(x)}
    return {name: 1 + sum(other < part[name] for other in part.values()) if name in part else 0 for name in means}


@dataclass(frozen=True)
class Score:
    """One metric of one simulation, as a table of scores has it."""

    method: str
    sim: str
    place: Place
    value: float
    floor: float = math.nan
    noise_floor: float = math.nan
    sky: str = ""


def skies_of(scores: Iterable[Score]) -> list[str] | None:
    """Return the sky of each score's simulation; None where nobody knows that of one."""
    skies = [score.sky for score in scores]
    return skies if all(skies) else None


def summarise(
    scores: Iterable[Score],
    seconds: Mapping[str, tuple[float, float]] | None = None,
    unranked: Collection[str] = (),
    reference: str | None = None,
) -> list[SummaryRow]:
    """Summarise the scores of all methods over simulations.

    Args:
        scores: in any order; every method on the same simulations.
        seconds: method -> (training, inference of one simulation).
        unranked: methods that are shown and take no part in the ranking, such as controls that see the truth.
        reference: what differences are taken to; the best ranked method of each place by default.

    Returns:
        Rows sorted by place and method, the same for any order of the scores.

    Raises:
        ScoreError: methods were scored on different simulations, a score stands twice, or a name is not known.
    """
    table: dict[Place, dict[str, dict[str, Score]]] = {}
    for score in scores:
        of_method = table.setdefault(score.place, {}).setdefault(score.method, {})
        if score.sim in of_method:
            message = f"method '{score.method}' has two scores of simulation {score.sim} at {score.place}; remove one"
            raise ScoreError(message)
        of_method[score.sim] = score
    rows: list[SummaryRow] = []
    for place in sorted(table):
        rows += _summarise_place(place, table[place], seconds or {}, unranked, reference)
    return rows


def _summarise_place(
    place: Place,
    methods: Mapping[str, Mapping[str, Score]],
    seconds: Mapping[str, tuple[float, float]],
    unranked: Collection[str],
    reference: str | None,
) -> list[SummaryRow]:
    _require_known(place, methods, reference)
    sims = sorted(next(iter(methods.values())))
    skies = skies_of(next(iter(methods.values()))[sim] for sim in sims)
    values = {name: np.array([of[sim].value for sim in sims]) for name, of in sorted(methods.items())}
    moments = {name: mean_and_std(array) for name, array in values.items()}
    rank = ranks({name: mean for name, (_, mean, _) in moments.items()}, METRICS[place.metric], unranked)
    best = reference or min((name for name in rank if rank[name]), key=rank.__getitem__, default=None)
    rows = []
    for name, array in values.items():
        n, mean, std = moments[name]
        floors = [[getattr(methods[name][sim], kind) for sim in sims] for kind in ("floor", "noise_floor")]
        floor, noise_floor = (mean_and_std(np.array(kind))[1] for kind in floors)
        found = paired_interval(array, values[best], skies) if best else Interval(math.nan)
        difference = (found.value, found.low, found.high, len(set(skies or ())))
        train, inference = seconds.get(name, (math.nan, math.nan))
        where = (name, place.footing, place.field, place.region, place.metric)
        rows.append(SummaryRow(*where, n, mean, std, floor, noise_floor, rank[name], *difference, train, inference))
    return rows


def _require_known(place: Place, methods: Mapping[str, Mapping[str, Score]], reference: str | None) -> None:
    if place.metric not in METRICS:
        message = f"there is no metric '{place.metric}'; there are {', '.join(METRICS)}"
        raise ScoreError(message)
    if reference is not None and reference not in methods:
        message = f"the reference '{reference}' has no score at {place}; there are {', '.join(sorted(methods))}"
        raise ScoreError(message)
    every = set().union(*methods.values())
    lacking = {name: sorted(every - set(of)) for name, of in sorted(methods.items()) if len(of) < len(every)}
    if lacking:
        parts = [f"'{name}' lacks {len(sims)} ({', '.join(sims[:5])}, ...)" for name, sims in lacking.items()]
        message = (
            f"methods were not scored on the same {len(every)} simulations: {'; '.join(parts)}; clean these, or "
            "compare over the simulations that all have"
        )
        raise ScoreError(message)


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
_TEX |= {sign: "\\" + sign for sign in "_%&#${}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


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
        metrics: the columns.
        footings: in the order of the table; that of the rows by default.
        floors: whether to write, in brackets, what a perfect map would score.

    Returns:
        The table: `mean ± std [floor]`, and, where they are known, the seconds of training and of one inference.
    """
    chosen = {(row.footing, row.method, row.metric): row for row in rows if (row.field, row.region) == (field, region)}
    timed = any(not math.isnan(row.inference_seconds) for row in chosen.values())
    heads = ["Beam", "Method", *[METRICS[name].heading() for name in metrics]]
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
