"""Convolutions that look at known pixels alone (Liu et al. 2018, arXiv:1804.07723, eqs. 1 and 2)."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


@final
class PartialConvolution(nn.Module):
    """A convolution whose sum over known pixels is scaled up by how few of them there are; borders are unknown.

    Where a kernel sees no known pixel it gives zero, and what it gives is unknown.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.kernel, self.stride = kernel, stride

    def forward(self, values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve.

        Args:
            values: `(batch, n_in, height, width)`, zero where unknown.
            known: `(batch, 1, height, width)`: part of the channels that is known in each pixel.

        Returns:
            What comes out, and 1 where it is known, 0 elsewhere.
        """
        window = torch.ones(1, 1, self.kernel, self.kernel, dtype=known.dtype, device=known.device)
        seen = conv2d(known, window, stride=self.stride, padding=self.kernel // 2)
        there = (seen > 0).to(values.dtype)
        factor = self.kernel**2 / seen.clamp(min=1e-6)
        found = (self.convolution(values) * factor + self.bias[:, None, None]) * there
        return found, there


@final
class VanillaConvolution(nn.Module):
    """A plain convolution, behind the same call: all that it gives is known."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2)

    def forward(self, values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve `(batch, n_in, height, width)`."""
        found = self.convolution(values)
        return found, known.new_ones((len(found), 1, *found.shape[-2:]))
