"""Covariances of channels, averaged around each pixel, and the weights of least variance that follow from them.

The covariance at a pixel p is C_ab(p) = sum_q K(p, q) d_a(q) d_b(q), with K a Gaussian on the sphere. K is wide, so
that C has power at low multipoles only: it is found by one adjoint synthesis of each product up to where the kernel's
window has fallen to nothing, and evaluated on a coarse grid. K is positive, and with it every C(p) is.
"""

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.needlets import kernel
from cmbml.sky.harmonics import alm_lmax, analyse, filter_alm, pixel_geometry, synthesise

Maps = NDArray[np.float64]

KERNEL_FLOOR = 1e-12
"""Where a kernel's window is taken to end. Cut at c, it rings at c times the variance of the Galactic plane, which at
857 GHz is up to 1e9 times that of the rest of the sky."""

GRID_FLOOR = 1e-6
"""Where a kernel's window has fallen to what weights need to be sampled for."""

BATCH = 4
SOLVE_PIXELS = 1 << 14


def averaging_sigma(n_free: int, n_modes: float, tolerance: float) -> float:
    """Return how wide covariances must be averaged to keep the ILC bias to a tolerance.

    Weights found from the data that they are applied to take away the part of the CMB that happens to correlate with
    the other n_free = n_channel - 1 - n_nulled combinations. At a pixel, the weights average products over a Gaussian
    of peak K(0) = 1 / (2 pi sigma^2), so that n_eff = n_modes / (4 pi K(0)) = n_modes sigma^2 / 2 modes take part, and
    the cleaned map holds 1 - n_free / n_eff of the CMB (Delabrouille et al. 2009, arXiv:0807.0773, appendix A;
    McCarthy & Hill 2024, arXiv:2307.01043, section III). The tolerance is n_free / n_eff.

    Args:
        n_free: channels less constraints; 1 is taken for 0, where there is no bias.
        n_modes: sum over l of (2 l + 1) h_l^2 of a scale's window.
        tolerance: part of the CMB that may be lost.

    Returns:
        Standard deviation of the Gaussian, rad.

    Example:
        >>> averaging_sigma(7, 14e3, 1e-3)
        1.0
    """
    return float(np.sqrt(2 * max(n_free, 1) / (n_modes * tolerance)))


def averaging_kernel(sigma_rad: float, lmax: int) -> NDArray[np.float64]:
    """Return the window of the average up to where it ends, `(l_end + 1,)`."""
    window = kernel(sigma_rad, lmax)
    return window[: max(int(np.flatnonzero(window > KERNEL_FLOOR)[-1]), 1) + 1]


def grid_for(window: NDArray[np.float64]) -> int:
    """Return the nside at which weights are sampled that follow covariances averaged with such a kernel."""
    return 1 << int(2 * np.count_nonzero(window > GRID_FLOOR) - 1).bit_length()


def averaged(maps: Maps, window: NDArray[np.float64], nside: int, threads: int) -> Maps:
    """Average maps over a kernel.

    Args:
        maps: `(n, n_pix)`.
        window: of the kernel, `(l_end + 1,)`.
        nside: of the result.
        threads: CPU threads.

    Returns:
        `(n, 12 nside^2)`.
    """
    geometry = pixel_geometry(round(np.sqrt(maps.shape[1] / 12)))
    alm: NDArray[np.complex128] = ducc0.sht.adjoint_synthesis(
        map=maps[:, None], spin=0, lmax=len(window) - 1, nthreads=threads, **geometry
    )
    return synthesise(filter_alm(alm, window * (4 * np.pi / maps.shape[1])), nside, threads)[:, 0]


def local_covariance(maps: Maps, window: NDArray[np.float64], nside: int, threads: int) -> Maps:
    """Average the products of all pairs of maps, which have no mean.

    Args:
        maps: `(n, n_pix)`.
        window: of the averaging kernel, `(l_end + 1,)`.
        nside: of the result.
        threads: CPU threads.

    Returns:
        `(12 nside^2, n, n)`.
    """
    n = len(maps)
    found = np.empty((12 * nside**2, n, n))
    pairs = [(a, b) for a in range(n) for b in range(a, n)]
    products = np.empty((BATCH, maps.shape[1]))
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        for row, (a, b) in zip(products, batch, strict=False):
            np.multiply(maps[a], maps[b], out=row)
        for values, (a, b) in zip(averaged(products[: len(batch)], window, nside, threads), batch, strict=True):
            found[:, a, b] = found[:, b, a] = values
    return found


