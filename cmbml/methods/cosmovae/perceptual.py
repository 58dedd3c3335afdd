"""Features of images that a perceptual loss compares (Johnson et al. 2016): those of VGG-16 after pools 1, 2 and 3."""

from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import final

import torch
from pydantic import NonNegativeInt, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.settings import PositiveFloat, settings

CONVOLUTIONS = (2, 2, 3)
"""How many there are before each pool; in each part they have twice the channels of the last."""
NAMES = (0, 2, 5, 7, 10, 12, 14)
"""Places of these convolutions among torchvision's `features`."""


@final
@settings
class Perceptual:
    """A VGG-16 up to its third pool, with weights from a file, or random ones that are always the same.

    Random features compare textures, too (Ustyuzhaninov et al. 2017), and the CMB is no photograph.

    Attributes:
        file: safetensors with torchvision's names, such as `features.0.weight`; None for random weights.
        width: channels of the first convolutions; 64 in VGG-16.
        seed: of random weights.
        unit: how many of the target's normalised values are one of the images, which have about -2 to 2.
    """

    file: Path | None = None
    width: PositiveInt = 64
    seed: NonNegativeInt = 0
    unit: PositiveFloat = 1.0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every weight."""
        found: dict[str, tuple[int, ...]] = {}
        n_in, names = 3, iter(NAMES)
        for level, count in enumerate(CONVOLUTIONS):
            n_out = self.width * 2**level
            for _ in range(count):
                name = f"features.{next(names)}"
                found |= {f"{name}.weight": (n_out, n_in, 3, 3), f"{name}.bias": (n_out,)}
                n_in = n_out
        return found

    def weights(self) -> dict[str, Tensor]:
        """Read or draw the weights.

        Raises:
            MethodError: the file is none, or of another network.
        """
        if self.file is None:
            generator = torch.Generator().manual_seed(self.seed)
            # Of He et al. (2015): what goes in and what comes out are of one size.
            return {
                name: torch.randn(shape, generator=generator) * sqrt(2 / (shape[1] * 9))
                if len(shape) > 1
                else torch.zeros(shape)
                for name, shape in self.shapes().items()
            }
        try:
            found = load_file(self.file)
        except (OSError, SafetensorError) as error:
            message = f"{self.file} is no whole file of tensors ({error})"
            raise MethodError(message) from error
        wrong = [
            f"{name} is {tuple(found[name].shape) if name in found else 'not there'}, not {shape}"
            for name, shape in self.shapes().items()
            if name not in found or tuple(found[name].shape) != shape
        ]
        if wrong:
            more = f"; and {len(wrong) - 2} more" if len(wrong) > 2 else ""
            message = (
                f"{self.file} is no VGG-16 of width {self.width}, as torchvision names its weights: "
                f"{'; '.join(wrong[:2])}{more}; take one that is, or random features (file=null)"
            )
            raise MethodError(message)
        return {name: found[name].float() for name in self.shapes()}

    def check(self) -> None:
        """Look whether the weights fit.

        Raises:
            MethodError: they do not.
        """
        if self.file is not None and self.file.is_file():
            self.weights()


@final
class Vgg(nn.Module):
    """The features of images after each pool."""

    def __init__(self, chosen: Perceptual) -> None:
        super().__init__()
        weights = list(chosen.weights().items())
        layers = iter(zip(weights[::2], weights[1::2], strict=True))
        self.unit = chosen.unit
        self.pools = nn.ModuleList()
        for count in CONVOLUTIONS:
            steps: list[nn.Module] = []
            for _ in range(count):
                (_, weight), (_, bias) = next(layers)
                # Without weights of its own, which would be drawn from the generator that trains.
                layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, device="meta")
                layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
                steps += [layer, nn.ReLU()]
            self.pools.append(nn.Sequential(*steps, nn.MaxPool2d(2)))
        self.requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of grey images, `(batch, 1, height, width)`."""
        found, features = (images / self.unit).expand(-1, 3, -1, -1), []
        for pool in self.pools:
            found = pool(found)
            features.append(found)
        return features


@lru_cache(2)
def vgg(chosen: Perceptual, device: torch.device) -> Vgg:
    """Make the network that a `Perceptual` describes, once; it is no part of what is trained, nor of its file."""
    return Vgg(chosen).to(device).eval()


def perceptual_loss(network: Vgg, reply: Tensor, target: Tensor) -> Tensor:
    """Return the sum over pools of the mean absolute difference of features (the paper's L_perceptual)."""
    with torch.no_grad():
        wanted = network(target)
    parts = [(mine - its).abs().mean() for mine, its in zip(network(reply), wanted, strict=True)]
    return torch.stack(parts).sum()
