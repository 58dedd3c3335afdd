"""Cutouts stay in their half of the sky, and know nothing of what is masked."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.cutouts import Cutouts
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.patches import axes_of

MAPS = MapSpec(nside=32, unit="uK_RJ")
CUTOUTS = Cutouts()


def test_sizes_are_the_published_ones() -> None:
    """24.96 degrees a side, a fundamental mode of l = 14.4, centres 17.65 degrees off the border."""
    assert CUTOUTS.spec(MAPS).widest_deg == pytest.approx(25.04, abs=0.01)  # 64 pixels of 23.48'; of 23.4' it is 24.96
    assert CUTOUTS.fundamental == pytest.approx(14.4, abs=0.03)
    centres = CUTOUTS.centres(500, "south", MAPS, np.random.default_rng(1))
    assert -90 <= centres[:, 1].min() < centres[:, 1].max() < -17.6


@pytest.mark.parametrize("half", ["north", "south", "east", "west"])
def test_no_pixel_lies_in_the_other_half(half: str) -> None:
    centres = CUTOUTS.centres(200, half, MAPS, np.random.default_rng(2))
    reach = np.tan(np.radians(CUTOUTS.spec(MAPS).widest_deg / 2))
    corners = [axes_of(centres) @ np.eye(3)]
    corners = np.einsum("k,pkc->pc", np.array([1, reach, reach]), corners[0])
    lon, lat = hp.vec2ang(corners, lonlat=True)
    inside = {"north": lat > 0, "south": lat < 0, "east": lon < 180, "west": lon > 180}[half]
    # The diagonal of a flat cutout is a little shorter on the sphere than on the plane, so that corners stay clear.
    assert inside.all()


def test_rotations_and_declinations_are_uniform() -> None:
    """sin(b) is uniform between the border and the pole: a Kolmogorov distance of 0.05 has odds of 1e-4 in 2000."""
    centres = CUTOUTS.centres(2000, "north", MAPS, np.random.default_rng(3))
    low = np.sin(np.radians(np.hypot(*CUTOUTS.spec(MAPS).sides_deg) / 2))
    share = np.sort((np.sin(np.radians(centres[:, 1])) - low) / (1 - low))
    assert np.abs(share - (np.arange(2000) + 0.5) / 2000).max() < 0.05
    assert np.abs(np.sort(centres[:, 2] / 360) - (np.arange(2000) + 0.5) / 2000).max() < 0.05


def test_what_is_masked_enters_nowhere() -> None:
    rng = np.random.default_rng(4)
    mask = (hp.pix2ang(32, np.arange(MAPS.n_pix), lonlat=True)[1] > 30).astype(float)
    sky, centres = rng.standard_normal((1, MAPS.n_pix)), np.array([[10.0, 35.0, 20.0]])
    spoilt = np.where(mask > 0, sky, 1e6)
    first, kept = CUTOUTS.cut(sky, mask, centres, MAPS)
    np.testing.assert_array_equal(first, CUTOUTS.cut(spoilt, mask, centres, MAPS)[0])
    assert 0.3 < kept.mean() < 0.95
    assert (first[~kept] == 0).all()
    constant = CUTOUTS.cut(np.ones_like(sky), mask, centres, MAPS)[0]
    np.testing.assert_allclose(constant, kept, rtol=1e-5)


def test_cutouts_that_are_masked_too_far_are_left_out() -> None:
    mask = (hp.pix2ang(32, np.arange(MAPS.n_pix), lonlat=True)[1] > 50).astype(float)
    candidates = CUTOUTS.centres(300, "north", MAPS, np.random.default_rng(5))
    found = CUTOUTS.visible(20, candidates, mask, MAPS)
    assert (1 - CUTOUTS.masks(mask, found, MAPS).mean(axis=(1, 2))).max() <= 0.7
    assert found.tolist() == [row for row in candidates.tolist() if row in found.tolist()], "in the order of the draws"
    with pytest.raises(MapError, match=r"0\.00 of the sky is left, covers more than 0\.7 of all but 0 of 300 cutouts"):
        CUTOUTS.visible(1, candidates, np.zeros(MAPS.n_pix), MAPS)
    with pytest.raises(MapError, match="do not fit into half a sky"):
        Cutouts(buffer_deg=80).centres(1, "north", MAPS, np.random.default_rng(6))
