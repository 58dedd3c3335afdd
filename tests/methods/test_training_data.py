"""What a training reads: mixtures, linear, reproducible and never the same twice; batches that threads read."""

import os
import threading
import time
from signal import SIGINT

import numpy as np
import pytest
import torch

from cmbml.methods import trained
from cmbml.methods.base import MethodError
from cmbml.methods.cmbnncs.examples import Planes
from cmbml.methods.trained import Hardware
from cmbml.methods.training.data import Batches, Mixtures, Pairs, Turned, loader
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
        match = [key for key, values in sums.items() if np.array_equal(values, target)]
        assert [i for i, _ in match] == [number]
        rest = features - EXAMPLES.turned(every[number][0], match[0][1], 1)
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
        items = [(f.numpy().copy(), n.tolist()) for f, _, n in batches]
        assert sorted(n for _, numbers in items for n in numbers) == list(range(5))
        seen.append({n: f for features, numbers in items for n, f in zip(numbers, features, strict=True)})
    assert not any(np.array_equal(seen[0][n], seen[1][n]) for n in range(5))


def kinds():
    mixed, _ = mixtures()
    return {
        "pairs": Pairs(mixed.features, mixed.targets),
        "turned": Turned(mixed.features, mixed.targets, mixed.turn, N_SYMMETRIES, 4),
        "mixtures": mixed,
    }


def copies(batches: Batches, epochs: int = 2) -> list[tuple[bytes, bytes, list[int]]]:
    """Return what comes in some epochs, copied, for buffers are used again."""
    found = []
    for epoch in range(epochs):
        if hasattr(batches.sampler, "set_epoch"):
            batches.sampler.set_epoch(epoch)
        found += [(f.numpy().tobytes(), t.numpy().tobytes(), n.tolist()) for f, t, n in batches]
    return found


@pytest.mark.parametrize("kind", ["pairs", "turned", "mixtures"])
@pytest.mark.parametrize("words", [{"seed": 3}, {"seed": 3, "steps": 7}, {"seed": None}], ids=str)
def test_batches_are_those_samples_whatever_the_number_of_threads(kind, words):
    pairs = kinds()[kind]
    batches = loader(pairs, 2, 0, **words)
    alone = copies(batches)
    for threads in (1, 3, 16):
        assert copies(loader(pairs, 2, threads, **words)) == alone
    wanted = []
    for epoch in range(2):
        if hasattr(batches.sampler, "set_epoch"):
            batches.sampler.set_epoch(epoch)
        order = list(batches.sampler)
        for first in range(0, len(order), 2):
            features, targets, numbers = zip(*(pairs[index] for index in order[first : first + 2]), strict=True)
            wanted.append((np.stack(features).tobytes(), np.stack(targets).tobytes(), list(numbers)))
    assert alone == wanted
    assert len(alone) == 2 * len(batches)


def test_memory_does_not_grow_with_the_number_of_samples():
    (features, targets), places = parts_of(np.random.default_rng(0), 2), {}
    for number in (20, 200):
        batches = loader(Pairs([features[0]] * number, [targets[0]] * number), 4, 3, seed=1)
        places[number] = {f.data_ptr() for _ in range(2) for f, _, _ in batches}
    assert len(places[20]) == len(places[200]) == 3, "one that is learnt from, and two that are read"
    assert len(Batches(Pairs(features, targets), 9, range(3), 4)._buffer()[0]) == 3


def test_who_reads_twice_at_once_is_given_buffers_of_its_own():
    pairs = kinds()["pairs"]
    batches = loader(pairs, 2, 2, seed=None)
    for (first, _, _), (second, _, _) in zip(batches, batches, strict=True):
        assert torch.equal(first, second)
        assert first.data_ptr() != second.data_ptr()


class Broken(Pairs):
    """Pairs of which one cannot be read."""

    def __getitem__(self, index):
        if index == 3:
            message = "sample 3 is damaged"
            raise MethodError(message)
        return super().__getitem__(index)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_what_fails_in_a_thread_is_raised_where_it_is_asked_for(threads):
    pairs = kinds()["pairs"]
    batches, seen = loader(Broken(pairs.features, pairs.targets), 2, threads, seed=None), []
    with pytest.raises(MethodError, match=r"^sample 3 is damaged$"):
        seen.extend(numbers.tolist() for _, _, numbers in batches)
    assert (seen, readers()) == ([[0, 1]], [])
    batches = loader(Pairs(pairs.features, [*pairs.targets[:4], pairs.targets[4][:, :3]]), 2, threads, seed=None)
    with pytest.raises(MethodError, match=r"target of sample 4 are \(1, 3, 12\), and not \(1, 16, 12\) as the first's"):
        list(batches)


def test_readers_end_when_nobody_asks_for_more():
    stream = iter(loader(kinds()["pairs"], 1, 2, seed=1))
    next(stream)
    assert readers()
    stream.close()
    assert not readers()


class Slow(Pairs):
    """Pairs that take their time."""

    def __getitem__(self, index):
        time.sleep(0.3)
        return super().__getitem__(index)


@pytest.mark.parametrize("threads", [0, 2])
def test_interrupt_is_heard_while_a_batch_is_waited_for(threads):
    pairs = kinds()["pairs"]
    batches = loader(Slow(pairs.features, pairs.targets), 1, threads, seed=1)
    interrupt = threading.Timer(0.1, os.kill, (os.getpid(), SIGINT))
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        interrupt.start()
        list(batches)
    assert time.perf_counter() - started < 1.0, "what is read is waited for, and nothing else is"
    assert not readers()


@pytest.mark.parametrize(("devices", "there", "wanted"), [(1, 4, 4), (4, 16, 4), (8, 4, 1), (1, 64, 16)])
def test_readers_are_a_share_of_the_cores(monkeypatch, devices, there, wanted):
    monkeypatch.setattr(trained, "n_cores", lambda: there)
    assert Hardware(devices=devices).workers_used(on_cpu=False) == wanted
    assert Hardware(devices=devices).workers_used(on_cpu=True) == 0
    assert Hardware(devices=devices, workers=3).workers_used(on_cpu=True) == 3
