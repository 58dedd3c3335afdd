"""The network of CosmoVAE (Yi et al. 2020, section IV-B and figure 2), and sizes that fewer cores can train."""

from functools import cache
from importlib.resources import files
from itertools import pairwise
from math import prod
from typing import Annotated, Literal, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, relu

from cmbml.methods.base import MethodError
from cmbml.methods.cosmovae.convolution import PartialConvolution, VanillaConvolution
from cmbml.methods.training.network import Network
from cmbml.settings import settings

SLOPE = 0.2
"""Of the decoder's leaky ReLU below zero, as in the network with partial convolutions that the paper starts from."""
LARGE = 50_000_000
"""Weights from which a training on a CPU is refused."""
NARROW = -6.0
"""Logarithm of the variance that a standardised latent begins with, in units of its prior's."""
LOG_RANGE = 15.0
"""How far the logarithm of a latent's variance may go either way, relative to its prior's: beyond, exp overflows."""


@cache
def theory_variances() -> NDArray[np.float64]:
    """Return D_l of the CMB for l = 2 ... 2508, uK^2: what the authors' code takes for the variances of its latents."""
    text = files("cmbml.methods.cosmovae").joinpath("theory_dl.txt").read_text()
    return np.array([float(line) for line in text.splitlines() if not line.startswith("#")])


