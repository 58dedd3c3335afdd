"""Where patches lie: drawn at random, or on grids."""

from typing import Literal

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.maps import Frame, MapError
from cmbml.sky.patches import PatchSpec, axes_of

Float = NDArray[np.float64]
Half = Literal["all", "north", "south", "east", "west"]
"""Of the sphere, in the frame of the maps: by the sign of latitude, or by longitudes from 0 to 180 (east)."""


def uniform(
    number: int, rng: np.random.Generator, half: Half = "all", latitudes_deg: tuple[float, float] = (0.0, 90.0)
) -> Float:
    """Draw centres uniformly on the sphere, each with a rotation of its own.

    Args:
        number: of centres.
        rng: what draws.
        half: of the sphere.
        latitudes_deg: least and greatest |b|.

    Returns:
        `(number, 3)`, degrees.

    Raises:
        MapError: there are no such latitudes.
    """
    low, high = latitudes_deg
    if not 0 <= low < high <= 90:
        message = f"latitudes from {low:g} to {high:g} degrees: they must rise, and lie between 0 and 90"
        raise MapError(message)
    draws = rng.random((number, 4))
    lat = np.degrees(np.arcsin(np.sin(np.radians(low)) + draws[:, 0] * np.diff(np.sin(np.radians([low, high])))))
    sign = {"north": np.ones(number), "south": -np.ones(number)}.get(half, np.where(draws[:, 1] < 0.5, -1.0, 1.0))
    start, extent = {"east": (0.0, 180.0), "west": (180.0, 180.0)}.get(half, (0.0, 360.0))
    return np.stack([start + extent * draws[:, 2], sign * lat, 360 * draws[:, 3]], axis=1)


def rings(spec: PatchSpec, overlap: float) -> Float:
    """Return centres that cover the sphere: rings of equal latitude, patches upright, each ring filled evenly.

    Rings fit any size of patch; HEALPix's own centres would only come in powers of four.

    Args:
        spec: of the patches.
        overlap: part of a patch's side that the next one covers too, 0 to 0.9; what is left is the step.

    Returns:
        `(n_patch, 3)`, degrees, from north to south.

    Raises:
        MapError: there is no such overlap.
    """
    if not 0 <= overlap <= 0.9:
        message = f"overlap={overlap:g}: patches may overlap by 0 to 0.9 of their side"
        raise MapError(message)
    height, width = (side * (1 - overlap) for side in spec.sides_deg)
    n_rings = int(np.ceil(180 / height)) + 1
    found = []
    for lat in np.linspace(90, -90, n_rings):
        # Where the ring's patches reach furthest from the pole, they are furthest apart.
        widest = np.cos(np.radians(max(abs(lat) - height / 2, 0)))
        count = 1 if abs(lat) == 90 else max(1, int(np.ceil(360 * widest / width)))
        found += [(360 * k / count, lat, 0.0) for k in range(count)]
    return np.array(found)


def within(centres: Float, spec: PatchSpec, half: Half, buffer_deg: float = 0.0) -> Float:
    """Keep the centres whose patches reach no further than a buffer over the border of a half of the sphere.

    Args:
        centres: `(n_patch, 3)`, degrees.
        spec: of the patches.
        half: of the sphere.
        buffer_deg: how far they may reach over; negative to stay clear of the border.

    Returns:
        Those that are kept, in their order.
    """
    if half == "all":
        return centres
    reach = np.hypot(*spec.sides_deg) / 2 - buffer_deg
    lon, lat = np.radians(centres[:, 0]), np.radians(centres[:, 1])
    inwards = {"north": np.sin(lat), "south": -np.sin(lat), "east": np.cos(lat) * np.sin(lon)}
    inwards["west"] = -inwards["east"]
    kept: Float = centres[np.degrees(np.arcsin(inwards[half])) >= reach]
    return kept


def stepped(step_deg: float, latitudes_deg: tuple[float, float], half: Half = "all") -> Float:
    """Return upright centres in steps: of latitude, and of longitude over its cosine (Aylor et al., arXiv:1909.06467).

    Neighbours of one latitude are a step apart on the sky, but for the last and the first, which may be nearer.

    Args:
        step_deg: between neighbours.
        latitudes_deg: least and greatest |b|.
        half: of the sphere: `all`, `north` or `south` by the sign of latitude, `east` or `west` by longitude.

    Returns:
        `(n_patch, 3)`, degrees, by latitude from south to north.

    Example:
        >>> len(stepped(5, (25, 90))), len(stepped(5, (25, 90), "north"))
        (1034, 517)
    """
    low, high = latitudes_deg
    steps = np.arange(low, high + step_deg / 1e6, step_deg)
    found = []
    for lat in np.concatenate([-steps[::-1], steps[steps > 0]]):
        across = step_deg / max(np.cos(np.radians(lat)), 1e-9)
        found += [(lon, lat, 0.0) for lon in np.arange(0, 360, across)]
    centres = np.array(found)
    lon, lat = centres[:, 0], centres[:, 1]
    inside = {"all": lat < 91, "north": lat >= 0, "south": lat < 0, "east": lon < 180, "west": lon >= 180}
    kept: Float = centres[inside[half]]
    return kept


def in_frame(centres: Float, frame: Frame, of: Frame = "G") -> Float:
    """Say in another frame where patches lie: the same pixels of the sky, with the same up.

    Args:
        centres: `(n_patch, 3)`, degrees, in the frame `of`.
        frame: in which they are wanted.
        of: in which they are given.
    """
    if frame == of:
        return centres
    rotation = hp.Rotator(coord=[of, frame]).mat
    centre, _, up = np.moveaxis(axes_of(centres) @ rotation.T, 1, 0)
    lon, lat = np.arctan2(centre[:, 1], centre[:, 0]), np.arcsin(np.clip(centre[:, 2], -1, 1))
    _, east, north = np.moveaxis(axes_of(np.degrees(np.stack([lon, lat, np.zeros_like(lon)], axis=1))), 1, 0)
    angle = np.arctan2((up * east).sum(axis=1), (up * north).sum(axis=1))
    found: Float = np.degrees(np.stack([lon, lat, angle], axis=1))
    return found


def tiles(centres: Float, nside: int) -> NDArray[np.int64]:
    """Return the number of the HEALPix pixel in which the centre of each patch lies, `(n_patch,)`.

    Patches that were drawn flat (their centres are NaN) share nothing: each is a tile of its own.

    Args:
        centres: `(n_patch, 3)`, degrees.
        nside: of the tiles, any positive number: 3 for tiles of 20 degrees.
    """
    if not np.isfinite(centres).all():
        return np.arange(len(centres))
    found: NDArray[np.int64] = hp.ang2pix(nside, centres[:, 0], centres[:, 1], lonlat=True)
    return found
