from itertools import pairwise

import healpy as hp
import numpy as np
import pytest

from cmbml.metrics.coupling import SpectrumError, linear_bins, mode_coupling
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.spectral import (
    bias_error,
    corrected_d_ell,
    decouplings,
    masked_alm,
    pseudo_spectra,
    spectra_scores,
    theory_band,
)
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import (
    filter_alm,
    filter_components,
    iterated_analysis,
    multipoles,
    power,
    random_alm,
    synthesise,
)
from cmbml.sky.spectra import d_ell

NSIDE, LMAX = 64, 128
N_PIX = 12 * NSIDE**2
ELL = np.arange(LMAX + 1)
EDGES = linear_bins(2, 120, 20)
ROWS = len(EDGES) - 1


@pytest.fixture(scope="module")
def latitude():
    return hp.pix2ang(NSIDE, np.arange(N_PIX), lonlat=True)[1]


@pytest.fixture(scope="module")
def kept(latitude):
    return np.abs(latitude) > 15


@pytest.fixture(scope="module")
def weight(latitude):
    return np.clip((np.abs(latitude) - 15) / 6, 0, 1)


def theory():
    """C_l of T, E, B, smooth in D_l."""
    out = np.zeros((3, LMAX + 1))
    out[:, 2:] = np.array([[1000.0], [30.0], [1.0]]) * 2 * np.pi / (ELL * (ELL + 1.0))[2:]
    return out


def windows(fwhm_arcmin=60.0):
    return np.stack([gaussian_window(fwhm_arcmin, LMAX, spin) for spin in (0, 2, 2)])


def cmb(seed, beam):
    alm = random_alm(np.random.default_rng(seed), LMAX, 3)
    alm[:, multipoles(LMAX) < 2] = 0
    return filter_components(alm, np.sqrt(theory()) * beam)


def scores(truth, prediction, weight, beam, expected=None):
    """Score maps `(n_field, n_pix)`."""
    polarised = len(truth) == 3
    coupling = mode_coupling(weight, LMAX, polarised)
    dipole = MonopoleDipole.outside(weight > 0)
    alms = [masked_alm(values, weight, LMAX, dipole) for values in (truth, prediction)]
    decoupled = decouplings(coupling, EDGES, beam)
    return spectra_scores(pseudo_spectra(*alms), coupling, decoupled, beam, expected)


def rows(table, kind, field):
    chosen = (table["kind"] == kind) & (table["field"] == field)
    return {name: column[chosen] for name, column in table.items()}


def test_intensity_agrees_with_anafast(kept):
    """The paper's pseudo-spectrum: monopole and dipole out of the unmasked pixels, mask on, anafast."""
    values = np.random.default_rng(1).standard_normal(N_PIX) * 50 + 30 * hp.pix2vec(NSIDE, np.arange(N_PIX))[0] + 200
    theirs = hp.remove_dipole(np.where(kept, values, hp.UNSEEN))
    reference = hp.anafast(np.where(kept, theirs, 0), lmax=LMAX, iter=3)
    alm = masked_alm(values[None], kept.astype(float), LMAX, MonopoleDipole.outside(kept))
    ours = pseudo_spectra(alm, alm)["truth"][0]
    np.testing.assert_allclose(ours[2:], reference[2:], rtol=1e-6)
    np.testing.assert_allclose(ours[:2], reference[:2], atol=1e-6 * reference.max())


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_polarisation_agrees_with_anafast(weight, iterations):
    maps = np.random.default_rng(2).standard_normal((3, N_PIX)) * weight
    reference = hp.anafast(maps, lmax=LMAX, iter=iterations)[:3]
    ours = power(iterated_analysis(maps, LMAX, iterations))
    np.testing.assert_allclose(ours[:, 2:], reference[:, 2:], rtol=1e-6)
    other = np.random.default_rng(3).standard_normal(maps.shape) * weight
    cross = power(iterated_analysis(maps, LMAX, iterations), iterated_analysis(other, LMAX, iterations))
    theirs = hp.anafast(maps, other, lmax=LMAX, iter=iterations)[:3]
    np.testing.assert_allclose(cross[:, 2:], theirs[:, 2:], atol=1e-6 * reference[:, 2:].mean())