@final
@settings
class CosmoVae(Network):
    """Encoder blocks, dense layers to latent values and back, decoder blocks with skip connections at every level.

    The latents have the prior N(0, C_l) of the paper. With `standardised` both sides count them in units of its width,
    so that a fresh network begins at the prior; without, as published, in uK.

    What the latents are found from decides what they can tell. As published (`seen`) it is what a network is shown, so
    that skip connections tell all of it, too, and the loss pays for telling it twice. With `truth`, training finds them
    from what the same encoder makes of the true patch, beside what it makes of what is shown, and answers draw them
    from the prior (a conditional variational autoencoder, Sohn et al. 2015): then they stand for what is not known.
    From holes alone they could not tell what their surroundings do not, and draws would not fit in. They begin narrow,
    for a decoder that is first given noise learns to ignore it.

    Attributes:
        shape: rows and columns of a patch.
        widths: channels of the encoder's blocks; the decoder goes through them backwards.
        kernels: sides of the encoder's kernels; the decoder's are 3.
        strides: of the encoder's blocks.
        dense: sizes of the dense layers before the latents; the decoder goes through them backwards.
        n_latent: latent values, which belong to l = 2, 3, ...
        convolution: `vanilla`, or `partial`: over known pixels alone.
        latents_from: `truth` or `seen`.
        standardised: whether latents are counted in units of their priors.
    """

    shape: tuple[PositiveInt, PositiveInt]
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)] = (64, 128, 256, 512, 512, 512)
    kernels: tuple[PositiveInt, ...] = (7, 5, 5, 3, 3, 3)
    strides: tuple[PositiveInt, ...] = (2, 2, 2, 2, 5, 1)
    dense: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (6400, 3200)
    n_latent: Annotated[int, Field(ge=1, le=2507)] = 2507
    convolution: Literal["vanilla", "partial"] = "vanilla"
    latents_from: Literal["truth", "seen"] = "truth"
    standardised: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("kernels", "strides"):
            if len(getattr(self, name)) != len(self.widths):
                message = f"{name} has {len(getattr(self, name))} entries, widths has {len(self.widths)}"
                raise ValueError(message)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            message = f"kernels={list(self.kernels)}: sides must be odd"
            raise ValueError(message)
        return self

    def sizes(self) -> list[tuple[int, int]]:
        """Return rows and columns of what is shown, and after each of the encoder's blocks."""
        found = [self.shape]
        for stride in self.strides:
            height, width = found[-1]
            found.append((-(-height // stride), -(-width // stride)))
        return found

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network.

        Raises:
            MethodError: it is shown something else than a map and what is known of it.
        """
        if n_in != 2:
            message = f"CosmoVAE is shown a map and what is known of it, not {n_in} channels"
            raise MethodError(message)
        return CosmoVaeModule(self, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse patches that are not those of the dense layers."""
        if shape != self.shape:
            message = (
                f"this CosmoVAE works on patches of {self.shape[0]} x {self.shape[1]} pixels, not on "
                f"{' x '.join(map(str, shape))}; set method.network.shape"
            )
            raise MethodError(message)

    def beyond_cpu(self) -> str:
        """Refuse the published size on a CPU, where a step takes half a minute."""
        with torch.device("meta"):
            count = sum(weights.numel() for weights in self.build(2, 1).parameters())
        if count < LARGE:
            return ""
        return (
            f"a CosmoVAE of {count / 1e6:.1f} million weights is not for a CPU; take method=cosmovae, which is smaller"
        )


@final
class CosmoVaeModule(nn.Module):
    """The network that a `CosmoVae` describes."""

    prior: Tensor
    batches: Tensor

    def __init__(self, layout: CosmoVae, n_out: int) -> None:
        super().__init__()
        self.layout, self.partial = layout, layout.convolution == "partial"
        kind = PartialConvolution if self.partial else VanillaConvolution
        widths, n_in = layout.widths, 1 if self.partial else 2
        self.encoder = nn.ModuleList(
            kind(*channels, kernel, stride)
            for channels, kernel, stride in zip(pairwise((n_in, *widths)), layout.kernels, layout.strides, strict=True)
        )
        # The first block sees the map itself, whose scale is to be kept.
        self.encoder_norms = nn.ModuleList([nn.Identity(), *(nn.BatchNorm2d(width) for width in widths[1:])])
        smallest = layout.sizes()[-1]
        self.deep = (widths[-1], *smallest)
        flat, sources = prod(self.deep), 2 if layout.latents_from == "truth" else 1
        self.inwards = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise((sources * flat, *layout.dense)))
        self.mean, self.spread = (nn.Linear(layout.dense[-1], layout.n_latent) for _ in range(2))
        self.outwards = nn.ModuleList(
            nn.Linear(*sizes) for sizes in pairwise((layout.n_latent, *layout.dense[::-1], flat))
        )
        targets, skips = widths[::-1], (*widths[-2::-1], n_in)
        self.decoder = nn.ModuleList(
            kind(source + skip, target, 3)
            for source, skip, target in zip((widths[-1], *targets[:-1]), skips, targets, strict=True)
        )
        self.decoder_norms = nn.ModuleList(nn.BatchNorm2d(width) for width in targets)
        self.head = nn.Conv2d(targets[-1], n_out, 3, padding=1)
        variances = np.ones(layout.n_latent) if layout.standardised else theory_variances()[: layout.n_latent]
        self.register_buffer("prior", torch.tensor(variances, dtype=torch.float32), persistent=False)
        self.judge: Judge | None = None
        # How many batches were learnt from, which the annealing of the loss goes by.
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        if layout.standardised:
            self._begin_loud()

    def _begin_loud(self) -> None:
        """Let latents begin with the scatter of their prior, known well, and be heard by the decoder."""
        for layer in (*self.inwards, *self.outwards, self.mean):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer is self.mean else "relu")
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.spread.bias, NARROW)

    def encode(self, values: Tensor, known: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return what is shown and what each block makes of it, with where that is known.

        Args:
            values: `(batch, 1, height, width)`, normalised.
            known: the same shape, 1 or 0.
        """
        values = values * known
        found = values if self.partial else torch.cat((values, known), dim=1)
        levels = [(found, known)]
        for convolution, norm in zip(self.encoder, self.encoder_norms, strict=True):
            found, known = convolution(*levels[-1])
            levels.append((relu(norm(found)) * known, known))
        return levels

    def latents(self, *deepest: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the latents, `(batch, n_latent)` each."""
        found = torch.cat([part.flatten(1) for part in deepest], dim=1)
        for layer in self.inwards:
            found = relu(layer(found))
        middle = self.prior.log()
        return self.mean(found), middle + (self.spread(found) - middle).clamp(-LOG_RANGE, LOG_RANGE)

    def decode(self, latents: Tensor, levels: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return patches, `(batch, n_out, height, width)`, from latents and what was shown."""
        found = latents
        for layer in self.outwards:
            found = relu(layer(found))
        found = found.reshape(len(found), *self.deep)
        known = found.new_ones((len(found), 1, *self.deep[1:]))
        for convolution, norm, (skip, there) in zip(self.decoder, self.decoder_norms, levels[-2::-1], strict=True):
            size = skip.shape[-2:]
            parts = [(interpolate(part, size=size, mode="nearest")) for part in (found, known)]
            share = found.shape[1] / (found.shape[1] + skip.shape[1])
            known = share * parts[1] + (1 - share) * there
            found, known = convolution(torch.cat((parts[0], skip), dim=1), known)
            found = leaky_relu(norm(found), SLOPE) * known
        answer: Tensor = self.head(found)
        return answer

    def forward(self, features: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Answer features, `(batch, 2, height, width)`, with one draw of the latents.

        Args:
            features: the map and what is known of it.
            target: the true patches, from which the latents are found, too, where the layout says so;
                the map stands in for them where there are none.

        Returns:
            Patches, and mean and logarithm of the variance of the latents.
        """
        values, known = parted(features)
        levels = self.encode(values, known)
        deepest = [levels[-1][0]]
        if self.layout.latents_from == "truth":
            deepest.append(self.encode(values if target is None else target, torch.ones_like(known))[-1][0])
        mean, log_variance = self.latents(*deepest)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decode(drawn, levels), mean, log_variance

    def draws(self, features: Tensor, noise: Tensor) -> list[Tensor]:
        """Answer features once for each row of `noise`, standard normal.

        Args:
            features: the map and what is known of it.
            noise: `(n_draw, n_latent)`, of all patches alike, or `(n_draw, batch, n_latent)`.
        """
        levels = self.encode(*parted(features))
        mean, width = torch.zeros_like(self.prior), self.prior.sqrt()
        if self.layout.latents_from == "seen":
            mean, log_variance = self.latents(levels[-1][0])
            width = (0.5 * log_variance).exp()
        return [self.decode((mean + row * width).expand(len(features), -1), levels) for row in noise]


@final
class Judge(nn.Module):
    """Tells true patches from those whose holes were filled, as a logit each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (2, width, 2 * width, 4 * width, 4 * width)
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 5, stride=2, padding=2) for pair in pairwise(widths))
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, patches: Tensor, known: Tensor) -> Tensor:
        """Judge whole patches, `(batch, 1, height, width)`, beside what of them was known; returns `(batch,)`."""
        found = torch.cat((patches, known), dim=1)
        for convolution in self.convolutions:
            found = leaky_relu(convolution(found), SLOPE)
        logits: Tensor = self.head(found.mean(dim=(2, 3)))[:, 0]
        return logits


def parted(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the map, and 1 where it is known; the latter may have been scaled."""
    return features[:, :1], (features[:, 1:] > 0).to(features.dtype)
