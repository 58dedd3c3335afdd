"""A generator of patches that carries noise along a flow until it is a patch.

Flow matching (Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003): with x_t = (1 - t) x_0 + t x_1,
x_0 noise and x_1 a patch, a network learns the mean of x_1 - x_0 at x_t, and an ordinary differential equation then
leads from noise to patches. One loss, no opponent: unlike a GAN it is not led to leave out what is rare, and the tails
are what the paper's GAN lacks. It has fewer settings than diffusion (Karras et al. 2022, arXiv:2206.00364): no
schedule of noise, no weights of the loss.

The mean of a patch varies more than what is in it, and brightness rules texture: so the mean is drawn from those of the
training patches, and the flow makes what deviates from it, knowing it.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, final

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.generators.dcgan import turned
from cmbml.methods.training.network import Network
from cmbml.methods.training.objective import Objective
from cmbml.settings import settings

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised

GROUPS = 8
"""Of channels that are normalised together."""
WAVES = 16
"""Frequencies by which a network is told the time."""


@final
@settings
class FlowUNet(Network):
    """A U-Net of residual blocks, each told the time and the patch mean.

    Attributes:
        widths: channels at each size, from the outermost inwards: multiples of 8.
        blocks: residual blocks at each size, on the way down and on the way up.
        fold: squares of so many pixels a side are laid out as channels first, and laid back at the end.
    """

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (32, 64, 96)
    blocks: PositiveInt = 1
    fold: PositiveInt = 2

    def build(self, n_in: int, n_out: int) -> nn.Module:  # noqa: ARG002
        """Make the network; its last convolution starts at zero."""
        return FlowModule(self)

    def require_shape(self, *shape: int) -> None:
        """Refuse images that cannot be folded and halved so often, and widths that do not fall into groups."""
        multiple = self.fold * 2 ** (len(self.widths) - 1)
        if len(shape) != 2 or any(side % multiple for side in shape):
            message = (
                f"this flow works on images whose sides are multiples of {multiple}, not on "
                f"{' x '.join(map(str, shape))}; method.examples.latent must be null"
            )
            raise MethodError(message)
        if any(width % GROUPS for width in self.widths):
            message = f"method.network.widths={list(self.widths)}: take multiples of {GROUPS}"
            raise MethodError(message)


class Block(nn.Module):
    """Two convolutions beside a connection past them; what is known scales and shifts what is between."""

    def __init__(self, n_in: int, n_out: int, n_known: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, n_in), nn.SiLU(), nn.Conv2d(n_in, n_out, 3, padding=1))
        self.known = nn.Linear(n_known, 2 * n_out)
        self.norm = nn.GroupNorm(GROUPS, n_out)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv2d(n_out, n_out, 3, padding=1))
        self.past = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, images: Tensor, known: Tensor) -> Tensor:
        """Work on `(batch, n_in, height, width)`, knowing `(batch, n_known)`."""
        scale, shift = self.known(known)[..., None, None].chunk(2, dim=1)
        found: Tensor = self.past(images) + self.second(self.norm(self.first(images)) * (1 + scale) + shift)
        return found


def _through(blocks: nn.Module, images: Tensor, known: Tensor) -> Tensor:
    """Apply blocks one after the other."""
    for block in blocks.children():
        images = block(images, known)
    return images


@final
class FlowModule(nn.Module):
    """The network that a `FlowUNet` describes, and what it knows of the training patches.

    Buffers: `means`, quantiles of the means of patches, and `scale`, the rms of what deviates from them.
    """

    means: Tensor
    scale: Tensor
    N_QUANTILES = 257

    def __init__(self, spec: FlowUNet) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(self.N_QUANTILES))
        self.register_buffer("scale", torch.ones(()))
        widths, n_known = spec.widths, 4 * spec.widths[0]
        self.embed = nn.Sequential(nn.Linear(2 * WAVES + 1, n_known), nn.SiLU(), nn.Linear(n_known, n_known), nn.SiLU())
        self.fold, self.unfold = nn.PixelUnshuffle(spec.fold), nn.PixelShuffle(spec.fold)
        self.enter = nn.Conv2d(spec.fold**2, widths[0], 3, padding=1)
        down: list[nn.Module] = []
        for n_in, n_out in pairwise([widths[0], *widths]):
            blocks = [Block(n_in if not k else n_out, n_out, n_known) for k in range(spec.blocks)]
            down.append(nn.ModuleList(blocks))
        self.down = nn.ModuleList(down)
        up: list[nn.Module] = []
        for n_in, n_out in pairwise([*widths[::-1], widths[0]]):
            blocks = [Block(2 * n_in if not k else n_out, n_out, n_known) for k in range(spec.blocks)]
            up.append(nn.ModuleList(blocks))
        self.up = nn.ModuleList(up)
        last = nn.Conv2d(widths[0], spec.fold**2, 3, padding=1)
        for weights in last.parameters():
            nn.init.zeros_(weights)
        self.leave = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), last)

    def forward(self, images: Tensor, time: Tensor, mean: Tensor) -> Tensor:
        """Return the flow at images, `(batch, 1, height, width)`, at times and for means of patches, `(batch,)`."""
        waves = torch.pi * 2.0 ** (torch.arange(WAVES, device=time.device) / 2 - 1) * time[:, None]
        known = self.embed(torch.cat([waves.sin(), waves.cos(), mean[:, None]], dim=1))
        found, kept = self.enter(self.fold(images)), []
        for level, blocks in enumerate(self.down):
            found = nn.functional.avg_pool2d(found, 2) if level else found
            found = _through(blocks, found, known)
            kept.append(found)
        for level, blocks in enumerate(self.up):
            found = nn.functional.interpolate(found, scale_factor=2) if level else found
            found = _through(blocks, torch.cat([found, kept.pop()], dim=1), known)
        flow: Tensor = self.unfold(self.leave(found))
        return flow

    def mean_at(self, score: Tensor) -> Tensor:
        """Return the means of patches at standard normal scores, `(batch,)`: the quantile that each stands at."""
        place = torch.special.ndtr(score) * (self.N_QUANTILES - 1)
        low = place.long().clamp(max=self.N_QUANTILES - 2)
        part = place - low
        mean: Tensor = (1 - part) * self.means[low] + part * self.means[low + 1]
        return mean

    def carried(self, noise: Tensor, steps: int) -> Tensor:
        """Carry noise, `(batch, 1, height, width)`, to patches, by Heun's method.

        Its mean, which is a standard normal number itself, decides on the mean of the patch; the rest flows. Steps
        become shorter towards the end, where small scales emerge.
        """
        mean = self.mean_at(noise.mean(dim=(1, 2, 3)) * math.sqrt(noise[0].numel()))
        at, times = centred(noise), 1 - torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** 2
        for now, then in pairwise(times.tolist()):
            slope = self(at, torch.full_like(mean, now), mean)
            ahead = at + (then - now) * slope
            slope = (slope + self(ahead, torch.full_like(mean, then), mean)) / 2
            at = at + (then - now) * slope
        return mean[:, None, None, None] + self.scale * centred(at)


def centred(images: Tensor) -> Tensor:
    """Subtract the mean of each image."""
    return images - images.mean(dim=(1, 2, 3), keepdim=True)


def flow_of(network: nn.Module) -> FlowModule:
    """Return a network that is a flow.

    Raises:
        MethodError: it is none.
    """
    if not isinstance(network, FlowModule):
        message = "method.objective=FlowMatching trains a FlowUNet; set method.network"
        raise MethodError(message)
    return network


@final
@settings
class FlowMatching(Objective):
    """Learn the flow from noise to what deviates from the mean of a patch.

    Attributes:
        steps: of Heun's method, two calls of the network each, from noise to a patch.
        turn: whether patches are turned and mirrored at random.
    """

    steps: PositiveInt = 24
    turn: bool = True

    def ask(self, network: nn.Module, features: Tensor) -> object:
        """Ask for the flow at one time, for one mean."""
        zero = features.new_zeros(len(features))
        return flow_of(network)(features, zero, zero)

    def prepare(self, network: nn.Module, targets: Iterable[Tensor]) -> None:
        """Keep the means of the patches, and how large what deviates from them is."""
        means, squares = [], []
        for target in targets:
            means.append(target.mean())
            squares.append((target - target.mean()).square().mean())
        flow = flow_of(network)
        levels = torch.linspace(0, 1, flow.N_QUANTILES)
        flow.means.copy_(torch.quantile(torch.stack(means), levels))
        flow.scale.copy_(torch.stack(squares).mean().sqrt().clamp(min=1e-12))

    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Compare the flow at random times with the way from random noise to the patches."""
        patches = target
        if self.turn:
            mirrored = torch.rand(len(target), 1, 1, 1, device=target.device) < 0.5
            patches = turned(torch.where(mirrored, target.flip(-1), target))
        noise, time = torch.randn_like(features), torch.rand(len(target), device=target.device)
        yield self._loss(flow_of(model.network), patches, noise, time)

    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Do the same with noise and times that are always the same: the noise is that of the features."""
        # As far apart as can be, in an order that has nothing to do with that of the patches: the golden ratio's.
        time = torch.arange(1, len(target) + 1, device=target.device) * 0.6180339887498949 % 1
        return {"loss": self._loss(flow_of(model.network), target, features, time.to(target.dtype))}

    def _loss(self, network: FlowModule, patches: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        start, end = centred(noise), centred(patches) / network.scale
        part = time[:, None, None, None]
        flow = network((1 - part) * start + part * end, time, patches.mean(dim=(1, 2, 3)))
        return nn.functional.mse_loss(flow.float(), end - start)

    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, None]:
        """Carry the noise along."""
        patches = flow_of(model.network).carried(model.bring_in(features), self.steps)
        return model.bring_out(patches, features), None
