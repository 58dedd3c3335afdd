"""What makes conjugate gradients converge: approximate inverses of A = 1 + C^(1/2) B Y^T N^-1 Y B C^(1/2)."""

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.holes.covariance import PixelCovariance
from cmbml.methods.holes.screening import Neighbours, ScreenedCovariance
from cmbml.methods.holes.signal import Float, HoleError, NoisyMap, Signal
from cmbml.sky.harmonics import Alm, alm_size, inner, mix_components, multipoles


def _inverse_per_l(signal: Signal, weight: Float) -> Float:
    """Return (1 + C^(1/2) B w B C^(1/2))^-1 at each l, `(n_comp, n_comp, lmax + 1)`.

    Args:
        signal: has C and B.
        weight: `(n_field,)`, inverse variance of the noise of each field, per steradian.
    """
    weight = weight if signal.n_comp == 1 else np.array([weight[0], *[weight[1:].mean()] * 2])
    root = signal.beamed_root
    matrix = np.eye(signal.n_comp) + np.einsum("kil,k,kjl->lij", root, weight, root)
    return np.moveaxis(np.linalg.inv(matrix), 0, -1)


class Diagonal:
    """The inverse of A as if noise and holes were the same everywhere: a matrix of components for each l.

    It is as good as can be where there are no holes; what holes hold is left to conjugate gradients, which take about
    as many iterations as the signal is stronger than the noise, in amplitude (Eriksen et al. 2004, astro-ph/0407028).
    """

    def __init__(self, noisy: NoisyMap) -> None:
        per_steradian = noisy.observed.size / (4 * np.pi)
        self._inverse = _inverse_per_l(noisy.signal, noisy.inverse_variance.mean(axis=1) * per_steradian)

    def __call__(self, white: Alm) -> Alm:
        """Apply it to `(n_comp, n_alm)`."""
        return mix_components(white, self._inverse)


class HoleAware:
    """The inverse of A for even noise, with what holes hold solved for apart.

    Seljebotn, Baerland, Eriksen, Mardal & Wehus (2019, arXiv:1710.00621) treat the masked region by a solver of its
    own, which multigrid approximates. Here, with even noise N everywhere, A_0 = 1 + C^(1/2) B Y^T Y B C^(1/2) / N would
    be the matrix without holes, which is nearly diagonal in l; taking the pixels m of the holes out of it gives, by
    Woodbury's identity,

        A^-1 = A_0^-1 + A_0^-1 V^T (S^-1)_mm^-1 V A_0^-1,    V = N^-1 Y_m B C^(1/2),    S = Y B C B Y^T + N,

    and the inverse of the block (S^-1)_mm is the covariance of signal plus noise in the holes given signal plus noise
    around them, which `ScreenedCovariance` has as sparse factors. One application costs two transforms, like A itself.

    Multipoles without power in the lowest T (monopole and dipole of a CMB) are a global constraint, which pixels near
    a hole know nothing of: the block is that of spectra that go on to l = 0, and the conditions x_lm = 0 are put on
    its inverse, of which there are l_0^2.

    Args:
        noisy: what is known of the map.
        neighbours: on how many pixels each pixel of a hole is made to depend.
    """

    def __init__(self, noisy: NoisyMap, neighbours: Neighbours) -> None:
        signal = noisy.signal
        power = np.flatnonzero(signal.spectra[0, 0] > 0)
        if not power.size:
            message = "the signal has no power in T at any multipole: there is nothing to draw"
            raise HoleError(message)
        spectra = signal.spectra.copy()
        spectra[0, 0, : power[0]] = spectra[0, 0, power[0]]
        self._signal = signal.with_spectra(spectra)
        weight = noisy.inverse_variance[:, noisy.observed].mean(axis=1)
        self._weight = weight[:, None]
        self._inverse = _inverse_per_l(self._signal, weight * noisy.observed.size / (4 * np.pi))
        self._holes = ScreenedCovariance(
            PixelCovariance(self._signal), noisy.observed, 1 / weight, neighbours, signal.threads
        )
        self._empty = np.flatnonzero(multipoles(signal.lmax) < power[0])
        units = _unit_modes(self._empty, signal.n_comp, signal.lmax)
        self._images = [self._unconstrained(unit) for unit in units]
        overlap = np.array([[inner(unit, image) for image in self._images] for unit in units])
        self._units, self._coupling = units, np.linalg.inv(overlap) if units else overlap

    def __call__(self, white: Alm) -> Alm:
        """Apply it to `(n_comp, n_alm)`."""
        if not self._units:
            return self._unconstrained(white)
        rest = white.copy()
        rest[0, self._empty] = 0
        out = self._unconstrained(rest)
        for share, image in zip(self._coupling @ [inner(u, out) for u in self._units], self._images, strict=True):
            out -= share * image
        out[0, self._empty] = white[0, self._empty]
        return out

    def _unconstrained(self, white: Alm) -> Alm:
        """Apply the inverse of A for spectra that go on to l = 0."""
        out = mix_components(white, self._inverse)
        pixels = self._holes.holes
        values = self._signal.to_map(out)[:, pixels] * self._weight
        filled = np.zeros((self._signal.n_comp, 12 * self._signal.nside**2))
        filled[:, pixels] = self._holes.apply(values) * self._weight
        return out + mix_components(self._signal.from_map(filled), self._inverse)


def _unit_modes(places: NDArray[np.int64], n_comp: int, lmax: int) -> list[Alm]:
    """Return real modes of T of unit length, `(n_comp, n_alm)` each: two for each coefficient with m > 0."""
    units: list[Alm] = []
    for place in places:
        for value in (1.0,) if place <= lmax else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
            unit = np.zeros((n_comp, alm_size(lmax)), np.complex128)
            unit[0, place] = value
            units.append(unit)
    return units
