"""Gains of a correction, found without the truth."""

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.methods.spnet.tuning import Tuning
from cmbml.sky.harmonics import analyse, filter_components, random_alm, synthesise
from cmbml.sky.masks import smooth

NSIDE, LMAX = 32, 64


def drawn(seed: int, fields: int = 1, spectrum: np.ndarray | None = None) -> np.ndarray:
    """Gaussian fields, `(n_field, n_pix)`; of unit variance per mode, or of a spectrum."""
    alm = random_alm(np.random.default_rng(seed), LMAX, fields)
    alm[1:, : LMAX + 2] = 0 if fields > 1 else alm[1:, : LMAX + 2]
    window = np.ones(LMAX + 1) if spectrum is None else np.sqrt(spectrum)
    return synthesise(filter_components(alm, np.stack([window] * fields)), NSIDE)


ELL = np.arange(LMAX + 1.0)
CMB = 1e4 / (ELL + 1) ** 2
"""A spectrum as steep as that of the CMB."""


@pytest.mark.parametrize("fields", [1, 3])
def test_a_gain_is_found_as_well_as_theory_allows(fields: int) -> None:
    """Half of a correction was too much; a loose prior, 40 skies: unbiased, and as exact as the modes allow."""
    found = []
    correction = drawn(1, fields)
    for seed in range(40):
        truth = drawn(100 + seed, fields, CMB)
        # The first estimate held half of the correction as its error.
        cleaned = truth - 0.5 * correction
        tuned, gains = Tuning(prior=100.0, left_out=0.0).tuned(cleaned, correction, LMAX)
        found.append(gains[:, 0, 0])
        change = (1 - gains[0, 0, 0]) * correction[0]
        np.testing.assert_allclose(tuned[0] - cleaned[0], change, atol=1e-3 * np.std(correction))
    modes = (2 * ELL + 1)[2:] / CMB[2:]
    sigma = np.array([modes.sum(), 2 * modes.sum()][: len(found[0])]) ** -0.5
    found = np.array(found)
    assert (np.abs(found.mean(axis=0) - 0.5) < 4 * sigma / np.sqrt(40)).all()
    np.testing.assert_allclose(found.std(axis=0), sigma, rtol=0.5)


def test_what_is_right_is_left_and_a_prior_holds() -> None:
    correction = drawn(1)
    truth = drawn(2, spectrum=1e6 * CMB)
    _, gains = Tuning(prior=1e-3).tuned(truth, correction, LMAX)
    assert gains == pytest.approx(1.0, abs=1e-4)


def test_zones_and_scales_are_told_apart() -> None:
    """In the quiet part of the sky all of a correction was right, in the other none of what is small."""
    north = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0] < np.pi / 2
    correction = drawn(1) * np.where(north, 1.0, 3.0)
    bands = CosineNeedlets(peaks=(20, 40))
    truth = drawn(2, spectrum=1e-4 * CMB)
    wrong = bands.windows(LMAX, NSIDE)[-1:] ** 2
    small = synthesise(filter_components(analyse(correction, LMAX), wrong), NSIDE)
    cleaned = truth - smooth(~north + 0.0, 600.0) * small
    tuned, gains = Tuning(prior=10.0, zones=2, left_out=0.0, bands=bands, smoothing_deg=10.0).tuned(
        cleaned, correction, LMAX
    )
    assert gains.shape == (1, 2, 3)
    np.testing.assert_allclose(gains[0, 0], 1.0, atol=0.1)
    np.testing.assert_allclose(gains[0, 1], (1, 1, 0), atol=0.1)
    assert np.std(tuned - truth) < 0.2 * np.std(cleaned - truth)
