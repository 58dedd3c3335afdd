"""Time the training of a network, and the public cmbnncs package beside it.

    python benchmarks/training.py --reference FOLDER                # a checkout of cmbnncs
    python benchmarks/training.py --network unet8 --nside 512 --batch 4 --device cuda --precision bf16-mixed

Both train on the same maps, each in a process of its own, for ours changes how a process keeps its memory; a batch of
the one comes after a batch of the other. Ours runs as `main_clean.py` runs it: Lightning, the loader, normalisation,
and all that a step does beside the network. The reference's loop is that
of its example: float32, each batch laid out as planes, then so many steps with the loss read back after each. Laying
out is timed apart: ours does it once, when it writes arrays. Compare ratios of one run: absolute times hold for one
machine; on a busy one, those of the processor's time with one thread.
"""

import argparse
import collections
import collections.abc
import contextlib
import importlib
import io
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from lightning import Callback, Trainer
from torch.utils.flop_counter import FlopCounterMode

from cmbml.core.app import CONFIG_FOLDER
from cmbml.methods.normalisation import Moments
from cmbml.methods.planes import from_plane
from cmbml.methods.trained import Hardware
from cmbml.methods.training.data import Pairs
from cmbml.methods.training.method import NetworkMethod
from cmbml.methods.training.module import Normalised, Trainee

WARM_UP = 2
"""Batches that are not counted: the first ones choose algorithms and fill the memory pools."""
REFERENCE_NETWORKS = {
    "unet5": ("UNet5", (32, 64, 128, 256, 512), [4] * 9 + [2]),
    "unet8": ("UNet8", (16, 32, 64, 128, 256, 512, 1024, 2048), [5, 5, *[4] * 12, 5, 5]),
}


@dataclass
class Times:
    """Seconds of each batch: on the wall, and of this process on all its cores."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, wall: float, cpu: float) -> None:
        """Add a batch."""
        self.wall.append(wall)
        self.cpu.append(cpu)

    def median(self, per: int = 1) -> tuple[float, float]:
        """Return the median batch, over `per`: on the wall, and of the processor."""
        return tuple(float(np.median(values[WARM_UP:])) / per for values in (self.wall, self.cpu))


def now(device: str) -> tuple[float, float]:
    """Return both clocks, once the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float], device: str) -> tuple[float, float]:
    """Return what has passed on both clocks."""
    wall, cpu = now(device)
    return wall - started[0], cpu - started[1]


class Reference:
    """The reference's loop.

    Args:
        folder: a checkout of cmbnncs.
        network: whose shape, `unet5` or `unet8`.
        maps: `(n_map, n_channel, n_pix)` and `(n_map, 1, n_pix)`, uK_CMB.
        device: `cpu` or `cuda`.
    """

    def __init__(self, folder: Path, network: str, maps: tuple[np.ndarray, np.ndarray], device: str) -> None:
        collections.Iterable = collections.abc.Iterable  # the package asks for it where Python had it until 3.9
        sys.path.insert(0, str(folder))
        unet, self.spherical = (importlib.import_module(f"cmbnncs.{name}") for name in ("unet", "spherical"))
        nside = int((maps[0].shape[-1] / 12) ** 0.5)
        kind, widths, kernels = REFERENCE_NETWORKS[network]
        with contextlib.redirect_stdout(io.StringIO()):
            made = getattr(unet, kind)(
                widths,
                channel_in=maps[0].shape[1],
                kernels_size=kernels,
                strides=[2] * len(kernels),
                finalBN=False,
                sides=(4 * nside, 3 * nside),
            )
        self.network, self.maps, self.device = made.to(device), maps, device
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=0.1)
        self.losses: list[float] = []

    def arrange(self) -> None:
        """Lay a batch out as planes."""
        features, target = (
            np.array([[self.spherical.sphere2piecePlane(values) for values in channels] for channels in maps])
            for maps in self.maps
        )
        self.features = torch.from_numpy(features).float().to(self.device)
        self.target = torch.from_numpy(target).float().to(self.device) / 5

    def train(self, steps: int) -> None:
        """Take steps on the batch."""
        loss_of = torch.nn.L1Loss()
        for _ in range(steps):
            loss = loss_of(self.network(self.features), self.target)
            self.losses.append(loss.item())
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()


