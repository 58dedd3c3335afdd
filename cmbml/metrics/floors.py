"""What a score can be at best: what a perfect map would score at a footing, and what noise alone allows there."""

import math

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.footing import Footing, Window, windows
from cmbml.sky.harmonics import Alm, Map, alm_lmax, cut_alm, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec

Spectrum = NDArray[np.float64]


def perfect_map(
    truth_alm: Alm, spec: MapSpec, footing: Footing, nside: int, threads: int, own: Window | None = None
) -> Map:
    """Evaluate what a map without any error would become at a footing.

    It is the truth, seen through the map's own window, and brought to the footing as the map is. Scored like a
    prediction, it gives the floor of every metric.

    Args:
        truth_alm: `(n_comp, n_alm)`.
        spec: what the map is.
        footing: where it is scored.
        nside: of the result.
        threads: CPU threads.
        own: the map's own window; `map_window` by default.

    Returns:
        `(n_field, n_pix)`, of the fields that the map and the truth both have.
    """
    n_comp = min(len(spec.fields), len(truth_alm))
    scale = windows(spec, footing, alm_lmax(truth_alm.shape[-1]), n_comp, own)
    top = scale.top(float(np.finfo(truth_alm.dtype).eps))
    return synthesise(filter_components(cut_alm(truth_alm[:n_comp], top), scale.perfect[:, : top + 1]), nside, threads)


def variances(spectra: Spectrum) -> NDArray[np.float64]:
    """Return the variance sum_l>=2 (2 l + 1) / 4 pi C_l of fields of spectra `(..., lmax + 1)`."""
    ell = np.arange(2, spectra.shape[-1])
    variance: NDArray[np.float64] = (spectra[..., 2:] * (2 * ell + 1)).sum(axis=-1) / (4 * np.pi)
    return variance


def noise_spectrum(channel: Channel, field: str, lmax: int) -> Spectrum:
    """Return the noise spectrum N_l of a channel, white (1 + (knee / l)^slope).

    Returns:
        `(lmax + 1,)`, uK_CMB^2.
    """
    ell = np.maximum(np.arange(lmax + 1), 1)
    white = (channel.depth(field) * math.pi / (180 * 60)) ** 2
    spectrum: Spectrum = white * (1 + (channel.knee_multipole / ell) ** channel.slope)
    return spectrum


def noise_rms(noise: Spectrum, beams: Window, footing_window: Window) -> float:
    """Return the error that noise alone leaves in the best combination of all channels, were there no foregrounds.

    The harmonic inverse-variance combination has the noise spectrum 1 / sum_c (b_lc^2 / N_lc); at the footing
    rms^2 = sum_l>=2 (2 l + 1) / 4 pi f_l^2 / sum_c (b_lc^2 / N_lc). No unbiased linear method can be better; one that
    knows the CMB's spectrum, and damps what is noisy, can.

    Args:
        noise: `(n_channel, lmax + 1)`, N_l of a field (for Q or U that of E or B), not yet divided by the beam.
        beams: `(n_channel, lmax + 1)`.
        footing_window: `(lmax + 1,)`, f_l; zero where nothing is compared.

    Returns:
        The rms, in the unit of the noise; 0 if a channel has no noise, infinite if no beam passes what is asked for.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight = np.where(beams > 0, beams**2 / noise, 0.0).sum(axis=0)
        combined = np.where(footing_window > 0, footing_window**2 / weight, 0.0)
    return math.sqrt(float(variances(combined)))
