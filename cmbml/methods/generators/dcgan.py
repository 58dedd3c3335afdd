"""A generator of patches that is trained against discriminators of maps and of power spectra.

Aylor et al., arXiv:1909.06467, section 2 and table 1: bilinear upsampling and convolutions of 5 x 5 pixels, LeakyReLU
before batch normalisation, and a second discriminator that is shown C_l / mean C_l - 1. The paper does not say how wide
that one's kernels are: 5 gives it 210.6 k weights, 2 gives 87.7 k.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, final

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.training.network import Network
from cmbml.methods.training.objective import Objective
from cmbml.settings import settings
from cmbml.sky.flat import binning, ring_edges
from cmbml.sky.frechet import frechet_distance, log_spectra

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised

SLOPE = 0.2
"""Of LeakyReLU below zero."""
MOMENTUM = 0.1
"""Of batch normalisation, as PyTorch counts it: Keras calls it 0.9."""
LEVELS = 4


@final
@settings
class Dcgan(Network):
    """A generator and its discriminators.

    Attributes:
        pixels: side of a patch: a multiple of 16.
        features: feature maps of the outermost convolutions; they double inwards, three times. As published: 64.
        latent: numbers that a patch is drawn from.
        kernel: side of the convolutions.
        power_features: of the first convolution of the power discriminator; they double twice.
        power_kernel: of its convolutions.
        discriminators: `map`, `power`, or both.
    """

    pixels: PositiveInt
    features: PositiveInt = 64
    latent: PositiveInt = 64
    kernel: PositiveInt = 5
    power_features: PositiveInt = 64
    power_kernel: Annotated[int, Field(ge=2)] = 5
    discriminators: Annotated[tuple[Literal["map", "power"], ...], Field(min_length=1)] = ("map", "power")

    @field_validator("pixels")
    @classmethod
    def _halves(cls, pixels: int) -> int:
        if pixels % 2**LEVELS:
            message = f"patches are built up by doubling {LEVELS} times: {pixels} pixels are no multiple of {2**LEVELS}"
            raise ValueError(message)
        return pixels

    def build(self, n_in: int, n_out: int) -> nn.Module:  # noqa: ARG002
        """Make all of it, with PyTorch's initial weights."""
        return DcganModule(self)

    def require_shape(self, *shape: int) -> None:
        """Refuse what is not as many numbers as a patch is drawn from."""
        if shape != (self.latent,):
            message = (
                f"this generator draws from {self.latent} numbers, not from {' x '.join(map(str, shape))}; set "
                "method.examples.latent and method.network.latent alike"
            )
            raise MethodError(message)


def _normalised(layer: nn.Module, n_out: int, norm: type[nn.Module]) -> list[nn.Module]:
    """Follow a layer by its activation and, after that as published, its normalisation."""
    return [layer, nn.LeakyReLU(SLOPE), norm(n_out, momentum=MOMENTUM)]


class Generator(nn.Sequential):
    """Numbers, `(batch, latent)`, to images in [-1, 1], `(batch, 1, pixels, pixels)`: table 1."""

    def __init__(self, spec: Dcgan) -> None:
        widths = [spec.features * 2**level for level in range(LEVELS - 1, -1, -1)]
        side = spec.pixels // 2**LEVELS
        linear = nn.Sequential(nn.Linear(spec.latent, widths[0] * side**2), nn.Unflatten(1, (widths[0], side, side)))
        layers = _normalised(linear, widths[0], nn.BatchNorm2d)
        for n_in, n_out in pairwise([*widths, 1]):
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            convolution = nn.Conv2d(n_in, n_out, spec.kernel, padding="same")
            layers += [convolution, nn.Tanh()] if n_out == 1 else _normalised(convolution, n_out, nn.BatchNorm2d)
        super().__init__(*layers)


