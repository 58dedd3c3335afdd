"""The sphere as one plane: the twelve base faces of HEALPix side by side, as cmbNNCS lays them out.

Wang et al. 2022, ApJS 260, 13. A face keeps its pixels' neighbourhood, so that a convolution on the plane sees true
neighbours inside it. On the sphere too the three faces of a row adjoin at the borders that they share here; the rows
do not, neither does the top with the bottom, and what lies across those borders is far away on the sky.
"""

from functools import cache
from typing import Any

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import MethodError

FACE_ROWS = ((2, 6, 9), (3, 7, 10), (0, 4, 11), (1, 5, 8))
"""HEALPix's base faces in the plane, from top to bottom and from left to right."""


def plane_shape(nside: int) -> tuple[int, int]:
    """Return height and width of the plane.

    Example:
        >>> plane_shape(64)
        (256, 192)
    """
    return 4 * nside, 3 * nside


@cache
def plane_index(nside: int) -> NDArray[np.int64]:
    """Find which pixel stands where in the plane.

    Inside a face, row r and column c hold the pixel x = nside - 1 - c, y = nside - 1 - r of HEALPix's (x, y, face).

    Args:
        nside: of the map.

    Returns:
        `(4 nside, 3 nside)`, RING pixel numbers; read-only.

    Example:
        >>> plane_index(1)[:, 0].tolist()
        [2, 3, 0, 1]
    """
    falling = np.arange(nside)[::-1]
    x, y = np.tile(falling, 3), np.tile(falling, 4)
    faces = np.array(FACE_ROWS).repeat(nside, axis=0).repeat(nside, axis=1)
    index: NDArray[np.int64] = hp.xyf2pix(nside, *np.broadcast_arrays(x, y[:, np.newaxis], faces)).astype(
        np.int64, copy=False
    )
    index.flags.writeable = False
    return index


@cache
def _pixel_place(nside: int) -> NDArray[np.int64]:
    """Return `(12 nside^2,)`: where in the flattened plane each RING pixel stands."""
    place = np.empty(12 * nside**2, np.int64)
    place[plane_index(nside).ravel()] = np.arange(len(place))
    place.flags.writeable = False
    return place


def to_plane(values: NDArray[Any]) -> NDArray[Any]:
    """Lay maps out as planes.

    Args:
        values: `(..., 12 nside^2)` in RING order, of any type.

    Returns:
        `(..., 4 nside, 3 nside)`, a copy of the same type.

    Raises:
        MethodError: the last axis is no map.
    """
    return np.take(values, plane_index(_map_nside(values.shape)), axis=-1)


def from_plane(plane: NDArray[Any]) -> NDArray[Any]:
    """Take maps from planes: the inverse of `to_plane`.

    Args:
        plane: `(..., 4 nside, 3 nside)`, of any type.

    Returns:
        `(..., 12 nside^2)` in RING order, a copy of the same type.

    Raises:
        MethodError: the last two axes are no plane.
    """
    nside = _plane_nside(plane.shape)
    flat = plane.reshape(*plane.shape[:-2], 12 * nside**2)
    return np.take(flat, _pixel_place(nside), axis=-1)


def _map_nside(shape: tuple[int, ...]) -> int:
    n_pix = shape[-1] if shape else 0
    if n_pix < 1 or not hp.isnpixok(n_pix) or not hp.isnsideok(hp.npix2nside(n_pix), nest=True):
        message = f"shape {shape} is no HEALPix map: its last axis must have 12 nside^2 pixels, nside a power of two"
        raise MethodError(message)
    return int(hp.npix2nside(n_pix))


def _plane_nside(shape: tuple[int, ...]) -> int:
    nside = shape[-1] // 3 if len(shape) > 1 else 0
    if nside < 1 or shape[-2:] != plane_shape(nside) or not hp.isnsideok(nside, nest=True):
        message = f"shape {shape} is no plane: its last axes must be (4 nside, 3 nside), nside a power of two"
        raise MethodError(message)
    return nside
