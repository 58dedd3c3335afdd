"""Spectra of the true patches, for those that a method tells of its own."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.scores import ScoreError
from cmbml.sky.case import Bandpowers
from cmbml.sky.flat import flat_spectra
from cmbml.sky.harmonics import Alm, analyse
from cmbml.sky.maps import SkyMap
from cmbml.sky.patches import Patches, cut_exactly


def true_bandpowers(told: Bandpowers, truth: SkyMap | Patches | Alm, threads: int) -> NDArray[np.float64]:
    """Measure the spectra of the true patches, `(n_patch, n_bin)`.

    Args:
        told: what the method says, and of which patches.
        truth: the patches themselves; or the map that they are cut from, or its coefficients, under the answer's beam.
        threads: CPU threads.

    Raises:
        ScoreError: nobody has said of which patches the spectra are.
    """
    patch, centres = told.patch, told.centres
    if patch is None or centres is None:
        message = "nobody has said of which patches these spectra are"
        raise ScoreError(message)
    if isinstance(truth, Patches):
        images = truth.values[:, 0]
    else:
        lmax = patch.maps.lmax or 3 * patch.maps.nside - 1
        alm = analyse(truth.values[:1].astype(np.float64), lmax, threads) if isinstance(truth, SkyMap) else truth[:1]
        intensity = replace(patch, maps=patch.maps.with_(fields="I"))
        images = np.stack([image[0] for image in cut_exactly(alm, intensity, centres, threads)])
    rows, columns = np.radians(np.array(patch.pixel_arcmin) / 60).tolist()
    return flat_spectra(images, told.l_edges, (rows, columns)).d_ell
