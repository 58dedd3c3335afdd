"""How well holes are filled: inside them alone, by how far a pixel is from the edge, and by how large the hole is.

A Gaussian sky has a limit that nothing passes: the scatter of what may be in a hole, given all that is around it
(`constrained_wiener` reaches it). The share of the signal's variance that is left says how near a filling comes.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cmbml.metrics.scores import HIGH, LOW, Metric
from cmbml.metrics.uncertainty import ERROR_BAR_METRICS, error_state, uncertainty_metrics
from cmbml.sky.holes import separate_holes
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import PatchSpec, axes_of, inside

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

ENERGY_SCORE = Metric("energy_score", "energy score of draws", "uK_CMB", LOW)
"""What `energy_score` gives."""

EDGES_DEG = (0.0, 0.5, 1.0, 2.0, math.inf)
"""Distances from the edge that are told apart, deg."""

RADII_DEG = (0.0, 0.8, 1.5, 2.5, 5.0, math.inf)
"""Radii of holes that are told apart, deg: of disks of the same area."""

COLOUR_METRICS = (
    Metric("colour_mse", "MSE, colours from 0 to 1", "", LOW),
    Metric("colour_mae", "MAE, colours from 0 to 1", "", LOW),
    Metric("colour_psnr", "PSNR, colours from 0 to 1", "dB", HIGH),
)
"""What `colour_metrics` gives, in its order."""


def edge_distances(observed: NDArray[np.bool_]) -> tuple[Pixels, Float]:
    """Return the pixels in holes, and how far each is from the nearest pixel outside, deg."""
    nside = hp.npix2nside(observed.size)
    holes = np.flatnonzero(~observed)
    vectors = np.stack(hp.pix2vec(nside, np.arange(observed.size)), axis=-1)
    chord, _ = cKDTree(vectors[observed]).query(vectors[holes])
    return holes, np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def hole_regions(observed: NDArray[np.bool_]) -> Iterator[tuple[str, Pixels]]:
    """Yield name and pixels: of all holes, of what is within some distances of the edge, of holes of some radii."""
    holes, distance = edge_distances(observed)
    yield "holes", holes
    for low, high in pairwise(EDGES_DEG):
        found = holes[(distance >= low) & (distance < high)]
        if found.size:
            yield _range_name("edge", low, high), found
    single = separate_holes(observed)
    for low, high in pairwise(RADII_DEG):
        if alike := [hole.pixels for hole in single if low <= hole.radius_deg < high]:
            yield _range_name("radius", low, high), np.concatenate(alike)


def _range_name(what: str, low: float, high: float) -> str:
    return f"{what} {low:g}-{high:g} deg" if math.isfinite(high) else f"{what} beyond {low:g} deg"


def square_patch(maps: MapSpec, side_deg: float) -> PatchSpec:
    """Return a square gnomonic patch of 100 x 100 pixels."""
    return PatchSpec(maps=maps, height=100, width=100, pixel_arcmin=(0.6 * side_deg, 0.6 * side_deg))


def pixels_around(maps: MapSpec, observed: NDArray[np.bool_], side_deg: float) -> list[tuple[Pixels, Pixels]]:
    """Return, for each hole that lies within a patch around it, the pixels of the patch, and those in holes.

    Args:
        maps: what the maps are.
        observed: `(n_pix,)`, False in holes.
        side_deg: of the patches, deg.
    """
    found, spec = [], square_patch(maps, side_deg)
    for hole in separate_holes(observed):
        if hole.reach_deg < side_deg / 2:
            pixels = inside(spec, axes_of(np.array([[*hole.centre, 0.0]]))[0])[0]
            found.append((pixels, pixels[~observed[pixels]]))
    return found


def colour_metrics(truth: Float, filled: Float, patches: list[tuple[Pixels, Pixels]]) -> list[tuple[float, ...]]:
    """Return `COLOUR_METRICS` over whole patches and over holes in them: the mean over patches of what each has.

    The paper of CosmoVAE measures its pictures, whose colours go from 0 to 1: here from the least to the greatest
    true value in a patch.

    Args:
        truth: `(n_pix,)`.
        filled: `(n_pix,)`.
        patches: as of `pixels_around`, one at least.
    """
    found: tuple[list[tuple[float, ...]], list[tuple[float, ...]]] = ([], [])
    for patch in patches:
        span = float(np.ptp(truth[patch[0]]))
        for of, pixels in zip(found, patch, strict=True):
            error = (filled[pixels] - truth[pixels]) / span
            square = float(np.mean(error**2))
            psnr = -10 * math.log10(square) if square > 0 else math.inf
            of.append((square, float(np.mean(np.abs(error))), psnr))
    return [tuple(np.mean(of, axis=0).tolist()) for of in found]


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


def energy_score(truth: Float, samples: NDArray[np.floating[Any]]) -> float:
    """Return the energy score of draws of all pixels together, without bias by how few draws there are.

    Gneiting & Raftery (2007), J. Am. Stat. Assoc. 102, 359, eq. 22, over the square root of the number of pixels: of
    the exact posterior it is 1/sqrt(2) of its standard deviation in the limit of many pixels, of an answer without
    scatter its rms error. Unlike scores of single pixels it tells draws whose pixels do not belong together.

    Args:
        truth: `(n,)`, uK_CMB.
        samples: `(n_draw, n)`, two draws at least.
    """
    # Not before it is needed: it compiles for seconds, whatever a program then does.
    from scoringrules import es_ensemble

    score = es_ensemble(truth, samples.astype(np.float64), estimator="fair", backend="numba")
    return float(score) / math.sqrt(truth.size)


def hole_uncertainty(truth: Float, filled: Float, sigma: Float) -> tuple[float, ...]:
    """Return `ERROR_BAR_METRICS` over some pixels.

    Args:
        truth: `(n,)`, uK_CMB.
        filled: `(n,)`.
        sigma: `(n,)`, standard deviation of the error, above zero.
    """
    found = uncertainty_metrics(error_state(filled - truth, sigma))
    return tuple(found[metric.name] for metric in ERROR_BAR_METRICS)
