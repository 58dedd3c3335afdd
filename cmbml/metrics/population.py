"""How alike two populations of patches are: their pixels, spectra, shapes, and whether one was copied from the other.

The statistics are those of Aylor et al. (arXiv:1909.06467, section 2.4). Patches of a sky overlap, so that a thousand
of them hold as much as some eighty independent ones: intervals come from drawing tiles of the sky again, each with all
of the patches that are centred in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.scores import LOW, Metric, ScoreError
from cmbml.sky.frechet import frechet_distance, log_spectra

Float = NDArray[np.float64]
Whole = NDArray[np.int64]

N_BINS = 100
"""Of the histogram of pixels, between the extremes of the real ones; two more hold what lies beyond."""
N_THRESHOLDS = 50
"""At which Minkowski functionals are taken, between the same extremes."""
LEAST_VARIETY = 0.05
"""Variance from patch to patch, relative to that of real ones, below which a generator counts as collapsed."""
BANDS = (2.5, 16.0, 50.0, 84.0, 97.5)
"""Percentiles of the 95 % and the 68 % bands, and the median."""
TEXTURE_THRESHOLDS = np.linspace(-4, 4, N_THRESHOLDS + 2)[1:-1]
"""Of patches that have been brought to mean 0 and variance 1 one by one, so that only what is in them counts.

