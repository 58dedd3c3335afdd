"""What shapes a map and its error have: Minkowski functionals on the sphere, and how far they are from the truth's.

They are taken from covariant derivatives of the band-limited field (Schmalzing & Gorski 1998, MNRAS 297, 355), not by
counting pixels of patches as `cmbml.metrics.population` does: no projection, no tiles, no direction that a pixel grid
prefers, and a Gaussian field has a closed form. A delta function of the threshold is a bin of the distance between two,
which smooths curves by 0.2 % of their height (Lim & Simon 2012, JCAP 01, 048).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from cmbml.metrics.population import TEXTURE_THRESHOLDS
from cmbml.metrics.scores import LOW, Metric
from cmbml.tables import Columns

Float = NDArray[np.float64]
THRESHOLDS = TEXTURE_THRESHOLDS
"""In standard deviations from the mean, `(50,)`."""
FUNCTIONALS = ("v0", "v1", "v2")
MAP_METRICS = tuple(
    Metric(f"map_{name}", f"largest gap of {name.upper()} of the map, in maxima of the truth's", "", LOW)
    for name in FUNCTIONALS
)
"""Of the cleaned map against the truth, at thresholds in the truth's standard deviations."""
RESIDUAL_METRICS = tuple(
    Metric(f"residual_{name}", f"largest gap of {name.upper()} of the residual, in maxima of the truth's", "", LOW)
    for name in FUNCTIONALS
)
"""Of the residual against the truth, each in standard deviations and maxima of its own: a residual of noise is as
Gaussian as the CMB is, and one of foregrounds is not."""


def functionals(field: Float, mean: float, sigma: float) -> Float:
    """Measure the Minkowski functionals of the parts of a field above each of `THRESHOLDS`, as densities.

    Args:
        field: `(6, n_pix)`, of `cmbml.sky.harmonics.derivatives`, at the pixels to be looked at.
        mean: where thresholds begin, in the unit of the field.
        sigma: what they are multiples of.

    Returns:
        `(3, n_threshold)`: V0, area; V1, a quarter of the contour's length, 1/rad; V2, its curvature integrated, over
        2 pi, 1/rad^2.
    """
    values, first, second, stretch, shear, laplacian = field
    square = np.maximum(first**2 + second**2, np.finfo(float).tiny)
    # Geodesic curvature of the contour times the slope, through which curvature enters per area, not per length.
    bend = (2 * first * second * shear + stretch * (first**2 - second**2)) / square - laplacian / 2
    level = (values - mean) / sigma
    width = THRESHOLDS[1] - THRESHOLDS[0]
    edges = np.append(THRESHOLDS - width / 2, THRESHOLDS[-1] + width / 2)
    ordered = np.sort(level)
    area = 1 - np.searchsorted(ordered, THRESHOLDS) / level.size
    weights = np.sqrt(square) / (4 * sigma), bend / (2 * np.pi * sigma)
    others = [np.histogram(level, edges, weights=weight)[0] / (level.size * width) for weight in weights]
    return np.stack([area, *others])


def gaussian_functionals(slope: float) -> Float:
    """Return what to expect of a Gaussian field on the sphere (Schmalzing & Gorski 1998, eq. 20).

    Args:
        slope: tau, half the mean squared gradient over the variance, 1/rad^2: `slope_of`.

    Returns:
        `(3, n_threshold)`.
    """
    fall = np.exp(-(THRESHOLDS**2) / 2)
    area = erfc(THRESHOLDS / np.sqrt(2)) / 2
    return np.stack([area, np.sqrt(slope) / 8 * fall, slope / (2 * np.pi) ** 1.5 * THRESHOLDS * fall])


def slope_of(field: Float, sigma: float) -> float:
    """Return half the mean squared gradient of a field, `(6, n_pix)`, over its variance."""
    return float((field[1] ** 2 + field[2] ** 2).mean() / (2 * sigma**2))


def shapes(truth: Float, residual: Float) -> Columns:
    """Measure a truth, the map that is the truth and a residual, and the residual.

    Args:
        truth: `(6, n_pix)`, of `derivatives`, at the pixels to be looked at, without monopole and dipole.
        residual: the same of what the map has beside it.

    Returns:
        A row for each field (`truth`, `map`, `residual`), functional and threshold: field, functional, threshold (in
        standard deviations: the truth's for truth and map, the residual's for the residual), value, and gaussian: what
        a Gaussian field of such variance and slope has. No residual where there is none.
    """
    whole = truth + residual
    fields = {"truth": (truth, truth), "map": (whole, truth)}
    # Rounding is no residual.
    if residual[0].std() > 1e-6 * truth[0].std():
        fields["residual"] = (residual, residual)
    rows: list[dict[str, Any]] = []
    for name, (field, scale) in fields.items():
        mean, sigma = float(scale[0].mean()), float(scale[0].std())
        found, expected = functionals(field, mean, sigma), gaussian_functionals(slope_of(scale, sigma))
        for functional, values, gaussian in zip(FUNCTIONALS, found, expected, strict=True):
            words = {word: np.full(THRESHOLDS.size, of) for word, of in (("field", name), ("functional", functional))}
            rows.append(words | {"threshold": THRESHOLDS, "value": values, "gaussian": gaussian})
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def curves(columns: Columns, column: str = "value") -> dict[tuple[str, str], Float]:
    """Return (field, functional) -> curves in maxima of a Gaussian field of such variance and slope.

    Args:
        columns: of `shapes`, or of many of them on top of one another: numbers may be `(n_sim, n_row)`.
        column: which.

    Returns:
        `(..., n_threshold)` each.
    """
    found = {}
    for field in dict.fromkeys(columns["field"].tolist()):
        for functional in FUNCTIONALS:
            rows = (columns["field"] == field) & (columns["functional"] == functional)
            top = np.abs(columns["gaussian"][..., rows]).max(axis=-1, keepdims=True)
            found[field, functional] = columns[column][..., rows] / top
    return found


def shape_gaps(columns: Columns) -> Mapping[Metric, tuple[float, float]]:
    """Return the largest gaps of a map and of its residual from the truth, and what to expect of them at best.

    Args:
        columns: of `shapes`.

    Returns:
        metric -> gap and floor: none for the map, which may be the truth; for the residual, how far the truth itself
        is from what a Gaussian field has on average: about as far as another one would be.
    """
    found, expected = curves(columns), curves(columns, "gaussian")
    gaps: dict[Metric, tuple[float, float]] = {}
    for field, metrics in (("map", MAP_METRICS), ("residual", RESIDUAL_METRICS)):
        for metric, name in zip(metrics, FUNCTIONALS, strict=True):
            if (field, name) in found:
                scatter = float(np.abs(found["truth", name] - expected["truth", name]).max())
                gap = float(np.abs(found[field, name] - found["truth", name]).max())
                gaps[metric] = (gap, scatter if field == "residual" else 0.0)
    return gaps
