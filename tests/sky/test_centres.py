"""Patches lie where they are asked for."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.centres import rings, uniform, within
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import PatchSpec, Stitcher, cut

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
