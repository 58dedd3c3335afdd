"""The covariance of what holes hold, given all that is around them, as a product of sparse matrices.

Of the pixels around a point only the nearest tell something new of it: they screen off the others. So a field is drawn
pixel by pixel, each given a few pixels that are already there (Vecchia 1988, J. R. Stat. Soc. B 50, 297). The order
matters: from coarse grids to fine ones, a pixel's neighbours are as far away as the grid is wide, large scales are
settled before small ones, and few neighbours suffice (Schaefer, Katzfuss & Owhadi 2021, arXiv:2004.14455). HEALPix's
own hierarchy gives the grids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from cmbml.methods.holes.covariance import PixelCovariance
from cmbml.methods.holes.signal import Float
from cmbml.settings import settings

Pixels = NDArray[np.int64]

COARSEST = 4
"""nside of the grid whose pixels in holes are treated together, by a dense matrix."""

SPREAD = (0, 3, 1, 2)
"""Order of a pixel's four children: opposite corners first."""

BATCH_NUMBERS = 1 << 23
"""Numbers in the matrices that are solved at once: 64 MiB, a few times."""


@settings
class Neighbours:
    """On how many pixels each pixel in a hole is made to depend.

    Attributes:
        nearest: of all that are there already, on the pixel's own grid and the coarser ones.
        finer: of those outside of holes, on each finer grid: they know the edge of the hole better.
    """

    nearest: Annotated[int, Field(ge=1)] = 20
    finer: Annotated[int, Field(ge=1)] = 8


@dataclass(frozen=True)
class _Stage:
    """Pixels that are drawn at once: they are so far apart that they do not need one another.

    Attributes:
        rows: `(n,)`, which pixels of the holes.
        weights: `(n n_field, n_hole n_field)`: the mean of these pixels, given those of earlier stages.
        covariance: `(n, n_field, n_field)` of what is left.
    """

    rows: Pixels
    weights: csr_matrix
    covariance: Float


@dataclass(frozen=True)
class _Grid:
    """Some pixels, to be searched for those nearest to others."""

    pixels: Pixels
    tree: cKDTree

    @classmethod
    def of(cls, pixels: Pixels, vectors: Float) -> "_Grid":
        # Trees are made often and searched little: quick ones pay.
        return cls(pixels, cKDTree(vectors[pixels], compact_nodes=False, balanced_tree=False))

    def nearest(self, points: Float, number: int, threads: int) -> tuple[Float, Pixels]:
        """Return distances and pixels, `(n_point, number)`, or fewer where there are fewer."""
        number = min(number, self.pixels.size)
        shape = (len(points), number)
        if number == 0:
            return np.empty(shape), np.empty(shape, np.int64)
        distances, found = self.tree.query(points, number, workers=threads)
        return distances.reshape(shape), self.pixels[found.reshape(shape)]


