import math

import numpy as np
import pytest

from cmbml.metrics.floors import noise_rms, noise_spectrum, perfect_map, variances
from cmbml.metrics.footing import Footing, map_window, to_footing, windows
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_alm, filter_components, power, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec

NSIDE, LMAX = 64, 128
FOOTINGS = [
    Footing(name="deconvolved"),
    Footing(name="damped", regularisation="wiener", epsilon=0.3, max_lost=1.0),
    Footing(name="60 arcmin", fwhm_arcmin=60.0),
    Footing(name="200 arcmin", fwhm_arcmin=200.0),
]
SPECS = {
    "sharp": MapSpec(nside=NSIDE, lmax=LMAX),
    "short": MapSpec(nside=NSIDE, lmax=100),
    "wide": MapSpec(nside=NSIDE, lmax=LMAX, beam="gaussian", fwhm_arcmin=200.0),
}


def expected_rms(spectra, spec, footing):
    """What a perfect map errs by over the full sky, by its spectrum alone: of I; or of I, Q, U, which share E and B."""
    scale = windows(spec, footing, spectra.shape[-1] - 1, len(spectra))
    variance = variances((scale.perfect - scale.truth) ** 2 * spectra)
    return np.sqrt(variance if len(spectra) == 1 else [variance[0], *[(variance[1] + variance[2]) / 2] * 2])


@pytest.fixture(scope="module")
def truth_alm():
    ell = np.arange(LMAX + 1)
    red = (ell >= 2) * 100 / np.sqrt(np.maximum(ell * (ell + 1), 1))
    return filter_alm(random_alm(np.random.default_rng(3), LMAX, 3), red)


@pytest.mark.parametrize("footing", FOOTINGS, ids=lambda footing: footing.name)
@pytest.mark.parametrize("name", SPECS)
def test_the_floor_is_what_a_perfect_map_scores(name, footing, truth_alm):
    """Making a perfect map and scoring it, and the sum over its spectrum, give the same rms."""
    spec = SPECS[name].with_(fields="IQU")
    made = filter_components(truth_alm, map_window(spec, LMAX, 3))
    truth, prediction = to_footing(made, spec, truth_alm, footing, NSIDE, 1)
    perfect = perfect_map(truth_alm, spec, footing, NSIDE, 1)
    np.testing.assert_allclose(perfect, prediction, atol=1e-10 * truth.std())
    rms = np.sqrt(np.mean((perfect - truth) ** 2, axis=1))
    expected = expected_rms(power(truth_alm), spec, footing)
    # The mean over pixels is the integral over the sphere to 1e-2 for l up to 2 nside.
    assert rms[0] == pytest.approx(expected[0], rel=0.01, abs=1e-9)
    assert math.hypot(*rms[1:]) == pytest.approx(math.hypot(*expected[1:]), rel=0.01, abs=1e-9)


def test_a_map_that_is_sharp_enough_has_no_floor(truth_alm):
    for footing in (FOOTINGS[0], FOOTINGS[2], FOOTINGS[3]):
        assert expected_rms(power(truth_alm[:1]), SPECS["sharp"], footing)[0] < 1e-12
    assert expected_rms(power(truth_alm[:1]), SPECS["wide"], FOOTINGS[3])[0] < 1e-12
    assert expected_rms(power(truth_alm[:1]), SPECS["wide"], FOOTINGS[0])[0] > 1


def test_the_noise_floor_of_one_white_channel():
    """With the channel's own beam for a footing, it is the noise per pixel, smoothed by nothing."""
    channel = Channel(freq_ghz=143.0, fwhm_arcmin=30.0, depth_uk_arcmin=40.0)
    noise, beam = noise_spectrum(channel, "I", LMAX)[None], channel.beam(LMAX, 1)
    white = (40.0 * math.pi / 10800) ** 2
    wanted = math.sqrt(white * ((LMAX + 1) ** 2 - 4) / (4 * math.pi))
    assert noise_rms(noise, beam, beam[0]) == pytest.approx(wanted, rel=1e-12)
    assert noise_spectrum(channel, "Q", 10)[5] == pytest.approx(2 * white)


def test_the_noise_floor_is_what_the_best_combination_leaves():
    """Noise is drawn, each channel deconvolved, and all combined with inverse-variance weights."""
    channels = [
        Channel(freq_ghz=100.0, fwhm_arcmin=120.0, depth_uk_arcmin=20.0),
        Channel(freq_ghz=143.0, fwhm_arcmin=60.0, depth_uk_arcmin=60.0, knee_multipole=30.0),
        Channel(freq_ghz=217.0, fwhm_arcmin=30.0, depth_uk_arcmin=100.0),
    ]
    noise = np.stack([noise_spectrum(channel, "I", LMAX) for channel in channels])
    beams = np.stack([channel.beam(LMAX, 1)[0] for channel in channels])
    footing = gaussian_window(60.0, LMAX)
    expected = noise_rms(noise, beams, footing)
    draws = random_alm(np.random.default_rng(1), LMAX, len(channels))
    weights = beams**2 / noise / (beams**2 / noise).sum(axis=0)
    parts = filter_components(draws, np.sqrt(noise) / beams * weights * footing * (np.arange(LMAX + 1) >= 2))
    left = synthesise(parts.sum(axis=0, keepdims=True), NSIDE)
    # Some 4,000 modes weigh in: 1 / (2 * 4000)^1/2 = 1.1 % of sampling error.
    assert left.std() == pytest.approx(expected, rel=0.045)
    assert all(expected < noise_rms(noise[i : i + 1], beams[i : i + 1], footing) for i in range(3))


def test_the_noise_floor_at_its_ends():
    ones = np.ones((1, LMAX + 1))
    assert noise_rms(0 * ones, ones, ones[0]) == 0
    assert noise_rms(ones, 0 * ones, ones[0]) == math.inf
    assert noise_rms(ones, 0 * ones, 0 * ones[0]) == 0


def test_variance_of_a_flat_spectrum():
    assert variances(np.ones((2, 11))) == pytest.approx([(11**2 - 4) / (4 * math.pi)] * 2)
