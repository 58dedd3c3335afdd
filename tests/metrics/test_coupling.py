from itertools import pairwise

import healpy as hp
import numpy as np
import pytest
from scipy.special import eval_jacobi

from cmbml.metrics.coupling import SpectrumError, coupling_kernels, decoupling, linear_bins, mode_coupling
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.spectral import knox_sigma, masked_alm
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_components, iterated_analysis, multipoles, power, random_alm, synthesise
from cmbml.sky.masks import apodise
from cmbml.sky.spectra import d_ell

NSIDE, LMAX, N_SIM = 64, 128, 200
ELL = np.arange(LMAX + 1)


@pytest.fixture(scope="module")
def weight(assets_folder):
    """Planck's mask that keeps 60 % of the sky, its edge softened over 5 degrees."""
    hard = hp.read_map(assets_folder / "masks" / "planck_galplane_ns64.fits", field=2) > 0.5
    return apodise(hard, 300, "C1")


@pytest.fixture(scope="module")
def coupling(weight):
    return mode_coupling(weight, LMAX, polarised=True)


@pytest.fixture(scope="module")
def edges():
    return linear_bins(2, 120, 15)


def spectrum_with_peak(amplitude):
    """D_l with a peak of the acoustic kind, far from flat within a bin."""
    out = np.zeros(LMAX + 1)
    out[2:] = 2 * np.pi / (ELL * (ELL + 1.0))[2:] * amplitude * (1 + 3 * np.exp(-(((ELL[2:] - 80) / 30) ** 2)))
    return out


def sky(seed, window, *spectra):
    alm = random_alm(np.random.default_rng(seed), LMAX, len(spectra))
    alm[:, multipoles(LMAX) < 2] = 0
    return synthesise(filter_components(alm, np.sqrt(np.array(spectra)) * window), NSIDE)


def legendre_quadrature(spectrum, lmax):
    """The kernels by another way: products of correlation functions, integrated exactly over the sphere."""
    order = lmax + len(spectrum) // 2 + 2
    x, weights = np.polynomial.legendre.leggauss(order)
    ell = np.arange(len(spectrum))
    correlation = np.polynomial.legendre.legval(x, (2 * ell + 1) * spectrum / (4 * np.pi))

    def kernel(functions):
        return 0.5 * np.einsum("lx,x,kx->lk", functions, weights * correlation, functions)

    zero, same, opposite = (np.zeros((lmax + 1, order)) for _ in range(3))
    for l in range(lmax + 1):  # noqa: E741
        zero[l] = eval_jacobi(l, 0, 0, x)
        if l >= 2:
            same[l] = ((1 + x) / 2) ** 2 * eval_jacobi(l - 2, 0, 4, x)
            opposite[l] = ((1 - x) / 2) ** 2 * eval_jacobi(l - 2, 4, 0, x)
    total, difference = kernel(same), kernel(opposite)
    return np.stack([kernel(zero), (total + difference) / 2, (total - difference) / 2])


def test_bins_cover_the_range():
    edges = linear_bins(2, 1024)
    assert edges[0] == 2
    assert edges[-1] == 1025
    assert (np.diff(edges)[:-1] == 30).all()
    assert np.diff(edges)[-1] == 33  # 3 multipoles would be left over
    assert linear_bins(2, 121, 30).tolist() == [2, 32, 62, 92, 122]
    assert linear_bins(2, 110, 30).tolist() == [2, 32, 62, 92, 111]
    assert linear_bins(5, 6, 30).tolist() == [5, 7]


@pytest.mark.parametrize("wanted", [(1, 10, 3), (10, 9, 3), (2, 10, 0)])
def test_impossible_bins_are_refused(wanted):
    with pytest.raises(SpectrumError, match="2 <= l_low <= l_high"):
        linear_bins(*wanted)


@pytest.mark.parametrize("lmax_mask", [1, 30, 80, 100])
def test_kernels_against_quadrature(lmax_mask):
    spectrum = np.random.default_rng(1).random(lmax_mask + 1) / (1 + np.arange(lmax_mask + 1))
    kernels = coupling_kernels(spectrum, 40, polarised=True)
    reference = legendre_quadrature(spectrum, 40)
    np.testing.assert_allclose(kernels, reference, rtol=1e-10, atol=1e-13)
    alone = coupling_kernels(spectrum, 40, polarised=False)
    np.testing.assert_allclose(alone, kernels[:1], rtol=1e-10, atol=1e-13)


