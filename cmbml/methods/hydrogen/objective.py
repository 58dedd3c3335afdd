"""The published loss of dust from hydrogen: the correlation of Fourier modes, and the distance of pixels."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cmbml.methods.training.objective import Objective, shaped_reply
from cmbml.settings import NonNegativeFloat, PositiveFloat, settings

if TYPE_CHECKING:
    from cmbml.methods.training.module import Normalised


@final
@settings
class CorrelateModes(Objective):
    """The loss lambda [(1 - r50) + (1 - r150)] + mean |T - T~| (eq. 2.3).

    r is Re(T T~*) / (|T| |T~|) of single Fourier modes, averaged over those of a bin (eq. 2.1). It has no gradient
    where a mode is zero: epsilon times the mean power of the target's modes is added to the power of each.

    Attributes:
        strength: lambda; the published value goes with pixels whose errors are about 10 in the target's unit.
        pixel_arcmin: side of a pixel, arcmin.
        l_edges: where the bins begin and end; the first holds all longer modes but the mean.
        epsilon: see above.
    """

    strength: NonNegativeFloat = 30.0
    pixel_arcmin: PositiveFloat
    l_edges: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (100.0, 200.0)
    epsilon: PositiveFloat = 1e-6

    def correlations(self, reply: Tensor, target: Tensor) -> Tensor:
        """Return the mean r of each bin over a batch, `(n_bin,)`.

        Args:
            reply: `(batch, n_out, height, width)`.
            target: the same shape.
        """
        # In full precision: power spectra span many orders of magnitude.
        with torch.autocast(reply.device.type, enabled=False):
            kind = torch.promote_types(reply.dtype, torch.float32)
            found, wanted = (torch.fft.fft2(images.to(kind)) for images in (reply, target))
            power, true_power = (modes.real.square() + modes.imag.square() for modes in (found, wanted))
            level = self.epsilon * true_power.mean()
            cross = found.real * wanted.real + found.imag * wanted.imag
            r = cross / ((power + level) * (true_power + level)).sqrt()
            return torch.stack([r[..., inside].mean() for inside in self._bins(reply)])

    def _bins(self, images: Tensor) -> list[Tensor]:
        side = float(np.radians(self.pixel_arcmin / 60))
        rows, columns = (np.fft.fftfreq(n, side) for n in images.shape[-2:])
        ell = torch.as_tensor(2 * np.pi * np.hypot(rows[:, None], columns), device=images.device)
        edges = (1e-9, *self.l_edges)
        return [(ell >= low) & (ell < high) for low, high in pairwise(edges)]

    def _loss(self, reply: Tensor, target: Tensor) -> Tensor:
        far = (1 - self.correlations(reply, target)).sum()
        return self.strength * far + (reply - target).abs().mean()

    def losses(self, model: "Normalised", features: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Compare the reply with the target."""
        yield self._loss(shaped_reply(model, features, target), target)

    def validate(self, model: "Normalised", features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare the reply with the target."""
        reply = shaped_reply(model, features, target)
        return {"loss": self._loss(reply, target), "reply": reply}

    def reply(self, model: "Normalised", features: Tensor) -> tuple[Tensor, None]:
        """Run the network."""
        return model(features), None
