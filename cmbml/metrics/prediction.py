"""Coefficients of a cleaned map, such that a map equal to the truth gives the truth's own coefficients exactly."""

import numpy as np

from cmbml.metrics.footing import Window
from cmbml.metrics.spectral import iterated_analysis
from cmbml.sky.harmonics import Alm, cut_alm, filter_components, rotate, synthesise
from cmbml.sky.maps import Frame, SkyMap


def prediction_alm(
    sky: SkyMap, truth_alm: Alm, own: Window, frame: Frame, iterations: int = 3, threads: int = 1
) -> Alm:
    """Analyse what a prediction has beyond the truth, and add the truth as the prediction's window shows it.

    HEALPix has no exact quadrature: near l = 3 nside a map that has been analysed is off by a per cent of its own size.
    The truth's coefficients are known, so only the error of the prediction is analysed, and is off by a per cent of
    itself.

    Args:
        sky: the prediction, in the unit and polarisation convention of the truth.
        truth_alm: `(n_comp, n_alm)`, in `frame`, without beam and pixel window.
        own: `(n_comp, lmax + 1)`: beam times pixel window of the prediction, zero beyond its band limit.
        frame: of the truth.
        iterations: of the analysis.
        threads: CPU threads; they do not change a bit of the result.

    Returns:
        `(n_comp, n_alm)` complex64, in `frame`, the prediction's own window still in, of the fields that both have.
    """
    n_comp = min(len(truth_alm), len(sky.values))
    lmax = int(np.flatnonzero(own.any(axis=0))[-1])
    seen = filter_components(cut_alm(truth_alm[:n_comp], lmax), own[:n_comp, : lmax + 1])
    there = rotate(seen, frame, sky.spec.frame, threads)
    error = sky.values[:n_comp] - synthesise(there, sky.spec.nside, threads)
    found = rotate(iterated_analysis(error, lmax, iterations, threads), sky.spec.frame, frame, threads)
    return (seen + found).astype(np.complex64)
