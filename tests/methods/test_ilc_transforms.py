"""The analysis of maps, by least squares and as healpy iterates."""

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.ilc.transforms import analysed
from cmbml.sky.harmonics import random_alm, synthesise

NSIDE = 16


@pytest.mark.parametrize(("lmax", "iterations"), [(32, None), (32, 3), (47, None)])
def test_analysis_finds_coefficients_again(lmax: int, iterations: int | None) -> None:
    alm = random_alm(np.random.default_rng(4), lmax, 3)
    alm[1:, :2] = 0
    alm[1:, lmax + 1] = 0
    found = analysed(synthesise(alm, NSIDE), lmax, 1, iterations)
    error = np.abs(found - alm).max()
    assert error < (2e-4 if lmax <= 2 * NSIDE else 0.5)


def test_analysis_iterates_as_healpy_does() -> None:
    sky = synthesise(random_alm(np.random.default_rng(4), 47), NSIDE)
    expected = hp.map2alm(sky[0], lmax=47, iter=3)
    np.testing.assert_allclose(analysed(sky, 47, 1, 3)[0], expected, atol=1e-9)