def serve(connection: Connection, arguments: argparse.Namespace) -> None:
    """Be the reference's process: do as many steps as is asked for, or lay out for 0, and answer with the times."""
    torch.set_num_threads(arguments.threads)
    features, targets = simulate(arguments)
    maps = (from_plane(features), from_plane(targets))
    reference = Reference(arguments.reference, arguments.network, maps, arguments.device)
    while (steps := connection.recv()) is not None:
        started = now(arguments.device)
        reference.train(steps) if steps else reference.arrange()
        connection.send(since(started, arguments.device))


@contextlib.contextmanager
def reference_process(arguments: argparse.Namespace) -> Iterator[Callable[[int], tuple[float, float]] | None]:
    """Give, as a context, what lets the reference take steps in its own process; None where there is none."""
    if not arguments.reference:
        yield None
        return
    context = get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=serve, args=(its, arguments), daemon=True)
    process.start()

    def ask(steps: int) -> tuple[float, float]:
        mine.send(steps)
        found: tuple[float, float] = mine.recv()
        return found

    yield ask
    mine.send(None)
    process.join()


class Interleave(Callback):
    """Time our batches, and let the reference train on one after each.

    Args:
        device: `cpu` or `cuda`.
        reference: lets it take steps; None where there is none.
    """

    def __init__(self, device: str, reference: Callable[[int], tuple[float, float]] | None) -> None:
        self.device, self.reference = device, reference
        self.ours, self.theirs, self.arranging = Times(), Times(), Times()

    def on_train_epoch_start(self, *_: Any) -> None:  # noqa: ANN401
        """Start the clock."""
        self.started = now(self.device)

    def on_train_batch_end(self, trainer: Trainer, module: Trainee, *_: Any) -> None:  # noqa: ANN401, ARG002
        """Stop our clock, which has counted the reading of the batch, too; run the reference; start anew."""
        self.ours.add(*since(self.started, self.device))
        if self.reference:
            if len(self.arranging.wall) <= WARM_UP:
                self.arranging.add(*self.reference(0))
            self.theirs.add(*self.reference(module.training_settings.passes))
        self.started = now(self.device)


def compose(arguments: argparse.Namespace) -> NetworkMethod:
    """Return cmbNNCS as its config file has it."""
    train = {"epochs": 1, "batch_size": arguments.batch, "passes": arguments.passes}
    train |= {"precision": arguments.precision, "compile": arguments.compile}
    overrides = [f"method.train.{name}={value}" for name, value in train.items()]
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        node = hydra.compose("clean", ["method=cmbnncs", f"network={arguments.network}", *overrides])["method"]
    return hydra.utils.instantiate(node, _convert_="all")


