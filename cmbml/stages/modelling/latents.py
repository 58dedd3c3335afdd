"""Look into the latent space of a generator: between two draws, and beyond those that it has learnt from."""

from dataclasses import field
from itertools import islice
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.figures.population import latent_tail, latent_walks
from cmbml.methods.base import MethodError
from cmbml.methods.generators.case import PatchDraws
from cmbml.methods.trained import Hardware, State, TrainedMethod
from cmbml.settings import PositiveFloat, settings
from cmbml.stages.assets import LATENT_FIGURE, LATENT_TAIL_FIGURE, METHOD, STATE
from cmbml.stages.tasks.cases import CaseStage

Float32 = NDArray[np.float32]


@settings
class DrawLatents(CaseStage):
    """Draw walks between pairs of latents, and the brightest pixels of patches from wider and wider latents.

    A walk goes along a great circle, on which all points are as likely as its ends. A generator that has learnt samples
    by heart jumps from one to the next.

    Attributes:
        method: the generator.
        hardware: what it runs on.
        walks: pairs of draws.
        steps: patches of a walk, with both ends.
        widths: standard deviations of the latents.
        number: of patches for each width.
    """

    method: TrainedMethod
    hardware: Hardware = field(metadata={"matters": False})
    walks: PositiveInt = 3
    steps: Annotated[int, Field(ge=2)] = 7
    widths: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1.0, 1.25, 1.5, 2.0)
    number: PositiveInt = 128
    reads: ClassVar = (STATE,)
    writes: ClassVar = (LATENT_FIGURE, LATENT_TAIL_FIGURE)
    per: ClassVar = (METHOD,)
    reproducible: ClassVar = False

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether the method draws patches.

        Raises:
            MethodError: it does not.
        """
        self.method.accepts(self.cases.spec())
        if not isinstance(self.method.examples, PatchDraws):
            message = f"{self.method.name} has no latents; take stages=learn"
            raise MethodError(message)

    def process(self, io: UnitIO) -> None:
        """Draw, draw."""
        state, spec = State(*io.read(STATE)), self.cases.spec()
        self.method.require_fit(state, spec)
        rng, shape = io.rng("latents"), self.method.examples.shapes(spec)[0]
        ends = rng.standard_normal((self.walks, 2, *shape))
        between = np.concatenate([great_circle(first, last, self.steps) for first, last in ends])
        patches = self._patches(state, between)
        unit, side = spec.asked.maps.unit, spec.asked.sides_deg[1]
        walks = patches.reshape(self.walks, self.steps, *patches.shape[1:])
        io.write(LATENT_FIGURE, latent_walks(walks, side, unit))
        latents = rng.standard_normal((self.number, *shape))
        io.write(LATENT_TAIL_FIGURE, latent_tail({w: self._patches(state, w * latents) for w in self.widths}, unit))

    def _patches(self, state: State, latents: NDArray[np.float64]) -> Float32:
        """Return the decimal logarithm of patches, `(n, height, width)`."""
        replies = self.method.predict(state, iter(latents.astype(np.float32)), self.hardware)
        return np.stack([reply.value[0] for reply in islice(replies, len(latents))])


def great_circle(first: NDArray[np.float64], last: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return points from one draw to another, `(steps, ...)`, all of about the length that draws have."""
    cosine = (first * last).sum() / np.sqrt((first**2).sum() * (last**2).sum())
    angle, part = np.arccos(np.clip(cosine, -1, 1)), np.linspace(0, 1, steps)
    weights = np.stack([np.sin((1 - part) * angle), np.sin(part * angle)]) / np.sin(angle)
    points: NDArray[np.float64] = np.einsum("is,i...->s...", weights, np.stack([first, last]))
    return points
