"""The angular spectrum of noise whose strength varies over the sky.

A field n(p) = s(p) r(p), with a fixed s and an isotropic random r, has the correlation function
xi_n(theta) = xi_s(theta) xi_r(theta), where xi_s is that of s averaged over the sky. So its mean spectrum is a linear
map of that of r, the mode coupling of Hivon et al. 2002 (astro-ph/0105302, eq. 14), done here by Legendre transforms
on Gauss-Legendre nodes (Chon et al. 2004, astro-ph/0303414, eqs 60-66, also for E and B).
"""

from dataclasses import dataclass
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from cmbml.sky.harmonics import analyse, power

Array = NDArray[np.float64]
LN_10 = np.log(10)


class NoiseError(ValueError):
    """Noise that cannot be made as it was asked for."""


def mode_sum(cl: Array) -> Array:
    """Return the variance of a field from its spectrum, sum (2 l + 1) C_l / 4 pi, over the last axis."""
    variance: Array = np.sum((2 * np.arange(cl.shape[-1]) + 1) * cl, axis=-1) / (4 * np.pi)
    return variance


def wigner_d(lmax: int, m: int, n: int, cosine: Array) -> Array:
    """Evaluate d^l_mn(theta) for all l by the three-term recurrence in l (Varshalovich et al. 1988, 4.8.2, eq. 14).

    Args:
        lmax: highest multipole.
        m: first index; 0 or 2 here.
        n: second index, |n| = m.
        cosine: `(n_node,)`: cos theta.

    Returns:
        `(lmax + 1, n_node)`, zero where l < m.

    Example:
        >>> wigner_d(2, 0, 0, np.array([0.5]))[:, 0].tolist()
        [1.0, 0.5, -0.125]
    """
    out = np.zeros((lmax + 1, len(cosine)))
    if lmax < m:
        return out
    out[m] = ((1 + np.sign(n) * cosine) / 2) ** m
    for ell in range(m, lmax):
        low = ell**2 - m**2
        turn = cosine - (m * n / (ell * (ell + 1)) if ell else 0.0)
        out[ell + 1] = (2 * ell + 1) * turn * out[ell]
        if ell > m:
            out[ell + 1] -= low / ell * out[ell - 1]
        out[ell + 1] *= (ell + 1) / ((ell + 1) ** 2 - m**2)
    return out


@dataclass(frozen=True)
class ModeCoupling:
    """The mean spectrum of s(p) r(p) from that of r.

    Attributes:
        pairs: for each of T, and E + B, E - B where wanted: the functions d^l at the nodes, `(lmax + 1, n_node)`.
        weights: one row per pair, `(n_node,)`: quadrature weights times 2 pi xi_s.
    """

    pairs: tuple[Array, ...]
    weights: tuple[Array, ...]

    def couple(self, cl: Array) -> Array:
        """Return the mean spectrum of the product, `(n_comp, lmax + 1)`, from that of r, of the same shape."""
        turned = _plus_minus(cl)
        ell = np.arange(cl.shape[-1])
        out = np.empty_like(turned)
        for row, (functions, weights) in enumerate(zip(self.pairs, self.weights, strict=True)):
            # einsum and not @: the sums of a threaded BLAS depend on the number of threads.
            xi = np.einsum("l,ln->n", (2 * ell + 1) / (4 * np.pi) * turned[row], functions)
            out[row] = np.einsum("n,ln->l", weights * xi, functions)
        coupled: Array = _plus_minus(out) / np.array([1.0, 2.0, 2.0])[: len(out), None]
        return coupled

    def solve(self, target: Array, floor: Array, accuracy: float = 1e-5, max_iterations: int = 100) -> Array:
        """Find the spectrum of r that gives the product the spectrum `target`, by fixed-point iteration.

        Args:
            target: `(n_comp, lmax + 1)`, >= 0.
            floor: `(n_comp, 1)`: white noise that is added to it later; errors are relative to the sum.
            accuracy: relative error at which to stop.
            max_iterations: where to stop in any case.

        Returns:
            `(n_comp, lmax + 1)`, >= 0, zero where the target is.

        Raises:
            NoiseError: the spectrum is out of reach by more than 2 %.
        """
        wanted = target > 0
        cl, worst, at = target.copy(), 0.0, 0
        for _ in range(max_iterations):
            got = self.couple(cl)
            error = np.where(wanted, np.abs(got - target) / np.where(wanted, target + floor, 1), 0)
            worst, at = float(error.max()), int(error.max(axis=0).argmax())
            if worst < accuracy:
                return cl
            cl *= np.where(wanted & (got > 0), target / np.where(got > 0, got, 1), 0)
        if worst > 0.02:
            message = (
                f"the noise spectrum is out of reach by {100 * worst:.1f} % at l = {at}: it is too steep for noise "
                f"that varies so much over the sky; take a smaller slope or knee_multipole, or kind white"
            )
            raise NoiseError(message)
        return cl


