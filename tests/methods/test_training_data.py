"""Mixtures: linear, reproducible, turned as maps are turned, and never the same twice."""

import numpy as np
import pytest

from cmbml.methods.cmbnncs.examples import Planes
from cmbml.methods.training.data import Mixtures, loader
from cmbml.sky.symmetry import N_SYMMETRIES

NSIDE = 4
EXAMPLES = Planes(name="planes", channels=("100", "143"))


def parts_of(rng, number):
    shape = (2, 4 * NSIDE, 3 * NSIDE)
    return [[rng.normal(size=shape).astype(np.float32) for _ in range(3)] for _ in range(number)]


def mixtures(seed=1, number=5):
    rng = np.random.default_rng(0)
    every = parts_of(rng, number)
    features = [np.sum(three, axis=0) for three in every]
    targets = [three[0][:1] for three in every]
    parts = [np.stack([signal, noise]) for signal, _, noise in every]
    turn = lambda values, k: EXAMPLES.turned(values, k, 1)  # noqa: E731
    return Mixtures(features, targets, parts, turn, N_SYMMETRIES, seed), every


def test_a_mixture_is_the_sum_of_parts_of_simulations_turned_each_on_its_own():
    pairs, every = mixtures()
    sums = {}
    for i, (signal, _, _) in enumerate(every):
        for k in range(N_SYMMETRIES):
            sums[i, k] = EXAMPLES.turned(signal[:1], k, 1)
    for index in range(10):
        features, target, number = pairs[index]
        match = [key for key, values in sums.items() if np.array_equal(values, target.numpy())]
        assert [i for i, _ in match] == [number]
        rest = features.numpy() - EXAMPLES.turned(every[number][0], match[0][1], 1)
        found = [
            (j, k, n)
            for j in range(5)
            for k in range(N_SYMMETRIES)
            for n in range(5)
            if np.allclose(rest, EXAMPLES.turned(every[j][1], k, 1) + every[n][2], atol=1e-5)
        ]
        assert len(found) == 1


def test_the_same_seed_epoch_and_simulation_give_the_same_and_others_do_not():
    pairs, _ = mixtures()
    again, _ = mixtures()
    other, _ = mixtures(seed=2)
    assert np.array_equal(pairs[7][0], again[7][0])
    assert not np.array_equal(pairs[7][0], other[7][0])
    assert not np.array_equal(pairs[7][0], pairs[2][0])  # simulation 2 in the epoch before
    assert pairs[7][2] == pairs[2][2] == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_read_each_simulation_once_and_mix_anew(workers):
    pairs, _ = mixtures()
    batches = loader(pairs, 2, workers, seed=3)
    seen = []
    for epoch in range(2):
        batches.sampler.set_epoch(epoch)
        items = [(f.numpy(), n.tolist()) for f, _, n in batches]
        assert sorted(n for _, numbers in items for n in numbers) == list(range(5))
        seen.append({n: f for features, numbers in items for n, f in zip(numbers, features, strict=True)})
    assert not any(np.array_equal(seen[0][n], seen[1][n]) for n in range(5))
