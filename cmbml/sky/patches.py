"""Patches of the sky: what they are, how they are cut from the sphere, and how a sphere is put together from them.

A patch is an image as FITS has it: rows go up, columns go to the right, and at rotation 0 up is north and left is east.
A point of the sphere lies in it at (u, v), degrees to the left and up from the centre.

- `gnomonic`: the point is projected from the centre of the sphere onto the plane that touches it at the patch's centre
  (Calabretta & Greisen 2002, A&A 395, 1077, TAN).
- `plate_carree`: u and v are longitude and latitude in a frame whose equator goes through the patch's centre (CAR).

Q and U refer to the patch's own up, carried along the great circle from its centre to each pixel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import ducc0
import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_array

from cmbml.sky.harmonics import Alm, alm_lmax
from cmbml.sky.interpolation import bilinear, nearest, neighbours
from cmbml.sky.maps import MapError, MapSpec, n_bad_pixels

Float = NDArray[np.float64]
Projection = Literal["gnomonic", "plate_carree"]
Interpolation = Literal["bilinear", "nearest"]
WIDEST_DEG = 60.0
TAPER = 0.5
"""Part of a patch's half-width, from the edge inwards, over which its weight rises to one."""
LEAST_WEIGHT = 1e-3
"""Weight below which a pixel of the sphere counts as covered by no patch."""
UPSAMPLING = 4
"""How much finer the grid is on which tapered patches are interpolated by a spline."""


@dataclass(frozen=True, kw_only=True)
class PatchSpec:
    """What patches are, wherever they lie.

    Attributes:
        maps: what the sphere is that they are of: unit, fields, beam, band limit, frame.
        height: rows.
        width: columns.
        pixel_arcmin: side of a pixel at the centre, arcmin: of rows and of columns.
        projection: `gnomonic`, or `plate_carree`.
    """

    maps: MapSpec
    height: int
    width: int
    pixel_arcmin: tuple[float, float]
    projection: Projection = "gnomonic"

    def __post_init__(self) -> None:
        """Check that there is such a patch.

        Raises:
            MapError: it has no pixels, or is wider than a projection bears.
        """
        if min(self.height, self.width) < 2 or min(self.pixel_arcmin) <= 0:
            message = (
                f"a patch of {self.height} x {self.width} pixels of {self.pixel_arcmin} arcmin cannot be; it needs two "
                "pixels a side, larger than 0"
            )
            raise MapError(message)
        if self.widest_deg > WIDEST_DEG:
            message = (
                f"a patch of {self.height} x {self.width} pixels of {self.pixel_arcmin[0]:g}' x "
                f"{self.pixel_arcmin[1]:g}' is {self.widest_deg:.0f} degrees wide; projections bear {WIDEST_DEG:g}: "
                "take fewer or smaller pixels"
            )
            raise MapError(message)

    @property
    def sides_deg(self) -> tuple[float, float]:
        """Height and width, degrees."""
        return self.height * self.pixel_arcmin[0] / 60, self.width * self.pixel_arcmin[1] / 60

    @property
    def widest_deg(self) -> float:
        """The longer side, degrees."""
        return max(self.sides_deg)

    def difference(self, other: "PatchSpec", *names: str) -> str:
        """Say in words in which of `names` two descriptions differ; empty where they agree."""
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return ", ".join(f"{name} is {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs)

    def too_fine(self) -> str:
        """Say, if it is so, how much finer the pixels are than those of the map; empty otherwise."""
        pixel = np.degrees(hp.nside2resol(self.maps.nside)) * 60
        ratio = pixel / min(self.pixel_arcmin)
        if ratio < 2:
            return ""
        return (
            f"patch pixels of {min(self.pixel_arcmin):g}' are {ratio:.1f} times finer than those of nside "
            f"{self.maps.nside} ({pixel:.1f}'): there is nothing more to see in them"
        )


@dataclass(frozen=True)
class Patches:
    """Patches of one sky.

    Attributes:
        values: `(n_patch, n_field, height, width)`, in `spec.maps.unit`.
        spec: what they are.
        centres: `(n_patch, 3)`, degrees: longitude and latitude of the centre in the frame of the map, and the position
            angle of up, from north towards east. NaN where patches were drawn flat, and lie nowhere.
    """

    values: NDArray[np.floating[Any]]
    spec: PatchSpec
    centres: Float

    def __post_init__(self) -> None:
        """Check that the arrays are what the description promises.

        Raises:
            MapError: a shape is wrong, or a pixel is not finite.
        """
        wanted = (len(self.centres), len(self.spec.maps.fields), self.spec.height, self.spec.width)
        if self.values.shape != wanted or self.centres.shape != (wanted[0], 3):
            message = (
                f"patches must have shape {wanted} and centres {(wanted[0], 3)}, not {self.values.shape} and "
                f"{self.centres.shape}"
            )
            raise MapError(message)
        if bad := n_bad_pixels(self.values):
            message = f"{bad} of {self.values.size} pixel values are NaN, infinite or UNSEEN"
            raise MapError(message)


def axes_of(centres: Float) -> Float:
    """Return the unit vectors to the centre, to the left and up of each patch, `(n_patch, 3, 3)`, as rows."""
    lon, lat, angle = np.radians(np.asarray(centres, float)).T
    sin, cos, zero = np.sin, np.cos, np.zeros_like(lon)
    centre = np.stack([cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat)], axis=-1)
    east = np.stack([-sin(lon), cos(lon), zero], axis=-1)
    north = np.stack([-sin(lat) * cos(lon), -sin(lat) * sin(lon), cos(lat)], axis=-1)
    turn, keep = sin(angle)[:, None], cos(angle)[:, None]
    return np.stack([centre, keep * east - turn * north, keep * north + turn * east], axis=1)


