"""Networks that foretell dust from velocity channels; they multiply their answer by their last input, the mask."""

import math
from abc import abstractmethod
from itertools import pairwise
from typing import Annotated, Self, final

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import softplus

from cmbml.methods.base import MethodError
from cmbml.methods.patch_unet import UNetModule
from cmbml.methods.training.network import Network
from cmbml.settings import PositiveFloat, settings

LEVELS = 4
"""How often the published U-Net halves its images."""


@settings
class MaskedNetwork(Network):
    """A network whose answer is zero where its last input is."""

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network, `(batch, n_in, height, width)` to `(batch, n_out, height, width)`."""
        return Masked(self.inner(n_in - 1, n_out))

    @abstractmethod
    def inner(self, n_in: int, n_out: int) -> nn.Module:
        """Make what works on the maps alone."""


@final
class Masked(nn.Module):
    """Shows a network all inputs but the last, and multiplies its answer by that."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        """Apply the network, and the mask; a normalisation may have scaled it."""
        answer: Tensor = self.inner(images[:, :-1]) * (images[:, -1:] != 0)
        return answer


@final
@settings
class HydrogenUNet(MaskedNetwork):
    """The published U-Net: pairs of 3 x 3 convolutions without bias, batch normalisation, ReLU and Dropout2d.

    Four pairs on the way down, each before a maximum pooling, one at the bottom; on the way up 2 x 2 transposed
    convolutions that keep their channels, the pair's answer of the same size put before what comes up, and a pair. At a
    width of 64 the pairs have 64, 128, 256, 512, 512 and 256, 128, 64, 64 channels, which makes 14.82 million weights
    with 64 maps.

    Attributes:
        width: channels of the first pair.
        dropout: probability that a channel is left out, after each convolution.
    """

    width: PositiveInt = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3

    def inner(self, n_in: int, n_out: int) -> nn.Module:
        """Make the U-Net."""
        return UNet(self.width, self.dropout, n_in, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse what cannot be halved so often."""
        multiple = 2**LEVELS
        if len(shape) != 2 or any(side % multiple for side in shape):
            message = (
                f"this network works on cutouts whose sides are multiples of {multiple}, not on "
                f"{' x '.join(map(str, shape))}; set method.examples.cutouts.n_pixels"
            )
            raise MethodError(message)


@final
class UNet(UNetModule):
    """The network that a `HydrogenUNet` describes."""

    def __init__(self, width: int, dropout: float, n_in: int, n_out: int) -> None:
        super().__init__()
        down = [width * factor for factor in (1, 2, 4, 8, 8)]
        up = [width * factor for factor in (8, 4, 2, 1, 1)]
        self.down = nn.ModuleList(_pair(*sizes, dropout) for sizes in pairwise((n_in, *down)))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(n, n, 2, stride=2) for n in up[:-1])
        skips = down[-2::-1]
        self.up = nn.ModuleList(
            _pair(below + skip, n, dropout) for below, skip, n in zip(up[:-1], skips, up[1:], strict=True)
        )
        self.head = nn.Conv2d(up[-1], n_out, 1)


def _pair(n_in: int, n_out: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [
            nn.Conv2d(n, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Dropout2d(dropout),
        ]
    return nn.Sequential(*layers)


@final
@settings
class Emissivity(MaskedNetwork):
    """Dust as the sum over channels of brightness times a positive emissivity, which the line's own shape tells.

    The emissivities of a pixel's channels come from one network over velocity that all pixels share; the sum goes
    through one small spatial kernel. With emissivities that are the same everywhere this is the integrated intensity,
    and with those of channels alone a linear model of positive weights. A dense network is 20 to 40 times as fast on
    CPUs as convolutions over velocity, and has few weights all the same: 12,489 with 64 channels.

    Attributes:
        width: of the hidden layers.
        layers: how many there are, the last one included.
        kernel: side of the spatial kernel, pixels, an odd number.
        emissivity: what it starts from: dust per unit of brightness in a channel, in the units of target and features.
        knee: brightness, in the features' unit, beyond which the network is shown its logarithm.
    """

    width: PositiveInt = 64
    layers: Annotated[int, Field(ge=2)] = 3
    kernel: Annotated[int, Field(ge=1)] = 3
    emissivity: PositiveFloat = 0.36
    knee: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _has_a_centre(self) -> Self:
        if self.kernel % 2 == 0:
            message = f"kernel={self.kernel}: it has a centre if it is odd"
            raise ValueError(message)
        return self

    def inner(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network.

        Raises:
            MethodError: it is to answer more than one map.
        """
        if n_out != 1:
            message = f"emissivities give one map, not {n_out}"
            raise MethodError(message)
        return EmissivityModule(self, n_in)

    def require_shape(self, *shape: int) -> None:
        """Refuse what is no image."""
        if len(shape) != 2:
            message = f"this network works on cutouts, not on arrays of shape {shape}"
            raise MethodError(message)


@final
class EmissivityModule(nn.Module):
    """The network that an `Emissivity` describes."""

    def __init__(self, layout: Emissivity, n_in: int) -> None:
        super().__init__()
        self.layout = layout
        sizes = (n_in, *([layout.width] * (layout.layers - 1)), n_in)
        layers = [nn.Conv2d(*pair, 1) for pair in pairwise(sizes)]
        self.over_velocity = nn.ModuleList(layers)
        self.spatial = nn.Conv2d(1, 1, layout.kernel, padding=layout.kernel // 2, bias=False)
        # It starts as the integrated intensity.
        nn.init.zeros_(layers[-1].weight)
        if layers[-1].bias is not None:
            nn.init.zeros_(layers[-1].bias)
        nn.init.dirac_(self.spatial.weight)

    def emissivities(self, images: Tensor) -> Tensor:
        """Return the emissivity of each channel and pixel, above zero, `(batch, n_channel, height, width)`."""
        found = torch.asinh(images / self.layout.knee)
        for number, layer in enumerate(self.over_velocity):
            found = layer(found if number == 0 else nn.functional.gelu(found))
        # softplus(0) is ln 2.
        return self.layout.emissivity / math.log(2) * softplus(found)

    def forward(self, images: Tensor) -> Tensor:
        """Apply the network: `(batch, n_channel, height, width)` to `(batch, 1, height, width)`."""
        answer: Tensor = self.spatial((self.emissivities(images) * images).sum(dim=1, keepdim=True))
        return answer