def simulate(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return noise in the place of a batch's features and targets, as planes, uK_CMB."""
    rng, shape = np.random.default_rng(0), (4 * arguments.nside, 3 * arguments.nside)
    features, targets = (
        size * rng.standard_normal((arguments.batch, n, *shape), np.float32)
        for size, n in ((100, arguments.channels), (20, 1))
    )
    return features, targets


def run(method: NetworkMethod, arguments: argparse.Namespace) -> Interleave:
    """Train both, and return the times."""
    method.network.require_shape(4 * arguments.nside, 3 * arguments.nside)
    features, targets = simulate(arguments)
    norms = (method.features.scaling(Moments.of(features[0])), method.target.scaling(Moments.of(targets[0])))
    model = Normalised(method.network.build(arguments.channels, 1), *norms, method.train.channels_last)
    n_batches = WARM_UP + arguments.repeats
    pairs = Pairs(list(features) * n_batches, list(targets) * n_batches)
    workers = Hardware().workers_used(on_cpu=arguments.device == "cpu")
    names, (phase,) = ["map"] * len(pairs), method.train.phases()
    trainee = Trainee(
        model,
        method.objective,
        method.train,
        (pairs, pairs),
        names,
        0,
        workers,
        arguments.threads,
        phase,
        folded=Hardware(fold=arguments.fold).fold_used(on_cuda=arguments.device == "cuda", compiled=arguments.compile),
    )
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    with reference_process(arguments) as reference:
        interleave = Interleave(arguments.device, reference)
        Trainer(
            accelerator="gpu" if arguments.device == "cuda" else "cpu",
            devices=1,
            precision=method.train.precision,
            max_epochs=1,
            limit_val_batches=0,
            callbacks=[interleave],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
        ).fit(trainee)
    return interleave


def teraflops(method: NetworkMethod, arguments: argparse.Namespace) -> float:
    """Return the operations of a step, 1e12; the backward pass takes twice those of the forward pass."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = method.network.build(arguments.channels, 1)
        network(torch.empty(arguments.batch, arguments.channels, 4 * arguments.nside, 3 * arguments.nside))
    return 3e-12 * counter.get_total_flops()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="a checkout of the public cmbnncs package")
    parser.add_argument("--network", default="unet5", choices=["unet5", "unet6", "unet7", "unet8"])
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--batch", type=int, default=12, help="maps per batch")
    parser.add_argument("--passes", type=int, default=3, help="steps on each batch; the published training takes 3")
    parser.add_argument("--repeats", type=int, default=7, help="batches that are timed")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "16-mixed", "bf16-mixed"])
    parser.add_argument("--compile", action="store_true", help="ask torch.compile")
    parser.add_argument(
        "--fold", action=argparse.BooleanOptionalAction, help="outermost layers at half the resolution, or not"
    )
    parser.add_argument("--peak-tflops", type=float, help="matrix rate of the card, of which the fraction is printed")
    return parser.parse_args()


def print_ours(times: Times, operations: float, arguments: argparse.Namespace, passes: int) -> None:
    """Print what our training does in a second."""
    wall, cpu = times.median(passes)
    print(f"ours       {wall:8.4f} s per step, {1 / wall:7.3f} steps/s, CPU {cpu:8.4f} s")
    print(f"           {arguments.batch / wall:8.2f} images/s through forward and backward pass")
    print(f"           {1000 * passes / arguments.batch * wall:8.1f} s per epoch of 1000 simulations, {passes} passes")
    rate = operations / wall
    share = f", {rate / arguments.peak_tflops:.1%} of the peak" if arguments.peak_tflops else ""
    print(f"           {rate:8.3f} Tflop/s{share}")


def print_ratios(times: Interleave, passes: int) -> None:
    """Print how many times longer the reference takes."""
    (wall, cpu), (own_wall, own_cpu) = times.theirs.median(passes), times.ours.median(passes)
    arranging = times.arranging.median(passes)
    print(f"reference  {wall:8.4f} s per step, {1 / wall:7.3f} steps/s, CPU {cpu:8.4f} s")
    print(f"           {arranging[0]:8.4f} s per step for laying maps out as planes, CPU {arranging[1]:8.4f} s")
    print(f"reference / ours, a step:                {wall / own_wall:6.2f}   CPU {cpu / own_cpu:6.2f}")
    whole = (wall + arranging[0]) / own_wall, (cpu + arranging[1]) / own_cpu
    print(f"reference / ours, with the laying out:   {whole[0]:6.2f}   CPU {whole[1]:6.2f}")


def main() -> None:
    """Time both, and print the ratios."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    if arguments.reference and arguments.network not in REFERENCE_NETWORKS:
        sys.exit(f"the reference has no {arguments.network}; it has {' and '.join(REFERENCE_NETWORKS)}")
    method = compose(arguments)
    print(f"{arguments.network}, nside {arguments.nside}, batches of {arguments.batch}, {arguments.precision}")
    print(f"{arguments.device}, {arguments.threads} threads, median of {arguments.repeats} batches\n")
    times, passes = run(method, arguments), method.train.passes
    print_ours(times.ours, teraflops(method, arguments), arguments, passes)
    if arguments.reference:
        print_ratios(times, passes)


if __name__ == "__main__":
    main()
