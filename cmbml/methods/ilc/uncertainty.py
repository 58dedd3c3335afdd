"""What the error of a cleaned map is expected to be.

Three parts are added up. Noise: white noise of the channels' depths, through the weights. Chance: the cleaned map is
taken away from all channels, and another CMB, drawn at random from its spectrum, is put in its place (a parametric
bootstrap); what the method then gives besides that CMB is what chance correlations do. Foregrounds: how far the map
moves when the lowest or the highest frequency is left out, times a factor of the class (`LinearMethod.left_out`).

The factors were chosen on ten embedded skies at nside 128, by rms error over rms sigma. On ten others, the rms of
error over sigma inside the mask (least, median, most; how many within 0.85-1.15) is: hilc .74 .93 1.10, 8; cnilc .74
.94 1.77, 7; nilc .95 1.24 1.71, 2; template_fit .73 .97 2.10, 2. nilc's bars have the size of its errors on average
(rms error over rms sigma is .99 over the ten skies), and are not spread over the sky as these are. What a single
sky's bars can hold is limited: chance correlations at the large scales have few degrees of freedom, so that their
size scatters; and foregrounds that look like the CMB to the channels cannot be told from it, so that their part rests
on the factor.
"""

from collections.abc import Iterator, Sequence

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cmbml.methods.ilc.covariance import averaged, averaging_kernel, grid_for
from cmbml.methods.ilc.engine import ScaleWeights
from cmbml.methods.ilc.transforms import analysed, power_per_pixel
from cmbml.sky.harmonics import alm_lmax, filter_alm, power, random_alm, synthesise

Coefficients = NDArray[np.complex128]
Maps = NDArray[np.float64]

LEAST_VARIANCE = 1e-12

SPREAD_RAD = np.deg2rad(5.0) / np.sqrt(8 * np.log(2))
"""Over which squares are averaged: a few draws say little of a single pixel."""

OUTLIER = 3.0
"""Standard deviations beyond which a cleaned map is cut while its spectrum is found."""

SEED = 2009


def surrogates(cleaned: Coefficients, nside: int, n_draw: int, component: int, threads: int) -> Iterator[Coefficients]:
    """Draw Gaussian skies that have the spectrum of a cleaned one.

    Args:
        cleaned: `(n_alm,)`.
        nside: of the grid on which its outliers are cut.
        n_draw: how many.
        component: of which they are, so that T, E and B are drawn independently.
        threads: CPU threads.

    Yields:
        `(n_alm,)`; the same ones for the same component.
    """
    rng, lmax = np.random.default_rng((SEED, component)), alm_lmax(cleaned.size)
    sky = synthesise(cleaned[None], nside, threads)
    sky -= np.median(sky)
    # What foregrounds leave in the Galactic plane is no CMB; with it, too many chance correlations would be drawn.
    most = OUTLIER * np.median(np.abs(sky)) / ndtri(0.75)
    amplitude = np.sqrt(power(analysed(np.clip(sky, -most, most), lmax, threads))[0])
    amplitude[:2] = 0
    for _ in range(n_draw):
        yield filter_alm(random_alm(rng, lmax)[0], amplitude)


def spread(differences: Sequence[Coefficients], nside: int, threads: int) -> Maps:
    """Return the mean square of maps, averaged over a few degrees.

    Args:
        differences: `(n_alm,)` each.
        nside: of the maps.
        threads: CPU threads.

    Returns:
        `(n_pix,)` on a grid that holds the average.
    """
    total = np.zeros(12 * nside**2)
    for alm in differences:
        total += synthesise(alm[None], nside, threads)[0] ** 2 / len(differences)
    window = averaging_kernel(float(SPREAD_RAD), 3 * nside - 1)
    mean: Maps = averaged(total[None], window, min(nside, grid_for(window)), threads)[0]
    np.maximum(mean, LEAST_VARIANCE, out=mean)
    return mean


def needlet_noise(weights: Sequence[ScaleWeights], noise: Maps) -> Maps:
    """Propagate noise through the weights of a needlet ILC.

    A channel's noise at multipole l comes through with the factor sum_j w_j(p) h_j(l)^2; the weights' change over a
    needlet is neglected.

    Args:
        weights: of all scales.
        noise: `(n_channel, lmax + 1)`, spectra of the channels' noise at the common beam, uK^2.

    Returns:
        `(n_pix,)` on the finest of the weights' grids, uK^2.
    """
    nside = max(found.scale.nside_weights for found in weights)
    values = [to_grid(found.values, nside) for found in weights]
    total = np.full(12 * nside**2, LEAST_VARIANCE)
    for j, (first, at_first) in enumerate(zip(weights, values, strict=True)):
        for k in range(j, len(weights)):
            total += (1 + (k > j)) * _shared_noise(first, at_first, weights[k], values[k], noise)
    return total


def to_grid(maps: Maps, nside: int) -> Maps:
    """Interpolate smooth maps `(n, n_pix)` on a finer grid."""
    if maps.shape[1] == 12 * nside**2:
        return maps
    place = hp.pix2ang(nside, np.arange(12 * nside**2))
    return np.stack([hp.get_interp_val(sky, *place) for sky in maps])


def sum_on_grid(first: Maps, second: Maps) -> Maps:
    """Add two smooth maps `(n_pix,)` on the finer of their grids."""
    nside = max(round(np.sqrt(found.size / 12)) for found in (first, second))
    total: Maps = to_grid(first[None], nside)[0] + to_grid(second[None], nside)[0]
    return total


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
    added: Maps = np.einsum("cp,cp,c->p", at_first[rows[0]], at_second[rows[1]], power)
    return added
