"""CMB-ML's third baseline: a U-Net on square patches of HEALPix's base faces, which the nested order cuts by itself."""

from itertools import pairwise
from typing import Annotated, final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cmbml.methods.base import ChannelNames, MethodError
from cmbml.methods.patches import Squares
from cmbml.methods.planes import from_faces, to_faces
from cmbml.methods.trained import describe, known
from cmbml.methods.training.network import Network
from cmbml.settings import settings
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.maps import MapSpec, SkyMap

Float32 = NDArray[np.float32]


@final
@settings
class DoubleUNet(Network):
    """Pairs of 3 x 3 convolutions with ReLUs and no bias, maximum pooling, 2 x 2 transposed convolutions up.

    What a pair gives on the way down is put before what comes up at the same size.

    Attributes:
        widths: channels of the pairs, from the outermost inwards.
    """

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)] = (32, 64, 128, 256)

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network, with PyTorch's initial weights."""
        return DoubleUNetModule(self.widths, n_in, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse what cannot be halved so often."""
        multiple = 2 ** (len(self.widths) - 1)
        if len(shape) != 2 or any(side % multiple for side in shape):
            message = (
                f"this network works on patches whose sides are multiples of {multiple}, not on "
                f"{' x '.join(map(str, shape))}; set method.examples.n_pixels"
            )
            raise MethodError(message)


class UNetModule(nn.Module):
    """A U-Net of blocks: the largest of four pixels on the way down, transposed convolutions on the way up.

    Attributes:
        down: the blocks on the way down.
        rise: what doubles the sides before each block on the way up.
        up: the blocks on the way up, which see what the way down had at their size, too.
        head: the last layer.
    """

    down: nn.ModuleList
    rise: nn.ModuleList
    up: nn.ModuleList
    head: nn.Module

    def forward(self, patches: Tensor) -> Tensor:
        """Apply the network: `(batch, n_in, height, width)` to `(batch, n_out, height, width)`."""
        kept: list[Tensor] = []
        found = patches
        for pair in self.down:
            kept.append(pair(nn.functional.max_pool2d(found, 2) if kept else found))
            found = kept[-1]
        kept.pop()
        for rise, pair in zip(self.rise, self.up, strict=True):
            found = pair(torch.cat((kept.pop(), rise(found)), dim=1))
        answer: Tensor = self.head(found)
        return answer


@final
class DoubleUNetModule(UNetModule):
    """The network that a `DoubleUNet` describes."""

    def __init__(self, widths: tuple[int, ...], n_in: int, n_out: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(map(_pair, (n_in, *widths[:-1]), widths))
        upwards = widths[::-1]
        self.rise = nn.ModuleList(nn.ConvTranspose2d(n, half, 2, stride=2) for n, half in pairwise(upwards))
        self.up = nn.ModuleList(_pair(2 * n, n) for n in upwards[1:])
        self.head = nn.Conv2d(widths[0], n_out, 1)


def _pair(n_in: int, n_out: int) -> nn.Sequential:
    convolutions = (nn.Conv2d(n, n_out, 3, padding=1, bias=False) for n in (n_in, n_out))
    first, second = convolutions
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


@final
@settings
class FacePatches(Squares):
    """All square patches into which the twelve base faces fall; they cover the sphere once, and do not overlap.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        channels: which channels a network is shown, in this order.
        n_pixels: side of a patch; it divides nside. None, and a larger one, mean whole faces.
    """

    channels: ChannelNames
    n_pixels: PositiveInt | None = None

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look whether the channels are there, and whether faces fall into such patches."""
        spec.require_channels(self.channels)
        if spec.asked.nside % self._side(spec):
            message = f"method.examples.n_pixels={self.n_pixels} does not divide nside {spec.asked.nside}"
            raise MethodError(message)
        return spec.asked

    def _side(self, spec: ObservationSpec) -> int:
        return min(self.n_pixels or spec.asked.nside, spec.asked.nside)

    def shapes(self, spec: ObservationSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(n_channel n_field, side, side)` and `(n_field, side, side)`."""
        n_field, patch = len(spec.asked.fields), (self._side(spec), self._side(spec))
        return (len(self.channels) * n_field, *patch), (n_field, *patch)

    def n_lessons(self, spec: ObservationSpec) -> int:
        """Return how many patches there are."""
        return 12 * (spec.asked.nside // self._side(spec)) ** 2

    def features(self, case: Observation, chosen: None = None) -> Float32:  # noqa: ARG002
        """Cut the channels."""
        maps = np.concatenate([case.shown[name].values for name in self.channels])
        return self._cut(maps, self._side(case.spec))

    def target(self, case: Observation, chosen: None = None) -> Float32:  # noqa: ARG002
        """Cut the CMB."""
        return self._cut(known(case).values, self._side(case.spec))

    def _cut(self, maps: NDArray[np.floating], side: int) -> Float32:
        faces = to_faces(maps.astype(np.float32))
        n = faces.shape[-1] // side
        blocks = faces.reshape(len(maps), 12, n, side, n, side).transpose(1, 2, 4, 0, 3, 5)
        return np.ascontiguousarray(blocks).reshape(-1, len(maps), side, side)

    def answer(self, replies: Float32, sigma: Float32 | None, spec: ObservationSpec) -> Answer[SkyMap]:
        """Put the faces together."""

        def whole(patches: Float32) -> SkyMap:
            n_field, side = patches.shape[1:3]
            n = spec.asked.nside // side
            faces = patches.reshape(12, n, n, n_field, side, side).transpose(3, 0, 1, 4, 2, 5)
            return SkyMap(from_faces(faces.reshape(n_field, 12, n * side, n * side)), self.accepts(spec))

        return Answer(whole(replies), None if sigma is None else whole(sigma))

    def describe(self, spec: ObservationSpec) -> dict[str, object]:
        """Say what the observations are."""
        return describe(spec, self.channels)
