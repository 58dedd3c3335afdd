"""What the training asks of a network's settings."""

from abc import ABC, abstractmethod

from torch import nn

from cmbml.settings import settings


@settings
class Network(ABC):
    """The shape of a network; `build` makes one."""

    @abstractmethod
    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network, with fresh weights, for `(batch, n_in, ...)` to `(batch, n_out, ...)`."""

    @abstractmethod
    def require_shape(self, *shape: int) -> None:
        """Check that the network can work on such arrays.

        Args:
            shape: of the features, without batch and channels.

        Raises:
            MethodError: it cannot; the message says what fits.
        """

    def beyond_cpu(self) -> str:
        """Say why nobody would want to train the network on a CPU, and what to take there; empty where one may."""
        return ""
