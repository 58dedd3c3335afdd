"""What an observation leaves out of the signal, to be quicker."""

import numpy as np
import pytest

from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import cut_alm, filter_components, random_alm, synthesise
from cmbml.stages.sims.observe import signal_lmax

NSIDE, LMAX = 64, 191


@pytest.mark.parametrize("fwhm_arcmin", [250.0, 300.0, 400.0])
def test_signal_ends_where_single_precision_does(fwhm_arcmin: float) -> None:
    """Even of a sky whose small scales are as bright as the large ones."""
    window = gaussian_window(fwhm_arcmin, LMAX)[None]
    alm = random_alm(np.random.default_rng(0), LMAX)
    top = signal_lmax(window)
    assert top < LMAX
    whole = synthesise(filter_components(alm, window), NSIDE)
    quick = synthesise(filter_components(cut_alm(alm, top), window), NSIDE)
    assert 0 < np.abs(quick - whole).max() < 1e-5 * whole.std()


def test_signal_of_a_narrow_beam_is_whole() -> None:
    assert signal_lmax(gaussian_window(30.0, LMAX)[None]) == LMAX
    # The component that ends last decides.
    windows = np.stack([gaussian_window(400.0, LMAX), gaussian_window(30.0, LMAX)])
    assert signal_lmax(windows) == LMAX
