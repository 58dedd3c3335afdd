"""Scores per pixel: statistics become additive states, and states become metrics.

A map is swept once, in blocks of pixels that a mask fixes. The sums inside a block are numpy's pairwise sums in double
precision; from there on they are exact (rational numbers), so that states may be added in any order and grouping, and
blocks may be shared out in any way, without changing a bit of any metric.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, Self

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.scores import HIGH, LOW, Metric, ScoreError
from cmbml.sky.maps import n_bad_pixels
from cmbml.sky.masks import Mask

Values = NDArray[np.floating[Any]]
Pixels = NDArray[np.float64]

BLOCK = 1 << 15
"""Pixels in a block, few enough for the processor's cache. It fixes the metrics' rounding: not a knob."""

PIXEL_METRICS = (
    Metric("bias", "bias", "uK_CMB", 0.0),
    Metric("mae", "MAE", "uK_CMB", LOW),
    Metric("rmse", "RMSE", "uK_CMB", LOW),
    Metric("nrmse", "NRMSE", "", LOW),
    Metric("psnr_union", "PSNR, union range", "dB", HIGH),
    Metric("psnr_truth", "PSNR, truth's range", "dB", HIGH),
    Metric("r2", "R2", "", HIGH),
    Metric("response", "response to the CMB", "", 1.0),
)
"""What `pixel_metrics` gives, in its order."""

LATITUDES: Mapping[str, tuple[float, float]] = {"b0-5": (0, 5), "b5-30": (5, 30), "b30-90": (30, 90)}


@lru_cache(maxsize=1)
def pixel_vectors(nside: int) -> NDArray[np.float32]:
    """Return the unit vectors of all pixel centres, `(3, n_pix)`."""
    return np.stack(hp.pix2vec(nside, np.arange(12 * nside**2))).astype(np.float32)


def require_pixels(mask: Mask) -> None:
    """Check that a mask leaves something of the sky.

    Raises:
        ScoreError: it does not.
    """
    if not mask.any():
        message = f"the mask is empty: none of its {mask.size} pixels is left to be scored; lower its threshold"
        raise ScoreError(message)


@dataclass(frozen=True)
class MonopoleDipole:
    """The least-squares fit of a monopole and a dipole to the unmasked pixels of a map.

    Attributes:
        mask: `(n_pix,)`.
        inverse: `(4, 4)`, the inverse of the normal matrix of (1, x, y, z).
    """

    mask: Mask
    inverse: NDArray[np.float64]

    @classmethod
    def outside(cls, mask: Mask) -> Self:
        """Prepare the fit to the pixels that a mask keeps.

        Raises:
            ScoreError: they are too few to tell a monopole from a dipole.
        """
        require_pixels(mask)
        vectors = pixel_vectors(hp.npix2nside(mask.size))
        normal = np.zeros((4, 4))
        for part in _slices(mask.size):
            basis = _basis(vectors[:, part]) * mask[part]
            normal += np.einsum("ip,jp->ij", basis, basis)
        if np.linalg.cond(normal) > 1e10:
            message = (
                f"the {mask.sum()} pixels that the mask leaves cannot tell a monopole from a dipole; use a wider one"
            )
            raise ScoreError(message)
        return cls(mask, np.asarray(np.linalg.inv(normal), np.float64))

    def fit(self, values: Values) -> NDArray[np.float64]:
        """Return the monopole and the dipole's x, y, z of a map `(n_pix,)`, `(4,)` in its unit."""
        vectors = pixel_vectors(hp.npix2nside(values.size))
        projection = np.zeros(4)
        for part in _slices(values.size):
            kept = values[part] * self.mask[part].astype(np.float64)
            projection += np.einsum("ip,p->i", _basis(vectors[:, part]), kept)
        # Not by BLAS, whose sums depend on the number of threads.
        fitted: NDArray[np.float64] = np.einsum("ij,j->i", self.inverse, projection)
        return fitted

    def remove(self, values: Values) -> Values:
        """Return a map `(n_pix,)` without its monopole and dipole, of the same type."""
        vectors = pixel_vectors(hp.npix2nside(values.size))
        monopole, *dipole = self.fit(values).astype(values.dtype)
        out = np.empty_like(values)
        for part in _slices(values.size):
            model = dipole[0] * vectors[0, part]
            model += dipole[1] * vectors[1, part]
            model += dipole[2] * vectors[2, part]
            np.subtract(values[part], model + monopole, out=out[part])
        return out


def _slices(size: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK))


