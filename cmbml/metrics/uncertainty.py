"""Whether the error bars that a method gives are those that its errors have.

Every statistic is a sum over pixels (`cmbml.metrics.pixel.State`). Errors of neighbouring pixels are correlated, which
leaves the expectations as they are. An uncertainty map holds for the map as the method gave it, and is scored there: a
standard deviation per pixel does not say how errors add up under another beam.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from cmbml.metrics.pixel import Pixels, Regions, State, Values
from cmbml.metrics.scores import LOW, Metric, ScoreBook, ScoreError
from cmbml.sky.masks import Mask

HALF_WIDTHS = {"coverage68": float(ndtri(0.84)), "coverage95": float(ndtri(0.975))}
"""Half the width of the central 68 and 95 % intervals of a Gaussian, in standard deviations."""


N_PIT = 10
"""Bins of the histogram of probability integral transforms."""

UNCERTAINTY_METRICS = (
    Metric("coverage68", "coverage 68 %", "", 0.68),
    Metric("coverage95", "coverage 95 %", "", 0.95),
    Metric("calibration", "error / sigma", "", 1.0),
    Metric("crps", "CRPS", "uK_CMB", LOW),
    Metric("crps_constant", "CRPS of a constant sigma", "uK_CMB", LOW),
    Metric("sharpness", "mean sigma", "uK_CMB", LOW),
)

PIT_METRICS = tuple(
    Metric(f"pit{k}", f"PIT {k / N_PIT:.1f}-{(k + 1) / N_PIT:.1f}", "", 1 / N_PIT) for k in range(N_PIT)
)
"""Part of the truths that lie in each tenth of their forecast distribution: flat where error bars are right, a trough
where they are too long, high at both ends where they are too short."""

ERROR_BAR_METRICS = (*UNCERTAINTY_METRICS, *PIT_METRICS)
"""What `uncertainty_metrics` gives."""

BANDPOWER_METRICS = (
    Metric("coverage68", "coverage 68 %", "", 0.68),
    Metric("coverage95", "coverage 95 %", "", 0.95),
    Metric("calibration", "error / sigma", "", 1.0),
    Metric("crps_d_ell", "CRPS of D_l", "uK_CMB^2", LOW),
    Metric("crps_d_ell_constant", "CRPS of D_l, constant sigma", "uK_CMB^2", LOW),
    Metric("sharpness_d_ell", "mean sigma of D_l", "uK_CMB^2", LOW),
)
"""The same of spectra, whose unit is another."""


def crps_gaussian(error: Pixels, sigma: Pixels) -> Pixels:
    """Return the continuous ranked probability score of Gaussian forecasts (Gneiting & Raftery 2007, eq. 21).

    Args:
        error: truth minus mean of the forecast, or the reverse.
        sigma: standard deviation of the forecast, positive.

    Returns:
        The score, in the unit of the error: |error| for an infinitely narrow forecast, and smaller is better.

    Example:
        >>> crps_gaussian(np.zeros(1), np.ones(1)).round(4).tolist()
        [0.2337]
    """
    # It compiles what it has at its import: four seconds, which only those shall wait that have error bars.
    from scoringrules import crps_normal

    score: Pixels = np.asarray(crps_normal(error, 0.0, sigma), np.float64)
    return score


def brightness_classes(brightness: Values, mask: Mask, number: int = 5) -> dict[str, Mask]:
    """Sort the pixels of a mask into classes of equal size, from faint to bright.

    Args:
        brightness: `(n_pix,)`, such as a channel in which dust is all that is bright.
        mask: `(n_pix,)`.
        number: of classes.

    Returns:
        "dust 1/5", ... -> `(n_pix,)`.
    """
    edges = np.quantile(brightness[mask], np.arange(1, number) / number)
    which = np.digitize(brightness, edges)
    return {f"dust {k + 1}/{number}": mask & (which == k) for k in range(number)}


def sweep_uncertainty(
    truth: Values, prediction: Values, sigma: Values, regions: Regions, blocks: slice = slice(None)
) -> dict[str, State]:
    """Gather, in one pass, what the scores of error bars need.

    Args:
        truth: `(n_pix,)`.
        prediction: `(n_pix,)`, in the same unit.
        sigma: `(n_pix,)`, standard deviation of the prediction's error.
        regions: parts of the sky.
        blocks: which of the regions' blocks to visit; all by default.

    Returns:
        Region -> state: numbers of pixels inside 68 and 95 %, sums of z^2, of the CRPS, of the CRPS of a constant
        standard deviation (the rms of all errors in the first region: the best that one number can do), and of sigma;
        numbers of pixels in each bin of the PIT.

    Raises:
        ScoreError: a standard deviation is not positive, or a value is not finite.
    """
    constant = _rms_of_errors(truth, prediction, regions)
    cells: dict[int, State] = {}
    for cell, (t, p, s) in regions.walk(truth, prediction, sigma, blocks=blocks):
        if not s.min() > 0:
            message = (
                f"{np.count_nonzero(~(s > 0))} of {s.size} pixels of the uncertainty map are zero, negative or NaN "
                "inside the mask; it must hold the standard deviation of the error"
            )
            raise ScoreError(message)
        sums = _sums(p - t, s, constant)
        if not np.isfinite(sums).all():
            message = "the truth, the prediction or the uncertainty map holds NaN or infinity; mend the map"
            raise ScoreError(message)
        cells[cell] = cells.get(cell, State()) + State.of(t.size, sums)
    return regions.gather(cells)


def _rms_of_errors(truth: Values, prediction: Values, regions: Regions) -> float:
    """Return the rms error of the first region; one of no errors, or of none that are numbers, is taken for 1."""
    first = set(next(iter(regions.cells.values())))
    n, squares = 0, 0.0
    for cell, (t, p) in regions.walk(truth, prediction):
        if cell in first:
            n, squares = n + t.size, squares + float(np.square(p - t).sum())
    return math.sqrt(squares / n) if squares > 0 and math.isfinite(squares) else 1.0


def _rms(error: Pixels) -> float:
    """Return the rms of errors; one of no errors is taken for 1."""
    return float(np.sqrt(np.square(error).mean())) or 1.0


def _sums(error: Pixels, sigma: Pixels, constant: float) -> tuple[float, ...]:
    """Return what errors, prediction minus truth, add to a state."""
    z = error / sigma
    inside = [np.count_nonzero(np.abs(z) <= half) for half in HALF_WIDTHS.values()]
    scores = (
        np.square(z).sum(),
        crps_gaussian(error, sigma).sum(),
        crps_gaussian(error, np.full_like(error, constant)).sum(),
    )
    # The truth's place in its forecast: Phi((truth - prediction) / sigma).
    places = np.minimum((ndtr(-z) * N_PIT).astype(np.int64), N_PIT - 1) if np.isfinite(z).all() else np.zeros(0, int)
    return (*inside, *scores, sigma.sum(), *np.bincount(places, minlength=N_PIT))


def error_state(error: Pixels, sigma: Pixels) -> State:
    """Return the state of values that are one region: of pixels, or of one bin of the spectra of many patches.

    Args:
        error: `(n,)`, what was told minus the truth.
        sigma: `(n,)`, its standard deviation.

    Raises:
        ScoreError: a standard deviation is not positive.
    """
    if not (sigma > 0).all():
        message = f"{np.count_nonzero(~(sigma > 0))} of {sigma.size} standard deviations are zero, negative or NaN"
        raise ScoreError(message)
    return State.of(error.size, _sums(error, sigma, _rms(error)))


def uncertainty_metrics(state: State) -> dict[str, float]:
    """Turn a state into metrics.

    Returns:
        `coverage68`, `coverage95`: part of the pixels whose truth lies inside the central interval, 0.68 and 0.95 where
        error bars are right; `calibration`: rms of error / sigma, 1 where right, above where bars are too short;
        `crps`, and what it would be with one and the same sigma everywhere, uK_CMB; `sharpness`: mean sigma, uK_CMB;
        `pit0`, ...: part of the pixels in each bin of the PIT. NaN for a region without pixels.
    """
    names = [metric.name for metric in ERROR_BAR_METRICS]
    if not state.n:
        return dict.fromkeys(names, math.nan)
    found = [float(total / state.n) for total in state.totals]
    found[2] = math.sqrt(found[2])
    return dict(zip(names, found, strict=True))


@dataclass(frozen=True)
class ErrorBarRow:
    """How good the error bars of a method are in one place: means over simulations, by the names of the metrics.

    Attributes:
        method: whose.
        place: footing and region.
        values: metric -> mean over simulations.
    """

    method: str
    place: tuple[str, str]
    values: Mapping[str, float]


def error_bar_rows(book: ScoreBook, field: str = "I") -> list[ErrorBarRow]:
    """Gather what was scored of error bars, of one field, in the order of the judges."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    metrics = {m.name for m in (*ERROR_BAR_METRICS, *BANDPOWER_METRICS)}
    for method, stack in book.stacks.items():
        values = stack.numbers["value"]
        rows = zip(*(stack.words[name].tolist() for name in ("footing", "field", "region", "metric")), strict=True)
        for row, (footing, of, region, metric) in enumerate(rows):
            seen = values[:, row][~np.isnan(values[:, row])]
            if metric in metrics and of == field and seen.size:
                found.setdefault((method, footing, region), {})[metric] = float(seen.mean())
    return [
        ErrorBarRow(method, (footing, region), of)
        for (method, footing, region), of in found.items()
        if "coverage68" in of
    ]