class MapDiscriminator(nn.Sequential):
    """Images to the logit of their being real, `(batch, 1)`."""

    def __init__(self, spec: Dcgan) -> None:
        widths = [1, *(spec.features * 2**level for level in range(LEVELS))]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            convolution = nn.Conv2d(n_in, n_out, spec.kernel, stride=2, padding=spec.kernel // 2)
            layers += _normalised(convolution, n_out, nn.BatchNorm2d)
        side = spec.pixels // 2**LEVELS
        super().__init__(*layers, nn.Flatten(), nn.Linear(widths[-1] * side**2, 1))


class PowerDiscriminator(nn.Module):
    """The fractional difference of an image's power spectrum from the mean one, to the logit of its being real."""

    mean_power: Tensor
    weights: Tensor

    def __init__(self, spec: Dcgan) -> None:
        super().__init__()
        shape, pixel = (spec.pixels,) * 2, (1 / spec.pixels,) * 2
        weights = binning(shape, pixel, ring_edges(shape, pixel))
        n_bin = len(weights)
        self.register_buffer("weights", torch.from_numpy(weights.reshape(n_bin, -1)).float(), persistent=False)
        self.register_buffer("mean_power", torch.ones(n_bin))
        widths = [1, *(spec.power_features * 2**level for level in range(3))]
        layers: list[nn.Module] = []
        length = n_bin
        for n_in, n_out in pairwise(widths):
            convolution = nn.Conv1d(n_in, n_out, spec.power_kernel, stride=2, padding=spec.power_kernel // 2)
            layers += _normalised(convolution, n_out, nn.BatchNorm1d)
            length = (length + 2 * (spec.power_kernel // 2) - spec.power_kernel) // 2 + 1
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * length, 1))

    def power(self, images: Tensor) -> Tensor:
        """Return C_l of images on rings, without a window, in any unit, `(batch, n_bin)`."""
        with torch.autocast(images.device.type, enabled=False):
            modes = torch.fft.rfft2(images[:, 0].float())
            power = modes.real.square() + modes.imag.square()
            found: Tensor = power.flatten(1) @ self.weights.T
            return found

    def forward(self, images: Tensor) -> Tensor:
        """Judge images, `(batch, 1, pixels, pixels)`."""
        shown = self.power(images) / self.mean_power - 1
        found: Tensor = self.layers(shown[:, None])
        return found


@final
class DcganModule(nn.Module):
    """What a `Dcgan` describes."""

    def __init__(self, spec: Dcgan) -> None:
        super().__init__()
        self.pixels, self.latent = spec.pixels, spec.latent
        self.generator = Generator(spec)
        kinds = {"map": MapDiscriminator, "power": PowerDiscriminator}
        self.discriminators = nn.ModuleDict({name: kinds[name](spec) for name in dict.fromkeys(spec.discriminators)})

    def forward(self, latents: Tensor) -> Tensor:
        """Draw images, `(batch, 1, pixels, pixels)`, from `(batch, 1, latent)`."""
        images: Tensor = self.generator(latents[:, 0])
        return images


def gan_of(network: nn.Module) -> DcganModule:
    """Return a network that is a generator with discriminators.

    Raises:
        MethodError: it is none.
    """
    if not isinstance(network, DcganModule):
        message = "method.objective=Adversarial trains a Dcgan; set method.network"
        raise MethodError(message)
    return network


@final
@settings
class Adversarial(Objective):
    """Alternate: discriminators learn from real images, then from drawn ones; the generator learns to deceive them.

    The losses of the discriminators, binary cross entropies, are added up. The state that is kept has the least Frechet
    distance between the log10 spectra of drawn and of real patches, in the unit of the map.

    Attributes:
        flips: part of the labels that discriminators are told wrong, so that they do not overpower the generator.
        turn: whether real images are turned by random right angles.
        draws: how many patches the Frechet distance is taken over.
    """

    flips: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    turn: bool = True
    draws: Annotated[int, Field(ge=2)] = 1034
    population: ClassVar[bool] = True
    one_device: ClassVar[bool] = True

    def players(self, network: nn.Module) -> list[list[nn.Parameter]]:
        """Return the weights of the discriminators, and those of the generator."""
        gan = gan_of(network)
        return [list(gan.discriminators.parameters()), list(gan.generator.parameters())]

    def turns(self, n_players: int) -> Sequence[int]:  # noqa: ARG002
        """Let the discriminators take two steps: real and drawn images are shown apart."""
        return 0, 0, 1

    def prepare(self, network: nn.Module, targets: Iterable[Tensor]) -> None:
        """Tell the power discriminator what the mean spectrum of the real patches is."""
        gan = gan_of(network)
        judges = [judge for judge in gan.discriminators.values() if isinstance(judge, PowerDiscriminator)]
        for judge in judges:
            total, number = torch.zeros_like(judge.mean_power), 0
            for target in targets:
                if target.shape[-1] != gan.pixels:
                    raise MethodError(_other_size(gan, target))
                total += judge.power(target[None])[0]
                number += 1
            judge.mean_power.copy_(total / number)

    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Give the discriminators' loss on real images, that on drawn ones, and the generator's."""
        network, number = gan_of(model.network), len(features)
        if target.shape[-1] != network.pixels:
            raise MethodError(_other_size(network, target))
        real = turned(target) if self.turn else target
        with torch.no_grad():
            drawn = network(torch.randn_like(features))
        for images, label in ((real, 1.0), (drawn, 0.0)):
            wrong = (torch.rand(number, 1, device=images.device) < self.flips).float()
            yield self._judged(network, images, (label - wrong).abs())
        deceiving = network(torch.randn_like(features))
        yield self._judged(network, deceiving, torch.ones(number, 1, device=deceiving.device))

    def _judged(self, network: DcganModule, images: Tensor, labels: Tensor) -> Tensor:
        losses = [
            nn.functional.binary_cross_entropy_with_logits(judge(images).float(), labels)
            for judge in network.discriminators.values()
        ]
        return torch.stack(losses).sum()

    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare the log10 spectra of draws, always the same ones, with those of all real patches."""
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(self.draws, *features.shape[1:], generator=generator).to(features.device)
        drawn = [model.bring_out(model.network(part), part) for part in torch.split(latents, 64)]
        distance = spectral_distance(torch.cat(drawn), model.bring_out(target, features))
        return {"loss": torch.tensor(distance, device=target.device)}

    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, None]:
        """Draw."""
        return model.bring_out(model.network(model.bring_in(features)), features), None


def turned(images: Tensor) -> Tensor:
    """Turn each image, `(batch, 1, n, n)`, by a random number of right angles."""
    number = torch.randint(4, (len(images), 1, 1, 1), device=images.device)
    out = images
    for quarter in range(1, 4):
        out = torch.where(number == quarter, torch.rot90(images, quarter, (2, 3)), out)
    return out


def spectral_distance(drawn: Tensor, real: Tensor) -> float:
    """Return the Frechet distance of the log10 spectra of patches, of which the decimal logarithms are given."""
    found = [10.0 ** images[:, 0].detach().double().cpu().numpy() for images in (drawn, real)]
    return frechet_distance(*(log_spectra(images, 1.0)[1] for images in found))


def _other_size(network: DcganModule, target: Tensor) -> str:
    return (
        f"method.network.pixels={network.pixels}: the patches have {target.shape[-1]} pixels a side; "
        f"take method.network.pixels={target.shape[-1]}"
    )
