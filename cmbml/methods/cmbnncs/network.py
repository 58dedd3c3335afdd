"""The U-Nets of cmbNNCS (Wang et al. 2022, ApJS 260, 13), of any number of levels."""

import math
from itertools import pairwise
from typing import Annotated, Any, Self, final

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import prelu

from cmbml.methods.base import MethodError
from cmbml.methods.training.folding import DoublingConv2d, HalvingConv2d
from cmbml.methods.training.network import Network
from cmbml.settings import settings

KernelSize = Annotated[int, Field(ge=2)]
SHIPPED_LEVELS = (5, 6, 7, 8)
"""The levels of the networks that have a config file, `network=unet5` to `network=unet8`."""


@final
@settings
class UNet(Network):
    """A U-Net that halves a plane once a level and doubles it as often.

    Every level is a convolution of stride 2 with bias, batch normalisation and a PReLU with one slope; there is no
    pooling. What an encoder level gives is put before what the decoder gives at the same size. The last level has no
    batch normalisation. Borders are padded with zeros.

    Attributes:
        widths: channels after each level of the encoder; the decoder goes through them backwards.
        encoder_kernels: side of the convolution kernels of the encoder's levels, from the plane inwards.
        decoder_kernels: side of the kernels of the decoder's levels, from the smallest size outwards.
    """

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    encoder_kernels: tuple[KernelSize, ...]
    decoder_kernels: tuple[KernelSize, ...]

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        for name in ("encoder_kernels", "decoder_kernels"):
            n_kernels = len(getattr(self, name))
            if n_kernels != self.n_levels:
                message = f"{name} has {n_kernels} entries, widths has {self.n_levels}; there must be one per level"
                raise ValueError(message)
        return self

    @property
    def n_levels(self) -> int:
        """Number of times that a plane is halved."""
        return len(self.widths)

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network, with PyTorch's initial weights.

        Args:
            n_in: channels of the input.
            n_out: channels of the output.

        Returns:
            A module, `(batch, n_in, height, width)` to `(batch, n_out, height, width)`.
        """
        return UNetModule(self, n_in, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse a plane that cannot be halved so often.

        Args:
            shape: height and width of the plane.

        Raises:
            MethodError: there are not two sides, or one is no multiple of 2^levels; the message names what fits.
        """
        if len(shape) != 2:
            message = f"a UNet works on planes, (height, width), not on arrays of shape {shape}"
            raise MethodError(message)
        multiple = 2**self.n_levels
        if all(side % multiple == 0 for side in shape):
            return
        message = (
            f"a UNet with {self.n_levels} levels halves a plane {self.n_levels} times: {shape[0]} x {shape[1]} cannot "
            f"be, both sides must be multiples of {multiple}; {_what_fits(*shape)}"
        )
        raise MethodError(message)


def _what_fits(height: int, width: int) -> str:
    """Say which networks fit a plane."""
    common = math.gcd(height, width)
    most = (common & -common).bit_length() - 1
    shipped = [levels for levels in SHIPPED_LEVELS if levels <= most]
    at_most = f"this plane can be halved {most} times"
    return f"{at_most}: take network=unet{shipped[-1]}" if shipped else f"{at_most}, so that no shipped network fits"


@final
class UNetModule(nn.Module):
    """The network that a `UNet` describes.

    Args:
        layout: widths and kernels.
        n_in: channels of the input.
        n_out: channels of the output.
    """

    def __init__(self, layout: UNet, n_in: int, n_out: int) -> None:
        super().__init__()
        widths = (n_in, *layout.widths)
        self.encoder = nn.ModuleList(
            _encoder_level(*channels, kernel, outermost=level == 0)
            for level, (channels, kernel) in enumerate(zip(pairwise(widths), layout.encoder_kernels, strict=True))
        )
        targets = (*layout.widths[-2::-1], n_out)
        sources = (layout.widths[-1], *(2 * width for width in targets[:-1]))
        last = layout.n_levels - 1
        self.decoder = nn.ModuleList(
            _decoder_level(source, target, kernel, outermost=level == last)
            for level, (source, target, kernel) in enumerate(zip(sources, targets, layout.decoder_kernels, strict=True))
        )

    def forward(self, planes: Tensor) -> Tensor:
        """Apply the network.

        Args:
            planes: `(batch, n_in, height, width)`.

        Returns:
            `(batch, n_out, height, width)`.
        """
        skipped = [planes]
        for level in self.encoder:
            skipped.append(level(skipped[-1]))
        found: Tensor = self.decoder[0](skipped.pop())
        for level in self.decoder[1:]:
            found = level(torch.cat((skipped.pop(), found), dim=1))
        return found


def _encoder_level(n_in: int, n_out: int, kernel: int, *, outermost: bool) -> nn.Sequential:
    """Return a level that halves."""
    return nn.Sequential(HalvingConv2d(n_in, n_out, kernel, foldable=outermost), nn.BatchNorm2d(n_out), OneSlope())


def _decoder_level(n_in: int, n_out: int, kernel: int, *, outermost: bool) -> nn.Sequential:
    """Return a level that doubles."""
    normalisation = () if outermost else (nn.BatchNorm2d(n_out),)
    return nn.Sequential(DoublingConv2d(n_in, n_out, kernel, foldable=outermost), *normalisation, OneSlope())


@final
class OneSlope(nn.PReLU):
    """A PReLU with one slope, which learns several times faster on CPUs than PyTorch's own."""

    def forward(self, values: Tensor) -> Tensor:
        """Multiply what is negative by the slope."""
        plain = values.is_cpu and values.dtype == self.weight.dtype and not torch.compiler.is_compiling()
        if not plain:
            return prelu(values, self.weight)
        found: Tensor = _OneSlope.apply(values, self.weight)  # type: ignore[no-untyped-call]
        return found


class _OneSlope(torch.autograd.Function):
    """PyTorch's backward pass of a PReLU writes the slope's gradient of every element; here they are summed at once."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, slope: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(values, slope)
        return prelu(values, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        values, slope = ctx.saved_tensors
        of_slope = values.clamp(max=0).mul_(gradient).sum().reshape(1)
        return torch.ops.aten.leaky_relu_backward(gradient, values, slope.item(), False), of_slope
