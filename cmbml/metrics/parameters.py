"""What the error of a spectrum does to cosmological parameters: Fisher's linear bias, in units of their errors.

With bandpowers D_b of variance s_b^2, and D_b linear in the parameters near the fiducial ones, a bias d_b of the
bandpowers moves the best fit by F^-1 sum_b (dD_b/dp) d_b / s_b^2, where F = sum_b (dD_b/dp_i) (dD_b/dp_j) / s_b^2
(Tegmark, Taylor and Heavens 1997, astro-ph/9603021; Knox, Scoccimarro and Dodelson 1998, astro-ph/9805012).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.scores import Metric, ScoreBook, ScoreError

Values = NDArray[np.float64]

AUTO, CROSS = "auto-spectrum", "cross-spectrum with the truth"
"""Of which spectrum a bias is: of the map's own, with all the power of its error in it; or without that power, as of
maps whose errors are independent."""
NEGLIGIBLE = 0.1
"""Bias, in sigma, below which a mean stands out in the table: it adds half a per cent to an error."""
WORST_CONDITION = 1e12
LABELS: Mapping[str, str] = {
    "h0": "H0",
    "ombh2": "ombh2",
    "omch2": "omch2",
    "ns": "ns",
    "tau": "tau",
    "logA": "ln(10^10 As)",
}
"""The parameters that there are, and what tables call them."""
PREFIX, TOTAL = "bias_", "bias_all"


@dataclass(frozen=True)
class ParameterBias:
    """Where the best fit goes.

    Attributes:
        shift: `(n_parameter,)`, in the units of the parameters.
        sigma: `(n_parameter,)`: standard deviations, all parameters being free.
        total: how far that is in all parameters together, sqrt(shift F shift).
    """

    shift: Values
    sigma: Values
    total: float


def fisher_matrix(derivatives: Values, sigma: Values) -> Values:
    """Return Fisher's matrix of bandpowers that do not depend on one another.

    Args:
        derivatives: `(n_parameter, n_bin)`, of the bandpowers by each parameter.
        sigma: `(n_bin,)`, standard deviations of the bandpowers.

    Returns:
        `(n_parameter, n_parameter)`.
    """
    scaled = derivatives / sigma
    matrix: Values = scaled @ scaled.T
    return matrix


def parameter_bias(derivatives: Values, difference: Values, sigma: Values) -> ParameterBias:
    """Return how far a bias of bandpowers moves parameters.

    Args:
        derivatives: `(n_parameter, n_bin)`.
        difference: `(n_bin,)`: what is added to the bandpowers.
        sigma: `(n_bin,)`.

    Raises:
        ScoreError: the bandpowers cannot tell the parameters apart.
    """
    size = np.sqrt(np.sum((derivatives / sigma) ** 2, axis=1))
    # Parameters in units of what each would be known to alone: the matrix is then of order one.
    scaled = derivatives / np.where(size > 0, size, 1)[:, None]
    matrix = fisher_matrix(scaled, sigma)
    if not (size > 0).all() or np.linalg.cond(matrix) > WORST_CONDITION:
        message = f"{len(difference)} bandpowers cannot tell {len(derivatives)} parameters apart"
        raise ScoreError(message)
    inverse = np.linalg.inv(matrix)
    shift = inverse @ (scaled @ (difference / sigma**2))
    return ParameterBias(shift / size, np.sqrt(np.diag(inverse)) / size, float(np.sqrt(shift @ matrix @ shift)))


def bias_metrics(names: Sequence[str]) -> list[Metric]:
    """Return the metric of each parameter, and that of all together."""
    found = [Metric(PREFIX + name, f"bias of {LABELS[name]}", "sigma", 0.0) for name in names]
    return [*found, Metric(TOTAL, "bias of all parameters together", "sigma", 0.0)]


def bias_grid(book: ScoreBook) -> tuple[list[str], list[list[str]], list[list[bool]]]:
    """Lay out the biases of all methods, mean and scatter over simulations.

    Returns:
        Heads, lines, and which cells stand out: means that are negligible. No lines where nothing was scored.
    """
    metrics = [metric for name, metric in book.metrics.items() if name.startswith(PREFIX)]
    heads = ["method", "spectrum", "field", *(metric.label.removeprefix("bias of ") for metric in metrics)]
    cells: dict[tuple[str, str, str], dict[str, Values]] = {}
    for place in book.places:
        if place.metric.startswith(PREFIX):
            for method, values in book.at(place).items():
                cells.setdefault((method, place.footing, place.field), {})[place.metric] = values
    lines, marked = [], []
    for head, found in cells.items():
        line, mark = list(head), [False] * len(head)
        for metric in metrics:
            values = found.get(metric.name, np.empty(0))
            values = values[~np.isnan(values)]
            mean = float(values.mean()) if values.size else np.nan
            scatter = f" ± {values.std(ddof=1):.2f}" if values.size > 1 else ""
            line.append(f"{mean:.2f}{scatter}" if values.size else "")
            mark.append(bool(abs(mean) < NEGLIGIBLE) and metric.name != TOTAL)
        lines.append(line)
        marked.append(mark)
    return heads, lines, marked