Thresholds of all patches together tell above all how bright patches are.
"""
NEAREST_PIXELS = 32
"""Patches are averaged to about so many pixels a side to look for the nearest one."""

STATISTICS = (
    Metric("histogram", "intersection of pixel histograms", "", 1.0),
    Metric("frechet", "Frechet distance of log10 spectra", "", LOW),
    Metric("frechet_log", "Frechet distance of log10 spectra of the logarithm", "", LOW),
    Metric("gap_v0", "largest gap of V0", "", LOW),
    Metric("gap_v1", "largest gap of V1 / its maximum", "", LOW),
    Metric("gap_v2", "largest gap of V2 / its maximum", "", LOW),
    Metric("texture_v0", "largest gap of V0, each patch standardised", "", LOW),
    Metric("texture_v1", "largest gap of V1 / its maximum, each patch standardised", "", LOW),
    Metric("texture_v2", "largest gap of V2 / its maximum, each patch standardised", "", LOW),
    Metric("variety", "variance between patches / that of real ones", "", 1.0),
)
"""What `distances` gives, in its order; after them the distance of the distributions of power at each scale."""
POWER = Metric("power_ks", "Kolmogorov-Smirnov distance of the power", "", LOW)


def minkowski(images: NDArray[Any], thresholds: NDArray[Any]) -> Float:
    """Measure the three Minkowski functionals of the parts of images that reach thresholds, by counting.

    V0 is the area; V1 a quarter of the length of the contour, which is counted along pixel borders and brought to that
    of an isotropic field by pi / 4 (Crofton); V2 the Euler characteristic, from the 2 x 2 pixels around each corner:
    those with one pixel inside less those with three (Gray 1971, IEEE Trans. Comput. C-20, 551; the mean of counting
    diagonal neighbours as one and as two). All are densities: borders of the image are counted by nobody.

    Args:
        images: `(n_image, height, width)`.
        thresholds: `(n_threshold,)`, rising.

    Returns:
        `(n_image, 3, n_threshold)`: V0; V1 in 1/pixel; V2 in 1/pixel^2.
    """
    whole = np.searchsorted(thresholds, images, side="right")  # how many thresholds each pixel reaches
    number, height, width = whole.shape

    def reaching(levels: NDArray[Any]) -> Float:
        """Count the entries of each image that reach each threshold."""
        flat = levels.reshape(number, -1) + (len(thresholds) + 1) * np.arange(number)[:, None]
        counts = np.bincount(flat.ravel(), minlength=number * (len(thresholds) + 1)).reshape(number, -1)
        found: Float = np.cumsum(counts[:, :0:-1], axis=1)[:, ::-1].astype(np.float64)
        return found

    area = reaching(whole) / (height * width)
    length = np.zeros_like(area)
    for first, second in ((whole[:, 1:], whole[:, :-1]), (whole[:, :, 1:], whole[:, :, :-1])):
        crossed = reaching(np.maximum(first, second)) - reaching(np.minimum(first, second))
        length += crossed / first[0].size
    corners = np.stack([whole[:, 1:, 1:], whole[:, 1:, :-1], whole[:, :-1, 1:], whole[:, :-1, :-1]])
    d, c, b, a = (reaching(level) for level in np.sort(corners, axis=0))
    euler = ((a - b) - (c - d)) / 4 / ((height - 1) * (width - 1))
    return np.stack([area, np.pi / 16 * length, euler], axis=1)


@dataclass(frozen=True)
class Range:
    """Between which values histograms and thresholds lie: the extremes of real patches, which become -1 and 1.

    Attributes:
        low, high: decimal logarithms.
    """

    low: float
    high: float

    @classmethod
    def of(cls, *sets: NDArray[Any]) -> "Range":
        """Return the extremes of sets of patches, decimal logarithms."""
        return cls(min(float(values.min()) for values in sets), max(float(values.max()) for values in sets))

    @property
    def bins(self) -> Float:
        """The inner edges of the bins, `(N_BINS + 1,)`."""
        return np.linspace(self.low, self.high, N_BINS + 1)

    @property
    def thresholds(self) -> Float:
        """The thresholds, `(N_THRESHOLDS,)`: both ends, at which nothing happens, are left out."""
        return np.linspace(self.low, self.high, N_THRESHOLDS + 2)[1:-1]

    def scaled(self, values: Float) -> Float:
        """Bring decimal logarithms to [-1, 1]."""
        return 2 * (values - self.low) / (self.high - self.low) - 1


@dataclass(frozen=True)
class Population:
    """What is measured of every patch of a set.

    Attributes:
        ell: `(n_bin,)`, multipoles.
        counts: `(n_patch, N_BINS + 2)`, pixels in each bin of the decimal logarithm.
        spectra: `(n_patch, n_bin)`, log10 C_l, in the square of the map's unit, sr.
        log_spectra: the same of the decimal logarithm of the map.
        shapes: `(n_patch, 3, N_THRESHOLDS)`, Minkowski functionals of the decimal logarithm.
        textures: the same of each patch brought to mean 0 and variance 1, at `TEXTURE_THRESHOLDS`.
        blocks: `(n_patch, n_block)`, the decimal logarithm averaged in blocks, for variances.
        tiles: `(n_patch,)`: which patches are drawn again together.
    """

    ell: Float
    counts: Float
    spectra: Float
    log_spectra: Float
    shapes: Float
    textures: Float
    blocks: Float
    tiles: Whole

    @property
    def n_patch(self) -> int:
        """How many patches there are."""
        return len(self.tiles)

    def taken(self, which: Whole) -> "Population":
        """Return some of the patches, some of them several times."""
        own = {entry.name: getattr(self, entry.name)[which] for entry in fields(self) if entry.name != "ell"}
        return Population(ell=self.ell, **own)

    def resampled(self, rng: np.random.Generator) -> "Population":
        """Draw as many tiles as there are, some several times, each with all of its patches."""
        members = _members(self.tiles)
        return self.taken(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))

    def halves(self, rng: np.random.Generator) -> tuple["Population", "Population"]:
        """Split the tiles into two halves at random."""
        members = _members(self.tiles)
        order = rng.permutation(len(members))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        return (
            self.taken(np.concatenate([members[i] for i in first])),
            self.taken(np.concatenate([members[i] for i in second])),
        )

    def variance(self) -> float:
        """Return the variance of pixels from patch to patch, averaged over pixels."""
        return float(self.blocks.var(axis=0).mean())


def _members(tiles: Whole) -> list[Whole]:
    order = np.argsort(tiles, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(tiles[order])) + 1)


def measure(logs: NDArray[Any], side_rad: float, limits: Range, tiles: Whole) -> Population:
    """Measure every patch of a set.

    Args:
        logs: `(n_patch, n_pixels, n_pixels)`, decimal logarithms.
        side_rad: of a patch, rad.
        limits: of histograms and thresholds.
        tiles: `(n_patch,)`.

    Raises:
        ScoreError: there are too few patches to have a scatter.
    """
    if len(logs) < 2:
        message = f"{len(logs)} patch is no population: draw at least two (draws.number)"
        raise ScoreError(message)
    bins = np.digitize(logs.reshape(len(logs), -1), limits.bins)
    # The highest pixel of all is the end of the last bin.
    bins[logs.reshape(len(logs), -1) == limits.high] = N_BINS
    counts = np.stack([np.bincount(row, minlength=N_BINS + 2) for row in bins]).astype(np.float64)
    wide = logs.astype(np.float64)
    ell, spectra = log_spectra(10.0**wide, side_rad)
    _, of_logs = log_spectra(wide, side_rad)
    spread = wide.std(axis=(1, 2), keepdims=True)
    alike = (wide - wide.mean(axis=(1, 2), keepdims=True)) / np.where(spread > 0, spread, 1.0)
    return Population(
        ell=ell,
        counts=counts,
        spectra=spectra,
        log_spectra=of_logs,
        shapes=minkowski(logs, limits.thresholds),
        textures=minkowski(alike, TEXTURE_THRESHOLDS),
        blocks=blocks_of(wide, 8).reshape(len(logs), -1),
        tiles=tiles,
    )


def blocks_of(images: Float, n_blocks: int) -> Float:
    """Average images, `(n, side, side)`, in square blocks: at most `n_blocks` a side; a remainder is left out."""
    block = max(1, images.shape[-1] // n_blocks)
    n = images.shape[-1] // block
    found: Float = images[:, : n * block, : n * block].reshape(len(images), n, block, n, block).mean(axis=(2, 4))
    return found


def intersection(first: Float, second: Float) -> float:
    """Return what two histograms share, `(n_bin,)` each, in any counts: 1 for equal ones."""
    return float(np.minimum(first / first.sum(), second / second.sum()).sum())


def kolmogorov_smirnov(first: Float, second: Float) -> float:
    """Return the largest difference of two empirical distributions, of `(n_first,)` and `(n_second,)` values."""
    places = np.concatenate([first, second])
    parts = [np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (first, second)]
    return float(np.abs(parts[0] - parts[1]).max())


def scale_numbers(ell: Float, scales: Sequence[float]) -> list[int]:
    """Return which of the multipoles are next to some scales, each once: coarse patches end below the smallest."""
    return list(dict.fromkeys(int(np.abs(ell - scale).argmin()) for scale in scales))


def distances(found: Population, real: Population, scales: Sequence[float]) -> Float:
    """Return how far a population is from a real one: `STATISTICS`, and the distance of the power at each scale.

    Args:
        found: of a generator.
        real: what it should be like.
        scales: multipoles.
    """
    powers = [kolmogorov_smirnov(found.spectra[:, i], real.spectra[:, i]) for i in scale_numbers(real.ell, scales)]
    return np.array(
        [
            intersection(found.counts.sum(axis=0), real.counts.sum(axis=0)),
            frechet_distance(found.spectra, real.spectra),
            frechet_distance(found.log_spectra, real.log_spectra),
            *_gaps(found.shapes, real.shapes),
            *_gaps(found.textures, real.textures),
            found.variance() / real.variance(),
            *powers,
        ]
    )


def _gaps(found: Float, real: Float) -> Float:
    """Return how far mean functionals, `(n_patch, 3, n)`, are apart at most, in units of the real ones' maximum."""
    mine, theirs = found.mean(axis=0), real.mean(axis=0)
    tops = np.abs(theirs).max(axis=1)
    gaps: Float = np.abs(mine - theirs).max(axis=1) / np.where(tops > 0, tops, 1.0)
    return gaps


