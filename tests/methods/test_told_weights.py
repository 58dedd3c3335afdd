"""Weights that linear methods tell are those that they clean with."""

import numpy as np
import pytest

from cmbml.methods.ilc.engine import Scale, ScaleWeights
from cmbml.methods.ilc.harmonic import Bin, HarmonicIlc
from cmbml.methods.ilc.harmonic import Plan as HarmonicPlan
from cmbml.methods.ilc.needlet import NeedletIlc


def test_harmonic_weights_stand_in_the_middle_of_their_bins():
    plan = HarmonicPlan((Bin(0, 9, (0, 1)), Bin(10, 20, (1,))), np.ones((2, 1)))
    weights = np.repeat([[0.25, np.pi], [0.75, 1.0]], [10, 11], axis=1)
    told = HarmonicIlc.told(None, ("a", "b"), plan, weights)
    assert (told.rows, told.along, told.at.tolist()) == (("a", "b"), "multipole", [4.5, 15.0])
    np.testing.assert_array_equal(told.mean, [[0.25, np.nan], [0.75, 1.0]])


def test_needlet_weights_are_means_and_ends_over_the_sky():
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 0.1, (2, 12 * 8**2))
    values[1] = 1 - values[0]
    window = np.interp(np.arange(40), [0, 12, 39], [0, 1, 0.1])
    scale = Scale(window, 16, (0, 2), 100.0, np.ones(3), 8)
    told = NeedletIlc.told(None, ("a", "b", "c"), None, [ScaleWeights(scale, values, np.ones(768), 1)])
    assert told.at.tolist() == [12.0]
    assert np.isnan(told.mean[1]).all()
    assert np.nansum(told.mean) == pytest.approx(1)
    assert told.low[0, 0] == pytest.approx(np.percentile(values[0], 5))
    assert told.high[2, 0] == pytest.approx(np.percentile(values[1], 95))