RIGHT = {"coverage68": (0.64, 0.72), "coverage95": (0.93, 0.97)}
"""Coverages that are called right."""


def covered(row: ErrorBarRow, metric: str) -> bool:
    """Say whether a coverage is right."""
    low, high = RIGHT[metric]
    return low <= row.values[metric] <= high


TABLE_HEADS = ("method", "where", "region", "68 %", "95 %", "error / sigma", "CRPS", "of a constant", "mean sigma")


def error_bar_lines(rows: Sequence[ErrorBarRow]) -> list[list[str]]:
    """Lay rows out under `TABLE_HEADS`."""

    def cell(values: Mapping[str, float], *names: str) -> str:
        return next((f"{values[name]:.3g}" for name in names if name in values), "")

    return [
        [
            row.method,
            *row.place,
            *(f"{100 * row.values[name]:.1f}" for name in ("coverage68", "coverage95")),
            cell(row.values, "calibration"),
            cell(row.values, "crps", "crps_d_ell"),
            cell(row.values, "crps_constant", "crps_d_ell_constant"),
            cell(row.values, "sharpness", "sharpness_d_ell"),
        ]
        for row in rows
    ]


def error_bar_table(rows: Sequence[ErrorBarRow]) -> str:
    """Return the rows as Markdown."""
    lines = ["| " + " | ".join(TABLE_HEADS) + " |", "|---" * len(TABLE_HEADS) + "|"]
    lines += ["| " + " | ".join(line) + " |" for line in error_bar_lines(rows)]
    lines.append(
        "\nParts of the truths, in %, inside the central 68 and 95 % intervals; rms of error over sigma; the "
        "continuous ranked probability score beside that of one sigma everywhere, which is the rms of the errors; mean "
        "sigma. Of maps in uK_CMB, of bandpowers in uK_CMB^2. Means over simulations."
    )
    return "\n".join(lines) + "\n"
