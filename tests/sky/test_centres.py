"""Patches lie where they are asked for."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.centres import in_frame, rings, stepped, tiles, uniform, within
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import PatchSpec, Stitcher, axes_of, cut

NSIDE, LMAX = 64, 128
PIXEL = float(np.degrees(hp.nside2resol(NSIDE)) * 60)


def spec_of(fields: str = "I", n: int = 48, pixel: float = PIXEL, projection: str = "gnomonic") -> PatchSpec:
    maps = MapSpec(nside=NSIDE, lmax=LMAX, fields=fields)
    return PatchSpec(maps=maps, height=n, width=n, pixel_arcmin=(pixel, pixel), projection=projection)


def test_centres_are_drawn_where_they_are_asked_for() -> None:
    for half, sign in (("north", 1), ("south", -1)):
        lat = uniform(4000, np.random.default_rng(1), half)[:, 1]
        assert (sign * lat > 0).all()
        # Uniform on the sphere is uniform in the sine of the latitude.
        assert abs(np.mean(np.abs(np.sin(np.radians(lat)))) - 0.5) < 4 / np.sqrt(12 * 4000)
    band = uniform(500, np.random.default_rng(1), latitudes_deg=(5.0, 30.0))[:, 1]
    assert ((np.abs(band) >= 5) & (np.abs(band) <= 30)).all() and (band > 0).any() and (band < 0).any()
    east = uniform(500, np.random.default_rng(2), "east")[:, 0]
    assert ((east >= 0) & (east <= 180)).all()


@pytest.mark.parametrize("half", ["north", "south", "east", "west"])
def test_patches_stay_on_their_side(half: str) -> None:
    spec = spec_of(n=8)
    centres = np.concatenate([rings(spec, 0.0), uniform(50, np.random.default_rng(5))])
    kept = within(centres, spec, half, buffer_deg=1.0)
    assert 0 < len(kept) < len(centres)
    coordinate = {"north": 2, "south": 2, "east": 1, "west": 1}[half]
    sign = {"north": 1, "south": -1, "east": 1, "west": -1}[half]
    sky = np.stack(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
    lowest = (sign * cut(sky, spec, kept)[:, coordinate]).min()
    assert lowest > -np.sin(np.radians(1.0 + 0.5))


def test_rings_cover_the_sphere_with_any_patch() -> None:
    for n, pixel, overlap in ((16, 60.0, 0.3), (40, 30.0, 0.5), (24, PIXEL, 0.25)):
        spec = spec_of(n=n, pixel=pixel)
        Stitcher(spec, rings(spec, overlap))


# The grid of patches of dust


def test_grid_has_the_published_number_of_patches() -> None:
    centres = stepped(5, (25, 90))
    assert len(centres) == 1034
    assert [len(stepped(5, (25, 90), half)) for half in ("north", "south")] == [517, 517]
    lon, lat = centres[:, 0], np.radians(centres[:, 1])
    assert np.abs(centres[:, 1]).min() == 25 and np.abs(centres[:, 1]).max() == 90
    at = lon[np.isclose(centres[:, 1], 45)]
    # Neighbours are 5 degrees apart on the sky.
    np.testing.assert_allclose(np.diff(at) * np.cos(np.radians(45)), 5)
    assert (np.sign(np.sin(lat)) == np.sign(centres[:, 1])).all()
    east, west = (stepped(5, (25, 90), half) for half in ("east", "west"))
    assert len(east) + len(west) == 1034 and east[:, 0].max() < 180 <= west[:, 0].min()


@pytest.mark.parametrize("frame", ["C", "E"])
def test_patches_hold_the_same_sky_in_any_frame(frame: str) -> None:
    """A map of two Galactic directions, written in another frame: interpolation errs by 1e-3 of it at nside 64.

    But for pixels around a pole of either frame, which err by as much as the map changes over one of its own.
    """

    def sky(vectors: np.ndarray) -> np.ndarray:
        return vectors[0] + 0.5 * vectors[1] * vectors[2]

    vectors = np.stack(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
    galactic, other = sky(vectors), sky(hp.Rotator(coord=[frame, "G"])(vectors))
    centres = np.concatenate([uniform(20, np.random.default_rng(3)), [[0, 90, 0], [10, -90, 30]]])
    spec = spec_of(projection="plate_carree", n=16, pixel=60.0)
    there = in_frame(centres, frame)
    error = np.abs(cut(other[None], spec, there) - cut(galactic[None], spec, centres))
    assert np.percentile(error, 99) < 1e-3 and error.max() < np.radians(PIXEL / 60)
    back = in_frame(there, "G", frame)
    np.testing.assert_allclose(axes_of(back), axes_of(centres), atol=1e-5)  # healpy's two turns


def test_tiles_hold_the_patches_that_are_centred_in_them() -> None:
    found = tiles(np.array([[0.0, 89.0, 0.0], [90.0, -89.0, 0.0], [0.1, 89.0, 45.0]]), 3)
    assert found[0] == found[2] != found[1]
    assert tiles(np.full((4, 3), np.nan), 3).tolist() == [0, 1, 2, 3]
