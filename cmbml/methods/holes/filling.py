"""Fillings of holes: outside of them the given map stays as it is, to the bit."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import cg

from cmbml.methods.holes.preconditioners import Diagonal, HoleAware
from cmbml.methods.holes.screening import Neighbours
from cmbml.methods.holes.signal import Apart, Float, HoleError, Map, NoisyMap
from cmbml.methods.holes.wiener import ConjugateGradients, Convergence, Posterior, Preconditioner, Solution
from cmbml.settings import settings
from cmbml.sky.harmonics import filter_components, synthesise

Progress = Callable[[Convergence], None]


def put_in(values: Map, observed: NDArray[np.bool_], filling: Map) -> Map:
    """Return a map with its holes filled.

    Args:
        values: `(n_field, n_pix)`; what stands in holes does not count.
        observed: `(n_pix,)`, False in holes.
        filling: `(n_field, n_pix)`; only holes count.

    Returns:
        `(n_field, n_pix)`, of the type of `values`, and equal to it outside of holes to the bit.
    """
    return np.where(observed, values, filling.astype(values.dtype))


@settings
class ConstrainedRealisations:
    """Holes filled with the signal as a Gaussian sky may have it there, given the map around (Hoffman & Ribak 1991).

    Attributes:
        preconditioner: `hole_aware` wherever the signal is above the noise; `diagonal` needs no preparation.
        neighbours: of the hole-aware one.
        solver: when conjugate gradients stop.
    """

    preconditioner: Literal["hole_aware", "diagonal"] = "hole_aware"
    neighbours: Neighbours = Neighbours()
    solver: ConjugateGradients = ConjugateGradients()

    def prepare(self, noisy: NoisyMap, apart: Apart | None = None) -> "ConstrainedSky":
        """Make ready what all draws for the same holes, noise and spectra share.

        Args:
            noisy: what is known of the map.
            apart: where its signal holds correlated noise: what tells them apart.
        """
        return ConstrainedSky(self, noisy, apart)


@dataclass(frozen=True)
class ConstrainedSky:
    """What a sky may be, given a map with holes.

    Attributes:
        settings: how it is solved.
        noisy: what is known of the map.
        apart: what tells signal and correlated noise apart; None where there is none.
    """

    settings: ConstrainedRealisations
    noisy: NoisyMap
    apart: Apart | None = None

    @cached_property
    def posterior(self) -> Posterior:
        """The linear system."""
        return Posterior(self.noisy)

    @cached_property
    def preconditioner(self) -> Preconditioner:
        """What the system is solved with; made when it is first asked for."""
        if self.settings.preconditioner == "diagonal":
            return Diagonal(self.noisy)
        return HoleAware(self.noisy, self.settings.neighbours)

    def mean(self, data: Map, progress: Progress | None = None) -> Solution:
        """Return the Wiener mean of the sky.

        Args:
            data: `(n_field, n_pix)`, in the unit whose square the spectra have.
            progress: told after each iteration.

        Raises:
            HoleError: it did not converge.
        """
        return self.settings.solver.solve(self.posterior, self.posterior.mean_side(data), self.preconditioner, progress)

    def draw(self, data: Map, rng: np.random.Generator, progress: Progress | None = None) -> Solution:
        """Return a sky as it may be: the mean and a fluctuation.

        Args:
            data: `(n_field, n_pix)`.
            rng: source of randomness.
            progress: told after each iteration.

        Raises:
            HoleError: it did not converge.
        """
        right = self.posterior.draw_side(data, rng)
        return self.settings.solver.solve(self.posterior, right, self.preconditioner, progress)

    def seen(self, solution: Solution) -> Map:
        """Return a solution as a map, `(n_field, n_pix)`: through the beam, with correlated but no white noise."""
        signal = self.noisy.signal
        return synthesise(filter_components(solution.alm, signal.window), signal.nside, signal.threads)

    def signal(self, solution: Solution, rng: np.random.Generator | None = None) -> Map:
        """Return the signal of a solution as a map, `(n_field, n_pix)`, through the beam.

        Args:
            solution: a mean or a draw.
            rng: of a draw; None for the mean. Used where there is correlated noise.
        """
        if self.apart is None:
            return self.seen(solution)
        signal = self.noisy.signal
        return synthesise(self.apart.signal_in(solution.alm, rng), signal.nside, signal.threads)

    def fill(self, data: Map, solution: Solution, rng: np.random.Generator | None = None) -> Map:
        """Put the signal of a solution into the holes of the map.

        Args:
            data: `(n_field, n_pix)`.
            solution: a mean or a draw.
            rng: see `signal`.

        Returns:
            `(n_field, n_pix)`, of the type of `data`, and equal to it outside of holes to the bit.
        """
        return put_in(data, self.noisy.observed, self.signal(solution, rng))

    def uncertainty(self, rng: np.random.Generator, number: int) -> Float:
        """Return the standard deviation of the signal given the map, from the scatter of draws.

        It does not depend on the data, so fluctuations alone are drawn. Its own relative error is (2 number)^(-1/2).

        Args:
            rng: source of randomness.
            number: of draws.

        Returns:
            `(n_field, n_pix)`, in the unit of the map; zero outside of holes, where the map is kept.
        """
        nothing = np.zeros(self.noisy.variance.shape)
        squares = np.zeros_like(nothing)
        for _ in range(number):
            squares += self.signal(self.draw(nothing, rng), rng) ** 2
        return np.where(self.noisy.observed, 0.0, np.sqrt(squares / number))


def fill_with_zero(values: Map, observed: NDArray[np.bool_]) -> Map:
    """Set holes to zero.

    Args:
        values: `(n_field, n_pix)`.
        observed: `(n_pix,)`, False in holes.

    Returns:
        `(n_field, n_pix)`.
    """
    return put_in(values, observed, np.zeros_like(values))


def fill_smoothly(values: Map, observed: NDArray[np.bool_], accuracy: float = 1e-7) -> Map:
    """Fill holes so that each pixel is the mean of its neighbours, in each field for itself.

    Repeated averaging over neighbours ends there (the "diffuse" filling of Planck 2013 results XXIV): it is Laplace's
    equation on HEALPix's pixels, solved by conjugate gradients. Q and U of neighbours are averaged as numbers, which is
    poor near the poles, where their axes turn from pixel to pixel.

    Args:
        values: `(n_field, n_pix)`.
        observed: `(n_pix,)`, False in holes.
        accuracy: relative residual at which to stop.

    Returns:
        `(n_field, n_pix)`.

    Raises:
        HoleError: no pixel is observed, or it did not converge.
    """
    if not observed.any():
        message = "no pixel is observed: there is nothing to go on from into the holes"
        raise HoleError(message)
    holes = np.flatnonzero(~observed)
    near = hp.get_all_neighbours(hp.npix2nside(observed.size), holes)
    there = near >= 0
    row = np.full(observed.size, -1)
    row[holes] = np.arange(holes.size)
    inside = there & ~observed[near]
    column = np.broadcast_to(np.arange(holes.size), near.shape)
    links = csr_matrix((np.ones(inside.sum()), (column[inside], row[near[inside]])), shape=(holes.size, holes.size))
    count = there.sum(axis=0).astype(np.float64)
    filling = np.zeros(values.shape)
    for field, target in zip(values, filling, strict=True):
        edge = np.where(there & observed[near], field[near], 0.0).sum(axis=0, dtype=np.float64)
        target[holes], failed = cg(diags(count) - links, edge, rtol=accuracy, M=diags(1 / count), maxiter=holes.size)
        if failed:
            message = f"smooth filling of {holes.size} pixels did not converge to {accuracy:g}"
            raise HoleError(message)
    return put_in(values, observed, filling)
