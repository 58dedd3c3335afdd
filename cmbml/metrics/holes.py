"""How well holes are filled: inside them alone, and by how far a pixel is from the edge.

A Gaussian sky has a limit that nothing passes: the scatter of what may be in a hole, given all that is around it
(`constrained_wiener` reaches it). The share of the signal's variance that is left says how near a filling comes.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cmbml.metrics.scores import HIGH, LOW, Metric
from cmbml.metrics.uncertainty import UNCERTAINTY_METRICS, error_state, uncertainty_metrics

Float = NDArray[np.float64]
Pixels = NDArray[np.int64]

HOLE_METRICS = (
    Metric("rmse", "RMSE in holes", "uK_CMB", LOW),
    Metric("mae", "MAE in holes", "uK_CMB", LOW),
    Metric("psnr", "PSNR in holes", "dB", HIGH),
    Metric("left", "error variance / signal variance", "", LOW),
    Metric("rms_ratio", "rms of the filling / rms of the signal", "", 1.0),
)
"""What `hole_metrics` gives, in its order."""

EDGES_DEG = (0.0, 0.5, 1.0, 2.0, math.inf)
"""Distances from the edge that are told apart, deg."""


def edge_distances(observed: NDArray[np.bool_]) -> tuple[Pixels, Float]:
    """Return the pixels in holes, and how far each is from the nearest pixel outside, deg."""
    nside = hp.npix2nside(observed.size)
    holes = np.flatnonzero(~observed)
    vectors = np.stack(hp.pix2vec(nside, np.arange(observed.size)), axis=-1)
    chord, _ = cKDTree(vectors[observed]).query(vectors[holes])
    return holes, np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def hole_regions(observed: NDArray[np.bool_]) -> Iterator[tuple[str, Pixels]]:
    """Yield the name and the pixels of all holes, and of what is within some distances of the edge."""
    holes, distance = edge_distances(observed)
    yield "holes", holes
    for low, high in pairwise(EDGES_DEG):
        inside = holes[(distance >= low) & (distance < high)]
        name = f"edge {low:g}-{high:g} deg" if math.isfinite(high) else f"edge beyond {low:g} deg"
        if inside.size:
            yield name, inside


def hole_metrics(truth: Float, filled: Float, signal_variance: float) -> tuple[float, ...]:
    """Return `HOLE_METRICS` over some pixels.

    Args:
        truth: `(n,)`, uK_CMB.
        filled: `(n,)`.
        signal_variance: of the signal over the whole sky, uK_CMB^2.
    """
    error = filled - truth
    square = float(np.mean(error**2))
    span = float(np.ptp(truth))
    psnr = 10 * math.log10(span**2 / square) if square > 0 and span > 0 else math.inf if span > 0 else math.nan
    ratio = math.sqrt(float(np.mean(filled**2)) / signal_variance)
    return math.sqrt(square), float(np.mean(np.abs(error))), psnr, square / signal_variance, ratio


def hole_uncertainty(truth: Float, filled: Float, sigma: Float) -> tuple[float, ...]:
    """Return `UNCERTAINTY_METRICS` over some pixels.

    Args:
        truth: `(n,)`, uK_CMB.
        filled: `(n,)`.
        sigma: `(n,)`, standard deviation of the error, above zero.
    """
    found = uncertainty_metrics(error_state(filled - truth, sigma))
    return tuple(found[metric.name] for metric in UNCERTAINTY_METRICS)
