"""What a map is taken for: a Gaussian signal through a beam, and noise that is independent from pixel to pixel."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import MethodError
from cmbml.sky.harmonics import Alm, adjoint_synthesise, mix_components, random_alm, require_band_limit, synthesise

Float = NDArray[np.float64]
Map = NDArray[np.floating[Any]]


class HoleError(MethodError):
    """A map whose holes cannot be filled as asked."""


def diagonal(spectra: Float) -> Float:
    """Return spectra `(n_comp, lmax + 1)` of independent components as covariances, `(n_comp, n_comp, lmax + 1)`."""
    return np.eye(len(spectra))[:, :, None] * spectra


def spectral_root(spectra: Float) -> Float:
    """Return the symmetric square root of the covariance at each l, `(n_comp, n_comp, lmax + 1)`.

    Args:
        spectra: `(n_comp, n_comp, lmax + 1)`; components without power are allowed.

    Raises:
        HoleError: they are no covariance at some l.
    """
    values, vectors = np.linalg.eigh(np.moveaxis(spectra, -1, 0))
    below = values.min(axis=1) < -1e-9 * values.max(axis=1)
    if below.any():
        message = f"the spectra of the signal are no covariance at l = {int(np.argmax(below))}"
        raise HoleError(message)
    root = (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return np.moveaxis(root, 0, -1)


@dataclass(frozen=True)
class Signal:
    """A Gaussian sky seen through a beam, sampled at the centres of pixels, in terms of white coefficients x.

    a = C^(1/2) x, so that x has unit covariance and components without power need no inverse of C. The map is Y B a.

    Attributes:
        spectra: `(n_comp, n_comp, lmax + 1)`, C of T, or of T, E, B, in the square of the maps' unit.
        window: `(n_comp, lmax + 1)`, B: the beam, and the pixel window where there is one.
        nside: resolution of the map.
        threads: CPU threads.
    """

    spectra: Float
    window: Float
    nside: int
    threads: int = 1

    def __post_init__(self) -> None:
        """Check shapes and the band limit.

        Raises:
            HoleError: spectra and window do not fit together.
            MapError: the map cannot hold the multipoles.
        """
        n_comp = len(self.window)
        wanted = (n_comp, n_comp, self.window.shape[-1])
        if n_comp not in (1, 3) or self.spectra.shape != wanted:
            message = (
                f"spectra of shape {self.spectra.shape} do not fit a window of shape {self.window.shape}: "
                "(n, n, lmax + 1) and (n, lmax + 1) are wanted, n 1 (T) or 3 (T, E, B)"
            )
            raise HoleError(message)
        require_band_limit(self.lmax, self.nside)

    @property
    def n_comp(self) -> int:
        """Number of components, which is also that of the map's fields."""
        return len(self.window)

    @property
    def lmax(self) -> int:
        """Highest multipole."""
        return int(self.window.shape[-1]) - 1

    @cached_property
    def root(self) -> Float:
        """C^(1/2), symmetric, `(n_comp, n_comp, lmax + 1)`."""
        return spectral_root(self.spectra)

    @cached_property
    def beamed_root(self) -> Float:
        """B C^(1/2), `(n_comp, n_comp, lmax + 1)`."""
        return self.window[:, None] * self.root

    @property
    def beamed_spectra(self) -> Float:
        """B C B, `(n_comp, n_comp, lmax + 1)`."""
        return self.window[:, None] * self.spectra * self.window

    def to_map(self, white: Alm) -> Map:
        """Return Y B C^(1/2) x, `(n_field, n_pix)`, of x `(n_comp, n_alm)`."""
        return synthesise(mix_components(white, self.beamed_root), self.nside, self.threads)

    def from_map(self, values: Map) -> Alm:
        """Return C^(1/2) B Y^T m, `(n_comp, n_alm)`, of m `(n_field, n_pix)`: the transpose of `to_map`."""
        return mix_components(adjoint_synthesise(values, self.lmax, self.threads), self.beamed_root.transpose(1, 0, 2))

    def with_spectra(self, spectra: Float) -> "Signal":
        """Return the same beam and map with other spectra."""
        return replace(self, spectra=spectra)

    def with_noise(self, noise: Float) -> "Signal":
        """Return signal and correlated noise together, which is what a map shows beside white noise.

        Args:
            noise: `(n_comp, lmax + 1)`, its spectra in the map, which no beam has smoothed.
        """
        together = self.beamed_spectra + diagonal(noise)
        return replace(self, spectra=together, window=np.ones_like(self.window))


