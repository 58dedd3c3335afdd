"""What CosmoVAE is trained for (Yi et al. 2020, section III-C), and how its answers are drawn."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, final

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d

from cmbml.methods.base import MethodError
from cmbml.methods.cosmovae.network import CosmoVae, CosmoVaeModule, Judge, parted
from cmbml.methods.cosmovae.perceptual import Perceptual, perceptual_loss, vgg
from cmbml.methods.training.network import Network
from cmbml.methods.training.objective import Objective
from cmbml.settings import NonNegativeFloat, later, settings

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised

JUDGE_WIDTH = 16
"""Channels of the discriminator's first convolution; it has 167,441 weights."""
LEAST_SIGMA = 1e-4
"""In normalised units: where all draws agree, a standard deviation would be zero, and no error has that."""


def reconstruction(reply: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of absolute errors where the map is known, and in holes, over the number of all pixels."""
    error = (reply - target).abs()
    return (known * error).mean(), ((1 - known) * error).mean()


def kl_divergence(mean: Tensor, log_variance: Tensor, prior: Tensor) -> Tensor:
    """Return the divergence of N(mean, variance) from N(0, prior), summed over latents, the mean over a batch.

    Args:
        mean: `(batch, n_latent)`.
        log_variance: the same shape.
        prior: `(n_latent,)`, variances.
    """
    terms = prior.log() - log_variance - 1 + (log_variance.exp() + mean.square()) / prior
    return 0.5 * terms.sum(dim=1).mean()


def total_variation(reply: Tensor, known: Tensor) -> Tensor:
    """Return the sum of differences of neighbours in holes and one pixel around them, over the pixels in holes.

    Both pixels of a pair must lie there (the paper's P).
    """
    near = max_pool2d(1 - known, 3, stride=1, padding=1)
    steps = [
        (reply.diff(dim=axis).abs() * near.narrow(axis, 1, n - 1) * near.narrow(axis, 0, n - 1)).sum()
        for axis, n in ((-1, reply.shape[-1]), (-2, reply.shape[-2]))
    ]
    return torch.stack(steps).sum() / (1 - known).sum().clamp(min=1)


def crps_of_draws(draws: Tensor, target: Tensor) -> Tensor:
    """Return the continuous ranked probability score of every pixel, without bias by how few draws there are.

    Args:
        draws: `(n_draw, ...)`, two at least.
        target: `(...)`.
    """
    n = len(draws)
    far = (draws - target).abs().mean(dim=0)
    rank = torch.arange(1, n + 1, device=draws.device, dtype=draws.dtype).mul(2).sub(n + 1)
    # Half the mean difference of two draws, from their order.
    apart = (draws.sort(dim=0).values * rank.reshape(-1, *(1 for _ in target.shape))).sum(dim=0) / (n * (n - 1))
    return far - apart


@final
@settings
class Variational(Objective):
    """The four terms of the paper, weighted as in the authors' code, annealing of the divergence, and draws.

    What a variational autoencoder is trained on are latents that know the truth, and what it answers are latents from
    the prior: between them it can lose what latents are for, and here it does. So two draws from the prior are scored
    in training as they are in a validation (the hybrid objective of Sohn et al. 2015, section 4.2, with a proper score
    for its likelihood).

    It is validated by what its answers are worth: the CRPS in holes of a few draws of the latents, which falls to the
    mean absolute error where they say nothing. An answer is the mean of draws, and their scatter is its sigma.

    Attributes:
        valid: weight of the mean absolute error where the map is known.
        hole: and in holes.
        perceptual: weight of the differences of features; 0: none.
        variation: weight of the total variation in holes; 0: none.
        sampled: weight of the CRPS in holes of two draws as an answer has them; 0: none, as published.
        kept: part of the draws that answer, for each patch those that a discriminator takes for the most real, which is
            trained beside the network (the paper's section IV-D); 1: all of them, and there is none.
        kl: weight of the divergence of latents from their prior, at the end of the annealing.
        kl_over: what the divergence of a patch, a sum over latents, is divided by: `pixels`, as its absolute errors
            are, which makes both terms of one likelihood; `one`, as published.
        anneal: batches over which the weight of the divergence rises from 0.
        features: what the perceptual term compares.
        draws: of the latents, for an answer.
        valid_draws: of the latents, in a validation.
        seed: of these draws, which are the same for all patches.
    """

    valid: NonNegativeFloat = 1.0
    hole: NonNegativeFloat = 6.0
    perceptual: NonNegativeFloat = 0.05
    variation: NonNegativeFloat = 0.1
    sampled: NonNegativeFloat = later(0.0)
    kept: Annotated[float, Field(gt=0, le=1)] = later(1.0)
    kl: NonNegativeFloat = 1.0
    kl_over: Literal["pixels", "one"] = "pixels"
    anneal: NonNegativeInt = 0
    features: Perceptual = Perceptual()
    draws: PositiveInt = 100
    valid_draws: PositiveInt = 8
    seed: NonNegativeInt = 0

    def files(self) -> tuple[Path, ...]:
        """Return the file of the features, where it is needed."""
        return (self.features.file,) if self.perceptual and self.features.file else ()

    def check(self, network: Network) -> None:
        """Look whether the network has latents, and whether the file of features fits."""
        if not isinstance(network, CosmoVae):
            message = f"{type(network).__name__} has no latents that could be drawn; take method.network of CosmoVae"
            raise MethodError(message)
        if min(self._count(self.draws), self._count(self.valid_draws)) < 2:
            message = "method.objective.draws and valid_draws, times kept: two draws are the least that have a scatter"
            raise MethodError(message)
        if self.perceptual:
            self.features.check()

    def build(self, network: Network, n_in: int, n_out: int) -> nn.Module:
        """Make the network, and what chooses among its draws."""
        built = network.build(n_in, n_out)
        if self.kept < 1 and isinstance(built, CosmoVaeModule):
            built.judge = Judge(JUDGE_WIDTH)
        return built

    def players(self, network: nn.Module) -> list[list[nn.Parameter]]:
        """Return the weights of the network, and those of what chooses."""
        judge = _module(network).judge
        own = list(judge.parameters()) if judge is not None else []
        others = {id(weights) for weights in own}
        return [[w for w in network.parameters() if id(w) not in others], *([own] if own else [])]

    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Add the terms up; then let the discriminator learn what is true and what was drawn."""
        network = _module(model.network)
        reply, mean, log_variance = cast("CosmoVaeModule", model.run)(features, target)
        known = parted(features)[1]
        valid, hole = reconstruction(reply.float(), target, known)
        loss = self.valid * valid + self.hole * hole
        if self.perceptual:
            loss = loss + self.perceptual * perceptual_loss(vgg(self.features, target.device), reply, target)
        if self.variation:
            loss = loss + self.variation * total_variation(reply.float(), known)
        if self.sampled:
            noise = torch.randn((2, len(features), len(network.prior)), device=features.device)
            drawn = torch.stack([found.float() for found in network.draws(features, noise)])
            loss = loss + self.sampled * ((1 - known) * crps_of_draws(drawn, target)).mean()
        done = float(network.batches)
        share = min(1.0, done / self.anneal) if self.anneal else 1.0
        over = target[0].numel() if self.kl_over == "pixels" else 1
        divergence = kl_divergence(mean.float(), log_variance.float(), network.prior)
        network.batches += 1
        yield loss + self.kl * share / over * divergence
        if network.judge is not None:
            with torch.no_grad():
                noise = torch.randn((1, len(features), len(network.prior)), device=features.device)
                false = network.draws(features, noise)[0].float()
            sides = [
                binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
                for logits, label in (
                    (network.judge(target, known).float(), 1.0),
                    (network.judge(torch.where(known > 0, target, false), known).float(), 0.0),
                )
            ]
            yield torch.stack(sides).sum()

    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Score a few draws in holes."""
        drawn = self._drawn(model, features, self.valid_draws)
        holes = 1 - parted(features)[1]
        score = (holes * crps_of_draws(drawn, target)).sum() / holes.sum().clamp(min=1)
        return {"loss": score, "reply": drawn.mean(dim=0)}

    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scatter of draws."""
        drawn = self._drawn(model, model.bring_in(features), self.draws)
        sigma = drawn.std(dim=0).clamp(min=LEAST_SIGMA)
        zero = model.bring_out(torch.zeros_like(sigma), features)
        return model.bring_out(drawn.mean(dim=0), features), model.bring_out(sigma, features) - zero

    def _drawn(self, model: "Normalised", features: Tensor, number: int) -> Tensor:
        network = _module(model.network)
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn((number, len(network.prior)), generator=generator)
        drawn = torch.stack([found.float() for found in network.draws(features, noise.to(features.device))])
        if network.judge is None:
            return drawn
        values, known = parted(features)
        logits = torch.stack([network.judge(torch.where(known > 0, values, one), known).float() for one in drawn])
        best = logits.topk(self._count(number), dim=0).indices
        return drawn.gather(0, best[(...,) + (None,) * (drawn.ndim - 2)].expand(-1, -1, *drawn.shape[2:]))

    def _count(self, number: int) -> int:
        return round(self.kept * number)


def _module(network: nn.Module) -> CosmoVaeModule:
    return cast("CosmoVaeModule", network)
