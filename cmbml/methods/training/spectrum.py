"""The power spectrum of flat patches as a layer of a network: differentiable, and with the multipoles of the sky.

The paper's own code labels the ring of k waves across its patches of 20 degrees with l = 9 k; it is l = 18 k.
"""

import math
from functools import lru_cache
from typing import final

import torch
from torch import Tensor, nn

from cmbml.sky.flat import ModeBins, hann, ring_edges


@final
class SpectrumLayer(nn.Module):
    """D_l = l (l + 1) C_l / 2 pi of images in rings of l, under a Hann window: what `flat_spectra` gives.

    Args:
        shape: height and width of the images.
        pixel_rad: sides of a pixel, rad: of rows and of columns.
        width: of the rings, in fundamentals of the patch.

    Attributes:
        l_edges: `(n_ring + 1,)`.
        l_mean: `(n_ring,)`.
    """

    window: Tensor
    ring: Tensor
    share: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, int], pixel_rad: tuple[float, float], width: float = 1.0) -> None:
        super().__init__()
        bins = ModeBins.of(shape, pixel_rad, ring_edges(shape, pixel_rad, width))
        window = hann(shape)
        self.l_edges, self.l_mean, self.shape = bins.l_edges, bins.l_mean, shape
        # One more ring, which is thrown away, takes the modes that are in none.
        ring = torch.full(bins.inside.shape, len(bins.l_mean), dtype=torch.int64)
        ring[torch.from_numpy(bins.inside)] = torch.from_numpy(bins.number)
        share = torch.zeros(bins.inside.shape, dtype=torch.float64)
        share[torch.from_numpy(bins.inside)] = torch.from_numpy(bins.twice / bins.count[bins.number])
        power = pixel_rad[0] * pixel_rad[1] / (window.size * (window**2).mean())
        scale = torch.from_numpy(power * bins.l_mean * (bins.l_mean + 1) / (2 * math.pi))
        kept = {"window": torch.from_numpy(window), "ring": ring.flatten(), "share": share.flatten(), "scale": scale}
        for name, values in kept.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return `(..., n_ring)` of images `(..., height, width)`, in the square of their unit."""
        window, share, scale = (of.to(images.dtype) for of in (self.window, self.share, self.scale))
        mean = (images * window).sum(dim=(-2, -1), keepdim=True) / window.sum()
        modes = torch.fft.rfft2((images - mean) * window)
        # Not abs(): its gradient has no value where a mode vanishes.
        power = (modes.real.square() + modes.imag.square()).flatten(-2) * share
        rings = power.new_zeros(*power.shape[:-1], len(scale) + 1).index_add(-1, self.ring, power)
        found: Tensor = rings[..., :-1] * scale
        return found


@lru_cache(maxsize=4)
def spectrum_layer(shape: tuple[int, int], pixel_rad: tuple[float, float], device: torch.device) -> SpectrumLayer:
    """Return the layer of rings one fundamental wide, made once for each kind of patch."""
    return SpectrumLayer(shape, pixel_rad).to(device)
