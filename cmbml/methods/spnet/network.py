"""A U-Net on the twelve faces of the sphere, each convolution of which sees across their borders."""

from itertools import pairwise
from typing import Annotated, Literal, final

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.faces import FaceFrame, faces_of_planes, planes_of_faces
from cmbml.methods.patch_unet import UNetModule
from cmbml.methods.planes import plane_shape
from cmbml.methods.training.network import Network
from cmbml.settings import settings


@final
@settings
class FaceUNet(Network):
    """Pairs of 3 x 3 convolutions with GELUs, maximum pooling, 2 x 2 transposed convolutions up; nothing is normalised.

    The last layer begins at zero: a fresh network corrects nothing.

    Attributes:
        widths: channels of the pairs, from the outermost inwards.
        borders: what a convolution sees past the border of a face: its true `neighbours`, or `zeros`.
        kernel: side of the kernels of the pairs; 1, with one width: each pixel is looked at by itself.
    """

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (24, 48, 96)
    borders: Literal["neighbours", "zeros"] = "neighbours"
    kernel: Literal[1, 3] = 3

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Make the network, `(batch, n_in, 4 nside, 3 nside)` to `(batch, n_out, 4 nside, 3 nside)`."""
        return FaceUNetModule(self, n_in, n_out)

    def require_shape(self, *shape: int) -> None:
        """Refuse what is no plane, or cannot be halved so often."""
        nside = shape[-1] // 3
        if nside < 1 or shape != plane_shape(nside):
            message = f"FaceUNet works on planes of whole skies, (4 nside, 3 nside), not on arrays of shape {shape}"
            raise MethodError(message)
        if nside % 2 ** (len(self.widths) - 1):
            message = f"faces of nside {nside} cannot be halved {len(self.widths) - 1} times; name fewer widths"
            raise MethodError(message)


@final
class FaceConvolution(nn.Module):
    """Convolve faces, each framed by what surrounds it.

    Args:
        n_in: channels that come in.
        n_out: channels that go out.
        layout: kernel and borders.
    """

    def __init__(self, n_in: int, n_out: int, layout: FaceUNet) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, layout.kernel)
        self.frame: nn.Module = nn.Identity()
        if layout.kernel > 1:
            self.frame = FaceFrame() if layout.borders == "neighbours" else nn.ZeroPad2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve `(12 batch, n_in, nside, nside)`."""
        found: Tensor = self.convolution(self.frame(images))
        return found


@final
class FaceUNetModule(UNetModule):
    """The network that a `FaceUNet` describes."""

    def __init__(self, layout: FaceUNet, n_in: int, n_out: int) -> None:
        super().__init__()

        def block(n_before: int, n_after: int) -> nn.Sequential:
            first, second = (FaceConvolution(n, n_after, layout) for n in (n_before, n_after))
            return nn.Sequential(first, nn.GELU("tanh"), second, nn.GELU("tanh"))

        widths = layout.widths
        self.down = nn.ModuleList(map(block, (n_in, *widths[:-1]), widths))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(*pair, 2, stride=2) for pair in pairwise(widths[::-1]))
        self.up = nn.ModuleList(block(2 * width, width) for width in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], n_out, 1)
        for weights in self.head.parameters():
            nn.init.zeros_(weights)

    def forward(self, patches: Tensor) -> Tensor:
        """Cut planes into faces, apply the network, put the faces back."""
        return planes_of_faces(super().forward(faces_of_planes(patches)))
