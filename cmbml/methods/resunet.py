"""The ResUNet with dropout that cleans dust from patches (paper 001 of the dust generators, section 3.1.2 and table 2).

The paper leaves open at which sizes its eight blocks stand, and what the decoder's widths are. Resolved here: the first
block keeps the size, every other one halves it; the seven blocks of the decoder have the width of the encoder at the
same size. That gives the 8.60 million weights of the authors' network.
"""

from itertools import pairwise
from typing import Annotated, Self, final

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.training.network import Network
from cmbml.settings import settings

Rate = Annotated[float, Field(ge=0, lt=1)]


@final
@settings
class ResUNet(Network):
    """Residual blocks of two convolutions, each followed by dropout; down by strides, up bilinearly, with skips.

    What a block of the encoder gives stands beside what comes up at the same size. All kernels are 3 x 3 but that of
    the last layer, which sees single pixels.

    Attributes:
        widths: features of each block of the encoder; the first keeps the size, every other one halves it.
        dropout: rates of dropout in each of these blocks; the decoder's blocks have those of the same size. It stands
            after every convolution but that of the residual connection.
    """

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)] = (32, 32, 64, 64, 128, 128, 256, 256)
    dropout: tuple[Rate, ...] = (0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3)

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.dropout) != len(self.widths):
            message = f"dropout has {len(self.dropout)} entries, widths has {len(self.widths)}: one for each block"
            raise ValueError(message)
        return self

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network, with PyTorch's initial weights."""
        return ResUNetModule(self, n_in, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse what is no plane, or cannot be halved so often."""
        multiple = 2 ** (len(self.widths) - 1)
        if len(shape) == 2 and all(side % multiple == 0 for side in shape):
            return
        message = (
            f"a ResUNet of {len(self.widths)} blocks works on patches whose sides are multiples of {multiple}, not on "
            f"{' x '.join(map(str, shape))}; set method.examples.n_pixels, or take fewer method.network.widths and "
            "as many method.network.dropout"
        )
        raise MethodError(message)


@final
class Block(nn.Module):
    """Table 2: normalisation, ReLU, convolution and dropout, twice; beside it a convolution of what came in.

    Args:
        n_in: features that come in.
        n_out: features that go out.
        rate: of dropout.
        stride: of the first convolution, and of the residual one.
        bare: whether normalisation and ReLU are left out at the start, where the data come in as they are.
        residual: whether there is a residual connection.
    """

    def __init__(self, n_in: int, n_out: int, rate: float, stride: int, bare: bool, residual: bool) -> None:
        super().__init__()
        first = () if bare else (nn.BatchNorm2d(n_in), nn.ReLU())
        self.main = nn.Sequential(
            *first,
            nn.Conv2d(n_in, n_out, 3, stride, padding=1),
            nn.Dropout(rate),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1),
            nn.Dropout(rate),
        )
        self.residual = nn.Conv2d(n_in, n_out, 3, stride, padding=1) if residual else None

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block: `(batch, n_in, height, width)` to `(batch, n_out, height / stride, width / stride)`."""
        found: Tensor = self.main(features)
        return found if self.residual is None else found + self.residual(features)


@final
class ResUNetModule(nn.Module):
    """The network that a `ResUNet` describes."""

    def __init__(self, layout: ResUNet, n_in: int, n_out: int) -> None:
        super().__init__()
        last = len(layout.widths) - 1
        sizes = pairwise((n_in, *layout.widths))
        self.encoder = nn.ModuleList(
            Block(*size, rate, stride=2 if number else 1, bare=not number, residual=number < last)
            for number, (size, rate) in enumerate(zip(sizes, layout.dropout, strict=True))
        )
        upwards = layout.widths[::-1]
        self.decoder = nn.ModuleList(
            # What comes up, and what the encoder gave at this size.
            Block(below + width, width, rate, stride=1, bare=False, residual=True)
            for (below, width), rate in zip(pairwise(upwards), layout.dropout[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(layout.widths[0], n_out, 1)

    def forward(self, patches: Tensor) -> Tensor:
        """Apply the network: `(batch, n_in, height, width)` to `(batch, n_out, height, width)`."""
        kept: list[Tensor] = []
        found = patches
        for block in self.encoder:
            found = block(found)
            kept.append(found)
        kept.pop()
        for block in self.decoder:
            found = nn.functional.interpolate(found, scale_factor=2, mode="bilinear", align_corners=False)
            found = block(torch.cat((found, kept.pop()), dim=1))
        answer: Tensor = self.head(found)
        return answer
