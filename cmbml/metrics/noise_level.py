"""How much white noise a map has, from the map itself."""

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.coupling import Values, mode_coupling
from cmbml.sky.harmonics import adjoint_synthesise, power
from cmbml.sky.masks import apodise

WIDTHS_DEG = (10.0, 4.0, 1.5, 0.0)
"""Widths of soft edges that are tried: wide ones leak less of large into small scales, narrow ones keep more sky."""


def white_noise_spectrum(
    values: Values, observed: NDArray[np.bool_], signal: Values, threads: int = 1
) -> tuple[float, float]:
    """Find the spectrum N of white noise in a map of a known signal, outside of holes.

    The spectrum of the masked map is expected at M_ll' (S_l' + N): N is fitted to it, each multipole weighted by what
    its expected scatter is, so that those count where the signal is weakest, with the softest edge of holes that the
    sky allows. Signal above the last multipole would be taken for noise.

    Args:
        values: `(n_pix,)`, RING; what stands in holes does not count.
        observed: `(n_pix,)`, False in holes.
        signal: `(lmax + 1,)`, S_l: spectrum of the signal in the map, beam and pixel window in it, in the square of the
            map's unit.
        threads: CPU threads.

    Returns:
        N, in the unit of `signal`, not above zero where the map has less power than the signal should have; and its
        standard deviation.
    """
    return min((_fit(values, observed, signal, width, threads) for width in WIDTHS_DEG), key=lambda found: found[1])


def _fit(
    values: Values, observed: NDArray[np.bool_], signal: Values, width_deg: float, threads: int
) -> tuple[float, float]:
    """Return N with an edge of one width, and its standard deviation."""
    weight = apodise(observed, 60 * width_deg, "C2")
    if not weight.any():
        return 0.0, np.inf
    lmax = signal.size - 1
    ell = np.arange(lmax + 1)
    masked = np.where(observed, values, 0.0)[None] * weight
    # Plain sums over pixels: of white noise they have the expected spectrum to the last digit.
    found = power(adjoint_synthesise(masked, lmax, threads) * (4 * np.pi / observed.size))[0]
    coupling = mode_coupling(weight, lmax, threads=threads)
    leaked = coupling.matrix(0) @ signal
    modes = np.where(ell >= 2, (2 * ell + 1) * coupling.sky_fraction, 0.0)
    level = 0.0
    for _ in range(5):
        scatter = np.maximum(leaked + max(level, 0.0) * coupling.w2, 1e-12 * leaked.max())
        trust = modes / (2 * scatter**2)
        level = float(np.sum(trust * (found - leaked)) / np.sum(trust) / coupling.w2)
    return level, float(1 / (np.sqrt(np.sum(trust)) * coupling.w2))