def collapsed(variety: float) -> bool:
    """Say whether patches differ so little from one another that a generator has collapsed."""
    return not variety >= LEAST_VARIETY


@dataclass(frozen=True)
class Compared:
    """Distances between two populations, and how sure they are.

    Attributes:
        values: `(n_statistic,)`.
        low, high: `(n_statistic,)`, 95 % of the bootstrap.
    """

    values: Float
    low: Float
    high: Float


def compare(
    found: Population, real: Population, scales: Sequence[float], n_boot: int, rng: np.random.Generator
) -> Compared:
    """Return the distances of two populations, and what drawing the tiles of both again makes of them.

    Frechet distances and gaps of what is drawn again are larger on average: the scatter of either adds to them.

    Args:
        found: of a generator.
        real: what it should be like.
        scales: multipoles.
        n_boot: how often is drawn.
        rng: what draws.
    """
    values = distances(found, real, scales)
    drawn = np.stack([distances(found.resampled(rng), real.resampled(rng), scales) for _ in range(n_boot)])
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return Compared(values, low, high)


def against_itself(real: Population, scales: Sequence[float], n_boot: int, rng: np.random.Generator) -> Compared:
    """Return the distances of a population from itself with its tiles drawn again: mean, and 95 %."""
    drawn = np.stack([distances(real.resampled(rng), real, scales) for _ in range(n_boot)])
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return Compared(drawn.mean(axis=0), low, high)


