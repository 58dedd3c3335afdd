"""Patches of a map with holes as the samples of a network, and a map whose holes are filled from the replies."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.ndimage import map_coordinates

from cmbml.methods.base import MethodError
from cmbml.methods.holes.case import HOLED, MASK, NOISE, mask_hash
from cmbml.methods.holes.filling import put_in
from cmbml.methods.patches import Squares
from cmbml.methods.trained import known
from cmbml.settings import Fraction, PositiveFloat, settings
from cmbml.sky.case import Answer, Case, CaseSpec
from cmbml.sky.centres import rings
from cmbml.sky.harmonics import analyse
from cmbml.sky.holes import Hole, separate_holes
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.patches import PatchSpec, Projection, axes_of, cut, cut_exactly, inside, taper

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
ROOM = 0.35
"""How far a hole may reach from the centre of its patch, in parts of the shorter side: beyond it, several patches share
the hole. What lies around must be seen, for that is all that there is to go on from."""
LEAST_KNOWN = 0.05
"""Part of a patch that must be known for something to be said of the rest."""
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Place:
    """Where a patch lies, and which pixels of the sphere its reply is for.

    Attributes:
        centre: longitude, latitude and rotation, degrees.
        holes: numbers of the holes.
    """

    centre: tuple[float, float, float]
    holes: tuple[int, ...]


@final
@settings
class HolePatches(Squares):
    """Patches around holes. A network sees two channels, the map (zero in holes) and 1 where it is known.

    A pixel of a patch is the mean of the known ones of the four pixels of the sphere around it, by their bilinear
    weights, if these are half of all, else it is in a hole. The target is exact, through harmonic coefficients.
    Patches that are learnt from lie about holes that are drawn, off their centres and turned, all at random. For an
    answer, each hole is the centre of a patch; holes that would leave too little around them in it are shared by
    patches on rings, whose replies are averaged by weights that taper to the patches' edges.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        height: rows of a patch.
        width: columns.
        pixel_arcmin: sides of its pixels at the centre, arcmin: of rows and of columns.
        projection: `gnomonic`, or `plate_carree`.
        per_simulation: how many patches are learnt from in each simulation.
        jitter: how far the centre of such a patch may be from that of its hole, in parts of its sides.
        overlap: part of its side that a patch on a ring shares with the next one.
    """

    height: PositiveInt
    width: PositiveInt
    pixel_arcmin: tuple[PositiveFloat, PositiveFloat]
    projection: Projection = "gnomonic"
    per_simulation: PositiveInt = 64
    jitter: Fraction = 0.15
    overlap: Fraction = 0.5
    keeps_shown: ClassVar[bool] = True

    def accepts(self, spec: CaseSpec[Any]) -> MapSpec:
        """Look whether there is a map of intensity with holes, and whether there can be such patches of it."""
        if HOLED not in spec.shown or MASK not in spec.shown:
            message = "this method fills holes in a map: run main_inpaint.py with it"
            raise MethodError(message)
        shown: MapSpec = spec.shown[HOLED]
        if shown.fields != "I":
            message = (
                f"networks fill holes in intensity alone, and the maps are {shown.fields}; take constrained_wiener"
            )
            raise MethodError(message)
        self.patch_spec(spec)
        return shown

    def channels_shown(self, spec: CaseSpec[Any]) -> tuple[str, ...]:
        """Return nothing: the map with holes is no channel of the instrument."""
        return tuple(spec.channels)

    def patch_spec(self, spec: CaseSpec[Any]) -> PatchSpec:
        """Say what the patches are."""
        return PatchSpec(
            maps=spec.shown[HOLED],
            height=self.height,
            width=self.width,
            pixel_arcmin=self.pixel_arcmin,
            projection=self.projection,
        )

    def shapes(self, spec: CaseSpec[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:  # noqa: ARG002
        """Return `(2, height, width)` and `(1, height, width)`."""
        return (2, self.height, self.width), (1, self.height, self.width)

    def n_lessons(self, spec: CaseSpec[Any]) -> int:  # noqa: ARG002
        """Return how many patches are learnt from."""
        return self.per_simulation

    def choose(self, spec: CaseSpec[Any], rng: np.random.Generator) -> Float64:  # noqa: ARG002
        """Draw what patches are chosen by, `(per_simulation, 5)`: hole, pixel, offsets, rotation, all within [0, 1)."""
        return rng.random((self.per_simulation, 5))

    def features(self, case: Case[Any], chosen: Float64 | None = None) -> Float32:
        """Cut the patches of the map and of what is known of it."""
        patch, observed = self.patch_spec(case.spec), _observed(case)
        if chosen is None:
            places = self.arranged(case)
            centres = np.array([place.centre for place in places])
        else:
            centres = self._drawn(patch, observed, chosen)
        seen = np.where(observed, case.shown[HOLED].values, 0.0)
        found = cut(np.concatenate([seen, observed[np.newaxis]]), patch, centres)
        share = found[:, 1]
        there = share >= 0.5
        found[:, 0] = np.where(there, found[:, 0] / np.maximum(share, 0.5), 0.0)
        found[:, 1] = there
        if chosen is None:
            self._require_known(found[:, 1], places, case)
        return found

    def target(self, case: Case[Any], chosen: Float64 | None = None) -> Float32:
        """Cut the patches of the true map."""
        asked, patch = known(case), self.patch_spec(case.spec)
        alm = analyse(asked.values.astype(np.float64), asked.spec.lmax or 3 * asked.spec.nside - 1)
        if chosen is None:
            centres = np.array([place.centre for place in self.arranged(case)])
        else:
            centres = self._drawn(patch, _observed(case), chosen)
        return np.stack([*cut_exactly(alm, patch, centres)]).astype(np.float32)

    def arranged(self, case: Case[Any]) -> list[Place]:
        """Return the patches that an answer is made of."""
        patch, holes = self.patch_spec(case.spec), separate_holes(_observed(case))
        fits = [_fits(hole, patch) for hole in holes]
        found = [Place((*hole.centre, 0.0), (k,)) for k, hole in enumerate(holes) if fits[k]]
        wide = [k for k, fit in enumerate(fits) if not fit]
        if not wide:
            return found
        owner = _owners(holes, patch.maps.n_pix)
        for centre in rings(patch, self.overlap):
            pixels = inside(patch, axes_of(centre[np.newaxis])[0])[0]
            if mine := tuple(int(k) for k in np.intersect1d(owner[pixels], wide)):
                found.append(Place((centre[0], centre[1], centre[2]), mine))
        return found

    def _drawn(self, patch: PatchSpec, observed: Mask, chosen: Float64) -> Float64:
        """Return the centres of patches about holes, `(n, 3)`."""
        holes, found = separate_holes(observed), []
        sides = np.radians(patch.sides_deg)[::-1]
        for number, pixel, *offsets, turn in chosen:
            hole = holes[int(number * len(holes))]
            lon, lat = hole.centre
            if not _fits(hole, patch):
                lon, lat = _direction(patch, hole.pixels[int(pixel * hole.pixels.size)])
            centre, left, up = axes_of(np.array([[lon, lat, 360 * turn]]))[0]
            away = self.jitter * sides * (2 * np.array(offsets) - 1)
            x, y, z = centre + away[0] * left + away[1] * up
            found.append((np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y))), 360 * turn))
        return np.array(found)

    def _require_known(self, shares: Float32, places: list[Place], case: Case[Any]) -> None:
        """Refuse holes that leave a patch nothing to go on from."""
        bare = [place for place, share in zip(places, shares, strict=True) if share.mean() < LEAST_KNOWN]
        if not bare:
            return
        holes, patch = separate_holes(_observed(case)), self.patch_spec(case.spec)
        widest = max(holes[k].reach_deg for place in bare for k in place.holes)
        height, width = patch.sides_deg
        message = (
            f"a hole that reaches {widest:.1f} degrees from its centre is wider than the patches of {height:.3g} x "
            f"{width:.3g} degrees: {len(bare)} of {len(places)} patches see next to nothing but the hole; take larger "
            "patches (method.examples.pixel_arcmin), or method=constrained_realisation"
        )
        raise MethodError(message)

    def completed(self, replies: Float32, sigma: Float32 | None, case: Case[Any]) -> Answer[SkyMap]:
        """Put what the patches have in the holes into them; around them the map stays as it is, to the bit."""
        holed, observed, places = case.shown[HOLED], _observed(case), self.arranged(case)
        filled = put_in(holed.values.astype(np.float32), observed, self._on_sphere(replies, places, case))
        value = SkyMap(filled, holed.spec)
        notes = {"HOLEMASK": mask_hash(observed)}
        if sigma is None:
            return Answer(value, notes=notes)
        # As if errors of patches that overlap were the same: they look at the same sky.
        bars = put_in(case.shown[NOISE].values, observed, self._on_sphere(sigma, places, case)).astype(np.float32)
        return Answer(value, SkyMap(bars, holed.spec), notes=notes)

    def _on_sphere(self, images: Float32, places: list[Place], case: Case[Any]) -> Float64:
        """Return what patches have in holes, `(n_field, n_pix)`; zero elsewhere."""
        patch = self.patch_spec(case.spec)
        owner = _owners(separate_holes(_observed(case)), patch.maps.n_pix)
        window = taper(patch)
        total, out = np.zeros(patch.maps.n_pix), np.zeros((images.shape[1], patch.maps.n_pix))
        axes = axes_of(np.array([place.centre for place in places]))
        for place, image, frame in zip(places, images, axes, strict=True):
            pixels, rows, columns, _ = inside(patch, frame)
            mine = np.isin(owner[pixels], place.holes)
            at, pixels = (rows[mine], columns[mine]), pixels[mine]
            weight = map_coordinates(window, at, order=1) + LEAST_WEIGHT
            total[pixels] += weight
            out[:, pixels] += weight * np.stack([map_coordinates(field, at, order=3) for field in image])
        return out / np.maximum(total, LEAST_WEIGHT)

    def answer(self, replies: Float32, sigma: Float32 | None, spec: CaseSpec[Any]) -> Answer[SkyMap]:
        """Refuse: what is put into holes is nothing without the map around them."""
        del replies, sigma, spec
        message = "patches are put into the holes of a map, and no map was shown"
        raise MethodError(message)

    def describe(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say what the maps are."""
        shown = spec.shown[HOLED]
        names = ("nside", "fields", "unit", "lmax", "pixel_window", "beam", "fwhm_arcmin")
        return {name: getattr(shown, name) for name in names}


def _observed(case: Case[Any]) -> Mask:
    return np.asarray(case.shown[MASK].values[0] > 0.5)


def _fits(hole: Hole, patch: PatchSpec) -> bool:
    return hole.reach_deg <= ROOM * min(patch.sides_deg)


def _owners(holes: list[Hole], n_pix: int) -> NDArray[np.int64]:
    """Return in which hole each pixel of the sphere lies, `(n_pix,)`; -1 in none."""
    owner = np.full(n_pix, -1)
    for number, hole in enumerate(holes):
        owner[hole.pixels] = number
    return owner


def _direction(patch: PatchSpec, pixel: int) -> tuple[float, float]:
    lon, lat = hp.pix2ang(patch.maps.nside, pixel, lonlat=True)
    return float(lon), float(lat)