def constrained_weights(covariance: Maps, mixing: Maps) -> tuple[Maps, Maps]:
    """Return the weights of least variance that pass the CMB and null other components.

    w = C^-1 A (A^T C^-1 A)^-1 e with e = (1, 0, ..., 0) (Remazeilles et al. 2011, arXiv:1006.5599, eq. 25). Channels
    differ in variance by up to ten orders of magnitude, so C is scaled to a unit diagonal before it is solved; what
    the rounding of an ill-conditioned C leaves of the constraints is taken away by the smallest change of weights.

    Args:
        covariance: `(n_pix, n, n)`, of each pixel or bin.
        mixing: `(n, 1 + n_nulled)`: what channels see of the CMB and of each nulled component.

    Returns:
        The weights `(n_pix, n)`, and the variance `(n_pix,)` of what they give.

    Raises:
        MethodError: a covariance cannot be inverted.
    """
    diagonal = np.diagonal(covariance, axis1=1, axis2=2)
    if not (diagonal > 0).all():
        message = (
            "the covariance of the channels is zero somewhere: a channel holds nothing there, or a mask is too wide"
        )
        raise MethodError(message)
    scale = 1 / np.sqrt(diagonal)
    weights, variance = np.empty(diagonal.shape), np.empty(len(diagonal))
    for start in range(0, len(covariance), SOLVE_PIXELS):
        part = slice(start, start + SOLVE_PIXELS)
        s = scale[part]
        try:
            weights[part], variance[part] = _solve(
                covariance[part] * s[:, :, None] * s[:, None], s[:, :, None] * mixing
            )
        except np.linalg.LinAlgError as error:
            message = (
                "the covariance of the channels cannot be inverted: some channels, or the spectra of nulled components "
                "at their frequencies, are combinations of others; leave one out of method.channels or method.nulled"
            )
            raise MethodError(message) from error
        weights[part] *= s
    return weights, variance


def _solve(covariance: Maps, mixing: Maps) -> tuple[Maps, Maps]:
    """Solve for scaled weights; `covariance` has a unit diagonal, and `mixing` is `(n_pix, n, n_component)`."""
    norm = np.sqrt((mixing**2).sum(axis=1))
    unit = mixing / norm[:, None]
    solved = np.linalg.solve(covariance, unit)
    fisher = np.linalg.inv(np.einsum("pia,pib->pab", unit, solved))
    target = np.zeros(unit.shape[-1])
    target[0] = 1
    weights = np.einsum("pia,pa->pi", solved, fisher[:, :, 0] / norm[:, :1])
    gram = np.linalg.inv(np.einsum("pia,pib->pab", unit, unit))
    for _ in range(2):
        missing = target / norm[:, :1] - np.einsum("pia,pi->pa", unit, weights)
        weights += np.einsum("pia,pab,pb->pi", unit, gram, missing)
    return weights, fisher[:, 0, 0] / norm[:, 0] ** 2


def upsampled(maps: Maps, nside: int, threads: int) -> Maps:
    """Evaluate smooth maps on a finer grid, `(n, n_pix)`.

    What linear combinations of the maps are constant over the sky (weights' response to a component) stays so, to
    rounding, because only deviations from the mean are transformed.
    """
    coarse = round(np.sqrt(maps.shape[1] / 12))
    if coarse == nside:
        return maps
    mean = maps.mean(axis=1, keepdims=True)
    alm = analyse((maps - mean)[:, None], min(2 * coarse, 3 * nside - 1), threads, accuracy=1e-9)
    fine: Maps = synthesise(alm, nside, threads)[:, 0] + mean
    return fine


def low_part(alm: NDArray[np.complex128], window: NDArray[np.float64], nside: int, threads: int) -> Maps:
    """Evaluate coefficients `(n, n_alm)` times a window that may end before they do, `(n, n_pix)`."""
    whole = np.zeros(alm_lmax(alm.shape[-1]) + 1)
    keep = min(whole.size, window.size)
    whole[:keep] = window[:keep]
    return synthesise(filter_alm(alm, whole)[:, None], nside, threads)[:, 0]
