"""Time how long a training stands still for its checkpoints, and how long an epoch takes with them.

    python benchmarks/checkpoints.py --folder /tmp/checkpoints                          # UNet7: 300 MB each
    python benchmarks/checkpoints.py --folder /tmp/checkpoints --network unet8 --nside 256 --device cuda

The same training, as it is and with each checkpoint waited for before it goes on; `best` and `last` are both due after
every epoch. Compare ratios of one run: how fast a disk takes what is flushed to it differs by far.
"""

import argparse
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from lightning import Trainer

from cmbml.core.app import CONFIG_FOLDER
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Hardware
from cmbml.methods.training.callbacks import Curve, Keeper
from cmbml.methods.training.checkpoint import WholeCheckpoints
from cmbml.methods.training.data import Pairs
from cmbml.methods.training.module import Normalised, Trainee


class Waited(WholeCheckpoints):
    """Checkpoints that are written before a training goes on."""

    def save_checkpoint(self, *arguments: Any, **words: Any) -> None:  # noqa: ANN401
        """Write one, and wait."""
        super().save_checkpoint(*arguments, **words)
        self.wait()


class Timed(Keeper):
    """Keeps both checkpoints after every epoch, and measures how long that holds the training."""

    def on_train_start(self, *_: Any) -> None:  # noqa: ANN401
        """Start the clock."""
        self.held: list[float] = []
        self.ends = [time.perf_counter()]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ANN401
        """Keep them."""
        started = time.perf_counter()
        self.curve.rows[-1][4] = -len(self.curve.rows)  # each is the best
        super().on_train_epoch_end(trainer, pl_module)
        self.ends.append(time.perf_counter())
        self.held.append(self.ends[-1] - started)


def run(arguments: argparse.Namespace, writer: WholeCheckpoints) -> tuple[float, float, float]:
    """Train; return the medians of seconds held and of an epoch, and the megabytes of a checkpoint."""
    words = ["method=cmbnncs", f"network={arguments.network}", f"method.train.epochs={arguments.epochs}"]
    words += [f"method.train.batch_size={arguments.batch}", f"method.train.compile={arguments.compile}"]
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        method = hydra.utils.instantiate(hydra.compose("clean", words)["method"], _convert_="all")
    rng, plane = np.random.default_rng(0), (4 * arguments.nside, 3 * arguments.nside)
    sample = [rng.standard_normal((n, *plane), np.float32) for n in (4, 1)]
    norms = method.features.scaling(Moments.of(sample[0])), method.target.scaling(Moments.of(sample[1]))
    model = Normalised(method.network.build(4, 1), *norms, method.train.channels_last)
    learnt, looked_at = (Pairs(*([array] * n for array in sample)) for n in (arguments.batches * arguments.batch, 1))
    names, (phase,) = ["map"] * len(learnt), method.train.phases()
    workers = Hardware().workers_used(on_cpu=arguments.device == "cpu")
    trainee = Trainee(
        model, method.objective, method.train, (learnt, looked_at), names, 0, workers, arguments.threads, phase
    )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    curve = Curve(arguments.folder)
    keeper = Timed(curve, arguments.folder, writer)
    Trainer(
        accelerator="gpu" if arguments.device == "cuda" else "cpu",
        devices=1,
        max_epochs=arguments.epochs,
        callbacks=[curve, keeper],
        plugins=[writer],
        logger=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    ).fit(trainee)
    size = (arguments.folder / "last.ckpt").stat().st_size / 1e6
    return float(np.median(keeper.held[1:])), float(np.median(np.diff(keeper.ends)[1:])), size


def main() -> None:
    """Time both, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints are written")
    parser.add_argument("--network", default="unet7", choices=["unet5", "unet6", "unet7", "unet8"])
    parser.add_argument("--nside", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--batches", type=int, default=8, help="in an epoch")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    waited, beside = run(arguments, Waited()), run(arguments, WholeCheckpoints())
    print(f"{arguments.network}, two checkpoints of {beside[2]:.0f} MB an epoch\n")
    for name, (held, epoch, _) in {"waited for": waited, "beside the training": beside}.items():
        print(f"{name:20s} {held:7.2f} s held, {epoch:7.2f} s an epoch")
    print(f"ratio                {waited[0] / beside[0]:7.2f}         {waited[1] / beside[1]:9.2f}")


if __name__ == "__main__":
    main()
