"""The holes of a mask, one by one."""

from dataclasses import dataclass

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Hole:
    """Pixels that hang together, and are not known.

    Attributes:
        pixels: their numbers, RING, `(n,)`.
        centre: longitude and latitude of their mean direction, degrees.
        reach_deg: how far the farthest of them is from the centre.
        radius_deg: radius of a disk of the same area.
    """

    pixels: NDArray[np.int64]
    centre: tuple[float, float]
    reach_deg: float
    radius_deg: float


def separate_holes(observed: NDArray[np.bool_]) -> list[Hole]:
    """Return the holes of a mask, in the order of their first pixels.

    Args:
        observed: `(n_pix,)`, RING, False in holes. Pixels that touch at a corner are of one hole.
    """
    nside, numbers = hp.npix2nside(observed.size), np.flatnonzero(~observed)
    if not numbers.size:
        return []
    near = hp.get_all_neighbours(nside, numbers)
    linked = (near >= 0) & ~observed[near]
    place = np.full(observed.size, -1)
    place[numbers] = np.arange(numbers.size)
    ends = np.broadcast_to(np.arange(numbers.size), near.shape)[linked], place[near[linked]]
    links = coo_array((np.ones(ends[0].size), ends), shape=(numbers.size, numbers.size))
    count, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    groups = np.split(numbers[order], np.cumsum(np.bincount(label, minlength=count))[:-1])
    return sorted((_hole(nside, pixels) for pixels in groups), key=lambda hole: hole.pixels[0])


def _hole(nside: int, pixels: NDArray[np.int64]) -> Hole:
    vectors = np.stack(hp.pix2vec(nside, pixels), axis=-1)
    mean = vectors.mean(axis=0)
    size = np.linalg.norm(mean)
    # A band around the whole sphere has no mean direction; any of its pixels will do, and its reach says what it is.
    centre = mean / size if size > 1e-6 else vectors[0]
    lon, lat = np.degrees(np.arctan2(centre[1], centre[0])), np.degrees(np.arcsin(np.clip(centre[2], -1, 1)))
    reach = np.degrees(np.arccos(np.clip((vectors @ centre).min(), -1, 1)))
    height = 2 * pixels.size / (12 * nside**2)
    return Hole(pixels, (float(lon), float(lat)), float(reach), float(np.degrees(np.arccos(1 - height))))
