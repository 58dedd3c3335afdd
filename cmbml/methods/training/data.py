"""Memory-mapped arrays as what a training reads."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from cmbml.methods.trained import Arrays

Item = tuple[torch.Tensor, torch.Tensor, int]
Turn = Callable[[NDArray[np.float32], int], NDArray[np.float32]]


class Pairs(Dataset[Item]):
    """Features, target and number of each simulation.

    Args:
        features: an array for each simulation.
        targets: the same.
    """

    def __init__(self, features: Arrays, targets: Arrays) -> None:
        self.features, self.targets = features, targets

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> Item:
        number = index % len(self)
        # A mapped array is copied once, here; a batch is then stacked from these.
        features, target = (torch.from_numpy(np.array(a[number])) for a in (self.features, self.targets))
        return features, target, number


class Turned(Pairs):
    """Features and targets turned or reflected together; how hangs on the seed, the epoch and the simulation alone.

    Args:
        features: an array for each simulation.
        targets: the same.
        turn: gives an array a symmetry of the sphere.
        n_symmetries: how many there are.
        seed: of what is drawn.
    """

    def __init__(self, features: Arrays, targets: Arrays, turn: Turn, n_symmetries: int, seed: int) -> None:
        super().__init__(features, targets)
        self.turn, self.n_symmetries, self.seed = turn, n_symmetries, seed

    def __getitem__(self, index: int) -> Item:
        epoch, number = divmod(index, len(self))
        symmetry = int(np.random.default_rng([self.seed, epoch, number]).integers(self.n_symmetries))
        features, target = (torch.from_numpy(self.turn(a[number], symmetry)) for a in (self.features, self.targets))
        return features, target, number


class Mixtures(Turned):
    """Features and targets put together anew each time: CMB of one simulation, foregrounds and noise of others.

    Observations are linear in their parts, so that n simulations make n^3 observations, times the turns and
    reflections of the sphere that CMB and foregrounds are given, each its own. Noise follows the scan and is not
    turned. What is drawn hangs on the seed, the epoch and the simulation alone.

    Args:
        features: an array for each simulation.
        targets: the same.
        parts: for each simulation, what signal and noise are in its features, `(2, n_channel, ...)`.
        turn: gives an array a symmetry of the sphere.
        n_symmetries: how many there are.
        seed: of all that is drawn.
    """

    def __init__(
        self, features: Arrays, targets: Arrays, parts: Arrays, turn: Turn, n_symmetries: int, seed: int
    ) -> None:
        super().__init__(features, targets, turn, n_symmetries, seed)
        self.parts = parts

    def __getitem__(self, index: int) -> Item:
        epoch, number = divmod(index, len(self))
        rng = np.random.default_rng([self.seed, epoch, number])
        foregrounds_of, noise_of = rng.integers(len(self), size=2)
        turn_of_cmb, turn_of_foregrounds = rng.integers(self.n_symmetries, size=2)
        signal, noise = self.parts[number][0], self.parts[noise_of][1]
        foregrounds = self.features[foregrounds_of] - self.parts[foregrounds_of].sum(axis=0)
        features = self.turn(signal, turn_of_cmb) + self.turn(foregrounds, turn_of_foregrounds) + noise
        return torch.from_numpy(features), torch.from_numpy(self.turn(self.targets[number], turn_of_cmb)), number


class EpochSampler(DistributedSampler[int]):
    """An order of each epoch's own; the numbers tell the epoch, too: epoch times how many there are, plus which."""

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)  # type: ignore[arg-type]
        return (self.epoch * size + number for number in super().__iter__())


class SteppedSampler(Sampler[int]):
    """As many samples as are asked for, going round all of them, each time in another order.

    Args:
        size: how many samples there are.
        number: how many are taken in an epoch.
        seed: of the orders.
    """

    def __init__(self, size: int, number: int, seed: int) -> None:
        self.size, self.number, self.seed, self.epoch = size, number, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rounds = -(-self.number // self.size)
        return iter(np.concatenate([rng.permutation(self.size) for _ in range(rounds)])[: self.number].tolist())


def loader(
    pairs: Pairs,
    batch_size: int,
    workers: int,
    seed: int | None,
    rank: int = 0,
    ranks: int = 1,
    pin: bool = False,
    steps: int | None = None,
) -> DataLoader[Item]:
    """Return what reads batches, in an order that depends on the seed and the epoch alone.

    Args:
        pairs: what is read.
        batch_size: simulations per batch.
        workers: processes that read ahead.
        seed: of the order, in which devices with too few simulations are given some twice; None keeps that of the
            simulations, each once.
        rank: which of the devices this is.
        ranks: how many there are.
        pin: whether to read into memory from which a GPU copies faster.
        steps: batches in an epoch, of one device; None: what it takes to see every sample once.
    """
    sampler: Sampler[int] | range = range(rank, len(pairs), ranks)
    if seed is not None and steps is not None:
        sampler = SteppedSampler(len(pairs), steps * batch_size, seed % 2**63)
    elif seed is not None:
        sampler = EpochSampler(pairs, ranks, rank, seed=seed % 2**63)
    return DataLoader(
        pairs,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        # Of its own, so that reading draws nothing from the generator that networks draw from.
        generator=torch.Generator(),
    )
