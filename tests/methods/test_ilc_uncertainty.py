"""Random skies that stand in for the CMB."""

import numpy as np
import pytest

from cmbml.methods.ilc.transforms import analysed
from cmbml.methods.ilc.uncertainty import surrogates
from cmbml.sky.harmonics import filter_components, random_alm, synthesise

NSIDE, LMAX = 32, 64


def test_outliers_do_not_enter_the_spectrum_of_random_skies() -> None:
    """What is left in a plane would otherwise have a method take chance correlations for many times what they are."""
    rng = np.random.default_rng(3)
    clean = filter_components(random_alm(rng, LMAX), 30 / (np.arange(LMAX + 1.0) + 2)[None])
    values = synthesise(clean, NSIDE)
    values[:, len(values[0]) // 2 - 64 :][:, :128] += 20 * values.std()
    drawn = list(surrogates(analysed(values, LMAX, 1)[0], NSIDE, 8, 0, 1))
    assert synthesise(np.stack(drawn)[:, None], NSIDE).std() == pytest.approx(synthesise(clean, NSIDE).std(), rel=0.3)