def test_the_full_sky_couples_nothing():
    coupling = mode_coupling(np.ones(12 * 16**2), 32, polarised=True)
    identity = np.eye(33)
    np.testing.assert_allclose(coupling.matrix(0), identity, atol=1e-9)
    np.testing.assert_allclose(coupling.matrix(1)[2:, 2:], identity[2:, 2:], atol=1e-9)
    np.testing.assert_allclose(coupling.matrix(2), 0, atol=1e-9)
    assert coupling.sky_fraction == pytest.approx(1)


def test_rows_sum_to_the_mean_squared_mask(weight):
    """White noise stays white: its masked spectrum is lower by w2 at every multipole, for E and B together."""
    band = 40
    smooth = synthesise(iterated_analysis(weight[None], band), NSIDE)[0]
    coupling = mode_coupling(smooth, LMAX, polarised=True)
    # Further up, a row needs multipoles beyond lmax.
    inner = slice(2, LMAX + 1 - band)
    np.testing.assert_allclose(coupling.matrix(0).sum(axis=1)[inner], coupling.w2, rtol=1e-5)
    both = coupling.matrix(1) + coupling.matrix(2)
    np.testing.assert_allclose(both.sum(axis=1)[inner], coupling.w2, rtol=1e-5)


def test_threads_do_not_change_a_bit(weight, coupling):
    assert np.array_equal(mode_coupling(weight, LMAX, polarised=True, threads=2).kernels, coupling.kernels)


def test_matrix_against_namaster(weight, coupling):
    nmt = pytest.importorskip("pymaster")
    field = nmt.NmtField(weight, [np.zeros_like(weight)], lmax=LMAX)
    bins = nmt.NmtBin.from_lmax_linear(LMAX, 10)
    workspace = nmt.NmtWorkspace()
    workspace.compute_coupling_matrix(field, field, bins)
    cl = spectrum_with_peak(1000)
    # The mask's own spectrum comes of quadrature there, and of least squares here.
    np.testing.assert_allclose(coupling.matrix(0) @ cl, workspace.couple_cell(cl[None])[0], rtol=1e-3)


def test_master_recovers_the_spectrum_through_a_real_mask(weight, coupling, edges):
    window = gaussian_window(60, LMAX)
    cl = spectrum_with_peak(1000)
    decoupled = decoupling(coupling, edges, window)
    found = np.stack(
        [
            decoupled.bandpowers(power(iterated_analysis(sky(seed, window, cl) * weight, LMAX)))[0]
            for seed in range(N_SIM)
        ]
    )
    expected = decoupled.expected(d_ell(cl)[None])[0]
    error = found.std(axis=0, ddof=1) / np.sqrt(N_SIM)
    assert (np.abs(found.mean(axis=0) - expected) < 3 * error).all()
    # The test has the power to see what decoupling does: these errors are below 2 %, but for the first bin.
    assert (error[1:] / expected[1:] < 0.02).all()
    n_modes = coupling.sky_fraction * np.add.reduceat(2 * ELL[: edges[-1]] + 1, edges[:-1])
    scatter = found.std(axis=0, ddof=1) / knox_sigma(expected, n_modes)
    # 200 skies know a scatter to 5 %; Knox's formula leaves out that neighbouring bins are correlated.
    assert (np.abs(scatter - 1) < 0.2).all()


@pytest.mark.slow
def test_pure_e_gives_no_b_after_decoupling(weight, coupling, edges):
    window = gaussian_window(60, LMAX, spin=2)
    ee = spectrum_with_peak(30)
    decoupled = decoupling(coupling, edges, window, polarised=True)
    pseudo = np.stack(
        [power(iterated_analysis(sky(seed, window, 0 * ee, ee, 0 * ee) * weight, LMAX))[1:] for seed in range(N_SIM)]
    )
    found = decoupled.bandpowers(pseudo)
    expected = decoupled.expected(d_ell(np.stack([ee, 0 * ee])))
    error = found.std(axis=0, ddof=1) / np.sqrt(N_SIM)
    # D_l is not flat within a bin; the windows say what that leaves in B.
    assert (np.abs(expected[1]) < 2e-3 * expected[0]).all()
    assert (np.abs(found.mean(axis=0) - expected) < 3 * error).all()
    # Without decoupling, B is there beyond doubt.
    leaked = pseudo[:, 1, 2:32]
    assert leaked.mean() > 20 * leaked.mean(axis=1).std() / np.sqrt(N_SIM)


