"""Time what reads the arrays of a training: threads, and the worker processes of PyTorch's DataLoader beside them.

    python benchmarks/loading.py --folder /tmp/arrays                 # nside 512, four channels
    python benchmarks/loading.py --folder /tmp/arrays --kind turned --workers 0 2 4

Both read the same files in the same order, and nothing is learnt: maps/s is what a training can be fed with at most. A
round of the one comes after a round of the other; compare ratios of one run. `--learn` lets whoever asks for batches
hold still for so many seconds after each, as while a GPU learns; how much of the time it waits for data is printed.
"""

import argparse
import itertools
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cmbml.handlers.mapped_array import MappedArrays
from cmbml.methods.cmbnncs.examples import Planes
from cmbml.methods.training.data import Pairs, Turned, loader
from cmbml.sky.symmetry import N_SYMMETRIES


class Copied(Dataset):
    """What a DataLoader needs: samples as tensors of their own.

    Args:
        pairs: what is read.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        features, target, number = self.pairs[index]
        return torch.from_numpy(np.array(features)), torch.from_numpy(np.array(target)), number


def arrays(arguments: argparse.Namespace) -> tuple[MappedArrays, MappedArrays]:
    """Write noise to files, unless it is there, and map them: features and targets."""
    rng, plane = np.random.default_rng(0), (4 * arguments.nside, 3 * arguments.nside)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, n_channel in (("features", arguments.channels), ("target", 1)):
        shape = (1, n_channel, *plane)
        paths = [arguments.folder / f"{name}_{n_channel}_{plane[1]}_{i}.npy" for i in range(arguments.samples)]
        for path in paths:
            if not path.exists():
                np.save(path, rng.standard_normal(shape, np.float32))
        found.append(MappedArrays(paths, [1] * len(paths)))
    return found[0], found[1]


def pairs_of(kind: str, found: tuple[MappedArrays, MappedArrays]) -> Pairs:
    """Return samples as they are, or turned anew in each epoch."""
    if kind == "pairs":
        return Pairs(*found)
    return Turned(*found, partial(Planes(name="planes", channels=("100",)).turned, n_field=1), N_SYMMETRIES, seed=1)


def timed(batches: Iterable, learn: float) -> tuple[float, float]:
    """Go through an epoch; return its seconds, and those in which a batch was waited for."""
    started = last = time.perf_counter()
    waited = 0.0
    for _ in batches:
        waited += time.perf_counter() - last
        time.sleep(learn)
        last = time.perf_counter()
    return last - started, waited


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the arrays are written")
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--batch", type=int, default=12, help="maps per batch")
    parser.add_argument("--kind", default="pairs", choices=["pairs", "turned"])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4], help="processes, and threads")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each; the best one counts")
    parser.add_argument("--learn", type=float, default=0.0, help="seconds after each batch")
    parser.add_argument("--pin", action="store_true", help="read into pinned memory (needs a GPU)")
    return parser.parse_args()


def main() -> None:
    """Time all, and print maps/s and ratios."""
    arguments = parse()
    torch.set_num_threads(1)
    pairs, size = pairs_of(arguments.kind, arrays(arguments)), arguments.batch
    ways = {
        (name, workers): make(workers)
        for workers in arguments.workers
        for name, make in {
            "processes": lambda n: DataLoader(
                Copied(pairs), size, num_workers=n, persistent_workers=n > 0, pin_memory=arguments.pin
            ),
            "threads": lambda n: loader(pairs, size, n, None, pin=arguments.pin),
        }.items()
    }
    found: dict[tuple[str, int], list[tuple[float, float]]] = {way: [] for way in ways}
    for _, (way, batches) in itertools.product(range(1 + arguments.rounds), ways.items()):
        found[way].append(timed(batches, arguments.learn))
    best = {way: min(times[1:]) for way, times in found.items()}  # the first starts processes, and fills the page cache
    print(f"{arguments.kind}, nside {arguments.nside}, {arguments.channels} channels, batches of {size}\n")
    print("workers   processes, maps/s   threads, maps/s   threads / processes   waiting: processes, threads")
    for workers in arguments.workers:
        (slow, slow_waits), (fast, fast_waits) = best["processes", workers], best["threads", workers]
        print(
            f"{workers:7d}   {len(pairs) / slow:17.1f}   {len(pairs) / fast:15.1f}   {slow / fast:19.2f}   "
            f"{slow_waits / slow:18.1%}, {fast_waits / fast:.1%}"
        )


if __name__ == "__main__":
    main()