class ScreenedCovariance:
    """Covariance of signal plus noise in holes, given signal plus noise everywhere else; symmetric and positive.

    Args:
        covariance: of the signal between pixels.
        observed: `(n_pix,)`, False in holes.
        noise: `(n_field,)`, variance of the noise, the same in all pixels, holes included.
        neighbours: how many.
        threads: CPU threads for the search of neighbours.
    """

    def __init__(
        self,
        covariance: PixelCovariance,
        observed: NDArray[np.bool_],
        noise: Float,
        neighbours: Neighbours,
        threads: int = 1,
    ) -> None:
        self.holes: Pixels = np.flatnonzero(~observed)
        self._covariance, self._noise, self._neighbours, self._threads = covariance, noise, neighbours, threads
        self._observed = observed
        self._row = np.full(observed.size, -1)
        self._row[self.holes] = np.arange(self.holes.size)
        nside = hp.npix2nside(observed.size)
        self._vectors = np.stack(hp.pix2vec(nside, np.arange(observed.size)), axis=-1)
        self._nest = hp.ring2nest(nside, np.arange(observed.size))
        n_level = max(0, round(np.log2(nside / COARSEST)))
        self._level = sum((self._nest % 4**k == 0).astype(np.int64) for k in range(1, n_level + 1)) + np.zeros(
            observed.size, np.int64
        )
        self._outside = [
            _Grid.of(np.flatnonzero(observed & (self._level >= level)), self._vectors) for level in range(n_level + 1)
        ]
        self._first = self._row[~observed & (self._level == n_level)]
        self._first_covariance = self._dense(n_level)
        known: Pixels = self.holes[self._first]
        self._stages = []
        for level in range(n_level - 1, -1, -1):
            for pixels in self._groups(level):
                self._stages.append(self._stage(pixels, level, known))
                known = np.concatenate([known, pixels])

    def apply(self, values: Float) -> Float:
        """Multiply a map of the holes by the covariance.

        Args:
            values: `(n_field, n_hole)`.

        Returns:
            `(n_field, n_hole)`.
        """
        n_field = len(values)
        flat = values.T.copy()
        for stage in reversed(self._stages):
            flat += (stage.weights.T @ flat[stage.rows].ravel()).reshape(-1, n_field)
        out = np.zeros_like(flat)
        first = self._first_covariance @ flat[self._first].ravel()
        out[self._first] = first.reshape(-1, n_field)
        for stage in self._stages:
            own = np.einsum("nij,nj->ni", stage.covariance, flat[stage.rows])
            out[stage.rows] = own + (stage.weights @ out.ravel()).reshape(-1, n_field)
        return out.T

    def _groups(self, level: int) -> Iterator[Pixels]:
        """Yield the holes' pixels of one grid in groups whose members are four spacings apart."""
        own = np.flatnonzero(~self._observed & (self._level == level))
        place = self._nest[own] // 4**level % 16
        for outer in SPREAD[1:]:
            for inner in SPREAD:
                pixels = own[place == 4 * inner + outer]
                if pixels.size:
                    yield pixels

    def _around(self, pixels: Pixels, level: int) -> list[Pixels]:
        """Return what is near outside of holes on the finer grids, `(n, finer)` each."""
        points, number = self._vectors[pixels], self._neighbours.finer
        return [grid.nearest(points, number, self._threads)[1] for grid in self._outside[:level]]

    def _settled(self, pixels: Pixels, level: int, known: Pixels) -> Pixels:
        """Return what is near of the pixels outside of holes on a grid, and of those in holes that are there already.

        Returns:
            `(n, nearest)`, or fewer.
        """
        points, number = self._vectors[pixels], self._neighbours.nearest
        grids = (self._outside[level], _Grid.of(known, self._vectors))
        found = [grid.nearest(points, number, self._threads) for grid in grids]
        distances, near = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
        order = np.argsort(distances, axis=1)[:, :number]
        return np.take_along_axis(near, order, axis=1)

    def _full(self, first: Pixels, second: Pixels) -> Float:
        """Return covariances of the signal as matrices, `(..., a n_field, b n_field)`."""
        blocks = self._covariance.between(first, second)
        *lead, a, n_field, b, _ = blocks.shape
        return blocks.reshape(*lead, a * n_field, b * n_field)

    def _dense(self, level: int) -> Float:
        """Return the covariance of the holes' pixels on the coarsest grid, given what is around."""
        first = self.holes[self._first]
        own = self._full(first, first) + np.diag(np.tile(self._noise, first.size))
        if not first.size:
            return own
        around = np.unique(
            np.concatenate([self._outside[level].pixels, *(near.ravel() for near in self._around(first, level))])
        )
        matrix = self._full(around, around) + np.diag(np.tile(self._noise, around.size))
        cross = self._full(around, first)
        return own - cross.T @ np.linalg.solve(matrix, cross)

    def _stage(self, pixels: Pixels, level: int, known: Pixels) -> _Stage:
        """Find the weights of pixels of one group."""
        sets = [self._settled(pixels, level, known), *self._around(pixels, level)]
        near = np.sort(np.concatenate(sets, axis=1), axis=1)
        # A pixel may be found on several grids; it counts once.
        counts = np.ones(near.shape, dtype=bool)
        counts[:, 1:] = near[:, 1:] != near[:, :-1]
        n_field, width = self._noise.size, near.shape[1]
        weights = np.empty((len(pixels), n_field, width, n_field))
        rest = np.empty((len(pixels), n_field, n_field))
        step = max(1, BATCH_NUMBERS // (width * n_field) ** 2)
        for start in range(0, len(pixels), step):
            part = slice(start, start + step)
            solved, rest[part] = self._condition(pixels[part], near[part], counts[part])
            weights[part] = solved.reshape(-1, n_field, width, n_field)
        return _Stage(self._row[pixels], self._sparse(weights, near, counts), rest)

    def _condition(self, pixels: Pixels, near: Pixels, counts: NDArray[np.bool_]) -> tuple[Float, Float]:
        """Return the weights of pixels given those near, `(n, n_field, width n_field)`, and the covariance left."""
        n_field = self._noise.size
        used = np.repeat(counts, n_field, axis=1)
        matrix = self._full(near, near) * (used[:, :, None] & used[:, None, :])
        cross = self._full(near, pixels[:, None]) * used[..., None]
        diagonal = np.arange(matrix.shape[1])
        matrix[:, diagonal, diagonal] += np.where(used, np.tile(self._noise, near.shape[1]), 1.0)
        solved = np.swapaxes(np.linalg.solve(matrix, cross), 1, 2)
        own = self._full(pixels[:, None], pixels[:, None]) + np.diag(self._noise)
        return solved, own - solved @ cross

    def _sparse(self, weights: Float, near: Pixels, counts: NDArray[np.bool_]) -> csr_matrix:
        """Keep the weights of pixels in holes: those of others act on data, which the covariance does not know."""
        n, n_field, width, _ = weights.shape
        shape = (n, n_field, width, n_field)
        keep = np.broadcast_to((counts & (self._row[near] >= 0))[:, None, :, None], shape)
        rows = np.arange(n, dtype=np.int32)[:, None, None, None] * n_field + np.arange(n_field)[:, None, None]
        columns = self._row[near][:, None, :, None] * n_field + np.arange(n_field)
        places = (np.broadcast_to(rows, shape)[keep], np.broadcast_to(columns, shape)[keep])
        return csr_matrix((weights[keep], places), shape=(n * n_field, self.holes.size * n_field))
