"""Methods that fill holes: each leaves what is around them as it is, to the bit."""

import logging
from abc import abstractmethod
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from cmbml.methods.base import BlindMethod, MethodError
from cmbml.methods.holes.case import HOLED, MASK, HoledMap, mask_hash
from cmbml.methods.holes.filling import ConstrainedRealisations, ConstrainedSky, fill_smoothly, fill_with_zero, put_in
from cmbml.methods.holes.screening import Neighbours
from cmbml.methods.holes.signal import Float, Map
from cmbml.methods.holes.wiener import ConjugateGradients, Convergence
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.case import Answer, CaseSpec
from cmbml.sky.maps import MapSpec, SkyMap

Filling = tuple[Map, Float | None, tuple[Map, ...]]
log = logging.getLogger(f"cmbml.{__name__}")


class Filler(BlindMethod):
    """A method that fills the holes of one map."""

    def accepts(self, spec: CaseSpec[Any]) -> MapSpec:
        """Look whether there is a map with holes.

        Raises:
            MethodError: there is none.
        """
        if HOLED not in spec.shown or MASK not in spec.shown:
            message = f"{self.name} fills holes in a map: run main_inpaint.py method={self.name}"
            raise MethodError(message)
        shown: MapSpec = spec.shown[HOLED]
        return shown

    def clean(self, observation: Any, scratch: Path, threads: int) -> Answer[SkyMap]:  # noqa: ANN401, ARG002
        """Fill the holes."""
        case: HoledMap = observation
        holed = case.shown[HOLED]
        values, sigma, draws = self.filled(case, holed.values.astype(np.float32), threads)
        bars = None if sigma is None else put_in(case.noise, case.observed, sigma).astype(np.float32)
        return Answer(
            SkyMap(values, holed.spec),
            None if bars is None else SkyMap(bars, holed.spec),
            samples=tuple(SkyMap(draw, holed.spec) for draw in draws),
            notes={"FILLSEED": str(case.seed), "HOLEMASK": mask_hash(case.observed)},
        )

    @abstractmethod
    def filled(self, case: HoledMap, values: Map, threads: int) -> Filling:
        """Return the filled map, the standard deviation of its error in the holes if it is known, and further draws.

        Args:
            case: what is known.
            values: `(n_field, n_pix)`, float32, zero in holes.
            threads: CPU threads.
        """


@settings
class Constrained(Filler):
    """What a Gaussian sky may have in the holes, given all that is around them.

    Attributes:
        preconditioner: of the solver: `hole_aware` wherever the signal is above the noise; `diagonal`.
        nearest, finer: on how many pixels the hole-aware one makes a pixel depend.
        accuracy: of a solution, in standard deviations of each mode given the data.
        max_iterations: after which a solution is given up.
        error_draws: how many draws the standard deviation in holes comes from; 0: none is given.
    """

    preconditioner: Literal["hole_aware", "diagonal"] = "hole_aware"
    nearest: PositiveInt = 20
    finer: PositiveInt = 8
    accuracy: PositiveFloat = 1e-3
    max_iterations: PositiveInt = 1000
    error_draws: NonNegativeInt = 0

    def sky(self, case: HoledMap, threads: int) -> ConstrainedSky:
        """Prepare what all solutions share."""
        solver = ConjugateGradients(accuracy=self.accuracy, max_iterations=self.max_iterations)
        neighbours = Neighbours(nearest=self.nearest, finer=self.finer)
        chosen = ConstrainedRealisations(preconditioner=self.preconditioner, neighbours=neighbours, solver=solver)
        return chosen.prepare(case.noisy(threads), case.apart())

    def told(self, reached: Convergence) -> None:
        """Say how far the solver is, every ten steps."""
        if reached.iterations % 10 == 0:
            log.debug("%s: step %d, off by %.2g standard deviations", self.name, reached.iterations, reached.error)

    def spread(self, sky: ConstrainedSky, rng: np.random.Generator) -> Float | None:
        """Return the standard deviation of the signal in holes given the map, if it is wanted."""
        return sky.uncertainty(rng, self.error_draws) if self.error_draws else None


@final
@settings
class ConstrainedWiener(Constrained):
    """The mean of what may be there: the least error, and too smooth."""

    def filled(self, case: HoledMap, values: Map, threads: int) -> Filling:
        """Fill with the Wiener mean."""
        sky, rng = self.sky(case, threads), np.random.default_rng(case.seed)
        solution = sky.mean(values.astype(np.float64), self.told)
        return sky.fill(values, solution), self.spread(sky, rng), ()


@final
@settings
class ConstrainedRealisation(Constrained):
    """One draw of what may be there: as rough as the sky around, so that spectra of filled maps are right.

    Attributes:
        with_noise: whether noise is drawn in holes, too, such as the map has around them: the filled map's spectrum is
            that of signal and noise then. It is else that of the signal in holes, and of both around them.
        samples: how many further draws are kept beside the map.
    """

    with_noise: bool = False
    samples: NonNegativeInt = 0

    def filled(self, case: HoledMap, values: Map, threads: int) -> Filling:
        """Fill with a draw.

        Raises:
            MethodError: error bars are asked for of a filling that holds correlated noise, which follows the map's.
        """
        if self.with_noise and self.error_draws and case.correlated.any():
            message = (
                "no error bars are known of fillings with correlated noise: method.error_draws=0 or with_noise=false"
            )
            raise MethodError(message)
        sky, rng = self.sky(case, threads), np.random.default_rng(case.seed)
        first, *others = [self._draw(sky, case, values, rng) for _ in range(1 + self.samples)]
        spread = self.spread(sky, rng)
        # A draw is as far from the mean as the truth is.
        bars = None if spread is None else np.sqrt(2 * spread**2 + self.with_noise * case.noise**2)
        return first, bars, tuple(others)

    def _draw(self, sky: ConstrainedSky, case: HoledMap, values: Map, rng: np.random.Generator) -> Map:
        solution = sky.draw(values.astype(np.float64), rng, self.told)
        if not self.with_noise:
            return sky.fill(values, solution, rng)
        seen = sky.seen(solution)
        return put_in(values, case.observed, seen + case.noise * rng.standard_normal(seen.shape))


@final
@settings
class SmoothFilling(Filler):
    """Each pixel of a hole is the mean of its neighbours: the classic quick fix."""

    def filled(self, case: HoledMap, values: Map, threads: int) -> Filling:  # noqa: ARG002
        """Solve Laplace's equation in the holes."""
        return fill_smoothly(values, case.observed), None, ()


@final
@settings
class ZeroFilling(Filler):
    """Nothing is put into the holes: a control."""

    def filled(self, case: HoledMap, values: Map, threads: int) -> Filling:  # noqa: ARG002
        """Set the holes to zero."""
        return fill_with_zero(values, case.observed), None, ()
