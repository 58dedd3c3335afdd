"""Whether the error bars that a method gives are those that its errors have.

Every statistic is a sum over pixels (`cmbml.metrics.pixel.State`). Errors of neighbouring pixels are correlated, which
leaves the expectations as they are. An uncertainty map holds for the map as the method gave it, and is scored there: a
standard deviation per pixel does not say how errors add up under another beam.
"""

import math

import numpy as np
from scipy.special import ndtr, ndtri

from cmbml.metrics.pixel import Pixels, Regions, State, Values
from cmbml.metrics.scores import LOW, Metric, ScoreError

HALF_WIDTHS = {"coverage68": float(ndtri(0.84)), "coverage95": float(ndtri(0.975))}
"""Half the width of the central 68 and 95 % intervals of a Gaussian, in standard deviations."""


UNCERTAINTY_METRICS = (
    Metric("coverage68", "coverage 68 %", "", 0.68),
    Metric("coverage95", "coverage 95 %", "", 0.95),
    Metric("calibration", "error / sigma", "", 1.0),
    Metric("crps", "CRPS", "uK_CMB", LOW),
)
"""What `uncertainty_metrics` gives, in its order."""


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
    z = error / sigma
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    score: Pixels = sigma * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    return score


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
        Region -> state: numbers of pixels inside 68 and 95 %, sums of z^2 and of the CRPS.

    Raises:
        ScoreError: a standard deviation is not positive, or a value is not finite.
    """
    cells: dict[int, State] = {}
    for cell, (t, p, s) in regions.walk(truth, prediction, sigma, blocks=blocks):
        if not s.min() > 0:
            message = (
                f"{np.count_nonzero(~(s > 0))} of {s.size} pixels of the uncertainty map are zero, negative or NaN "
                "inside the mask; it must hold the standard deviation of the error"
            )
            raise ScoreError(message)
        error = p - t
        z = np.abs(error / s)
        inside = [np.count_nonzero(z <= half) for half in HALF_WIDTHS.values()]
        sums = (*inside, np.square(z).sum(), crps_gaussian(error, s).sum())
        if not np.isfinite(sums).all():
            message = "the truth, the prediction or the uncertainty map holds NaN or infinity; mend the map"
            raise ScoreError(message)
        cells[cell] = cells.get(cell, State()) + State.of(t.size, sums)
    return regions.gather(cells)


def uncertainty_metrics(state: State) -> dict[str, float]:
    """Turn a state into metrics.

    Returns:
        `coverage68`, `coverage95`: part of the pixels whose truth lies inside the central interval, 0.68 and 0.95 where
        error bars are right; `calibration`: rms of error / sigma, 1 where right, above where bars are too short;
        `crps`, uK_CMB. NaN for a region without pixels.
    """
    names = [metric.name for metric in UNCERTAINTY_METRICS]
    if not state.n:
        return dict.fromkeys(names, math.nan)
    first, second, squares, crps = (float(total / state.n) for total in state.totals)
    return dict(zip(names, (first, second, math.sqrt(squares), crps), strict=True))