@cache
def _pixels(spec: PatchSpec) -> Float:
    """Return the unit vectors to a patch's pixels, in the frame of its axes, `(3, height * width)`; read-only."""
    rows, columns = (
        (np.arange(n) - (n - 1) / 2) * np.radians(pixel / 60)
        for n, pixel in zip((spec.height, spec.width), spec.pixel_arcmin, strict=True)
    )
    v, u = np.meshgrid(rows, -columns, indexing="ij")
    if spec.projection == "gnomonic":
        vectors = np.stack([np.ones_like(u), u, v])
    else:
        vectors = np.stack([np.cos(v) * np.cos(u), np.cos(v) * np.sin(u), np.sin(v)])
    out: Float = (vectors / np.linalg.norm(vectors, axis=0)).reshape(3, -1)
    out.flags.writeable = False
    return out


def vectors_of(spec: PatchSpec, axes: Float) -> Float:
    """Return the unit vectors to the pixels of one patch, `(3, height * width)`, in the frame of the map."""
    # Laid out point by point, in which order HEALPix's own routines take it.
    found: Float = (_pixels(spec).T @ axes).T
    return found


def _transport(vectors: Float, axes: Float) -> Float:
    """Return the position angle of a patch's up at points of it, carried there along great circles, radians."""
    centre, up = axes[0], axes[2]
    carried = up[:, None] - ((up @ vectors) / (1 + centre @ vectors)) * (centre[:, None] + vectors)
    east = np.stack([-vectors[1], vectors[0], np.zeros_like(vectors[0])])
    # Not normalised: both components have the factor sin(colatitude) in common, and at a pole any angle will do.
    north = np.cross(vectors, east, axis=0)
    angle: Float = np.arctan2((carried * east).sum(axis=0), (carried * north).sum(axis=0))
    return angle


