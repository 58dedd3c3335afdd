"""What a network is trained for: its losses, how it is validated, and what its reply means."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.training.network import Network
from cmbml.methods.training.spectrum import spectrum_layer
from cmbml.settings import NonNegativeFloat, PositiveFloat, settings

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised

LOSSES: dict[str, type[nn.Module]] = {"l1": nn.L1Loss, "l2": nn.MSELoss, "huber": nn.HuberLoss}
NLL = "gaussian_nll"
MOST_LOG_VARIANCE = 20.0
"""Standard deviations from 5e-5 to 2e4 of what targets are brought to: beyond, something else is wrong."""


@settings
class Objective(ABC):
    """How a network learns from a batch. Features and targets are normalised; replies are in the target's unit.

    Attributes:
        population: whether it is validated on all samples at once, as what compares populations is, and learns from
            whole batches alone.
        one_device: whether batches cannot be shared by several devices.
    """

    population: ClassVar[bool] = False
    one_device: ClassVar[bool] = False

    def files(self) -> tuple[Path, ...]:
        """Return the files that settings name and that losses depend on."""
        return ()

    def check(self, network: Network) -> None:
        """Look, before any work, whether such a network can be trained for this.

        Raises:
            MethodError: it cannot; the message says why.
        """

    def build(self, network: Network, n_in: int, n_out: int) -> nn.Module:
        """Make what is trained, with fresh weights: the network, and whatever is trained beside it."""
        return network.build(n_in, n_out)

    def ask(self, network: nn.Module, features: Tensor) -> object:
        """Ask the network once, as training does, whatever it is told beside the features."""
        return network(features)

    def players(self, network: nn.Module) -> list[list[nn.Parameter]]:
        """Return the groups of weights that have an optimiser and a loss each."""
        return [list(network.parameters())]

    def on(self, observations: Mapping[str, Any]) -> Self:  # noqa: ARG002
        """Return the objective for such samples.

        Args:
            observations: what they are, as `Examples.describe` says.

        Raises:
            MethodError: it is none for them.
        """
        return self

    @property
    def learns_sigma(self) -> bool:
        """Whether the scatter of targets about replies is learnt, too."""
        return False

    @property
    def loss_unit(self) -> float:
        """By how much a loss may differ and still be the same, beside a part of itself, times that part."""
        return 0.0

    def turns(self, n_players: int) -> Sequence[int]:
        """Return which of the players takes each of the steps that a batch is used for."""
        return range(n_players)

    def prepare(self, network: nn.Module, targets: Iterable[Tensor]) -> None:
        """Tell what is to be trained, once, what all training targets have in common.

        Args:
            network: what `build` has made.
            targets: `(n_out, ...)` each, normalised.
        """

    @abstractmethod
    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Give a loss for each of the `turns`, one after the other: each has taken its step before the next is asked.

        Args:
            model: what is trained, between its normalisations.
            features: `(batch, n_in, ...)`, normalised.
            target: `(batch, n_out, ...)`, normalised.
        """

    @abstractmethod
    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean over a batch of what is to be known of it; `loss` decides which weights are kept.

        `reply` is what the network answers, if there is a right answer to compare it with.

        Args:
            model: what is trained, between its normalisations.
            features: `(batch, n_in, ...)`, normalised.
            target: `(batch, n_out, ...)`, normalised.
        """

    @abstractmethod
    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Answer features, `(batch, n_in, ...)`: the value and its standard deviation, both in the target's unit."""


