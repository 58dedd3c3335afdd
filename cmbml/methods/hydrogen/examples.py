"""Cubes of velocity channels as the samples of a method: cutouts to learn from, and the sphere to answer."""

from functools import lru_cache
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.methods.base import MethodError
from cmbml.methods.patches import Squares
from cmbml.methods.trained import known
from cmbml.settings import Fraction, settings
from cmbml.sky.case import Answer, Case, CaseSpec
from cmbml.sky.centres import rings
from cmbml.sky.cutouts import LEAST_SHARE, Cutouts
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.patches import PatchSpec, Stitcher
from cmbml.sky.velocity import CubeSpec, VelocityCube

Float32 = NDArray[np.float32]
CUBE, MASK = "hi_cube", "hi_mask"
"""Under which names a case shows the cube and the mask."""
CANDIDATES = 3
"""How many centres are drawn for each cutout that is wanted: some are masked too far."""


@lru_cache(2)
def _stitcher(spec: PatchSpec, overlap: float) -> Stitcher:
    return Stitcher(spec, rings(spec, overlap))


@final
@settings
class HydrogenExamples(Squares):
    """Cutouts of the training half, masked; as their last channel the mask, so that what answers can apply it.

    An answer is the whole sky: stitched from cutouts that cover it, or, of what weighs pixel by pixel, in one piece.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        cutouts: which they are.
        per_simulation: how many are learnt from in each simulation.
        inputs: what is shown: all `channels`; `moments`, the maps sum(v^m T) dv; or the `integrated` intensity alone.
        n_moments: how many of them, from m = 0 on.
        whole_sky: whether an answer is given in one piece, a row of pixels, and not as cutouts.
        overlap: part of its side that a cutout of an answer shares with the next one.
    """

    cutouts: Cutouts
    per_simulation: PositiveInt = 500
    inputs: Literal["channels", "moments", "integrated"] = "channels"
    n_moments: PositiveInt = 3
    whole_sky: bool = False
    overlap: Fraction = 0.4

    def accepts(self, spec: CaseSpec[Any]) -> MapSpec:
        """Look whether there is a cube, and whether cutouts of it cover the sphere.

        Raises:
            MethodError: what is shown is no cube.
        """
        cube_of(spec)
        patch = self.cutouts.spec(spec.asked)
        if not self.whole_sky:
            _stitcher(patch, self.overlap)
        asked: MapSpec = spec.asked
        return asked

    def n_inputs(self, spec: CaseSpec[Any]) -> int:
        """Return how many maps are shown, besides the mask."""
        return {"channels": cube_of(spec).axis.number, "moments": self.n_moments, "integrated": 1}[self.inputs]

    def shapes(self, spec: CaseSpec[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(n_input + 1, n_pixels, n_pixels)` and `(1, n_pixels, n_pixels)`."""
        side = (self.cutouts.n_pixels,) * 2
        return (self.n_inputs(spec) + 1, *side), (1, *side)

    def n_lessons(self, spec: CaseSpec[Any]) -> int:  # noqa: ARG002
        """Return how many cutouts are drawn."""
        return self.per_simulation

    def choose(self, spec: CaseSpec[Any], rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw centres, of which those are learnt from that are not masked too far."""
        return self.cutouts.centres(CANDIDATES * self.per_simulation, self.cutouts.train_half, spec.asked, rng)

    def features(self, case: Case[Any], chosen: NDArray[np.float64] | None = None) -> Float32:
        """Cut what is shown, `(n_sample, n_input + 1, n_pixels, n_pixels)`; whole, `(1, n_input + 1, n_pix)`."""
        maps, mask = self._inputs(case.shown[CUBE]), case.shown[MASK].values[0]
        if chosen is None and self.whole_sky:
            return np.concatenate([maps, mask[None].astype(np.float32)])[None]
        centres = self._centres(case, chosen)
        found, kept = self.cutouts.cut(maps, mask, centres, case.spec.asked)
        return np.concatenate([found, kept.astype(np.float32)], axis=1)

    def target(self, case: Case[Any], chosen: NDArray[np.float64] | None = None) -> Float32:
        """Cut the dust, masked."""
        dust, centres = known(case).values, self._centres(case, chosen)
        return self.cutouts.cut(dust, case.shown[MASK].values[0], centres, case.spec.asked)[0]

    def _centres(self, case: Case[Any], chosen: NDArray[np.float64] | None) -> NDArray[np.float64]:
        spec = case.spec.asked
        if chosen is None:
            return rings(self.cutouts.spec(spec), self.overlap)
        return self.cutouts.visible(self.per_simulation, chosen, case.shown[MASK].values[0], spec)

    def _inputs(self, cube: VelocityCube) -> Float32:
        if self.inputs == "channels":
            return cube.values.astype(np.float32, copy=False)
        number = self.n_moments if self.inputs == "moments" else 1
        return cube.moments(number).astype(np.float32)

    def answer(self, replies: Float32, sigma: Float32 | None, spec: CaseSpec[Any]) -> Answer[SkyMap]:
        """Put the sphere together."""
        del sigma  # of no method so far
        if self.whole_sky:
            return Answer(SkyMap(replies[0].astype(np.float32), spec.asked))
        stitcher = _stitcher(self.cutouts.spec(spec.asked), self.overlap)
        # Bilinearly: a cutout ends abruptly at the mask, about which an exact one would ring. Replies are zero
        # where they are masked, and nowhere else; what is there enters nowhere.
        total, share = (stitcher.stitch(part, exact=False) for part in (replies, (replies != 0).astype(np.float32)))
        value = np.divide(total, share, out=np.zeros_like(total), where=share > LEAST_SHARE)
        return Answer(SkyMap(value.astype(np.float32), spec.asked))

    def describe(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say what cube and dust are."""
        cube = cube_of(spec)
        return {
            "nside": spec.asked.nside,
            "dust_unit": spec.asked.unit,
            "low_km_s": cube.axis.low_km_s,
            "high_km_s": cube.axis.high_km_s,
            "n_channel": cube.axis.number,
        }


def cube_of(spec: CaseSpec[Any]) -> CubeSpec:
    """Return what the cube of a case is.

    Raises:
        MethodError: it shows none.
    """
    found = spec.shown.get(CUBE)
    if not isinstance(found, CubeSpec):
        message = (
            f"what is shown is {', '.join(spec.shown)}, and a cube of velocity channels is wanted: take "
            "cases=velocity_cube on a dataset that main_sims.py stages=hi has made"
        )
        raise MethodError(message)
    return found