def _turn(values: NDArray[Any], angle: Float, polconv: str) -> NDArray[Any]:
    """Refer Q and U, `(3, n)`, to an up whose position angle is given, in place; I stays.

    With IAU's sign Q + iU turns by minus twice the angle; HEALPix's U has the other sign.
    """
    sign = 1.0 if polconv == "IAU" else -1.0
    turned = (values[1] + 1j * sign * values[2]) * np.exp(-2j * angle)
    values[1], values[2] = turned.real, sign * turned.imag
    return values


def cut(
    values: NDArray[Any], spec: PatchSpec, centres: Float, interpolation: Interpolation = "bilinear"
) -> NDArray[np.float32]:
    """Cut patches from maps, bilinearly between their pixels, or from the nearest pixel.

    That smooths: of white power up to l = 2 nside a quarter of the rms is lost, under a beam of three pixels 9 %; of
    C_l falling as l^-2 a tenth, and 3 %. `cut_exactly` is exact.

    Args:
        values: `(n_map, n_pix)`, RING: any number of maps; of I Q U, those three one after the other.
        spec: what is cut.
        centres: `(n_patch, 3)`, degrees; see `Patches`.
        interpolation: `nearest` is what healpy's projector does; three times faster, and it shows the pixels' edges.

    Returns:
        `(n_patch, n_map, height, width)`.
    """
    out = np.empty((len(centres), len(values), spec.height * spec.width), np.float32)
    for patch, axes in zip(out, axes_of(centres), strict=True):
        vectors = vectors_of(spec, axes)
        if interpolation == "nearest":
            np.take(values, nearest(spec.maps.nside, vectors), axis=-1, out=patch, mode="clip")
        else:
            patch[:] = bilinear(values, vectors)
        if spec.maps.fields == "IQU":
            angle = _transport(vectors, axes)
            for first in range(0, len(values), 3):
                _turn(patch[first : first + 3], angle, spec.maps.polconv)
    return out.reshape(*out.shape[:2], spec.height, spec.width)


