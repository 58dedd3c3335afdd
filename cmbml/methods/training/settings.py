"""How a network is trained."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import nn

from cmbml.settings import Fraction, PositiveFloat, settings

LOSSES: dict[str, type[nn.Module]] = {"l1": nn.L1Loss, "l2": nn.MSELoss, "huber": nn.HuberLoss}


@settings
class Training:
    """Loss, optimiser, schedule, and when to stop.

    The learning rate falls by the same factor after every batch, from `learning_rate` to `final_learning_rate`.

    Attributes:
        seed: another one gives other first weights, and another order of the simulations.
        epochs: passes through the training simulations.
        batch_size: simulations per batch; several devices share them.
        passes: steps of the optimiser that each batch is used for, one after the other.
        mix: whether CMB, foregrounds and noise of different simulations are put together anew in each epoch, turned and
            reflected, so that no sky is seen twice.
        loss: `l1` mean absolute, `l2` mean squared, `huber`.
        learning_rate: of Adam, at the start.
        final_learning_rate: and at the end, no higher.
        warmup: batches over which the learning rate rises to its start; fewer than the training has.
        gradient_clip: largest norm of the gradient; null: any.
        ema_decay: of an exponential moving average of the weights, which is then what is validated and kept.
        patience: epochs without a better validation loss after which training stops; null: never.
        keep: the weights of the `best` epoch by validation loss, or the `last`.
        precision: `32-true`, or mixed: `16-mixed`, `bf16-mixed`.
        channels_last: whether arrays lie in memory with their channels innermost, which most convolutions like better.
        compile: whether `torch.compile` is asked to speed the network up.
    """

    seed: NonNegativeInt = 0
    epochs: PositiveInt
    batch_size: PositiveInt
    passes: PositiveInt = 1
    mix: bool = False
    loss: Literal["l1", "l2", "huber"] = "l1"
    learning_rate: PositiveFloat
    final_learning_rate: PositiveFloat
    warmup: Annotated[int, Field(ge=0)] = 0
    gradient_clip: PositiveFloat | None = None
    ema_decay: Fraction | None = None
    patience: PositiveInt | None = None
    keep: Literal["best", "last"] = "best"
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    channels_last: bool = True
    compile: bool = False

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            message = f"final_learning_rate={self.final_learning_rate:g} is above learning_rate={self.learning_rate:g}"
            raise ValueError(message)
        return self

    def factor(self, batch: int, n_batches: int) -> float:
        """Return by how much the learning rate has changed when `batch` of `n_batches` batches are done."""
        rise = min(1.0, (batch + 1) / self.warmup) if self.warmup else 1.0
        fall: float = (self.final_learning_rate / self.learning_rate) ** (batch / n_batches)
        return rise * fall
