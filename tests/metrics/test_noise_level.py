import healpy as hp
import numpy as np
import pytest

from cmbml.metrics.noise_level import white_noise_spectrum
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_alm, random_alm, synthesise

NSIDE, LMAX = 32, 64


@pytest.mark.parametrize("level", [1e-3, 1.0])
def test_white_noise_is_found_beside_a_red_signal_around_holes(level):
    """Within the scatter that the modes allow where the signal has faded, and without bias over ten skies."""
    ell = np.maximum(np.arange(LMAX + 1), 1)
    signal = np.where(np.arange(LMAX + 1) >= 2, 1e3 / (ell * (ell + 1)), 0.0) * gaussian_window(600.0, LMAX) ** 2
    observed = np.abs(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)[1]) > 20
    found, stated = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sky = synthesise(filter_alm(random_alm(rng, LMAX, 1), np.sqrt(signal)), NSIDE)[0]
        noise = np.sqrt(level) / hp.nside2resol(NSIDE) * rng.standard_normal(sky.size)
        level_found, error = white_noise_spectrum(sky + noise, observed, signal)
        found.append(level_found)
        stated.append(error)
    scatter = np.std(found, ddof=1)
    # Ten skies tell a scatter to a quarter; multipoles of a masked sky are not independent.
    assert 0.4 < scatter / np.mean(stated) < 1.8
    assert np.mean(stated) < 0.1 * level
    assert abs(np.mean(found) - level) < 3.5 * scatter / np.sqrt(10)


def test_noise_far_below_the_signal_is_said_to_be_uncertain():
    ell = np.maximum(np.arange(LMAX + 1), 1)
    signal = np.where(np.arange(LMAX + 1) >= 2, 1e3 / (ell * (ell + 1)), 0.0)
    sky = synthesise(filter_alm(random_alm(np.random.default_rng(0), LMAX, 1), np.sqrt(signal)), NSIDE)[0]
    level, error = white_noise_spectrum(sky, np.arange(sky.size) > 4000, signal)
    assert abs(level) < 4 * error
    assert error > 1e-3 * signal[-1]