def _basis(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (1, x, y, z) of pixels, `(4, n)`."""
    return np.concatenate([np.ones((1, vectors.shape[1])), vectors])


@dataclass(frozen=True)
class Regions:
    """Parts of the sky, which may overlap, split once into disjoint cells that a sweep visits in blocks.

    Attributes:
        size: pixels of a map.
        n_pix: pixels of each region, by its name.
        order: the pixels of all regions, cell by cell.
        blocks: cell and range in `order` of each block.
        cells: region -> the cells that it is made of.
    """

    size: int
    n_pix: Mapping[str, int]
    order: NDArray[np.int64]
    blocks: tuple[tuple[int, slice], ...]
    cells: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(
        cls,
        mask: Mask,
        latitudes: Mapping[str, tuple[float, float]] = LATITUDES,
        skies: Mapping[str, Mask] | None = None,
        frame: Literal["G", "C", "E"] = "G",
        classes: Mapping[str, Mask] | None = None,
    ) -> Self:
        """Divide the sky into the mask ("mask"), its latitude bands, classes of pixels, and further masks ("sky:NAME").

        Args:
            mask: `(n_pix,)`.
            latitudes: name -> lowest and highest Galactic |b| in degrees; inside the mask.
            skies: name -> another mask, which need not lie inside the first.
            frame: of the pixels.
            classes: name -> further parts of the mask.

        Raises:
            ScoreError: a mask is empty, or of another nside. A latitude band may be empty.
        """
        skies = skies or {}
        for name, sky in {"mask": mask, **skies}.items():
            require_pixels(sky)
            if sky.size != mask.size:
                message = (
                    f"the sky mask '{name}' has {sky.size} pixels, and the mask {mask.size}; give it the same nside"
                )
                raise ScoreError(message)
        sine = _sine_of_latitude(hp.npix2nside(mask.size), frame)
        members = {"mask": mask}
        for name, (low, high) in latitudes.items():
            # Rings may lie on an edge: the tolerance settles on which side.
            edges = [-1.0 if low <= 0 else _sine(low), 2.0 if high >= 90 else _sine(high)]
            members[name] = mask & (sine >= edges[0]) & (sine < edges[1])
        members |= classes or {}
        members |= {f"sky:{name}": sky for name, sky in skies.items()}
        return cls.of_members(members)

    @classmethod
    def of_members(cls, members: Mapping[str, Mask]) -> Self:
        """Divide pixels into regions.

        Args:
            members: name -> `(n_pix,)`, the pixels of a region.
        """
        size = next(iter(members.values())).size
        codes = np.zeros(size, dtype=np.int64)
        for i, member in enumerate(members.values()):
            codes |= member.astype(np.int64) << i
        kept = np.flatnonzero(codes)
        order = kept[np.argsort(codes[kept], kind="stable")]
        present, counts = np.unique(codes[kept], return_counts=True)
        starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        blocks = tuple(
            (cell, slice(starts[cell] + part.start, starts[cell] + part.stop))
            for cell, count in enumerate(counts.tolist())
            for part in _slices(count)
        )
        cells = {name: tuple(np.flatnonzero(present >> i & 1).tolist()) for i, name in enumerate(members)}
        return cls(size, {name: int(member.sum()) for name, member in members.items()}, order, blocks, cells)

    def walk(self, *maps: Values, blocks: slice = slice(None)) -> Iterator[tuple[int, list[Pixels]]]:
        """Visit the blocks.

        Args:
            *maps: `(n_pix,)` each.
            blocks: which of `self.blocks` to visit.

        Yields:
            The cell, and the values of each map in the block, in double precision.
        """
        for values in maps:
            if values.shape != (self.size,):
                message = f"the regions are of {self.size} pixels, and a map has shape {values.shape}; use one nside"
                raise ScoreError(message)
        for cell, part in self.blocks[blocks]:
            pixels = self.order[part]
            yield cell, [values[pixels].astype(np.float64) for values in maps]

    def gather(self, cells: Mapping[int, "State"]) -> dict[str, "State"]:
        """Add the states of the cells to those of the regions that they make."""
        return {name: combine(cells.get(cell, State()) for cell in members) for name, members in self.cells.items()}


def _sine(degrees: float) -> float:
    return math.sin(math.radians(degrees)) - 1e-7


def _sine_of_latitude(nside: int, frame: Literal["G", "C", "E"]) -> NDArray[np.floating[Any]]:
    """Return |sin b| of all pixels, b the Galactic latitude."""
    vectors: NDArray[np.floating[Any]] = pixel_vectors(nside)
    z = vectors[2] if frame == "G" else np.einsum("i,ip->p", hp.Rotator(coord=[frame, "G"]).mat[2], vectors)
    sine: NDArray[np.floating[Any]] = np.abs(z)
    return sine


@dataclass(frozen=True)
class State:
    """What a set of pixels adds to the scores.

    Attributes:
        n: number of pixels.
        totals: exact sums.
        lows: smallest values.
        highs: largest values.
    """

    n: int = 0
    totals: tuple[Fraction, ...] = ()
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()

    @classmethod
    def of(cls, n: int, sums: Iterable[float], extremes: Sequence[Pixels] = ()) -> Self:
        """Return the state of `n` pixels from its sums, and from the values whose extremes it keeps."""
        totals = tuple(Fraction(float(value)) for value in sums)
        return cls(n, totals, tuple(float(x.min()) for x in extremes), tuple(float(x.max()) for x in extremes))

    def __add__(self, other: "State") -> "State":
        if not self.n or not other.n:
            return self if self.n else other
        return State(
            self.n + other.n,
            tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)),
            tuple(map(min, self.lows, other.lows)),
            tuple(map(max, self.highs, other.highs)),
        )


def combine(states: Iterable[State]) -> State:
    """Add states; neither their order nor their grouping changes the result.

    Example:
        >>> tenth, huge = State.of(1, [0.1]), State.of(1, [1e30])
        >>> combine([tenth, huge, State.of(1, [-1e30])]) == combine([huge, State.of(1, [-1e30]), tenth])
        True
    """
    total = State()
    for state in states:
        total += state
    return total


def sweep(truth: Values, prediction: Values, regions: Regions, blocks: slice = slice(None)) -> dict[str, State]:
    """Gather, in one pass, what the metrics of one field need.

    Args:
        truth: `(n_pix,)`.
        prediction: `(n_pix,)`, in the same unit.
        regions: parts of the sky.
        blocks: which of the regions' blocks to visit; all by default.

    Returns:
        Region -> state: sums of the error, |error|, error^2, truth, truth^2, error times truth; extremes of truth and
        prediction.

    Raises:
        ScoreError: the maps have another nside than the regions, or a pixel is not finite.
    """
    cells: dict[int, State] = {}
    for cell, (t, p) in regions.walk(truth, prediction, blocks=blocks):
        error = p - t
        size = np.abs(error)
        sums = (error.sum(), size.sum(), np.square(error).sum(), t.sum(), np.square(t).sum(), (error * t).sum())
        if not np.isfinite(sums).all():
            bad = [n_bad_pixels(values) for values in (truth, prediction)]
            message = f"{bad[0]} pixels of the truth and {bad[1]} of the prediction are NaN or infinite; mend the map"
            raise ScoreError(message)
        cells[cell] = cells.get(cell, State()) + State.of(t.size, sums, (t, p))
    return regions.gather(cells)


def pixel_metrics(state: State) -> dict[str, float]:
    """Turn a state into metrics.

    With t the truth and p the prediction over the n pixels of a region:
    `bias` mean (p - t); `mae` mean |p - t|; `rmse` (mean (p - t)^2)^1/2; `nrmse` ||p - t|| / ||t|| (Euclidean norms);
    `psnr_union` 20 log10 (R / rmse) with R the range of both maps together (the paper's), `psnr_truth` with that of the
    truth; `r2` 1 - sum (p - t)^2 / sum (t - mean t)^2; `response` the slope of p against t, which is below 1 where a
    method takes some of the CMB away, and scatters about it by rmse / (rms of t) / sqrt(modes) by chance.

    Returns:
        Metric -> value: uK_CMB for `bias`, `mae`, `rmse`, dB for the PSNR; NaN where it is not defined (a region
        without pixels, a truth without variance), infinite for the PSNR of a perfect map.
    """
    names = [metric.name for metric in PIXEL_METRICS]
    if not state.n:
        return dict.fromkeys(names, math.nan)
    error, size, square, truth, power, product = state.totals
    variance = power - truth**2 / state.n
    rmse = math.sqrt(square / state.n)
    union = max(state.highs) - min(state.lows)
    values = (
        float(error / state.n),
        float(size / state.n),
        rmse,
        math.sqrt(square / power) if power else math.nan,
        _decibels(union, rmse),
        _decibels(state.highs[0] - state.lows[0], rmse),
        float(1 - square / variance) if variance > 0 else math.nan,
        float(1 + (product - error * truth / state.n) / variance) if variance > 0 else math.nan,
    )
    return dict(zip(names, values, strict=True))


def _decibels(span: float, rmse: float) -> float:
    if span == 0:
        return math.nan
    return 20 * math.log10(span / rmse) if rmse else math.inf
