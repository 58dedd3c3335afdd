"""The holes of a mask are told apart."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.holes import separate_holes

NSIDE = 64


def mask_of(*disks: tuple[float, float, float]) -> np.ndarray:
    observed = np.ones(12 * NSIDE**2, dtype=bool)
    for lon, lat, radius in disks:
        observed[hp.query_disc(NSIDE, hp.ang2vec(lon, lat, lonlat=True), np.radians(radius))] = False
    return observed


def test_each_disk_is_a_hole() -> None:
    """Where it lies, how large it is and how far it reaches, to a pixel (0.92 deg here)."""
    disks = [(30.0, 60.0, 6.0), (200.0, -20.0, 9.0), (0.0, -85.0, 8.0)]
    observed = mask_of(*disks)
    found = separate_holes(observed)
    np.testing.assert_array_equal(np.sort(np.concatenate([hole.pixels for hole in found])), np.flatnonzero(~observed))
    for (lon, lat, radius), hole in zip(disks, found, strict=True):
        away = hp.rotator.angdist((lon, lat), hole.centre, lonlat=True)
        assert np.degrees(away) < 0.3
        assert hole.radius_deg == pytest.approx(radius, abs=0.2)
        assert hole.reach_deg == pytest.approx(radius, abs=0.6)


def test_disks_that_touch_are_one_hole() -> None:
    assert len(separate_holes(mask_of((0, 0, 5), (8, 0, 5)))) == 1
    assert len(separate_holes(mask_of((0, 0, 5), (14, 0, 5)))) == 2


def test_a_band_around_the_sphere_reaches_everywhere() -> None:
    lat = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)[1]
    (hole,) = separate_holes(np.abs(lat) > 5)
    assert hole.reach_deg > 90


def test_without_holes_there_are_none() -> None:
    assert separate_holes(np.ones(12 * NSIDE**2, dtype=bool)) == []
