"""Planes of a turned sky are those of the sky, turned."""

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.cmbnncs.examples import Planes
from cmbml.methods.planes import from_plane, to_plane
from cmbml.sky.symmetry import turned

NSIDE = 4
EXAMPLES = Planes(name="planes", channels=("100", "143"))


@pytest.mark.parametrize("n_field", [1, 3])
@pytest.mark.parametrize("number", [0, 1, 4, 8, 15])
def test_planes_are_turned_as_their_maps(n_field, number):
    maps = np.random.default_rng(1).normal(size=(2, n_field, hp.nside2npix(NSIDE))).astype(np.float32)
    plane = to_plane(maps).reshape(2 * n_field, 4 * NSIDE, 3 * NSIDE)
    found = from_plane(EXAMPLES.turned(plane, number, n_field)).reshape(maps.shape)
    np.testing.assert_array_equal(found, turned(maps, number))