def test_single_precision_is_near_double(weight):
    maps = synthesise(cmb(4, windows()), NSIDE) * weight
    single = iterated_analysis(maps.astype(np.float32), LMAX)
    assert single.dtype == np.complex64
    # Rounding is white, and B the faintest spectrum: a thousandth of T.
    np.testing.assert_allclose(power(single)[:, 2:], power(iterated_analysis(maps, LMAX))[:, 2:], rtol=2e-4)


def test_threads_do_not_change_a_bit(weight):
    maps = np.random.default_rng(5).standard_normal((3, N_PIX))
    dipole = MonopoleDipole.outside(weight > 0)
    one, two = (masked_alm(maps, weight, LMAX, dipole, threads=threads) for threads in (1, 2))
    assert np.array_equal(one, two)


def test_monopole_and_dipole_leave_no_trace(weight, kept):
    beam = windows()
    truth = synthesise(cmb(6, beam), NSIDE)
    offset = truth.copy()
    offset[0] += 1000 + 300 * hp.pix2vec(NSIDE, np.arange(N_PIX))[1]
    table = scores(truth, offset, weight, beam)
    assert (np.abs(table["d_residual"]) < 1e-8 * np.abs(table["d_truth"])).all()


def test_truth_scores_perfectly(weight):
    beam = windows()
    truth = synthesise(cmb(7, beam), NSIDE).astype(np.float32)
    table = scores(truth, truth, weight, beam, theory())
    assert len(table["kind"]) == 2 * 3 * ROWS
    assert (table["d_residual"] == 0).all()
    assert (table["bias_sigma"] == 0).all()
    np.testing.assert_allclose(table["transfer"], 1, rtol=1e-12)
    np.testing.assert_allclose(table["correlation"][table["d_truth"] > 0], 1, rtol=1e-12)
    assert np.array_equal(table["d_prediction"], table["d_truth"])


def test_zero_has_no_transfer_and_the_truth_for_residual(weight):
    beam = windows()
    truth = synthesise(cmb(8, beam), NSIDE)
    table = scores(truth, np.zeros_like(truth), weight, beam)
    assert (table["transfer"] == 0).all()
    assert np.isnan(table["correlation"]).all()
    np.testing.assert_allclose(table["d_residual"], table["d_truth"], rtol=1e-12)
    assert np.isnan(table["d_theory"]).all()
    assert (table["cosmic_variance"] > 0).all()


def test_multiplicative_bias_is_the_transfer_function(weight):
    beam = windows()
    truth = synthesise(cmb(9, beam), NSIDE)
    table = scores(truth, 0.9 * truth, weight, beam)
    np.testing.assert_allclose(table["transfer"], 0.9, rtol=1e-10)
    np.testing.assert_allclose(table["d_prediction"], 0.81 * table["d_truth"], rtol=1e-10)
    np.testing.assert_allclose(table["d_residual"], 0.01 * table["d_truth"], rtol=1e-8)
    expected = (0.81 - 1) / np.sqrt((4 * 0.01 + 2 * 0.01**2) / table["n_modes"])
    positive = table["d_truth"] > 0
    np.testing.assert_allclose(table["correlation"][positive], 1, rtol=1e-10)
    np.testing.assert_allclose(table["bias_sigma"][positive], expected[positive], rtol=1e-8)


def test_transfer_function_that_depends_on_l_is_found_behind_a_mask(weight):
    beam = windows()
    alm = cmb(10, beam)
    wanted = 1 - 0.3 * (ELL / LMAX) ** 2
    maps = synthesise(alm, NSIDE), synthesise(filter_alm(alm, wanted), NSIDE)
    found = rows(scores(*maps, weight, beam), "master", "TT")
    # Within a bin of 20, and with what neighbouring bins lend, the function is steeper than 1 % at high l only.
    np.testing.assert_allclose(found["transfer"], np.interp(found["l_eff"], ELL, wanted), atol=0.01)