@dataclass(frozen=True)
class Apart:
    """How signal and correlated noise are told apart, once their sum t is known on the whole sky.

    With S = B C B and T = S + N, what is known of the signal is Gaussian with the mean S T^-1 t and the covariance
    S - S T^-1 S, multipole by multipole.

    Attributes:
        signal: `(n_comp, n_comp, lmax + 1)`, S.
        noise: `(n_comp, lmax + 1)`, N.
    """

    signal: Float
    noise: Float

    @cached_property
    def share(self) -> Float:
        """S T^-1, `(n_comp, n_comp, lmax + 1)`."""
        signal = np.moveaxis(self.signal, -1, 0)
        together = signal + np.moveaxis(diagonal(self.noise), -1, 0)
        return np.moveaxis(signal @ np.linalg.pinv(together, rcond=1e-12, hermitian=True), 0, -1)

    @cached_property
    def scatter(self) -> Float:
        """The square root of S - S T^-1 S, `(n_comp, n_comp, lmax + 1)`."""
        left = self.signal - np.einsum("ijl,jkl->ikl", self.share, self.signal)
        return spectral_root((left + left.transpose(1, 0, 2)) / 2)

    def signal_in(self, together: Alm, rng: np.random.Generator | None = None) -> Alm:
        """Return the signal in t, `(n_comp, n_alm)`, through the beam: its mean, or a draw where `rng` is given."""
        mean = mix_components(together, self.share)
        if rng is None:
            return mean
        lmax = self.noise.shape[-1] - 1
        return mean + mix_components(random_alm(rng, lmax, len(self.noise)), self.scatter)


@dataclass(frozen=True)
class NoisyMap:
    """What is known of the map that has holes.

    Attributes:
        signal: what is in it.
        variance: `(n_field, n_pix)`, of the noise in each pixel; infinite in holes, which all fields share.
    """

    signal: Signal
    variance: Float

    def __post_init__(self) -> None:
        """Check the variance.

        Raises:
            HoleError: it has the wrong shape, is not positive, differs in its holes from field to field, or leaves no
                pixel observed.
        """
        wanted = (self.signal.n_comp, 12 * self.signal.nside**2)
        if self.variance.shape != wanted:
            message = f"the variance of the noise has shape {self.variance.shape}; {wanted} is wanted"
            raise HoleError(message)
        if not (self.variance > 0).all():
            message = "the variance of the noise must be above zero everywhere; state a small one where there is none"
            raise HoleError(message)
        finite = np.isfinite(self.variance)
        if (finite != finite[0]).any():
            message = "a pixel is a hole in all fields or in none: the variance is infinite in some of them only"
            raise HoleError(message)
        if not finite.any():
            message = "no pixel is observed: there is nothing to constrain what is drawn"
            raise HoleError(message)

    @classmethod
    def of(cls, signal: Signal, observed: NDArray[np.bool_], variance: Float | float) -> "NoisyMap":
        """Describe a map by its mask and the noise outside of the holes.

        Args:
            signal: what is in the map.
            observed: `(n_pix,)`, False in holes.
            variance: of the noise in each pixel: a number, `(n_pix,)`, or `(n_field, n_pix)`.
        """
        full = np.broadcast_to(np.asarray(variance, np.float64), (signal.n_comp, observed.size))
        return cls(signal, np.where(observed, full, np.inf))

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """`(n_pix,)`, False in holes."""
        finite: NDArray[np.bool_] = np.isfinite(self.variance[0])
        return finite

    @cached_property
    def inverse_variance(self) -> Float:
        """`(n_field, n_pix)`, zero in holes."""
        return 1 / self.variance