class Cutter:
    """Cuts the same patches from many maps, with the pixels and the weights of `cut` found once.

    They are kept: 32 bytes for each pixel of each patch, or 8 with `nearest`.

    Args:
        spec: what is cut.
        centres: `(n_patch, 3)`, degrees; see `Patches`.
        interpolation: as of `cut`.
    """

    def __init__(self, spec: PatchSpec, centres: Float, interpolation: Interpolation = "bilinear") -> None:
        self.spec, self.shape, nside = spec, (len(centres), spec.height, spec.width), spec.maps.nside
        self.axes = axes_of(centres)
        n = spec.height * spec.width
        self.matrix = None
        if interpolation == "nearest":
            self.pixels = np.stack([nearest(nside, vectors_of(spec, axes)) for axes in self.axes])
            return
        pixels = np.empty((len(centres), n, 4), np.int32)
        weights = np.empty((len(centres), n, 4), np.float32)
        for number, axes in enumerate(self.axes):
            for k, (found, share) in enumerate(neighbours(nside, vectors_of(spec, axes))):
                pixels[number, :, k], weights[number, :, k] = found, share
        ends = np.arange(0, pixels.size + 1, 4)
        self.matrix = csr_array((weights.ravel(), pixels.ravel(), ends), (len(ends) - 1, spec.maps.n_pix))

    def cut(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Cut the patches from maps, `(n_map, n_pix)`; returns `(n_patch, n_map, height, width)`."""
        if self.matrix is None:
            out = np.stack([values.take(pixels, axis=-1) for pixels in self.pixels]).astype(np.float32, copy=False)
            out = out.reshape(self.shape[0], len(values), *self.shape[1:])
        else:
            found = (self.matrix @ np.ascontiguousarray(values.T, np.float32)).T
            out = np.ascontiguousarray(found.reshape(len(values), *self.shape).swapaxes(0, 1))
        if self.spec.maps.fields == "IQU":
            flat = out.reshape(*out.shape[:2], -1)
            for patch, axes in zip(flat, self.axes, strict=True):
                angle = _transport(vectors_of(self.spec, axes), axes)
                for first in range(0, len(values), 3):
                    _turn(patch[first : first + 3], angle, self.spec.maps.polconv)
        return out


def cut_exactly(alm: Alm, spec: PatchSpec, centres: Float, threads: int = 1) -> Iterator[Float]:
    """Cut patches from harmonic coefficients: what a map of infinite resolution holds at the centres of their pixels.

    Args:
        alm: `(n_comp, n_alm)`: T, or T E B.
        spec: what is cut.
        centres: `(n_patch, 3)`, degrees; see `Patches`.
        threads: CPU threads.

    Yields:
        `(n_comp, height, width)`, patch by patch.
    """
    lmax, batch = alm_lmax(alm.shape[-1]), max(1, 4_000_000 // (spec.height * spec.width))
    found = axes_of(centres)
    for start in range(0, len(centres), batch):
        vectors = [vectors_of(spec, axes) for axes in found[start : start + batch]]
        angles = ducc0.healpix.vec2ang(np.ascontiguousarray(np.concatenate(vectors, axis=1).T))
        loc = {"loc": angles, "lmax": lmax, "epsilon": 1e-9, "nthreads": threads}
        wide = alm.astype(np.complex128)
        seen = [ducc0.sht.synthesis_general(alm=wide[:1], spin=0, **loc)]
        if len(alm) == 3:
            seen.append(ducc0.sht.synthesis_general(alm=wide[1:], spin=2, **loc))
        blocks = np.split(np.concatenate(seen), len(vectors), axis=1)
        for block, points, axes in zip(blocks, vectors, found[start : start + batch], strict=True):
            if len(alm) == 3:
                _turn(block, _transport(points, axes), spec.maps.polconv)
            yield block.reshape(len(alm), spec.height, spec.width)


def taper(spec: PatchSpec, width: float = TAPER) -> Float:
    """Return the weight of each pixel of a patch, `(height, width)`: 1 inside, falling to 0 at the outermost pixels."""
    rows, columns = (np.linspace(-1, 1, n) for n in (spec.height, spec.width))
    return np.outer(_fall(rows, width), _fall(columns, width))


def _fall(place: Float, width: float) -> Float:
    """Return the weight at a place from -1 to 1: cos^2 over the outer part `width`, zero from 1 on."""
    return np.cos(np.pi / 2 * np.clip((np.abs(place) - 1 + width) / width, 0, 1)) ** 2


def inside(spec: PatchSpec, axes: Float) -> tuple[NDArray[np.int64], Float, Float, Float]:
    """Find the pixels of the sphere within one patch.

    Args:
        spec: what the patch is.
        axes: its entry of `axes_of`, `(3, 3)`.

    Returns:
        Numbers of pixels, RING, `(n,)`; where they lie in the patch, rows and columns; unit vectors, `(3, n)`.
    """
    radius = np.radians(np.hypot(*spec.sides_deg) / 2)
    pixels = hp.query_disc(spec.maps.nside, axes[0], radius, inclusive=True)
    vectors = np.stack(hp.pix2vec(spec.maps.nside, pixels))
    ahead, left, up = axes @ vectors
    if spec.projection == "gnomonic":
        u, v = left / ahead, up / ahead
    else:
        u, v = np.arctan2(left, ahead), np.arcsin(np.clip(up, -1, 1))
    row = (spec.height - 1) / 2 + v / np.radians(spec.pixel_arcmin[0] / 60)
    column = (spec.width - 1) / 2 - u / np.radians(spec.pixel_arcmin[1] / 60)
    kept = (ahead > 0) & (row > 0) & (row < spec.height - 1) & (column > 0) & (column < spec.width - 1)
    return pixels[kept], row[kept], column[kept], vectors[:, kept]


class Stitcher:
    """Puts a sphere together from patches that cover it: each pixel is their mean by weights that taper to the edges.

    The weights are the same for the patches and for the pixels of the sphere, so that they add up to one everywhere.

    Args:
        spec: what the patches are.
        centres: `(n_patch, 3)`, degrees.
        width: part of the half-width over which weights taper.

    Raises:
        MapError: patches leave pixels of the sphere uncovered; the message says how many.
    """

    def __init__(self, spec: PatchSpec, centres: Float, width: float = TAPER) -> None:
        self.spec, self.width = spec, width
        self.axes = axes_of(centres)
        self.total = np.zeros(spec.maps.n_pix)
        for axes in self.axes:
            pixels, rows, columns, _ = inside(self.spec, axes)
            self.total[pixels] += self._weight(rows, columns)
        bare = int(np.count_nonzero(self.total < LEAST_WEIGHT))
        if bare:
            message = (
                f"{len(centres)} patches of {spec.sides_deg[0]:.1f} x {spec.sides_deg[1]:.1f} degrees leave {bare} of "
                f"{spec.maps.n_pix} pixels of the sphere uncovered; take more centres (a larger overlap), or larger "
                "patches"
            )
            raise MapError(message)

    def _weight(self, rows: Float, columns: Float) -> Float:
        places = (2 * rows / (self.spec.height - 1) - 1, 2 * columns / (self.spec.width - 1) - 1)
        return _fall(places[0], self.width) * _fall(places[1], self.width)

    def stitch(self, patches: NDArray[Any], exact: bool = True) -> Float:
        """Put a sphere together.

        Args:
            patches: `(n_patch, n_field, height, width)`, at the centres, in their order.
            exact: whether patches, tapered, are interpolated as the band-limited images that they are (to 3e-4 of white
                power up to l = 2 nside, with pixels of HEALPix's size); bilinearly if not (a third is lost then).

        Returns:
            `(n_field, n_pix)`, RING.
        """
        window = taper(self.spec, self.width)
        out = np.zeros((patches.shape[1], self.spec.maps.n_pix))
        for patch, axes in zip(patches, self.axes, strict=True):
            pixels, rows, columns, vectors = inside(self.spec, axes)
            values = (
                _between(patch * window, rows, columns)
                if exact
                else np.stack([map_coordinates(field, (rows, columns), order=1) for field in patch])
                * self._weight(rows, columns)
            )
            if self.spec.maps.fields == "IQU":
                _turn(values, -_transport(vectors, axes), self.spec.maps.polconv)
            out[:, pixels] += values
        return out / self.total

    def spread(self, sigma: NDArray[Any]) -> Float:
        """Put the uncertainties of patches together, as if their errors were the same where they overlap.

        Overlapping patches look at the same sky, so that their errors are nearly so; independent ones would be smaller.
        """
        squares = np.zeros((sigma.shape[1], self.spec.maps.n_pix))
        for patch, axes in zip(sigma, self.axes, strict=True):
            pixels, rows, columns, _ = inside(self.spec, axes)
            found = np.stack([map_coordinates(field, (rows, columns), order=1) for field in patch])
            squares[:, pixels] += found * self._weight(rows, columns)
        return squares / self.total


def _between(images: Float, rows: Float, columns: Float) -> Float:
    """Interpolate images that vanish at their edges: Fourier series on a finer grid, a spline of fifth order there."""
    height, width = images.shape[-2:]
    fine_shape = (UPSAMPLING * height, UPSAMPLING * width)
    spectrum = np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1))
    # Half of the highest frequency of an even number of pixels belongs on either side.
    pad = [(0, 0)] + [
        (fine // 2 - n // 2, fine - n - (fine // 2 - n // 2))
        for fine, n in zip(fine_shape, (height, width), strict=True)
    ]
    fine = np.fft.ifft2(np.fft.ifftshift(np.pad(spectrum, pad), axes=(-2, -1))).real * UPSAMPLING**2
    places = (UPSAMPLING * rows, UPSAMPLING * columns)
    return np.stack([map_coordinates(image, places, order=5, mode="grid-wrap") for image in fine])
