"""What a network is trained for: its losses, how it is validated, and what its reply means."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.training.network import Network
from cmbml.settings import settings

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised

LOSSES: dict[str, type[nn.Module]] = {"l1": nn.L1Loss, "l2": nn.MSELoss, "huber": nn.HuberLoss}


@settings
class Objective(ABC):
    """How a network learns from a batch. Features and targets are normalised; replies are in the target's unit."""

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

    def players(self, network: nn.Module) -> list[list[nn.Parameter]]:
        """Return the groups of weights that have an optimiser and a loss each."""
        return [list(network.parameters())]

    @abstractmethod
    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Give the loss of each of the players, one after the other: each has taken its step before the next is asked.

        Args:
            model: what is trained, between its normalisations.
            features: `(batch, n_in, ...)`, normalised.
            target: `(batch, n_out, ...)`, normalised.
        """

    @abstractmethod
    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean over a batch of what is to be known of it; `loss` decides which weights are kept.

        Args:
            model: what is trained, between its normalisations.
            features: `(batch, n_in, ...)`, normalised.
            target: `(batch, n_out, ...)`, normalised.
        """

    @abstractmethod
    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Answer features, `(batch, n_in, ...)`: the value and its standard deviation, both in the target's unit."""


@final
@settings
class Supervised(Objective):
    """Come close to the target.

    Attributes:
        loss: `l1` mean absolute, `l2` mean squared, `huber`.
    """

    loss: Literal["l1", "l2", "huber"] = "l1"

    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Compare the reply with the target."""
        yield LOSSES[self.loss]()(shaped_reply(model, features, target), target)

    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare the reply with the target."""
        reply = shaped_reply(model, features, target)
        return {"loss": LOSSES[self.loss]()(reply, target), "reply": reply}

    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, None]:
        """Run the network."""
        return model(features), None


def shaped_reply(model: "Normalised", features: Tensor, target: Tensor) -> Tensor:
    """Run the network. A loss would stretch arrays of different shapes to one, and train on nonsense.

    Raises:
        MethodError: the reply is not shaped as the target.
    """
    reply = model.run(features).float()
    if reply.shape != target.shape:
        shapes = tuple(reply.shape[1:]), tuple(target.shape[1:])
        message = f"method.network answers arrays of shape {shapes[0]}; method.examples wants {shapes[1]}"
        raise MethodError(message)
    return reply
