"""Networks that foretell dust from velocity channels; they multiply their answer by their last input, the mask."""

from abc import abstractmethod
from itertools import pairwise
from typing import Annotated, final

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import softplus

from cmbml.methods.base import MethodError
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
class UNet(nn.Module):
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

    def forward(self, images: Tensor) -> Tensor:
        """Apply the network."""
        kept: list[Tensor] = []
        found = images
        for pair in self.down:
            kept.append(pair(nn.functional.max_pool2d(found, 2) if kept else found))
            found = kept[-1]
        kept.pop()
        for rise, pair in zip(self.rise, self.up, strict=True):
            found = pair(torch.cat((kept.pop(), rise(found)), dim=1))
        answer: Tensor = self.head(found)
        return answer


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

    The emissivity of a channel comes from a network over velocity that all pixels share, and from a number of each
    channel's own; the sum goes through one small spatial kernel. With an emissivity that is the same everywhere this is
    the integrated intensity, and with that of channels alone a linear model of positive weights. It has the same few
    thousand weights whatever the size of the cutouts.

    Attributes:
        width: channels of the network over velocity.
        reach: velocity channels that a kernel spans, an odd number.
        layers: convolutions over velocity, the last one included.
        kernel: side of the spatial kernel, pixels, an odd number.
        emissivity: what it starts from: dust per unit of brightness in a channel, in the units of target and features.
        knee: brightness, in the features' unit, beyond which the network is shown its logarithm.
    """

    width: PositiveInt = 16
    reach: Annotated[int, Field(ge=1)] = 7
    layers: Annotated[int, Field(ge=2)] = 3
    kernel: Annotated[int, Field(ge=1)] = 3
    emissivity: PositiveFloat = 0.36
    knee: PositiveFloat = 1.0

    def inner(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network.

        Raises:
            MethodError: it is to answer more than one map, or a kernel has no centre.
        """
        if n_out != 1:
            message = f"an emissivity gives one map, not {n_out}"
            raise MethodError(message)
        return EmissivityModule(self, n_in)

    def require_shape(self, *shape: int) -> None:
        """Refuse kernels without a centre, and what is no image."""
        for name, side in (("reach", self.reach), ("kernel", self.kernel)):
            if side % 2 == 0:
                message = f"method.network.{name}={side}: it has a centre if it is odd"
                raise MethodError(message)
        if len(shape) != 2:
            message = f"this network works on cutouts, not on arrays of shape {shape}"
            raise MethodError(message)


@final
class EmissivityModule(nn.Module):
    """The network that an `Emissivity` describes."""

    def __init__(self, layout: Emissivity, n_in: int) -> None:
        super().__init__()
        self.layout = layout
        sizes = (2, *([layout.width] * (layout.layers - 1)), 1)
        self.over_velocity = nn.ModuleList(
            nn.Conv2d(*pair, (layout.reach, 1), padding=(layout.reach // 2, 0)) for pair in pairwise(sizes)
        )
        self.of_channel = nn.Parameter(torch.zeros(n_in))
        self.spatial = nn.Conv2d(1, 1, layout.kernel, padding=layout.kernel // 2, bias=False)
        # It starts as the integrated intensity.
        nn.init.zeros_(self.over_velocity[-1].weight)
        nn.init.zeros_(self.over_velocity[-1].bias)
        nn.init.dirac_(self.spatial.weight)

    def emissivities(self, images: Tensor) -> Tensor:
        """Return the emissivity of each channel and pixel, above zero, `(batch, n_channel, height, width)`."""
        batch, n_channel, height, width = images.shape
        lines = torch.asinh(images / self.layout.knee).reshape(batch, 1, n_channel, height * width)
        place = torch.linspace(-1, 1, n_channel, device=images.device, dtype=images.dtype)
        found = torch.cat((lines, place[None, None, :, None].expand_as(lines)), dim=1)
        for number, layer in enumerate(self.over_velocity):
            found = layer(found if number == 0 else nn.functional.gelu(found))
        found = found[:, 0] + self.of_channel[None, :, None]
        # softplus(0) is ln 2.
        scale = self.layout.emissivity / float(softplus(torch.zeros(())))
        return (scale * softplus(found)).reshape(images.shape)

    def forward(self, images: Tensor) -> Tensor:
        """Apply the network: `(batch, n_channel, height, width)` to `(batch, 1, height, width)`."""
        answer: Tensor = self.spatial((self.emissivities(images) * images).sum(dim=1, keepdim=True))
        return answer
