"""How well cutouts of a map correlate with those of the true one, mode by mode and by their power.

Mode by mode, r is Re(T T~*) / (|T| |T~|) of each Fourier mode, averaged over the modes of a bin (eq. 2.1 of the paper
on dust from hydrogen): only phases count. By power it is sum Re(T T~*) / sqrt(sum |T|^2 sum |T~|^2) over a bin, which
strong modes decide, and which is much higher.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.scores import HIGH, Metric

Float = NDArray[np.float64]
BROAD_BINS = {"r50": (0.0, 100.0), "r150": (100.0, 200.0)}
"""The published bins: all modes below l = 100 but the mean, and those from 100 to 200."""

METRICS = (
    Metric("r50", "mean r of modes, l < 100", "", HIGH),
    Metric("r150", "mean r of modes, 100 < l < 200", "", HIGH),
    Metric("power_r50", "r of power, l < 100", "", HIGH),
    Metric("power_r150", "r of power, 100 < l < 200", "", HIGH),
    Metric("wins50", "cutouts with a higher r50 than integrated intensity", "", HIGH),
    Metric("wins150", "cutouts with a higher r150 than integrated intensity", "", HIGH),
)
"""What `cutout_scores` gives, in its order."""
TIE = 1e-4
"""Differences of r that the rounding of maps in single precision makes are no win."""


@dataclass(frozen=True)
class Correlations:
    """Correlations of cutouts.

    Attributes:
        broad: `(n_cutout, 2)`: r50 and r150, mode by mode.
        power: the same, by power.
        ell: `(n_bin,)`, centres of narrow bins.
        narrow: `(n_cutout, n_bin)`, mode by mode.
    """

    broad: Float
    power: Float
    ell: Float
    narrow: Float


def correlations(truth: Float, answer: Float, pixel_rad: tuple[float, float], width: float) -> Correlations:
    """Correlate cutouts.

    Args:
        truth: `(n_cutout, height, width)`, masked.
        answer: the same shape.
        pixel_rad: sides of a pixel, rad.
        width: of narrow bins: that of the longest mode, which is in the middle of the first one; they end at l = 200.
    """
    rows, columns = (np.fft.fftfreq(n, side) for n, side in zip(truth.shape[-2:], pixel_rad, strict=True))
    ell = 2 * np.pi * np.hypot(rows[:, None], columns).ravel()
    wanted, found = (np.fft.fft2(images).reshape(len(images), -1) for images in (truth, answer))
    cross = (wanted * found.conj()).real
    powers = [np.abs(modes) ** 2 for modes in (wanted, found)]
    r = cross / np.maximum(np.sqrt(powers[0] * powers[1]), np.finfo(float).tiny)
    bins = [(ell >= low) & (ell < high) & (ell > 0) for low, high in BROAD_BINS.values()]
    broad = np.stack([r[:, inside].mean(axis=1) for inside in bins], axis=1)
    sums = [[part[:, inside].sum(axis=1) for inside in bins] for part in (cross, *powers)]
    power = np.stack(
        [c / np.sqrt(np.maximum(p * q, np.finfo(float).tiny)) for c, p, q in zip(*sums, strict=True)], axis=1
    )
    edges = np.arange(0.5, BROAD_BINS["r150"][1] / width) * width
    # Of coarse pixels, the last bins hold no modes.
    rings = {(low + high) / 2: (ell >= low) & (ell < high) for low, high in pairwise(edges)}
    rings = {centre: ring for centre, ring in rings.items() if ring.any()}
    narrow = np.stack([r[:, ring].mean(axis=1) for ring in rings.values()], axis=1)
    return Correlations(broad, power, np.array(list(rings)), narrow)


def wins(mine: Float, reference: Float) -> NDArray[np.bool_]:
    """Return in which cutouts a method correlates better than the reference does, by more than rounding."""
    better: NDArray[np.bool_] = mine > reference + TIE
    return better


def cutout_scores(mine: Correlations, reference: Correlations) -> tuple[float, ...]:
    """Return `METRICS` over cutouts."""
    better = wins(mine.broad, reference.broad)
    rows = (mine.broad, mine.power, better)
    return tuple(float(value) for row in rows for value in row.mean(axis=0))


@dataclass(frozen=True)
class Bootstrap:
    """A mean over cutouts, and where it may lie.

    Attributes:
        value: the mean.
        low, high: ends of the 95 % interval.
        sigma: standard deviation of the means.
        n_tiles: of how many tiles they were drawn.
    """

    value: Float
    low: Float
    high: Float
    sigma: Float
    n_tiles: int


def over_tiles(values: Float, tiles: NDArray[np.integer], rng: np.random.Generator, draws: int = 1000) -> Bootstrap:
    """Return means over cutouts with intervals of a bootstrap over tiles of the sky.

    Cutouts overlap: 1000 of 25 degrees in half a sky are worth about 24 independent ones. So tiles are drawn, with all
    cutouts whose centres are in them; percentiles of so few say a little less than they should.

    Args:
        values: `(n_cutout, ...)`.
        tiles: `(n_cutout,)`, the number of the tile that a centre is in.
        rng: what draws.
        draws: how often.
    """
    _, tile, counts = np.unique(tiles, return_inverse=True, return_counts=True)
    flat = values.reshape(len(values), -1)
    sums = np.stack([np.bincount(tile, column) for column in flat.T], axis=1)
    drawn = rng.integers(len(counts), size=(draws, len(counts)))
    times = np.stack([np.bincount(row, minlength=len(counts)) for row in drawn])
    means = (times @ sums) / (times @ counts)[:, None]
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    value, low, high, sigma = (
        part.reshape(values.shape[1:]) for part in (flat.mean(axis=0), low, high, means.std(axis=0))
    )
    return Bootstrap(value, low, high, sigma, len(counts))