@settings
class Pointwise(Objective):
    """Come close to the target, value by value.

    Attributes:
        loss: `l1` mean absolute, `l2` mean squared, `huber`; `gaussian_nll`: the network tells the logarithm of the
            variance of its error, too, and what is lost is minus the logarithm of the Gaussian likelihood (Nix &
            Weigend 1994; Kendall & Gal 2017, eq. 8), without its constant.
    """

    loss: Literal["l1", "l2", "huber", "gaussian_nll"] = "l1"

    def build(self, network: Network, n_in: int, n_out: int) -> nn.Module:
        """Make the network; where it tells its variance, too, that comes after the values, field by field."""
        return network.build(n_in, 2 * n_out if self.learns_sigma else n_out)

    @property
    def learns_sigma(self) -> bool:
        """With a likelihood."""
        return self.loss == NLL

    @property
    def loss_unit(self) -> float:
        """A logarithm of a likelihood may be anything, zero too; a difference of one matters."""
        return 1.0 if self.learns_sigma else 0.0

    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Compare the reply with the target."""
        yield self.validate(model, features, target)["loss"]

    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare the reply with the target."""
        if self.learns_sigma:
            value, log_variance = _split(shaped_reply(model, features, target, 2))
            loss = 0.5 * (log_variance + (value - target).square() * torch.exp(-log_variance)).mean()
        else:
            value = shaped_reply(model, features, target)
            loss = LOSSES[self.loss]()(value, target)
        return {"loss": loss + self.beside(value, target), "reply": value}

    def beside(self, value: Tensor, target: Tensor) -> Tensor | float:  # noqa: ARG002
        """Return what is lost besides."""
        return 0.0

    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Run the network."""
        if not self.learns_sigma:
            return model(features), None
        value, log_variance = _split(model.run(model.bring_in(features)).float())
        return model.bring_out(value, features), model.bring_out_sigma(torch.exp(0.5 * log_variance), features)


@final
@settings
class Supervised(Pointwise):
    """Come close to the target."""


@final
@settings
class MapAndSpectrum(Pointwise):
    """Come close to the target and to its power spectrum, as the ResUNet does: flat patches alone have one.

    What is lost is that of the values, plus `spectrum` times the mean squared error of D_l in rings one fundamental
    wide, both normalised: D_l is in the square of the unit in which targets have about unit variance, so that both
    are of order one before anything is learnt.

    Attributes:
        spectrum: weight of the spectrum; the paper does not say it. 0: only the values count.
        pixel_arcmin: sides of a pixel, rows and columns; None: as the examples tell it.
    """

    spectrum: NonNegativeFloat = 1.0
    pixel_arcmin: tuple[PositiveFloat, PositiveFloat] | None = None

    def on(self, observations: Mapping[str, Any]) -> "MapAndSpectrum":
        """Take the size of the pixels from what the samples are.

        Raises:
            MethodError: they are no flat patches.
        """
        return replace(self, pixel_arcmin=pixel_arcmin_of(observations, "method.objective: MapAndSpectrum"))

    def beside(self, value: Tensor, target: Tensor) -> Tensor | float:
        """Return the error of the spectrum."""
        if not self.spectrum:
            return 0.0
        if self.pixel_arcmin is None:
            message = "MapAndSpectrum was not told how large pixels are: ask its `on` first"
            raise MethodError(message)
        rows, columns = (math.radians(side / 60) for side in self.pixel_arcmin)
        layer = spectrum_layer((value.shape[-2], value.shape[-1]), (rows, columns), value.device)
        lost: Tensor = self.spectrum * (layer(value) - layer(target)).square().mean()
        return lost


def pixel_arcmin_of(observations: Mapping[str, Any], who: str) -> tuple[float, float]:
    """Return the sides of a pixel of flat patches, arcmin, from what `Examples.describe` says of them.

    Args:
        observations: what it says.
        who: asks, for the message.

    Raises:
        MethodError: the samples are no flat patches.
    """
    if "pixel_arcmin" not in observations:
        message = f"{who} needs samples that are flat patches, for others have no flat spectrum; take another"
        raise MethodError(message)
    given = observations["pixel_arcmin"]
    rows, columns = given if isinstance(given, list | tuple) else (given, given)
    return float(rows), float(columns)


def _split(reply: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values and the logarithm of their variances, kept where its exponential can be computed with."""
    value, log_variance = reply.chunk(2, dim=1)
    return value, log_variance.clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE)


def shaped_reply(model: "Normalised", features: Tensor, target: Tensor, heads: int = 1) -> Tensor:
    """Run the network. A loss would stretch arrays of different shapes to one, and train on nonsense.

    Args:
        model: what is trained.
        features: `(batch, n_in, ...)`, normalised.
        target: `(batch, n_out, ...)`, normalised.
        heads: how many numbers the network tells of each value.

    Returns:
        `(batch, heads n_out, ...)`.

    Raises:
        MethodError: the reply is not shaped as the target.
    """
    reply = model.run(features).float()
    wanted = (target.shape[0], heads * target.shape[1], *target.shape[2:])
    if reply.shape != wanted:
        shapes = tuple(reply.shape[1:]), wanted[1:]
        message = f"method.network answers arrays of shape {shapes[0]}; method.examples wants {shapes[1]}"
        raise MethodError(message)
    return reply
