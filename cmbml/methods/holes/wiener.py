"""The sky given a map with holes: its mean and draws from what it may be, by conjugate gradients.

With d = Y B a + n, a Gaussian with spectra C and n with variances N, what is known of a is Gaussian with the mean
(C^-1 + B Y^T N^-1 Y B)^-1 B Y^T N^-1 d (Wiener) and the covariance that stands before the data (Wandelt, Larson &
Lakshminarayanan 2004, astro-ph/0310080; Jewell, Levin & Anderson 2004, astro-ph/0209560). In x = C^(-1/2) a the system
is A x = b, A = 1 + C^(1/2) B Y^T N^-1 Y B C^(1/2). A draw has the right side of the mean plus a field of covariance A.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cmbml.methods.holes.signal import HoleError, Map, NoisyMap
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.harmonics import Alm, inner, mix_components, random_alm


class Preconditioner(Protocol):
    """Something near the inverse of A: symmetric, positive, and always the same."""

    def __call__(self, white: Alm) -> Alm:
        """Apply it to `(n_comp, n_alm)`."""


@dataclass(frozen=True)
class Convergence:
    """How near a solution is.

    Attributes:
        iterations: of conjugate gradients.
        relative_residual: |b - A x| / |b|. Where the signal is far above the noise this says little: b is then as large
            as the signal-to-noise ratio, and what holes hold hardly enters.
        error: root mean square over all modes of the error, each in units of its own standard deviation given the
            data, (e^T A e / n)^(1/2): what tells whether a draw is as good as an exact one.
    """

    iterations: int
    relative_residual: float
    error: float


@dataclass(frozen=True)
class Solution:
    """Coefficients `(n_comp, n_alm)` of the sky, without beam, and how near they are."""

    alm: Alm
    convergence: Convergence


@settings
class ConjugateGradients:
    """When to stop.

    Attributes:
        accuracy: `Convergence.error` to be reached.
        max_iterations: after which the solution is given up.
    """

    accuracy: PositiveFloat = 1e-3
    max_iterations: int = 1000

    def solve(
        self,
        posterior: "Posterior",
        right: Alm,
        preconditioner: Preconditioner,
        progress: Callable[[Convergence], None] | None = None,
    ) -> Solution:
        """Solve A x = b for white coefficients.

        The error is found as conjugate gradients go (Hestenes & Stiefel 1952; Strakos & Tichy 2002): e^T A e falls in
        each step by a number that the step needs anyway, and what it will still fall by is estimated by what it fell by
        in the last steps: a quarter of all, at least five.

        Args:
            posterior: knows A.
            right: b, `(n_comp, n_alm)`.
            preconditioner: near the inverse of A.
            progress: told after each iteration.

        Raises:
            HoleError: it did not converge.
        """
        x, residual = np.zeros_like(right), right.copy()
        direction = preconditioner(residual)
        product, scale, n_modes = inner(residual, direction), inner(right, right), posterior.n_modes
        falls: list[float] = []
        reached = Convergence(0, 1.0, np.inf if scale > 0 else 0.0)
        while reached.error > self.accuracy:
            if reached.iterations == self.max_iterations or not np.isfinite(product):
                message = (
                    f"the holes' solution is off by {reached.error:.2g} standard deviations after {reached.iterations} "
                    f"iterations (relative residual {reached.relative_residual:.1e}), not by {self.accuracy:g}; allow "
                    "more iterations, ask for less accuracy, or state more noise"
                )
                raise HoleError(message)
            image = posterior.apply(direction)
            step = product / inner(direction, image)
            x += step * direction
            residual -= step * image
            falls.append(step * product)
            turned = preconditioner(residual)
            product, before = inner(residual, turned), product
            direction = turned + (product / before) * direction
            recent = falls[-max(5, len(falls) // 4) :]
            error = np.sqrt(sum(recent) / n_modes) if len(falls) > 5 else np.inf
            if product == 0:  # solved to the last bit
                error = 0.0
            reached = Convergence(len(falls), float(np.sqrt(inner(residual, residual) / scale)), float(error))
            if progress is not None:
                progress(reached)
        return Solution(mix_components(x, posterior.noisy.signal.root), reached)


@dataclass(frozen=True)
class Posterior:
    """What a map with holes says of the sky: the matrix A and right sides for it."""

    noisy: NoisyMap

    @property
    def n_modes(self) -> int:
        """Number of real coefficients."""
        return self.noisy.signal.n_comp * (self.noisy.signal.lmax + 1) ** 2

    def apply(self, white: Alm) -> Alm:
        """Return A x, `(n_comp, n_alm)`."""
        signal = self.noisy.signal
        return white + signal.from_map(self.noisy.inverse_variance * signal.to_map(white))

    def mean_side(self, data: Map) -> Alm:
        """Return the right side whose solution is the Wiener mean.

        Args:
            data: `(n_field, n_pix)`; what stands in holes does not count, and may be anything.
        """
        seen = np.where(self.noisy.observed, data, 0.0)
        return self.noisy.signal.from_map(self.noisy.inverse_variance * seen)

    def draw_side(self, data: Map, rng: np.random.Generator) -> Alm:
        """Return a right side whose solution is a draw: the mean's, plus w0 + C^(1/2) B Y^T N^(-1/2) w1.

        Args:
            data: `(n_field, n_pix)`.
            rng: gives the white coefficients w0 and the white map w1.
        """
        signal = self.noisy.signal
        white = random_alm(rng, signal.lmax, signal.n_comp)
        noise = rng.standard_normal(data.shape) * np.sqrt(self.noisy.inverse_variance)
        return self.mean_side(data) + white + signal.from_map(noise)
