"""What a generator is asked, and how its draws become samples and its replies patches."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.methods.base import MethodError
from cmbml.methods.patches import Squares
from cmbml.methods.trained import known
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.case import Answer, Case, CaseSpec
from cmbml.sky.patches import Patches, PatchSpec

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Draws(Case[Patches]):
    """A wish for patches.

    Attributes:
        number: how many.
        seed: of what is drawn.
    """

    number: int = 0
    seed: int = 0


@final
@settings
class PatchDraws(Squares):
    """A sample is a vector, or an image, of standard normal numbers; its target is the decimal logarithm of a patch.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        latent: how many numbers a patch is drawn from; None: an image of them, one for each pixel.
        width: standard deviation of the numbers that patches are drawn from: learnt from is 1.
    """

    latent: PositiveInt | None = None
    width: PositiveFloat = 1.0

    def accepts(self, spec: CaseSpec[PatchSpec]) -> PatchSpec:
        """Look whether patches are asked for, and nothing is shown.

        Raises:
            MethodError: something else is.
        """
        if spec.shown or not isinstance(spec.asked, PatchSpec):
            message = (
                "this method draws patches out of nothing; take a dataset of them (main_sims.py stages=dust_patches)"
            )
            raise MethodError(message)
        return spec.asked

    def channels_shown(self, spec: CaseSpec[Any]) -> tuple[str, ...]:  # noqa: ARG002
        """Return nothing, for nothing is shown."""
        return ()

    def shapes(self, spec: CaseSpec[PatchSpec]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(1, latent)` or `(1, height, width)`, and `(1, height, width)`."""
        image = (1, spec.asked.height, spec.asked.width)
        return ((1, self.latent) if self.latent else image), image

    def features(self, case: Case[Patches], chosen: None = None) -> Float32:  # noqa: ARG002
        """Draw the numbers: one sample for each patch that is wanted, or that the case has."""
        if not isinstance(case, Draws):
            message = "generators are asked for a number of patches, from a seed (cases=dust_patches)"
            raise MethodError(message)
        number = case.number if case.asked is None else len(case.asked.values)
        shape = (number, *self.shapes(case.spec)[0])
        drawn = self.width * np.random.default_rng(case.seed).standard_normal(shape)
        return np.asarray(drawn, np.float32)

    def target(self, case: Case[Patches], chosen: None = None) -> Float32:  # noqa: ARG002
        """Return the decimal logarithm of the patches.

        Raises:
            MethodError: a pixel has none.
        """
        values = known(case).values
        if not (values > 0).all():
            message = f"{int((~(values > 0)).sum())} pixels of the patches are not above zero, and have no logarithm"
            raise MethodError(message)
        return np.asarray(np.log10(values), np.float32)

    def answer(self, replies: Float32, sigma: Float32 | None, spec: CaseSpec[PatchSpec]) -> Answer[Patches]:
        """Return patches in the unit of the map; they lie nowhere."""
        del sigma
        return Answer(Patches(10.0**replies, spec.asked, np.full((len(replies), 3), np.nan)))

    def describe(self, spec: CaseSpec[PatchSpec]) -> dict[str, Any]:
        """Say what the patches are."""
        asked = spec.asked
        return {
            "pixels": [asked.height, asked.width],
            "pixel_arcmin": list(asked.pixel_arcmin),
            "projection": asked.projection,
            "unit": asked.maps.unit,
        }