def test_windows_are_normalised_and_local(coupling, edges):
    decoupled = decoupling(coupling, edges, np.ones(LMAX + 1))
    flat = decoupled.expected(np.concatenate([[0, 0], np.ones(LMAX - 1)])[None])[0]
    np.testing.assert_allclose(flat, 1, rtol=1e-10)
    inside = [decoupled.windows[0, i, 0, a:b].sum() for i, (a, b) in enumerate(pairwise(edges))]
    assert (np.array(inside) > 0.8).all()


def test_bins_inside_the_range_keep_the_power_outside_away(coupling):
    """What lies below the first and above the last bin has bins of its own."""
    edges = linear_bins(30, 80, 10)
    decoupled = decoupling(coupling, edges, np.ones(LMAX + 1))
    outside = np.zeros(LMAX + 1)
    outside[2:28], outside[84:] = 1, 1
    inside = np.where((ELL >= 30) & (ELL <= 80), 1.0, 0.0)
    assert np.abs(decoupled.expected(outside[None])).max() < 0.03
    np.testing.assert_allclose(decoupled.expected(inside[None])[0, 1:-1], 1, atol=0.02)


def test_beam_goes_out_again(coupling, edges):
    cl, window = spectrum_with_peak(1000), gaussian_window(120, LMAX)
    narrow = decoupling(coupling, edges, window)
    pseudo = coupling.matrix(0) @ (cl * window**2)
    np.testing.assert_allclose(narrow.bandpowers(pseudo[None]), narrow.expected(d_ell(cl)[None]), rtol=1e-10)


def test_what_cannot_be_decoupled_is_refused(coupling, edges):
    with pytest.raises(SpectrumError, match="mask is empty"):
        mode_coupling(np.zeros(12 * 16**2), 32)
    with pytest.raises(SpectrumError, match="ends at l = 100"):
        decoupling(coupling, edges, np.ones(101))
    blind = np.ones(LMAX + 1)
    blind[77:] = 0
    with pytest.raises(SpectrumError, match="not positive at l = 77"):
        decoupling(coupling, edges, blind)
    with pytest.raises(SpectrumError, match="the coupling matrix allows 2 to 128"):
        decoupling(coupling, linear_bins(2, 200), np.ones(LMAX + 1))
    with pytest.raises(SpectrumError, match="only of intensity"):
        decoupling(mode_coupling(np.ones(12 * 16**2), 32), linear_bins(2, 32, 10), np.ones(33), polarised=True)
    speck = np.zeros(12 * NSIDE**2)
    speck[1000] = 1
    with pytest.raises(SpectrumError, match="widen the bins"):
        decoupling(mode_coupling(speck, LMAX), edges, np.ones(LMAX + 1))


@pytest.mark.slow
def test_removal_of_monopole_and_dipole_is_taken_along(weight):
    """Maps with and without it share their realisations, so that its mean effect shows within a tenth of itself.

    Amplitudes of monopole and dipole in the maps drop out; without the kernel the first bin is off by more than 0.1 %.
    """
    edges, window = linear_bins(2, 120, 30), gaussian_window(60, LMAX)
    plain, aware = (mode_coupling(weight, LMAX, removal=removal) for removal in (False, True))
    spectrum, dipole = spectrum_with_peak(1000.0), MonopoleDipole.outside(weight > 0)
    changes = []
    for seed in range(N_SIM):
        values = sky(seed, window, spectrum)
        offset = values + 300 + 100 * hp.pix2vec(NSIDE, np.arange(values.size))[2]
        kept = power(iterated_analysis(values * weight, LMAX))
        changes.append((power(masked_alm(offset, weight, LMAX, dipole)) - kept)[0])
    mean, error = np.mean(changes, axis=0), np.std(changes, axis=0) / np.sqrt(N_SIM)
    predicted = (aware.matrix(0) - plain.matrix(0))[:, 2:] @ (spectrum * window**2)[2:]
    np.testing.assert_allclose(mean[2:40] / error[2:40], predicted[2:40] / error[2:40], atol=4)
    assert mean[2:12].sum() == pytest.approx(predicted[2:12].sum(), rel=0.1)
    expected = aware.matrix(0)[:, 2:] @ (spectrum * window**2)[2:]
    blind, right = (decoupling(one, edges, window).bandpowers(expected[None])[0, 0] for one in (plain, aware))
    theory = decoupling(aware, edges, window).expected(d_ell(spectrum)[None])[0, 0]
    assert abs(blind / theory - 1) > 1e-3
    assert right == pytest.approx(theory, rel=1e-10)
