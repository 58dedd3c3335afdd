"""What the data say of the parametric model: spectral parameters, and how components vary.

All that is needed of the data are local second moments of the channels, D(p) = <d d^T>: a likelihood of pixels that
share their parameters depends on nothing else. The CMB has no prior anywhere, so that its amplitude, and its chance
correlations with foregrounds, drop out of what is found.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.ilc.laws import OWNERS

Maps = NDArray[np.float64]

STEPS = 12
"""Of Gauss-Newton; none is longer than one standard deviation of a prior."""

MOST_SIGMA = 3.0
"""How many standard deviations of their priors parameters may be off."""

RIDGE = 1e-9
"""What is added to the unit diagonal of a normal matrix, where channels do not tell two laws apart."""

LEAST_ERROR = 1e-8
"""The least variance of the model's error, over the square of brightness: maps are in single precision."""


def transposed(matrices: Maps) -> Maps:
    """Return the transposes of matrices `(..., n, m)`."""
    return np.swapaxes(matrices, -1, -2)


def without_cmb(covariance: Maps) -> Maps:
    """Return C^-1 - C^-1 1 1^T C^-1 / (1^T C^-1 1): the inverse among what holds no CMB.

    Args:
        covariance: `(n_pix, n_channel, n_channel)`.
    """
    scale = 1 / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    both = scale[:, :, None] * scale[:, None]
    inverse = np.linalg.inv(covariance * both) * both
    seen = inverse.sum(axis=-1)
    projected: Maps = inverse - seen[:, :, None] * seen[:, None] / seen.sum(axis=-1)[:, None, None]
    return projected


def amplitudes(columns: Maps, variance: Maps, ridge: float = RIDGE) -> Maps:
    """Return what gives the laws' amplitudes by generalised least squares with the CMB's, `(n_pix, n_law, n_channel)`.

    Args:
        columns: `(n_pix, n_channel, n_law)`, what channels see of the laws.
        variance: `(n_pix, n_channel)`, of noise and the model's error.
        ridge: see `RIDGE`.
    """
    with_cmb = np.concatenate([np.ones((*columns.shape[:2], 1)), columns], axis=-1)
    scale = 1 / np.sqrt((with_cmb**2 / variance[:, :, None]).sum(axis=1))
    unit = with_cmb * scale[:, None]
    weighted = transposed(unit / variance[:, :, None])
    gains: Maps = np.linalg.solve(weighted @ unit + ridge * np.eye(unit.shape[-1]), weighted) * scale[:, :, None]
    return gains[:, 1:]


def fit_spectra(
    moments: Maps, variance: Maps, seen: Callable[[Maps], tuple[Maps, Maps]], mean: Maps, spread: Maps, n_modes: float
) -> Maps:
    """Find the spectral parameters of greatest posterior at each place.

    The likelihood is that of Stompor et al. 2009 (arXiv:0804.2645, eq. 5), whose amplitudes are those of greatest
    likelihood, with Gaussian priors on parameters. Noise adds nothing to its gradient on average.

    Args:
        moments: `(n_pix, n_channel, n_channel)`, uK^2.
        variance: `(n_pix, n_channel)`, of noise and the model's error, uK^2.
        seen: laws and their derivatives, as of `laws.seen`.
        mean: `(n_param,)`, of the prior.
        spread: `(n_param,)`, its standard deviation.
        n_modes: how many independent modes the moments count for; few, as a model's error is alike in all.

    Returns:
        `(n_pix, n_param)`.
    """
    theta = np.repeat(mean[None], len(moments), axis=0)
    owners = list(OWNERS)
    for _ in range(STEPS):
        columns, slopes = seen(theta)
        rest = _unexplained(columns, variance)
        gains = amplitudes(columns, variance)[:, owners]
        crossed = moments @ transposed(gains)
        gradient = n_modes * np.einsum("pca,pcd,pda->pa", slopes, rest, crossed) - (theta - mean) / spread**2
        curvature = n_modes * (transposed(slopes) @ rest @ slopes) * (gains @ crossed) + np.diag(1 / spread**2)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        step /= np.maximum(1, np.abs(step / spread).max(axis=1, keepdims=True))
        theta = np.clip(theta + step, mean - MOST_SIGMA * spread, mean + MOST_SIGMA * spread)
    return theta


def _unexplained(columns: Maps, variance: Maps) -> Maps:
    """Return the inverse variance of what neither the CMB nor the laws explain, `(n_pix, n_channel, n_channel)`."""
    root = 1 / np.sqrt(variance)
    with_cmb = np.concatenate([np.ones((*columns.shape[:2], 1)), columns], axis=-1) * root[:, :, None]
    explained = np.linalg.qr(with_cmb / np.linalg.norm(with_cmb, axis=1, keepdims=True))[0]
    projected: Maps = np.eye(columns.shape[1]) - explained @ transposed(explained)
    return projected * root[:, :, None] * root[:, None]


def component_covariance(
    moments: Maps, noise: Maps, columns: Maps, brightness: Maps, neighbours: Maps, error: float, iterations: int
) -> Maps:
    """Find the covariance of components, and the model's error, by expectation maximisation.

    Channels hold B s + e + n + CMB: s are components and moments in units of their priors, of covariance R; e is what
    the model does not know, independent in each channel, of variance q^2 f^2; n is noise. R and q are averages over a
    region, those of greatest restricted likelihood (Dempster, Laird & Rubin 1977, JRSS B 39, 1; Patterson & Thompson
    1971, Biometrika 58, 545): the CMB is free.

    Args:
        moments: `(n_pix, n_channel, n_channel)`, of the channels, uK^2.
        noise: `(n_channel,)`, variance, uK^2.
        columns: `(n_pix, n_channel, n_component)`, B, uK.
        brightness: `(n_pix, n_channel)`, f^2, uK^2.
        neighbours: `(n_pix, n_pix)`, how much each pixel counts in a region; rows add up to 1.
        error: q to begin with.
        iterations: how many.

    Returns:
        The covariance of what channels hold besides the CMB and noise, `(n_pix, n_channel, n_channel)`.
    """
    n_pix, n_channel, n_component = columns.shape
    channel, turned = np.arange(n_channel), transposed(columns)
    spread = np.broadcast_to(np.eye(n_component), (n_pix, n_component, n_component))
    relative = np.full((n_pix, n_channel), error**2)
    for _ in range(iterations):
        own = relative * brightness
        rest = np.zeros_like(moments)
        rest[:, channel, channel] = own + noise
        inverse = without_cmb(rest + columns @ spread @ turned)
        gains = spread @ turned @ inverse
        missed = np.eye(n_component) - gains @ columns
        # As a sum of squares, which no rounding makes negative.
        found = gains @ (moments + rest) @ transposed(gains) + missed @ spread @ transposed(missed)
        errors = own + own**2 * np.einsum("pcc->pc", inverse @ moments @ inverse - inverse)
        spread = (neighbours @ found.reshape(n_pix, -1)).reshape(found.shape)
        relative = np.maximum(neighbours @ (errors / brightness), LEAST_ERROR)
    foreign = columns @ spread @ turned
    foreign[:, channel, channel] += relative * brightness
    covariance: Maps = 0.5 * (foreign + transposed(foreign))
    return covariance
