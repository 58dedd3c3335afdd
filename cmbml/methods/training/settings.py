"""How a network is trained."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, Self, final

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import nn, optim

from cmbml.settings import Fraction, NonNegativeFloat, PositiveFloat, later, settings


@dataclass(frozen=True)
class Phase:
    """One part of a training, from a state to the best one that comes of it.

    Attributes:
        epochs: after each of which is validated.
        steps: batches in each; None: as many as it takes to see every sample once.
        folder: below that of the training, for checkpoints and logs.
        every: after how many epochs a checkpoint is written to go on from, and the user is told.
        first: whether it starts from fresh weights, and not from the best that the phase before has found.
    """

    epochs: int
    steps: int | None = None
    folder: str = ""
    every: int = 1
    first: bool = True


@settings
class Training:
    """Optimiser, schedule, and when to stop.

    Attributes:
        seed: another one gives other first weights, and another order of the simulations.
        epochs: passes through the training simulations.
        batch_size: samples per batch; several devices share them.
        samples: how many of the training samples are learnt from, the first ones; None: all. What brings arrays to size
            is measured on all.
        passes: steps of the optimiser that each batch is used for, one after the other.
        mix: whether CMB, foregrounds and noise of different simulations are put together anew in each epoch, turned and
            reflected, so that no sky is seen twice.
        turn: whether every sample is turned or reflected anew in each epoch, as one of HEALPix's own symmetries does.
        optimiser: `adam`, `adamw` (weights decay by themselves), `adamax`, or `adagrad` with the constants of Keras.
        betas: the memories of Adam's kin: of the gradient and of its square.
        weight_decay: strength of the decay of weights: added to the gradient, times the weight, but for `adamw`.
        learning_rate: at the start.
        final_learning_rate: and at the end, no higher.
        schedule: how it gets there: `exponential` by the same factor after every batch, `cosine` along half a wave,
            `steps` in `n_steps` steps of equal length and factor; `constant` stays where it starts.
        n_steps: how many, of `steps`.
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
    samples: PositiveInt | None = later(None)
    passes: PositiveInt = 1
    mix: bool = False
    turn: bool = later(default=False)
    optimiser: Literal["adam", "adamw", "adamax", "adagrad"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["exponential", "cosine", "steps", "constant"] = "exponential"
    n_steps: Annotated[int, Field(ge=2)] = 4
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
        done, ratio = batch / n_batches, self.final_learning_rate / self.learning_rate
        falls: dict[str, Callable[[], float]] = {
            "exponential": lambda: ratio**done,
            "cosine": lambda: ratio + (1 - ratio) * (1 + math.cos(math.pi * done)) / 2,
            "steps": lambda: ratio ** (min(int(done * self.n_steps), self.n_steps - 1) / (self.n_steps - 1)),
            "constant": lambda: 1.0,
        }
        return rise * falls[self.schedule]()

    def phases(self) -> tuple[Phase, ...]:
        """Return the parts of the training, in their order."""
        return (Phase(self.epochs),)

    def optimiser_of(self, weights: Iterable[nn.Parameter]) -> optim.Optimizer:
        """Make the optimiser of some weights."""
        rate, decay, betas = self.learning_rate, self.weight_decay, self.betas
        if self.optimiser == "adagrad":
            # Keras starts the sums of squares at 0.1, which keeps the first steps small.
            return optim.Adagrad(weights, lr=rate, weight_decay=decay, initial_accumulator_value=0.1, eps=1e-7)
        if self.optimiser == "adamax":
            return optim.Adamax(weights, lr=rate, betas=betas, weight_decay=decay)
        kind = optim.AdamW if self.optimiser == "adamw" else optim.Adam
        return kind(weights, lr=rate, betas=betas, weight_decay=decay, fused=True)


@final
@settings
class SteppedTraining(Training):
    """A training whose epochs are counted in steps, and whose best state may be trained further in shorter ones.

    The second phase starts from the weights and the optimisers' memories of the best epoch of the first, keeps the
    learning rate that the first ended with, and is validated more often: its best state is then what is kept.

    Attributes:
        steps_per_epoch: batches between two validations; batches go round the samples, in a new order each time.
        second_epochs: epochs of the second phase; 0: there is none.
        second_steps_per_epoch: batches between two validations in it.
        second_checkpoint_every: after how many of its epochs a checkpoint is written from which a killed training goes
            on; what lies between is done again.
    """

    steps_per_epoch: PositiveInt
    second_epochs: NonNegativeInt = 0
    second_steps_per_epoch: PositiveInt = 1
    second_checkpoint_every: PositiveInt = 50

    def phases(self) -> tuple[Phase, ...]:
        """Return one phase or two."""
        first = Phase(self.epochs, self.steps_per_epoch)
        if not self.second_epochs:
            return (first,)
        every = self.second_checkpoint_every
        return first, Phase(self.second_epochs, self.second_steps_per_epoch, "second", every, first=False)