def between_halves(real: Population, scales: Sequence[float], n_boot: int, rng: np.random.Generator) -> Compared:
    """Return the distances of two random halves of a population's tiles: mean, and 95 %.

    Patches of neighbouring tiles overlap: halves share some of their sky, and are nearer than independent ones.
    """
    drawn = np.stack([distances(*real.halves(rng), scales) for _ in range(n_boot)])
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return Compared(drawn.mean(axis=0), low, high)


@dataclass(frozen=True)
class Bands:
    """The distribution of something over patches.

    Attributes:
        percentiles: `(5, ...)`, at `BANDS`.
        errors: the same shape, standard deviation of each over the bootstrap.
    """

    percentiles: Float
    errors: Float


def bands(population: Population, of: str, n_boot: int, rng: np.random.Generator) -> Bands:
    """Return the bands of an attribute of a population, with errors from drawing its tiles again."""
    found = np.percentile(getattr(population, of), BANDS, axis=0)
    # Shifted by the first, so that little differences of large numbers keep their digits.
    total, square = np.zeros_like(found), np.zeros_like(found)
    for _ in range(n_boot):
        shift = np.percentile(getattr(population.resampled(rng), of), BANDS, axis=0) - found
        total += shift
        square += shift**2
    return Bands(found, np.sqrt(np.maximum(square / n_boot - (total / n_boot) ** 2, 0.0)))


def symmetric(images: Float) -> Iterator[Float]:
    """Yield images, `(n, side, side)`, in their eight orientations."""
    for mirrored in (images, images[:, :, ::-1]):
        for turns in range(4):
            yield np.rot90(mirrored, turns, axes=(1, 2))


def nearest(logs: NDArray[Any], real: NDArray[Any], apart: NDArray[np.bool_] | None = None) -> tuple[Float, Whole]:
    """Find the nearest real patch of each patch, in any orientation.

    Args:
        logs: `(n, side, side)`, decimal logarithms.
        real: `(n_real, side, side)`, the same.
        apart: `(n, n_real)`, which pairs are looked at; all where None.

    Returns:
        rms difference of the two, `(n,)`, and which of the real ones it is.
    """
    mine, theirs = (blocks_of(np.asarray(images, np.float64), NEAREST_PIXELS) for images in (logs, real))
    flat = theirs.reshape(len(theirs), -1)
    best = np.full((len(mine), len(theirs)), np.inf)
    for way in symmetric(mine):
        rows = way.reshape(len(mine), -1)
        square = (rows**2).sum(axis=1)[:, None] + (flat**2).sum(axis=1) - 2 * rows @ flat.T
        np.minimum(best, square / flat.shape[1], out=best)
    if apart is not None:
        best[~apart] = np.inf
    which = best.argmin(axis=1)
    return np.sqrt(np.maximum(best[np.arange(len(mine)), which], 0.0)), which


def far_apart(vectors: Float, separation_deg: float) -> NDArray[np.bool_]:
    """Say which pairs of places are further apart than so much, `(n, n)`.

    Args:
        vectors: `(n, 3)`, unit vectors.
        separation_deg: degrees.
    """
    found: NDArray[np.bool_] = np.clip(vectors @ vectors.T, -1, 1) < np.cos(np.radians(separation_deg))
    return found
