"""Turns and reflections: pixels are exchanged, spectra stay, and U changes its sign in a mirror."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.harmonics import analyse, power, random_alm, synthesise
from cmbml.sky.symmetry import N_SYMMETRIES, handedness, symmetry, turned

NSIDE = 16


def test_they_are_sixteen_different_permutations():
    found = {symmetry(NSIDE, number).tobytes() for number in range(N_SYMMETRIES)}
    assert len(found) == N_SYMMETRIES
    for number in range(N_SYMMETRIES):
        assert sorted(symmetry(NSIDE, number)) == list(range(12 * NSIDE**2))


@pytest.mark.parametrize("number", range(N_SYMMETRIES))
def test_each_moves_a_place_where_it_says(number):
    lon, lat = hp.pix2ang(NSIDE, symmetry(NSIDE, number), lonlat=True)
    here_lon, here_lat = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    np.testing.assert_allclose(lat, here_lat * (-1 if number // 8 else 1), atol=1e-9)
    wanted = (here_lon - 90 * (number % 4)) * (-1 if number // 4 % 2 else 1)
    np.testing.assert_allclose(np.cos(np.radians(lon - wanted)), 1, atol=1e-12)


@pytest.mark.parametrize("number", range(N_SYMMETRIES))
def test_spectra_stay_and_mirrors_turn_parity(number):
    alm = random_alm(np.random.default_rng(3), 2 * NSIDE, n_comp=3)
    alm[1:, :2] = 0
    alm[1:, 2 * NSIDE + 1] = 0
    maps = synthesise(alm, NSIDE)
    after = analyse(turned(maps, number), 2 * NSIDE)
    np.testing.assert_allclose(power(after), power(alm), rtol=1e-6)
    np.testing.assert_allclose(power(after[0], after[1]), power(alm[0], alm[1]), atol=1e-7)
    np.testing.assert_allclose(power(after[0], after[2]), handedness(number) * power(alm[0], alm[2]), atol=1e-7)
