"""Memory-mapped arrays as what a training reads."""

from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
        self.features, self.targets = list(features), list(targets)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, number: int) -> Item:
        # A mapped array is copied once, here; a batch is then stacked from these.
        features, target = (torch.from_numpy(np.array(a[number])) for a in (self.features, self.targets))
        return features, target, number

    def __getstate__(self) -> dict[str, Any]:
        """Send files, not what stands in them, to another process."""
        return {name: [_as_file(array) for array in arrays] for name, arrays in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, arrays in state.items():
            setattr(self, name, [np.load(a, mmap_mode="r") if isinstance(a, Path) else a for a in arrays])


def _as_file(array: NDArray[Any]) -> NDArray[Any] | Path:
    """Return the file of an array that is the whole of one."""
    whole = isinstance(array, np.memmap) and isinstance(array.base, mmap)
    return Path(array.filename) if whole and array.filename else array


def loader(
    pairs: Pairs, batch_size: int, workers: int, seed: int | None, rank: int = 0, ranks: int = 1
) -> DataLoader[Item]:
    """Return what reads batches, in an order that depends on the seed and the epoch alone.

    Args:
        pairs: what is read.
        batch_size: simulations per batch.
        workers: processes that read ahead.
        seed: of the order; None keeps that of the simulations.
        rank: which of the devices this is.
        ranks: how many there are.
    """
    sampler = DistributedSampler(pairs, ranks, rank, shuffle=seed is not None, seed=(seed or 0) % 2**63)
    return DataLoader(
        pairs,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Of its own, so that reading draws nothing from the generator that networks draw from.
        generator=torch.Generator(),
    )
