"""What a training records of itself, and what it says."""

import time
from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer

COLUMNS = ("epoch", "step", "learning_rate", "train_loss", "valid_loss", "valid_rmse_uk")


class Curve(Callback):
    """Keep a row per epoch; it stands in the checkpoints, so that it survives a killed run."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add a row, once the epoch has been validated."""
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        rmse = found["valid_mse_uk2"] ** 0.5
        losses = [found["train_loss"], found["valid_loss"]]
        self.rows.append([trainer.current_epoch, trainer.global_step, float(rate), *losses, rmse])

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of a checkpoint."""
        self.rows = [list(row) for row in state_dict["rows"]]


class Clock(Callback):
    """Measure where the time goes, and tell the user after every epoch.

    Args:
        curve: what has the losses.
        report: takes a line for the user.
    """

    def __init__(self, curve: Curve, report: Callable[[str], None]) -> None:
        self.curve, self.report = curve, report
        self.waiting = self.training = 0.0
        self.maps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self.started = self.last = time.perf_counter()
        self.first_epoch = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Leave out what lies between epochs."""
        self.last = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:  # noqa: ANN401
        """Count the time since the batch before as waiting for data."""
        now = time.perf_counter()
        self.waiting, self.last = self.waiting + now - self.last, now

    def on_train_batch_end(self, *found: Any) -> None:  # noqa: ANN401
        """Count the time of the batch as training."""
        now = time.perf_counter()
        self.training, self.last = self.training + now - self.last, now
        self.maps += len(found[3][0])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say how far it has come."""
        epoch, _, rate, train, valid, rmse = self.curve.rows[-1]
        done, total = int(epoch) + 1, trainer.max_epochs or 0
        seconds = time.perf_counter() - self.started
        left = seconds / (done - self.first_epoch) * (total - done)
        self.report(
            f"epoch {done} of {total}: loss {train:.4g}, validation {valid:.4g} (rmse {rmse:.3g} uK), "
            f"rate {rate:.2g}, {self.maps / (self.training + self.waiting):.1f} maps/s, {left / 60:.0f} min left"
        )

    def summary(self) -> dict[str, float]:
        """Return what was measured since this process began."""
        busy = self.training + self.waiting
        return {
            "seconds": round(busy, 2),
            "maps_per_second": round(self.maps / busy, 3) if busy else 0.0,
            "waiting_for_data": round(self.waiting / busy, 5) if busy else 0.0,
        }
