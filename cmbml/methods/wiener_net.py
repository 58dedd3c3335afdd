"""A network that is linear in the map and not in its holes, as the Wiener filter is: the WienerNet.

Muenchmeyer & Smith (2019, arXiv:1905.05846): the best guess for a Gaussian field is linear in the data, and how it
depends on the mask is what makes it expensive. So the data go through convolutions without activations or offsets, and
every sum is multiplied by what an ordinary network makes of the mask alone. Squared errors over simulations are least
for the Wiener mean of what a patch holds; and since the error of that mean depends on the mask alone, so does the
standard deviation that the network gives beside it.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, cast, final

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, relu

from cmbml.methods.base import MethodError
from cmbml.methods.training.network import Network
from cmbml.methods.training.objective import Objective
from cmbml.settings import NonNegativeFloat, settings

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised

LOG_SIGMA_RANGE = 7.0
"""How far the logarithm of sigma may go either way, in normalised units: further, squares overflow."""


@final
@settings
class WienerNet(Network):
    """A U-Net of two paths. What lies beyond a patch is a hole to it, so that patches may have any size.

    Attributes:
        widths: channels of the data's path at each level, from the finest.
        mask_widths: of the mask's path.
        kernel: side of the data's kernels.
    """

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)] = (12, 16, 24, 32, 48)
    mask_widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)] = (8, 16, 24, 32, 48)
    kernel: Annotated[int, Field(ge=1)] = 5

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network.

        Raises:
            MethodError: it is shown something else than a map and what is known of it, or the paths differ in depth.
        """
        if n_in != 2:
            message = f"a WienerNet is shown a map and what is known of it, not {n_in} channels"
            raise MethodError(message)
        if len(self.widths) != len(self.mask_widths) or self.kernel % 2 == 0:
            message = "method.network: widths and mask_widths must be as many, and kernel odd"
            raise MethodError(message)
        return WienerNetModule(self, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse what is no plane."""
        if len(shape) != 2:
            message = f"a WienerNet works on planes, not on arrays of shape {shape}"
            raise MethodError(message)


@final
class Gated(nn.Module):
    """A linear convolution of the data, times what a 1 x 1 convolution makes of the mask's features."""

    def __init__(self, n_in: int, n_out: int, n_mask: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.gate = nn.Conv2d(n_mask, n_out, 1)
        nn.init.ones_(self.gate.bias)  # type: ignore[arg-type]

    def forward(self, values: Tensor, features: Tensor) -> Tensor:
        """Convolve `(batch, n_in, height, width)`, and weight by the mask."""
        found: Tensor = self.convolution(values) * self.gate(features)
        return found


@final
class WienerNetModule(nn.Module):
    """The network that a `WienerNet` describes."""

    def __init__(self, layout: WienerNet, n_out: int) -> None:
        super().__init__()
        widths, sizes, kernel = layout.widths, layout.mask_widths, layout.kernel
        self.multiple = 2 ** (len(widths) - 1)
        self.mask_down = nn.ModuleList(
            nn.Conv2d(*pair, 3, stride=2 if level else 1, padding=1) for level, pair in enumerate(pairwise((1, *sizes)))
        )
        self.mask_up = nn.ModuleList(nn.Conv2d(deep + here, here, 3, padding=1) for here, deep in pairwise(sizes))
        self.enter = Gated(1, widths[0], sizes[0], kernel)
        self.down = nn.ModuleList(
            Gated(here, deep, size, kernel, 2) for (here, deep), size in zip(pairwise(widths), sizes[1:], strict=True)
        )
        self.middle = Gated(widths[-1], widths[-1], sizes[-1], kernel)
        self.up = nn.ModuleList(
            Gated(here + deep, here, size, kernel) for (here, deep), size in zip(pairwise(widths), sizes, strict=False)
        )
        self.head = nn.Conv2d(widths[0], n_out, 1, bias=False)
        self.log_sigma = nn.Conv2d(sizes[0], n_out, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Answer features, `(batch, 2, height, width)`: the mean, and the logarithm of its standard deviation."""
        height, width = features.shape[-2:]
        around = [-(-side // self.multiple) * self.multiple - side for side in (height, width)]
        edges = (around[1] // 2, around[1] - around[1] // 2, around[0] // 2, around[0] - around[0] // 2)
        known = pad((features[:, 1:] > 0).to(features.dtype), edges)
        seen = self._of_mask(known)
        found = [self.enter(pad(features[:, :1], edges) * known, seen[0])]
        for layer, here in zip(self.down, seen[1:], strict=True):
            found.append(layer(found[-1], here))
        rising = self.middle(found.pop(), seen[-1])
        for layer, here, kept in zip(reversed(self.up), seen[-2::-1], reversed(found), strict=True):
            rising = layer(torch.cat((interpolate(rising, scale_factor=2.0, mode="bilinear"), kept), dim=1), here)
        inner = slice(edges[2], edges[2] + height), slice(edges[0], edges[0] + width)
        value, sigma = (part[..., inner[0], inner[1]] for part in (self.head(rising), self.log_sigma(seen[0])))
        return value, sigma.clamp(-LOG_SIGMA_RANGE, LOG_SIGMA_RANGE)

    def _of_mask(self, known: Tensor) -> list[Tensor]:
        """Return the mask's features at each level, from the finest."""
        levels, found = [], known
        for layer in self.mask_down:
            found = relu(layer(found))
            levels.append(found)
        for level in range(len(levels) - 2, -1, -1):
            above = interpolate(levels[level + 1], scale_factor=2.0, mode="nearest")
            levels[level] = relu(self.mask_up[level](torch.cat((above, levels[level]), dim=1)))
        return levels


@final
@settings
class SquaredInHoles(Objective):
    """Squared errors in holes, which only the mean of what may be there makes smallest; and how large they are.

    The standard deviation is learnt by the likelihood of the errors as they are: it does not change what is answered.

    Attributes:
        valid: weight of the mean squared error where the map is known, relative to that in holes.
        sigma: weight of the likelihood.
    """

    valid: NonNegativeFloat = 0.1
    sigma: NonNegativeFloat = 0.1

    def check(self, network: Network) -> None:
        """Look whether the network says how sure it is."""
        if not isinstance(network, WienerNet):
            message = f"{type(network).__name__} gives no standard deviation; take method.network of WienerNet"
            raise MethodError(message)

    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Compare the reply with the target, and its error with what was said of it."""
        reply, log_sigma = _run(model, features)
        holes = (features[:, 1:] <= 0).to(target.dtype)
        square = (reply - target).square()
        likelihood = log_sigma + 0.5 * square.detach() * (-2 * log_sigma).exp()
        yield (_mean(square, holes) + self.valid * _mean(square, 1 - holes) + self.sigma * _mean(likelihood, holes))

    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error in holes."""
        reply, _ = _run(model, features)
        holes = (features[:, 1:] <= 0).to(target.dtype)
        return {"loss": _mean((reply - target).square(), holes), "reply": reply}

    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and its standard deviation."""
        reply, log_sigma = _run(model, model.bring_in(features))
        zero = model.bring_out(torch.zeros_like(reply), features)
        return model.bring_out(reply, features), model.bring_out(log_sigma.exp(), features) - zero


def _run(model: "Normalised", features: Tensor) -> tuple[Tensor, Tensor]:
    reply, log_sigma = cast("WienerNetModule", model.run)(features)
    return reply.float(), log_sigma.float()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1)
