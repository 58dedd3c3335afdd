"""The network of CENN (Casas et al. 2022, A&A 666, A89, section 3.2 and figure 2)."""

from itertools import pairwise
from typing import Annotated, Self, final

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

from cmbml.methods.base import MethodError
from cmbml.methods.training.network import Network
from cmbml.settings import settings

SLOPE = 0.2
"""Of the leaky ReLU below zero; the paper does not say it, the authors' code of their next paper does."""
KernelSize = Annotated[int, Field(ge=2)]


@final
@settings
class Cenn(Network):
    """Convolutions of stride 2 down, transposed ones up, with leaky ReLUs, also at the end; nothing is normalised.

    What a convolution gives, before its activation, is put before what the decoder gives at the same size. Padding is
    Keras' `same`: of an odd number of rows that are needed, the larger half is put below and to the right.

    Attributes:
        widths: filters after each convolution; the decoder goes through them backwards.
        kernels: side of the kernels of each convolution; the decoder's are `decoder_kernels`.
        decoder_kernels: from the smallest size outwards.
    """

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (8, 16, 64, 128, 256, 512)
    kernels: tuple[KernelSize, ...] = (9, 9, 7, 7, 5, 3)
    decoder_kernels: tuple[KernelSize, ...] = (3, 5, 7, 7, 9, 9)

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        for name in ("kernels", "decoder_kernels"):
            if len(getattr(self, name)) != len(self.widths):
                message = f"{name} has {len(getattr(self, name))} entries, widths has {len(self.widths)}"
                raise ValueError(message)
        return self

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network, with the initial weights of Keras: uniform, of Glorot's variance, and no bias."""
        return CennModule(self, n_in, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse what is no plane, or cannot be halved so often."""
        multiple = 2 ** len(self.widths)
        if len(shape) == 2 and all(side % multiple == 0 for side in shape):
            return
        message = (
            f"CENN with {len(self.widths)} levels works on patches whose sides are multiples of {multiple}, not on "
            f"{' x '.join(map(str, shape))}; set method.examples.n_pixels={multiple}, {2 * multiple}, ..."
        )
        raise MethodError(message)


@final
class CennModule(nn.Module):
    """The network that a `Cenn` describes."""

    def __init__(self, layout: Cenn, n_in: int, n_out: int) -> None:
        super().__init__()
        self.layout = layout
        widths = (n_in, *layout.widths)
        self.encoder = nn.ModuleList(
            nn.Conv2d(*channels, kernel, stride=2)
            for channels, kernel in zip(pairwise(widths), layout.kernels, strict=True)
        )
        targets = (*layout.widths[-2::-1], n_out)
        sources = (layout.widths[-1], *(2 * width for width in targets[:-1]))
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(source, target, kernel, stride=2)
            for source, target, kernel in zip(sources, targets, layout.decoder_kernels, strict=True)
        )
        for layer in (*self.encoder, *self.decoder):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """Apply the network: `(batch, n_in, height, width)` to `(batch, n_out, height, width)`."""
        raw: list[Tensor] = []
        found = patches
        for layer, kernel in zip(self.encoder, self.layout.kernels, strict=True):
            before, after = _same(kernel)
            raw.append(layer(pad(found, (before, after, before, after))))
            found = leaky_relu(raw[-1], SLOPE)
        raw.pop()
        for layer, kernel in zip(self.decoder, self.layout.decoder_kernels, strict=True):
            before, _ = _same(kernel)
            height, width = (2 * side for side in found.shape[-2:])
            found = layer(found)[..., before : before + height, before : before + width]
            found = leaky_relu(found, SLOPE)
            if raw:
                found = torch.cat((raw.pop(), found), dim=1)
        return found


def _same(kernel: int) -> tuple[int, int]:
    """Return how many rows Keras' `same` puts before and after an even number of them, at stride 2."""
    return (kernel - 2) // 2, kernel - 2 - (kernel - 2) // 2
