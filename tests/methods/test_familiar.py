"""Whether what a network is shown is like what it was trained on."""

import json

import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.training.familiar import Familiar, traits

RNG = np.random.default_rng(1)
MIX = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])


def rows(number: int) -> np.ndarray:
    """Traits of which the first two go together."""
    return RNG.multivariate_normal((0.0, 1.0, 2.0), 0.04 * MIX, number)


def test_traits_are_strength_roughness_and_spread() -> None:
    stripes = np.tile((2.0, -2.0), (4, 3)).reshape(1, 4, 6)
    found = traits(np.concatenate([stripes, np.zeros((1, 4, 6))]).astype(np.float32)).reshape(3, 2)
    # Neighbours along a row differ by 4, those along a column by nothing; all are as far from zero.
    np.testing.assert_allclose(found[:, 0], np.log([4.0, 16.0 / 4.0, 1.0]), atol=1e-6)
    assert np.isfinite(found).all()
    alone = np.zeros((1, 10, 10))
    alone[0, 5, 5] = 20.0
    assert traits(alone)[2] == pytest.approx(np.log(0.2 / 2.0))


def test_few_of_the_same_kind_are_beyond_and_a_broken_relation_is() -> None:
    familiar = Familiar.of(rows(400), rows(24))
    new = np.array([familiar.beyond(row) for row in rows(1000)])
    # One in a hundred, by its meaning; the limit itself is that of 424.
    assert 0 < np.mean(new > 1) < 0.03
    # Each is within two standard deviations, but they never went apart.
    apart = np.array([0.4, 0.6, 2.0])
    assert familiar.beyond(apart) > 1.5
    assert familiar.distance(familiar.mean) == 0.0


def test_three_samples_and_one_that_never_changes_are_enough() -> None:
    few = rows(3)
    few[:, 2] = 2.0
    familiar = Familiar.of(few, rows(1))
    assert np.isfinite(familiar.inverse).all()
    assert familiar.limit > 0


def test_it_survives_a_file_and_damage_is_refused() -> None:
    familiar = Familiar.of(rows(20), rows(2))
    plain = json.loads(json.dumps(familiar.plain()))
    again = Familiar.from_plain(plain)
    row = rows(1)[0]
    assert again.beyond(row) == familiar.beyond(row)
    for damage in ({"mean": [0.0]}, {"limit": 0.0}):
        with pytest.raises(MethodError, match="damaged"):
            Familiar.from_plain(plain | damage)