def test_white_noise_gives_its_own_residual_spectrum(weight):
    """Residual C_l = sigma^2 Omega_pix / b_l^2, in T, E and B alike, for one sigma of I, Q and U."""
    beam, sigma, n_sim = windows(40), 5.0, 24
    truth = synthesise(cmb(11, beam), NSIDE)
    noise = [sigma * np.random.default_rng(seed).standard_normal(truth.shape) for seed in range(n_sim)]
    white = sigma**2 * 4 * np.pi / N_PIX / beam**2
    tables = [scores(truth, truth + one, weight, beam, white) for one in noise]
    found = np.mean([table["d_residual"] for table in tables], axis=0)
    # Given as the theory, it went through the same bins.
    expected, error = tables[0]["d_theory"], tables[0]["cosmic_variance"] / np.sqrt(n_sim)
    assert (np.abs(found - expected) < 4 * error).all()
    quoted = rows(tables[0], "pseudo", "TT")["d_theory"]
    by_hand = [np.average(d_ell(white[0])[a:b], weights=2 * ELL[a:b] + 1) for a, b in pairwise(EDGES)]
    np.testing.assert_allclose(quoted, by_hand, rtol=1e-12)


def test_bias_error_is_the_scatter_of_the_bias():
    """Full sky: spectra of truth plus independent noise, less those of the truth."""
    n_sim, level = 400, 0.5
    modes = (2 * ELL + 1.0)[2:]
    truth = random_alm(np.random.default_rng(12), LMAX)
    bias = []
    for seed in range(n_sim):
        noise = np.sqrt(level) * random_alm(np.random.default_rng(1000 + seed), LMAX)
        bias.append((power(truth + noise) - power(truth))[0, 2:])
    expected = bias_error(power(truth)[0, 2:], np.full(LMAX - 1, level), modes)
    ratio = np.std(bias, axis=0) / expected
    assert abs(ratio.mean() - 1) < 0.02
    assert (np.abs(ratio - 1) < 5 / np.sqrt(2 * n_sim)).all()


def test_full_sky_columns():
    beam = windows()
    truth = synthesise(cmb(13, beam), NSIDE)
    table = scores(truth[:1], truth[:1], np.ones(N_PIX), beam[:1], theory()[:1])
    one = rows(table, "pseudo", "TT")
    assert one["l_low"].tolist() == EDGES[:-1].tolist()
    assert one["l_high"].tolist() == (EDGES[1:] - 1).tolist()
    modes = np.array([(2 * ELL[a:b] + 1).sum() for a, b in pairwise(EDGES)])
    np.testing.assert_allclose(one["n_modes"], modes)
    np.testing.assert_allclose(one["d_theory"], 1000, rtol=1e-10)
    np.testing.assert_allclose(one["cosmic_variance"], 1000 * np.sqrt(2 / modes), rtol=1e-10)
    # No mask: nothing is to be decoupled, but for monopole and dipole, which neither has.
    other = rows(table, "master", "TT")
    np.testing.assert_allclose(one["d_theory"], other["d_theory"], rtol=1e-6)
    chi = (one["d_truth"] - one["d_theory"]) / one["cosmic_variance"]
    assert (np.abs(chi) < 4).all()


def test_quoted_spectrum_is_anafast_over_mask_and_beam(kept):
    beam = windows()
    truth = synthesise(cmb(14, beam), NSIDE)[:1]
    weight = kept.astype(float)
    alm = masked_alm(truth, weight, LMAX, None)
    coupling = mode_coupling(weight, LMAX)
    found = corrected_d_ell(pseudo_spectra(alm, alm)["truth"], coupling, beam[:1])[0]
    reference = hp.anafast(truth[0] * weight, lmax=LMAX, iter=3) / kept.mean() / beam[0] ** 2
    np.testing.assert_allclose(found[2:], d_ell(reference)[2:], rtol=1e-6)


def test_band_of_theories_holds_the_wanted_parts():
    draws = 100 + 10 * np.random.default_rng(15).standard_normal((4000, 3))
    band = theory_band(draws)
    for name, sigmas in {"low_2": -2, "low_1": -1, "mean": 0, "high_1": 1, "high_2": 2}.items():
        np.testing.assert_allclose(band[name], 100 + 10 * sigmas, atol=2)


def test_what_does_not_fit_together_is_refused(weight):
    coupling, beam = mode_coupling(weight, LMAX), windows()[:1]
    decoupled = decouplings(coupling, EDGES, beam)
    alm = random_alm(np.random.default_rng(16), 100)
    with pytest.raises(SpectrumError, match="truth has shape"):
        spectra_scores(pseudo_spectra(alm, alm), coupling, decoupled, beam)
    alm = random_alm(np.random.default_rng(16), LMAX)
    with pytest.raises(SpectrumError, match="theory has shape"):
        spectra_scores(pseudo_spectra(alm, alm), coupling, decoupled, beam, theory()[:1, :100])
