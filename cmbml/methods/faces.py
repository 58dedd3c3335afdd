"""The twelve base faces of HEALPix, each with a frame of what truly surrounds it on the sphere.

A convolution on framed faces knows no border: what lies past the edge of a face is taken from the faces next to it
(HEALPix: Gorski et al. 2005, ApJ 622, 759). Around a pole the next face is turned by a right angle.
At eight points of the sphere only three faces meet, and the corner of a frame there has no pixel of its own: each of
its elements is the mean of the two that are reached by leaving the face over the one edge or over the other. In a
frame one pixel wide these are the two pixels of the frame beside the corner.
"""

from functools import lru_cache
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from cmbml.methods.base import MethodError
from cmbml.methods.planes import FACE_ROWS

# The face past each edge, for faces 0 to 11: along x past its end and before its start, and along y.
FACE_AFTER = np.array(((1, 2, 3, 0, 0, 1, 2, 3, 5, 6, 7, 4), (3, 0, 1, 2, 3, 0, 1, 2, 4, 5, 6, 7)))
FACE_BEFORE = np.array(((4, 5, 6, 7, 11, 8, 9, 10, 11, 8, 9, 10), (5, 6, 7, 4, 8, 9, 10, 11, 9, 10, 11, 8)))

Index = NDArray[np.int64]


@final
class FacePadding(nn.Module):
    """Put a frame of true neighbours around every face.

    Values are handed on as they are. HEALPix's Q and U refer to meridians, not to the axes of a face, so that nothing
    is to be turned where a face is.

    Args:
        nside: of the faces.
        width: of the frame, pixels; at most nside.

    Raises:
        MethodError: the frame is wider than a face, or has no width.
    """

    index: Tensor
    corners: Tensor
    corner_index: Tensor

    def __init__(self, nside: int, width: int) -> None:
        super().__init__()
        if not 1 <= width <= nside:
            message = f"a frame of {width} pixels cannot be put around faces of nside {nside}; 1 to {nside} can"
            raise MethodError(message)
        self.nside, self.width = nside, width
        index, other = (framed_index(nside, width, first) for first in (0, 1))
        corners = np.flatnonzero(index != other)
        for name, value in (("index", index), ("corners", corners), ("corner_index", other[corners])):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Pad.

        Args:
            faces: `(batch, channel, 12, nside, nside)`, laid out as `planes.face_index` says.

        Returns:
            `(batch, channel, 12, nside + 2 width, nside + 2 width)`.

        Raises:
            MethodError: these are no such faces.
        """
        wanted, side = (12, self.nside, self.nside), self.nside + 2 * self.width
        if faces.ndim != 5 or faces.shape[2:] != wanted:
            message = f"faces must have shape (batch, channel, {', '.join(map(str, wanted))}), not {tuple(faces.shape)}"
            raise MethodError(message)
        flat = faces.flatten(2)
        framed = flat.index_select(2, self.index)
        means = 0.5 * (framed.index_select(2, self.corners) + flat.index_select(2, self.corner_index))
        return framed.index_copy_(2, self.corners, means).reshape(*faces.shape[:3], side, side)


def framed_index(nside: int, width: int, first: int) -> Index:
    """Find what stands where in the framed faces, when a face is left straight on.

    Args:
        nside: of the faces.
        width: of the frame, pixels.
        first: over which edge a face is left first where both coordinates lie outside: 0 for x, 1 for y. The same pixel
            is reached both ways, except at the corners where three faces meet.

    Returns:
        `(12 (nside + 2 width)^2,)`: places in the flattened `(12, nside, nside)`.
    """
    falling = np.arange(nside + width - 1, -width - 1, -1)
    face, y, x = np.broadcast_arrays(np.arange(12)[:, np.newaxis, np.newaxis], falling[:, np.newaxis], falling)
    # Past a turned edge x has become y: what is still outside lies along the first axis again.
    for axis in (first, 1 - first, first):
        face, x, y = _cross(face, x, y, nside, axis)
    place: Index = (face * nside + nside - 1 - y) * nside + nside - 1 - x
    return place.ravel()


def _cross(face: Index, x: Index, y: Index, nside: int, axis: int) -> tuple[Index, Index, Index]:
    """Move what lies outside its face along one axis (0: x, 1: y) to the face that is there.

    Faces 0-3 meet at the north pole and faces 8-11 at the south pole: the edges that they share there run along x in
    one of them and along y in the other. All other edges have the same direction on both sides.
    """
    along, across = (x, y) if axis == 0 else (y, x)
    after, before = along >= nside, along < 0
    turned = (after & (face < 4)) | (before & (face >= 8))
    new_along = np.where(turned, across, along % nside)
    new_across = np.where(turned, (-1 - along) % nside, across)
    new_face = np.where(after, FACE_AFTER[axis][face], np.where(before, FACE_BEFORE[axis][face], face))
    return (new_face, new_along, new_across) if axis == 0 else (new_face, new_across, new_along)


def faces_of_planes(planes: Tensor) -> Tensor:
    """Cut planes, `(batch, channel, 4 nside, 3 nside)`, into faces: `(12 batch, channel, nside, nside)`."""
    batch, n_channel, _, width = planes.shape
    nside = width // 3
    blocks = planes.reshape(batch, n_channel, 4, nside, 3, nside).permute(0, 2, 4, 1, 3, 5)
    faces = blocks.reshape(batch, 12, n_channel, nside, nside)
    return faces[:, torch.tensor(FACE_ROWS, device=planes.device).flatten().argsort()].flatten(0, 1)


def planes_of_faces(images: Tensor) -> Tensor:
    """Lay faces, `(12 batch, channel, nside, nside)`, out as planes: the inverse of `faces_of_planes`."""
    _, n_channel, nside, _ = images.shape
    faces = images.reshape(-1, 12, n_channel, nside, nside)
    blocks = faces[:, torch.tensor(FACE_ROWS, device=images.device).flatten()]
    found = blocks.reshape(-1, 4, 3, n_channel, nside, nside).permute(0, 3, 1, 4, 2, 5)
    return found.reshape(-1, n_channel, 4 * nside, 3 * nside)


@lru_cache(maxsize=16)
def _frame(nside: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return where the frames lie in the flattened framed faces, `(n,)`, and the pixels that they show, `(2, n)`."""
    frame = np.pad(np.zeros((nside, nside), bool), 1, constant_values=True)
    places = np.flatnonzero(np.broadcast_to(frame, (12, *frame.shape)))
    sources = np.stack([framed_index(nside, 1, first)[places] for first in (0, 1)])
    return torch.tensor(places, device=device), torch.tensor(sources, device=device)


@final
class FaceFrame(nn.Module):
    """Put a frame of true neighbours, one pixel wide, around faces of any size that are as many images.

    As `FacePadding` does; but only the frame itself is looked up, so that a gradient comes back as fast as it went.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Frame `(12 batch, channel, nside, nside)`; returns `(12 batch, channel, nside + 2, nside + 2)`."""
        n_channel, side = images.shape[1], images.shape[-1] + 2
        places, sources = _frame(side - 2, images.device)
        # Innermost in memory, as convolutions like it: what is looked up for a pixel lies in one piece.
        pixels = images.permute(0, 2, 3, 1)
        framed = pad(pixels, (0, 0, 1, 1, 1, 1)).reshape(-1, 12 * side**2, n_channel)
        pixels = pixels.reshape(-1, 12 * (side - 2) ** 2, n_channel)
        framed.index_copy_(1, places, 0.5 * (pixels[:, sources[0]] + pixels[:, sources[1]]))
        return framed.reshape(-1, side, side, n_channel).permute(0, 3, 1, 2)
