import healpy as hp
import numpy as np
import pytest

from cmbml.metrics.coupling import linear_bins, mode_coupling
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.residual import ResidualError, linear_parts, part_rms, part_spectra, require_sum
from cmbml.metrics.spectral import decouplings, masked_alm, pseudo_spectra, spectra_scores
from cmbml.sky.harmonics import random_alm, synthesise

NSIDE, LMAX = 32, 64
N_PIX = 12 * NSIDE**2
CHANNEL_GAINS = np.array([1.0, 3.0, 10.0])  # of the foreground; the CMB's are 1


@pytest.fixture(scope="module")
def weight():
    return np.clip((np.abs(hp.pix2ang(NSIDE, np.arange(N_PIX), lonlat=True)[1]) - 10) / 10, 0, 1)


@pytest.fixture(scope="module")
def observation():
    """The CMB, and foregrounds and noise of three channels: `(3, n_field, n_pix)`."""
    rng = np.random.default_rng(1)
    cmb = synthesise(random_alm(rng, LMAX, 3), NSIDE)
    foreground = CHANNEL_GAINS[:, None, None] * synthesise(random_alm(rng, LMAX, 3), NSIDE)
    return cmb, foreground, 0.5 * rng.standard_normal(foreground.shape)


def linear(channels):
    """An ILC with weights that miss the foreground by a little, and lose 2 % of the CMB."""
    return np.einsum("c,cfp->fp", np.array([1.46, -0.5, 0.02]), channels)


def median(channels):
    return np.median(channels, axis=0)


def test_parts_of_a_linear_method(observation):
    cmb, foreground, noise = observation
    cleaned = linear(cmb + foreground + noise)
    parts = linear_parts(cmb, linear(np.stack([cmb] * 3)), linear(foreground), linear(noise))
    assert require_sum(parts, cleaned - cmb) < 1e-12
    np.testing.assert_allclose(parts["signal_loss"], -0.02 * cmb, atol=1e-12)
    np.testing.assert_allclose(parts["foregrounds"], 0.16 * foreground[0], atol=1e-12)


def test_method_that_is_not_linear_is_told(observation):
    cmb, foreground, noise = observation
    cleaned = median(cmb + foreground + noise)
    parts = linear_parts(cmb, median(np.stack([cmb] * 3)), median(foreground), median(noise))
    with pytest.raises(ResidualError, match="not linear"):
        require_sum(parts, cleaned - cmb)


def test_truth_leaves_nothing(observation):
    zero = np.zeros_like(observation[0])
    parts = linear_parts(observation[0], observation[0], zero, zero)
    assert require_sum(parts, zero) == 0


def test_coefficients_may_be_parts():
    alm = random_alm(np.random.default_rng(2), LMAX, 3, np.complex64)
    parts = linear_parts(alm, 0.9 * alm, 0.2 * alm, 0.1j * alm)
    assert require_sum(parts, (0.1 + 0.1j) * alm) < 1e-6


def test_rms_of_parts_of_known_size(observation, weight):
    cmb, foreground, noise = observation
    mask = weight > 0
    parts = linear_parts(cmb, 0.98 * cmb, 0.1 * foreground[0], 0.5 * noise[0])
    table = part_rms(parts, mask, None)
    assert table["part"].tolist() == [n for n in ("signal_loss", "foregrounds", "noise", "residual") for _ in "IQU"]
    found = {(part, field): rms for part, field, rms in zip(table["part"], table["field"], table["rms"], strict=True)}
    # White noise of 0.25 in 10,000 pixels.
    assert found["noise", "Q"] == pytest.approx(0.25, rel=4 / np.sqrt(2 * mask.sum()))
    assert found["signal_loss", "I"] == pytest.approx(0.02 * np.sqrt(np.mean(cmb[0, mask] ** 2)), rel=1e-10)
    whole = sum(parts.values())
    assert found["residual", "U"] == pytest.approx(np.sqrt(np.mean(whole[2, mask] ** 2)), rel=1e-10)
    shares = table["share"].reshape(4, 3)
    np.testing.assert_allclose(shares[:3].sum(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(shares[3], 1, rtol=1e-12)


def test_offsets_are_taken_off_where_asked(observation, weight):
    mask = weight > 0
    offset = {"foregrounds": observation[0] + np.array([[100.0], [0], [0]]), "noise": observation[2][0]}
    plain = {**offset, "foregrounds": observation[0]}
    dipole = MonopoleDipole.outside(mask)
    np.testing.assert_allclose(part_rms(offset, mask, dipole)["rms"], part_rms(plain, mask, dipole)["rms"], rtol=1e-6)


def test_spectra_of_parts_add_up_to_that_of_the_residual(observation, weight):
    cmb, foreground, noise = observation
    cleaned = linear(cmb + foreground + noise)
    parts = linear_parts(cmb, linear(np.stack([cmb] * 3)), linear(foreground), linear(noise))
    coupling, edges, window = (
        mode_coupling(weight, LMAX, polarised=True),
        linear_bins(2, 60, 15),
        np.ones((3, LMAX + 1)),
    )
    decoupled, dipole = decouplings(coupling, edges, window), MonopoleDipole.outside(weight > 0)
    table = part_spectra(parts, weight, coupling, decoupled, window, dipole)
    alms = [masked_alm(values, weight, LMAX, dipole) for values in (cmb, cleaned)]
    whole = spectra_scores(pseudo_spectra(*alms), coupling, decoupled, window)
    for kind in ("pseudo", "master"):
        of_kind = whole["d_residual"][whole["kind"] == kind]
        rows = table["kind"] == kind
        shares = np.stack([table["d_share"][rows & (table["part"] == part)] for part in parts])
        np.testing.assert_allclose(shares.sum(axis=0), of_kind, rtol=1e-8)
        own = table["d_part"][rows & (table["part"] == "residual")]
        np.testing.assert_allclose(own, of_kind, rtol=1e-8)
    loss = table["d_part"][(table["part"] == "signal_loss") & (table["kind"] == "pseudo")]
    truth = whole["d_truth"][whole["kind"] == "pseudo"]
    np.testing.assert_allclose(loss, 0.02**2 * truth, rtol=1e-8)


def test_parts_at_different_footings_are_refused(observation):
    cmb = observation[0]
    with pytest.raises(ResidualError, match="noise has shape"):
        linear_parts(cmb, cmb, cmb, cmb[:1])
