"""What a network is trained for: its losses, how it is validated, and what its reply means."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, final

from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.training.network import Network
from cmbml.settings import settings

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised

LOSSES: dict[str, type[nn.Module]] = {"l1": nn.L1Loss, "l2": nn.MSELoss, "huber": nn.HuberLoss}


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

    def build(self, network: Network, n_in: int, n_out: int) -> nn.Module:
        """Make what is trained, with fresh weights: the network, and whatever is trained beside it."""
        return network.build(n_in, n_out)

    def players(self, network: nn.Module) -> list[list[nn.Parameter]]:
        """Return the groups of weights that have an optimiser and a loss each."""
        return [list(network.parameters())]

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
