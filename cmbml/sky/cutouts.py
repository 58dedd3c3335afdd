"""Square cutouts of one half of a sky, of which the other half is kept for judging."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.settings import PositiveFloat, settings
from cmbml.sky.centres import Half, uniform, within
from cmbml.sky.interpolation import neighbours
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.patches import PatchSpec, axes_of, cut, vectors_of

Float = NDArray[np.float64]
OPPOSITE: dict[Half, Half] = {"north": "south", "south": "north", "east": "west", "west": "east", "all": "all"}
DRAWS = 50
"""How many times as many centres as are wanted are tried at most."""
LEAST_SHARE = 0.05
"""Of the weight of interpolation on pixels that are kept: no kept pixel of a cutout has less."""
BLOCK = 512
"""Pixels of a cutout that are interpolated at a time: with 64 channels, an eighth of a megabyte, which caches hold."""
KEPT = 0.5
"""Part of a cutout's pixel from which on it counts as kept."""


@settings
class Cutouts:
    """Which cutouts are learnt from and judged.

    Centres are uniform on a half of the sphere, so that the declination follows its cosine, and each has a rotation of
    its own. No cutout reaches into the other half: at 24.96 degrees a side, centres stay 17.65 degrees off the border.

    Attributes:
        n_pixels: side, pixels.
        pixel_arcmin: side of a pixel, arcmin.
        train_half: the half that is learnt from: `north`, `south`, `east`, `west`; the other one is for tests. `all`:
            both are the whole sky, where skies differ.
        buffer_deg: how much further than that from the border they stay.
        most_masked: part of a cutout that may be masked.
    """

    n_pixels: PositiveInt = 64
    pixel_arcmin: PositiveFloat = 60 * 180 / 460
    train_half: Half = "north"
    buffer_deg: Annotated[float, Field(ge=0, lt=90)] = 0.0
    most_masked: Annotated[float, Field(ge=0, le=1)] = 0.7

    @property
    def test_half(self) -> Half:
        """The half that nothing is learnt from."""
        return OPPOSITE[self.train_half]

    @property
    def fundamental(self) -> float:
        """The multipole of the longest mode of a cutout."""
        return 360 / (self.n_pixels * self.pixel_arcmin / 60)

    @property
    def pixel_rad(self) -> tuple[float, float]:
        """Sides of a pixel, rad."""
        side = float(np.radians(self.pixel_arcmin / 60))
        return side, side

    def spec(self, maps: MapSpec) -> PatchSpec:
        """Describe cutouts of such maps.

        Raises:
            MapError: they are wider than a projection bears.
        """
        n, pixel = self.n_pixels, self.pixel_arcmin
        return PatchSpec(maps=maps, height=n, width=n, pixel_arcmin=(pixel, pixel))

    def centres(self, number: int, half: Half, maps: MapSpec, rng: np.random.Generator) -> Float:
        """Draw centres of cutouts that lie in one half, `(number, 3)`, degrees.

        Raises:
            MapError: a half has no room for them.
        """
        spec, found = self.spec(maps), np.empty((0, 3))
        for _ in range(DRAWS):
            found = np.concatenate([found, within(uniform(number, rng, half), spec, half, -self.buffer_deg)])
            if len(found) >= number:
                return found[:number]
        message = (
            f"cutouts of {spec.widest_deg:.0f} degrees with a buffer of {self.buffer_deg:g} degrees do not fit into "
            f"half a sky ({half})"
        )
        raise MapError(message)

    def masks(self, mask: NDArray[Any], centres: Float, maps: MapSpec) -> NDArray[np.bool_]:
        """Cut a mask `(n_pix,)`, `(n_patch, height, width)`."""
        kept: NDArray[np.bool_] = cut(mask[None].astype(np.float32), self.spec(maps), centres, "nearest")[:, 0] > KEPT
        return kept

    def cut(
        self, values: NDArray[Any], mask: NDArray[Any], centres: Float, maps: MapSpec
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Cut maps, bilinearly between pixels that the mask keeps: what is masked enters nowhere.

        Args:
            values: `(n_map, n_pix)`.
            mask: `(n_pix,)`, 1 keep.
            centres: `(n_patch, 3)`.
            maps: what the maps are.

        Returns:
            `(n_patch, n_map, height, width)`, zero where it is masked, and `(n_patch, 1, height, width)`, where it is
            kept.
        """
        kept, inside = self.masks(mask, centres, maps)[:, None], (mask > KEPT).astype(np.float32)
        # All channels of a pixel side by side: memory is read in one piece for each neighbour.
        spec, rows = self.spec(maps), np.ascontiguousarray(values.T, np.float32)
        out = np.empty((len(centres), len(values), self.n_pixels**2), np.float32)
        for image, axes, there in zip(out, axes_of(centres), kept, strict=True):
            found = [
                (pixels, weights * inside.take(pixels))
                for pixels, weights in neighbours(maps.nside, vectors_of(spec, axes))
            ]
            # A pixel is kept if the nearest one is, which has a quarter of the weight at least.
            scale = there.ravel() / np.maximum(sum(weights for _, weights in found), np.float32(LEAST_SHARE))
            for start in range(0, image.shape[1], BLOCK):
                block = slice(start, start + BLOCK)
                image[:, block] = sum(
                    rows.take(pixels[block], axis=0) * (weights * scale)[block, None] for pixels, weights in found
                ).T
        return out.reshape(-1, len(values), self.n_pixels, self.n_pixels), kept

    def visible(self, number: int, candidates: Float, mask: NDArray[Any], maps: MapSpec) -> Float:
        """Return the first of the candidates of which the mask leaves enough, `(number, 3)`.

        Raises:
            MapError: the mask leaves too few.
        """
        shares = 1 - self.masks(mask, candidates, maps).mean(axis=(1, 2))
        found: Float = candidates[shares <= self.most_masked]
        if len(found) < number:
            message = (
                f"the mask, of which {np.mean(mask > KEPT):.2f} of the sky is left, covers more than "
                f"{self.most_masked:g} of all but {len(found)} of {len(candidates)} cutouts, and {number} are "
                "wanted: take a larger part of the sky, or raise most_masked"
            )
            raise MapError(message)
        return found[:number]
