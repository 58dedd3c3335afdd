"""Memory-mapped arrays as what a training reads."""

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from cmbml.methods.trained import Arrays

Item = tuple[torch.Tensor, torch.Tensor, int]


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

    def __getitem__(self, number: int) -> Item:
        # A mapped array is copied once, here; a batch is then stacked from these.
        features, target = (torch.from_numpy(np.array(a[number])) for a in (self.features, self.targets))
        return features, target, number


def loader(
    pairs: Pairs, batch_size: int, workers: int, seed: int | None, rank: int = 0, ranks: int = 1, pin: bool = False
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
    """
    once = range(rank, len(pairs), ranks)
    sampler = once if seed is None else DistributedSampler(pairs, ranks, rank, seed=seed % 2**63)
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
