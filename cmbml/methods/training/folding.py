"""Layers of stride 2 at full resolution, computed at half of it: the same sums of the same weights, in another order.

A convolution of stride 2 is one of stride 1 on the four planes of every other row and column (space to depth), and a
transposed one gives four such planes, which are then put together (pixel shuffle; Shi et al. 2016, CVPR, 1874). Few
channels at full resolution become four times as many at half of it, which suits a GPU's matrix units better.
"""

from typing import final

from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, pixel_shuffle, pixel_unshuffle


@final
class HalvingConv2d(nn.Conv2d):
    """A convolution that halves a plane, `(..., n_in, 2 h, 2 w)` to `(..., n_out, h, w)`, for any kernel.

    Args:
        n_in: channels of the input.
        n_out: channels of the output.
        kernel: side of the kernel; an odd one is centred, an even one reaches further right and down.
        foldable: whether `fold` is for it.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, foldable: bool = False) -> None:
        super().__init__(n_in, n_out, kernel, stride=2, padding=(kernel - 1) // 2)
        self.foldable, self.folded = foldable, False

    def forward(self, planes: Tensor) -> Tensor:
        """Apply it; sides must be even."""
        if not self.folded:
            return super().forward(planes)
        weight, reach = _folded(self.weight)
        return conv2d(pixel_unshuffle(planes, 2), weight, self.bias, padding=reach)


@final
class DoublingConv2d(nn.ConvTranspose2d):
    """A transposed convolution that doubles a plane, `(..., n_in, h, w)` to `(..., n_out, 2 h, 2 w)`, for any kernel.

    Args:
        n_in: channels of the input.
        n_out: channels of the output.
        kernel: side of the kernel; an odd one needs a row and a column more on one side to double exactly.
        foldable: whether `fold` is for it.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, foldable: bool = False) -> None:
        padding = (kernel - 1) // 2
        super().__init__(n_in, n_out, kernel, stride=2, padding=padding, output_padding=kernel % 2)
        self.foldable, self.folded = foldable, False

    def forward(self, planes: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Apply it."""
        if not self.folded:
            return super().forward(planes, output_size)
        weight, reach = _folded(self.weight)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return pixel_shuffle(conv2d(planes, weight.transpose(0, 1).flip(2, 3), bias, padding=reach), 2)


def _folded(weight: Tensor) -> tuple[Tensor, int]:
    """Fold the kernel of a layer of stride 2, padded by `(kernel - 1) // 2`, into one of stride 1.

    Args:
        weight: `(i, j, kernel, kernel)`.

    Returns:
        `(i, 4 j, 2 reach + 1, 2 reach + 1)`, and its reach, by which planes are padded. With zeros beside it, the
        kernel begins at an even row and column.
    """
    kernel = weight.shape[-1]
    left = (kernel - 1) // 2
    right = kernel - 1 - left
    reach = max(-(-left // 2), right // 2)
    before, after = 2 * reach - left, 2 * reach + 1 - right
    return pixel_unshuffle(pad(weight, (before, after, before, after)), 2), reach


def fold(network: nn.Module) -> None:
    """Let a network's layers that are foldable be computed at half the resolution; its weights stay as they are."""
    for layer in network.modules():
        if isinstance(layer, HalvingConv2d | DoublingConv2d):
            layer.folded = layer.foldable
