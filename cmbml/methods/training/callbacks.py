"""What a training records of itself, what it says, what it keeps, and when it ends early."""

import csv
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from torch import Tensor

from cmbml.methods.base import MethodError
from cmbml.methods.training.checkpoint import WholeCheckpoints

COLUMNS = ("epoch", "step", "learning_rate", "train_loss", "valid_loss", "valid_rmse_uk")
BEST, LAST = "best.ckpt", "last.ckpt"


class Curve(Callback):
    """Keep a row per epoch; it stands in the checkpoints, so that it survives a killed run.

    Args:
        logdir: where the rows are written, too, as `epochs.csv`.
    """

    def __init__(self, logdir: Path) -> None:
        self.rows: list[list[float]] = []
        self.logdir = logdir

    @property
    def best(self) -> int:
        """Which row has the lowest validation loss."""
        losses = [row[COLUMNS.index("valid_loss")] for row in self.rows]
        return losses.index(min(losses))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add a row, once the epoch has been validated.

        Raises:
            MethodError: the validation loss is no number.
        """
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        losses = [found["train_loss"], found["valid_loss"]]
        if not math.isfinite(losses[1]):
            message = (
                f"the validation loss became {losses[1]} in epoch {trainer.current_epoch + 1}, step "
                f"{trainer.global_step}; look for simulations of the validation split that hold values which are no "
                "numbers, or try a lower method.train.learning_rate"
            )
            raise MethodError(message)
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        # Where nothing is the right answer, as of generators, there is no error.
        error = found.get("valid_mse_uk2", math.nan) ** 0.5
        self.rows.append([trainer.current_epoch, trainer.global_step, rate, *losses, error])
        if trainer.is_global_zero:
            with (self.logdir / "epochs.csv").open("w", newline="") as stream:
                csv.writer(stream).writerows([COLUMNS, *self.rows])

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of a checkpoint."""
        self.rows = [list(row) for row in state_dict["rows"]]


class Clock(Callback):
    """Measure where the time goes, also of a training that was stopped, and tell the user after every epoch.

    Args:
        curve: what has the losses.
        report: takes a line for the user.
        every: after how many epochs.
    """

    def __init__(self, curve: Curve, report: Callable[[str], None], every: int = 1) -> None:
        self.curve, self.report, self.every = curve, report, every
        self.waiting = self.training = self.seconds = 0.0
        self.maps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self.started = time.perf_counter() - self.seconds
        self.since, self.first_epoch = time.perf_counter(), trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Leave out what lies between epochs."""
        self.last = time.perf_counter()
        self.before = (self.maps, self.training + self.waiting)

    def on_train_batch_start(self, *_: Any) -> None:  # noqa: ANN401
        """Count the time since the batch before as waiting for data."""
        now = time.perf_counter()
        self.waiting, self.last = self.waiting + now - self.last, now

    def on_train_batch_end(self, trainer: Trainer, *found: Any) -> None:  # noqa: ANN401
        """Count the time of the batch as training."""
        now = time.perf_counter()
        self.training, self.last = self.training + now - self.last, now
        self.maps += len(found[2][0]) * trainer.world_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say how far it has come."""
        now = time.perf_counter()
        self.seconds = now - self.started
        if not trainer.is_global_zero or not _due(trainer, self.every):
            return
        epoch, _, rate, train, valid, rmse = self.curve.rows[-1]
        error = f" (rmse {rmse:.3g} uK)" if math.isfinite(rmse) else ""
        done, total = int(epoch) + 1, trainer.max_epochs or 0
        left = (now - self.since) / (done - self.first_epoch) * (total - done)
        speed = (self.maps - self.before[0]) / (self.training + self.waiting - self.before[1])
        self.report(
            f"epoch {done} of {total}: loss {train:.4g}, validation {valid:.4g}{error}, "
            f"rate {rate:.2g}, {speed:.1f} maps/s, {left / 60:.0f} min left"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        busy = self.training + self.waiting
        measured = {"seconds": self.seconds, "training": self.training, "waiting": self.waiting, "maps": self.maps}
        told = {
            "seconds": round(self.seconds, 2),
            "maps_per_second": round(self.maps / busy, 3) if busy else 0.0,
            "waiting_for_data": round(self.waiting / busy, 5) if busy else 0.0,
        }
        return {"measured": measured, "told": told}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting after a checkpoint."""
        vars(self).update(state_dict["measured"])


def _due(trainer: Trainer, every: int) -> bool:
    """Say whether the epoch that ends is one of every so many, or the last."""
    done = trainer.current_epoch + 1
    return done % every == 0 or done == trainer.max_epochs


class Keeper(Checkpoint):
    """Keep a checkpoint of the last epoch, from which a training goes on, and one of the best.

    The best one is written first: a training that is killed in between does the epoch again, and writes both.

    Args:
        curve: what knows which is the best.
        workdir: where they stand.
        writer: what writes them, while the training goes on.
        every: after how many epochs the one to go on from is written.
    """

    def __init__(self, curve: Curve, workdir: Path, writer: WholeCheckpoints, every: int = 1) -> None:
        self.curve, self.workdir, self.writer, self.every = curve, workdir, writer, every

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401
        """End a training whose checkpoint could not be written; not only after the epoch, which may take hours."""
        self.writer.look()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write them: the same, where both are due."""
        due = {BEST: self.curve.best == len(self.curve.rows) - 1, LAST: _due(trainer, self.every)}
        if paths := [self.workdir / name for name, wanted in due.items() if wanted]:
            trainer.save_checkpoint(paths[0], storage_options=paths[1:])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Wait for the last ones."""
        self.writer.wait()


class Patience(Callback):
    """End a training whose validation loss gets no better.

    Args:
        curve: what has the losses.
        epochs: without a better one.
    """

    def __init__(self, curve: Curve, epochs: int) -> None:
        self.curve, self.epochs = curve, epochs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Look at once: the training may have ended, and been killed before it could say so."""
        self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Look whether it is time."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        if self.curve.rows and len(self.curve.rows) - 1 - self.curve.best >= self.epochs:
            trainer.should_stop = True


class MovingAverage(WeightAveraging):
    """Keep an exponential moving average of the weights, which takes their place in validations and checkpoints.

    Args:
        decay: what is left of the average after every batch.
    """

    def __init__(self, decay: float) -> None:
        # Lightning's own takes a function that cannot be sent to another process.
        super().__init__(avg_fn=partial(_blend, decay))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the average where the weights will be: they are not there yet."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)


def _blend(decay: float, average: Tensor, weights: Tensor, _: Tensor) -> Tensor:
    if not average.is_floating_point():  # indices and counts have no average
        return weights
    return decay * average + (1 - decay) * weights
