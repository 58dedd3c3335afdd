"""What the error of a cleaned map is expected to be, from the weights and from the channels' noise.

Three parts are added up. Noise: white noise of the channels' depths, through the weights. Chance: the part of the CMB
that the weights took for something else, which is the ILC bias times the CMB's variance. Foregrounds: read off the
variance of what the ILC gives. CMB and mean noise are the same everywhere, so that what this variance has in excess of
the clean part of the sky, and of what noise and sample variance explain, is foreground; what is left everywhere alike
goes unseen.
"""

from collections.abc import Sequence

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.ilc.engine import ScaleWeights
from cmbml.methods.ilc.transforms import power_per_pixel

Maps = NDArray[np.float64]

CLEAN_PERCENT = 25
"""Part of the sky that is taken to be clean: its upper end is where excess is counted from."""

LEAST_VARIANCE = 1e-12


def needlet_variance(weights: Sequence[ScaleWeights], noise: Maps, tilt: Maps) -> Maps:
    """Estimate the error's variance of a needlet ILC.

    A channel's noise at multipole l comes through with the factor sum_j w_j(p) h_j(l)^2; the weights' change over a
    needlet is neglected. Foregrounds of different scales are taken to be independent.

    Args:
        weights: of all scales.
        noise: `(n_channel, lmax + 1)`, spectra of the channels' noise at the common beam, uK^2.
        tilt: `(lmax + 1,)`, what coefficients were multiplied by when weights were found.

    Returns:
        `(n_pix,)` on the finest of the weights' grids, uK^2.
    """
    nside = max(found.scale.nside_weights for found in weights)
    values = [to_grid(found.values, nside) for found in weights]
    total = np.full(12 * nside**2, LEAST_VARIANCE)
    for j, (first, at_first) in enumerate(zip(weights, values, strict=True)):
        for k in range(j, len(weights)):
            total += (1 + (k > j)) * _shared_noise(first, at_first, weights[k], values[k], noise)
        square = first.scale.window**2
        # The window acts once more when scales are put together.
        window = power_per_pixel(square**2) / power_per_pixel(square * tilt[: square.size] ** 2)
        total += window * (_chance(first, nside) + _excess(first, at_first, noise * tilt**2, nside))
    return total


def to_grid(maps: Maps, nside: int) -> Maps:
    """Interpolate smooth maps `(n, n_pix)` on a finer grid."""
    if maps.shape[1] == 12 * nside**2:
        return maps
    place = hp.pix2ang(nside, np.arange(12 * nside**2))
    return np.stack([hp.get_interp_val(sky, *place) for sky in maps])


def _chance(found: ScaleWeights, nside: int) -> Maps:
    """Return what chance correlations take from a scale's cleaned coefficients, `(n_pix,)`."""
    peak = 4 * np.pi * power_per_pixel(found.scale.kernel)
    return min(found.n_free * peak / found.scale.n_modes, 1.0) * to_grid(found.variance[None], nside)[0]


def _excess(found: ScaleWeights, values: Maps, noise: Maps, nside: int) -> Maps:
    """Return the variance of a scale's cleaned coefficients that only foregrounds explain, `(n_pix,)`."""
    variance = to_grid(found.variance[None], nside)[0]
    sampled = variance * np.sqrt(2 * 4 * np.pi * power_per_pixel(found.scale.kernel**2) / found.scale.n_modes)
    excess = variance - _scale_noise(found, values, noise)
    excess -= np.percentile(excess, CLEAN_PERCENT)
    return np.where(excess > 2 * sampled, excess, 0.0)


def _scale_noise(found: ScaleWeights, values: Maps, noise: Maps) -> Maps:
    """Return the noise in a scale's cleaned coefficients, `(n_pix,)`."""
    return np.einsum("cp,c->p", values**2, found.scale.power(noise))


def _shared_noise(
    first: ScaleWeights, at_first: Maps, second: ScaleWeights, at_second: Maps, noise: Maps
) -> Maps | float:
    """Return what the noise that two scales share adds to the variance of the result, `(n_pix,)`."""
    keep = min(first.scale.window.size, second.scale.window.size)
    window = (first.scale.window[:keep] * second.scale.window[:keep]) ** 2
    shared = sorted(set(first.scale.channels) & set(second.scale.channels))
    if not shared or not window.any():
        return 0.0
    power = power_per_pixel(noise[shared, :keep] * window)
    rows = [[found.scale.channels.index(i) for i in shared] for found in (first, second)]
    return np.einsum("cp,cp,c->p", at_first[rows[0]], at_second[rows[1]], power)