def _plus_minus(cl: Array) -> Array:
    """Turn (T, E, B) into (T, E + B, E - B); twice gives (T, 2 E, 2 B)."""
    return cl if len(cl) == 1 else np.stack([cl[0], cl[1] + cl[2], cl[1] - cl[2]])


def correlation_spectrum(pattern: NDArray[np.floating[Any]], lmax: int, threads: int) -> Array:
    """Return the spectrum of a pattern s(p), scaled so that it holds the pattern's whole mean square.

    Args:
        pattern: `(n_pix,)`.
        lmax: highest multipole; what the pattern holds beyond it is neglected.
        threads: CPU threads.

    Returns:
        `(lmax + 1,)`.
    """
    cl = power(analyse(pattern[None].astype(np.float64), lmax, threads, accuracy=1e-5))[0]
    scaled: Array = cl * np.mean(pattern.astype(np.float64) ** 2) / mode_sum(cl)
    return scaled


def mode_coupling(pattern_cls: list[Array], lmax: int) -> ModeCoupling:
    """Prepare the coupling of T by the first pattern and, where there is one, of E and B by the second.

    Args:
        pattern_cls: the spectra of the patterns of I, or of I and of Q and U, `(l_pattern + 1,)` each.
        lmax: highest multipole of the noise.

    Returns:
        The coupling of one component (T) or three (T, E, B).
    """
    l_pattern = len(pattern_cls[0]) - 1
    n_node = lmax + l_pattern // 2 + 1
    cosine = np.cos(ducc0.misc.GL_thetas(n_node))
    # These weights are for maps: they hold the 2 pi of the longitudes.
    quadrature = ducc0.misc.GL_weights(n_node, 1)
    legendre = wigner_d(l_pattern, 0, 0, cosine)
    degeneracy = (2 * np.arange(l_pattern + 1) + 1) / (4 * np.pi)
    weights = [quadrature * np.einsum("l,ln->n", degeneracy * cl, legendre) for cl in pattern_cls]
    if len(pattern_cls) == 1:
        return ModeCoupling((wigner_d(lmax, 0, 0, cosine),), (weights[0],))
    pairs = tuple(wigner_d(lmax, m, n, cosine) for m, n in ((0, 0), (2, 2), (2, -2)))
    return ModeCoupling(pairs, (weights[0], weights[1], weights[1]))


def spectrum_bins(lmax: int) -> NDArray[np.int64]:
    """Return bin edges from l = 2 to `lmax` + 1 that widen with l, by a tenth of l and by 50 at most."""
    edges = [2]
    while edges[-1] <= lmax:
        edges.append(edges[-1] + min(50, max(1, edges[-1] // 10)))
    edges[-1] = lmax + 1
    return np.unique(edges)


def from_bins(values: Array, edges: NDArray[np.int64]) -> Array:
    """Interpolate binned values, `(..., n_bin)`, in log l to every multipole, `(..., lmax + 1)`."""
    centres = np.log(np.sqrt(edges[:-1] * (edges[1:] - 1.0)))
    ell = np.log(np.maximum(np.arange(edges[-1]), 1))
    out = np.empty((*values.shape[:-1], len(ell)))
    for where in np.ndindex(values.shape[:-1]):
        out[where] = np.interp(ell, centres, values[where])
    return out


def scatter_modes(log_spectra: Array, n_modes: Array, n_components: int) -> Array:
    """Find in which ways spectra scatter beyond what chance alone would do.

    The principal components of the log spectra (as CMB-ML takes them), of which only those are
    kept that the chance scatter of Gaussian noise cannot explain, and diminished by it: every realisation brings its
    own chance scatter, which would otherwise count twice. The chance scatter of log10 of the mean of n squared normals
    is trigamma(n / 2) / ln(10)^2; of whitened chance scatter alone no component would exceed
    (1 + sqrt(n_bin / n_sample))^2 (Marchenko & Pastur 1967).

    Args:
        log_spectra: `(n_sample, n_bin)`: log10 of binned spectra.
        n_modes: `(n_bin,)`: how many independent squared normals each bin averages.
        n_components: how many components to keep at most.

    Returns:
        `(<= n_components, n_bin)`: log10 N = mean + sum_k c_k mode_k, with unit normals c_k.
    """
    n_sample, n_bin = log_spectra.shape
    chance = np.sqrt(polygamma(1, n_modes / 2)) / LN_10
    whitened = (log_spectra - log_spectra.mean(axis=0)) / chance / np.sqrt(n_sample - 1)
    _, singular, rows = np.linalg.svd(whitened, full_matrices=False)
    real = singular**2 > (1 + np.sqrt(n_bin / n_sample)) ** 2
    keep = np.flatnonzero(real)[:n_components]
    # The sign of a singular vector is arbitrary and differs between LAPACKs.
    signs = np.where(rows[keep].sum(axis=1) < 0, -1.0, 1.0)
    modes: Array = (signs * np.sqrt(np.maximum(singular[keep] ** 2 - 1, 0)))[:, None] * rows[keep] * chance
    return modes
