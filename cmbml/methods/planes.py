"""Maps as images: HEALPix's twelve base faces apart, or side by side in one plane as cmbNNCS lays them out.

The plane is that of Wang et al. 2022, ApJS 260, 13. A face keeps its pixels' neighbourhood, so that a convolution on
the plane sees true neighbours inside it. On the sphere too the three faces of a row adjoin at the borders that they
share here; the rows do not, neither does the top with the bottom, and what lies across is far away on the sky.
"""

from functools import cache
from typing import Any

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import MethodError
from cmbml.sky.symmetry import symmetry

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
def face_index(nside: int) -> NDArray[np.int64]:
    """Find which pixel stands where in the twelve faces.

    Row r and column c of a face hold the pixel x = nside - 1 - c, y = nside - 1 - r of HEALPix's (x, y, face): its
    northern corner is top left, its southern one bottom right.

    Args:
        nside: of the map.

    Returns:
        `(12, nside, nside)`, RING pixel numbers; read-only.
    """
    falling = np.arange(nside)[::-1]
    faces, y, x = np.broadcast_arrays(np.arange(12)[:, np.newaxis, np.newaxis], falling[:, np.newaxis], falling)
    return _read_only(hp.xyf2pix(nside, x, y, faces))


@cache
def plane_index(nside: int) -> NDArray[np.int64]:
    """Find which pixel stands where in the plane.

    Args:
        nside: of the map.

    Returns:
        `(4 nside, 3 nside)`, RING pixel numbers; read-only.

    Example:
        >>> plane_index(1).tolist()
        [[2, 6, 9], [3, 7, 10], [0, 4, 11], [1, 5, 8]]
    """
    blocks = face_index(nside)[np.array(FACE_ROWS)]
    return _read_only(blocks.transpose(0, 2, 1, 3).reshape(plane_shape(nside)))


@cache
def _place_in_plane(nside: int) -> NDArray[np.int64]:
    """Return `(12 nside^2,)`: where in the flattened plane each RING pixel stands."""
    return _read_only(np.argsort(plane_index(nside).ravel()))


@cache
def turned_plane(nside: int, number: int) -> NDArray[np.int64]:
    """Return `(12 nside^2,)`: where in the flattened plane the value comes from that a symmetry moves to each place.

    Args:
        nside: of the map.
        number: of the symmetry; see `cmbml.sky.symmetry`.
    """
    return _read_only(_place_in_plane(nside)[symmetry(nside, number)[plane_index(nside).ravel()]])


@cache
def _place_in_faces(nside: int) -> NDArray[np.int64]:
    """Return `(12 nside^2,)`: where in the flattened faces each RING pixel stands."""
    return _read_only(np.argsort(face_index(nside).ravel()))


def _read_only(index: NDArray[Any]) -> NDArray[np.int64]:
    index = np.ascontiguousarray(index, np.int64)
    index.flags.writeable = False
    return index


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
    return np.take(flat, _place_in_plane(nside), axis=-1)


def to_faces(values: NDArray[Any]) -> NDArray[Any]:
    """Cut maps into the twelve base faces.

    Args:
        values: `(..., 12 nside^2)` in RING order, of any type.

    Returns:
        `(..., 12, nside, nside)`, a copy of the same type; see `face_index`.

    Raises:
        MethodError: the last axis is no map.
    """
    return np.take(values, face_index(_map_nside(values.shape)), axis=-1)


def from_faces(faces: NDArray[Any]) -> NDArray[Any]:
    """Put maps together from their faces: the inverse of `to_faces`.

    Args:
        faces: `(..., 12, nside, nside)`, of any type.

    Returns:
        `(..., 12 nside^2)` in RING order, a copy of the same type.

    Raises:
        MethodError: the last three axes are no twelve faces.
    """
    nside = _faces_nside(faces.shape)
    flat = faces.reshape(*faces.shape[:-3], 12 * nside**2)
    return np.take(flat, _place_in_faces(nside), axis=-1)


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


def _faces_nside(shape: tuple[int, ...]) -> int:
    nside = shape[-1] if len(shape) > 2 else 0
    if nside < 1 or shape[-3:] != (12, nside, nside) or not hp.isnsideok(nside, nest=True):
        message = f"shape {shape} is no set of faces: its last axes must be (12, nside, nside), nside a power of two"
        raise MethodError(message)
    return nside
