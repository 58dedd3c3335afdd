"""Memory-mapped arrays as what a training reads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler, Sampler

from cmbml.methods.base import MethodError
from cmbml.methods.trained import Arrays

Item = tuple[NDArray[np.float32], NDArray[np.float32], int]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Buffer = tuple[torch.Tensor, torch.Tensor]
Turn = Callable[[NDArray[np.float32], int], NDArray[np.float32]]

AHEAD = 2
"""Batches, at least, that threads read while one is learnt from; memory holds them and that one."""


class Pairs(Dataset[Item]):
    """Features, target and number of each simulation; the arrays are as they are mapped, and not copied.

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
        return self.features[number], self.targets[number], number


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
        return self.turn(self.features[number], symmetry), self.turn(self.targets[number], symmetry), number


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
        return features, self.turn(self.targets[number], turn_of_cmb), number


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


class Batches:
    """Batches in the order of a sampler, which threads read ahead of whoever learns from them.

    Samples are copied into a few buffers that take turns, so that memory does not grow with their number: a batch,
    `(batch, ...)` twice and the numbers of its samples, holds until the next one is asked for. What comes does not
    depend on how many threads read. What fails in one of them is raised where the batch is asked for.

    Args:
        pairs: what is read.
        batch_size: samples per batch; the last one may have fewer.
        sampler: their order.
        threads: how many read ahead; 0: a batch is read when it is asked for.
        pin: whether to read into memory from which a GPU copies faster.
    """

    batch_sampler = None
    """Lightning tells the sampler the epoch, and looks for this one, too."""

    def __init__(
        self, pairs: Pairs, batch_size: int, sampler: Sampler[int] | range, threads: int = 0, pin: bool = False
    ) -> None:
        self.pairs, self.batch_size, self.sampler = pairs, batch_size, sampler
        self.threads, self.pin = threads, pin
        # No thread shall wait for another one's batch to be learnt from.
        ahead = max(AHEAD, -(-threads // batch_size)) if threads else 0
        self.n_buffers = min(1 + ahead, len(self))
        self._kept: list[Buffer] = []

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        """Read all of them.

        Raises:
            MethodError: samples are not alike in shape.
        """
        # Kept from epoch to epoch; whoever goes through the batches in the meantime has buffers of its own.
        buffers, self._kept = self._kept or [self._buffer() for _ in range(self.n_buffers)], []
        order, ring = iter(self.sampler), cycle(buffers)
        reading: deque[tuple[Buffer, Sequence[Callable[[], int]]]] = deque()
        pool = ThreadPoolExecutor(self.threads, "reader") if self.threads else None
        try:
            while True:
                while len(reading) < len(buffers) and (indices := list(islice(order, self.batch_size))):
                    buffer = next(ring)
                    reads = [partial(self._read, index, *rows) for index, *rows in zip(indices, *buffer, strict=False)]
                    reading.append((buffer, [pool.submit(read).result for read in reads] if pool else reads))
                if not reading:
                    return
                (features, target), waited = reading.popleft()
                numbers = torch.tensor([read() for read in waited])
                yield features[: len(numbers)], target[: len(numbers)], numbers
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)
            self._kept = buffers

    def _buffer(self) -> Buffer:
        size = min(self.batch_size, len(self.sampler))  # type: ignore[arg-type]
        alike = (
            torch.from_numpy(np.empty((size, *like[0].shape), like[0].dtype))
            for like in (self.pairs.features, self.pairs.targets)
        )
        features, target = (torch.empty_like(rows, pin_memory=self.pin) for rows in alike)
        return features, target

    def _read(self, index: int, *rows: torch.Tensor) -> int:
        """Copy a sample to its place in a batch; NumPy copies arrays, mapped ones too, beside other threads."""
        *found, number = self.pairs[index]
        for what, values, row in zip(("features", "target"), found, rows, strict=True):
            if values.shape != row.shape:
                message = f"the {what} of sample {number} are {values.shape}, and not {tuple(row.shape)} as the first's"
                raise MethodError(message)
            row.numpy()[...] = values
        return number


def loader(
    pairs: Pairs,
    batch_size: int,
    threads: int,
    seed: int | None,
    rank: int = 0,
    ranks: int = 1,
    pin: bool = False,
    steps: int | None = None,
) -> Batches:
    """Return what reads batches, in an order that depends on the seed and the epoch alone.

    Args:
        pairs: what is read.
        batch_size: simulations per batch.
        threads: how many read ahead.
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
    return Batches(pairs, batch_size, sampler, threads, pin)
