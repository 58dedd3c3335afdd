"""Spectra of noise whose strength varies over the sky."""

import numpy as np
import pytest

from cmbml.sims.noise_spectrum import mode_coupling, mode_sum, scatter_modes, spectrum_bins, wigner_d

LMAX = 80


@pytest.mark.parametrize("spin", [0, 2, -2])
def test_wigner_functions_against_harmonics(spin):
    """Against closed forms: Legendre polynomials, and (Kim 2011) the first d^l_2,+-2."""
    x = np.linspace(-0.99, 0.99, 7)
    if spin == 0:
        np.testing.assert_allclose(wigner_d(40, 0, 0, x)[40], np.polynomial.Legendre.basis(40)(x), atol=1e-13)
        return
    sign = np.sign(spin)
    ours = wigner_d(3, 2, spin, x)
    np.testing.assert_allclose(ours[2], (1 + sign * x) ** 2 / 4, atol=1e-14)
    np.testing.assert_allclose(ours[3], (1 + sign * x) ** 2 * (3 * x - 2 * sign) / 4, atol=1e-14)
    assert not ours[:2].any()


def test_coupling_is_solved_and_keeps_power():
    pattern = 1 / (1.0 + np.arange(61.0)) ** 3
    pattern[1:] *= 0.1
    pattern /= mode_sum(pattern)
    coupling = mode_coupling([pattern, pattern], LMAX)
    flat = coupling.couple(np.ones((3, LMAX + 1)))
    # White noise stays white, but for what is lost over the edge at lmax.
    np.testing.assert_allclose(flat[0, : LMAX - 60], 1, rtol=1e-12)
    target = np.stack([(10 / np.maximum(np.arange(LMAX + 1), 1.0)) ** slope for slope in (1, 1.5, 0.5)])
    target[1:, :2] = 0
    solved = coupling.solve(target, np.ones((3, 1)))
    error = np.abs(coupling.couple(solved) - target)[:, 2:] / (1 + target[:, 2:])
    assert error.max() < 1e-5


def test_bins_cover_all_multipoles():
    for lmax in (5, 95, 1535):
        edges = spectrum_bins(lmax)
        assert edges[0] == 2
        assert edges[-1] == lmax + 1
        assert np.all(np.diff(edges) > 0)


def test_components_of_chance_are_not_kept():
    rng = np.random.default_rng(8)
    counts = np.linspace(20, 2000, 40)
    chance = np.log10(rng.chisquare(counts, size=(100, 40)) / counts)
    assert len(scatter_modes(chance, counts, 10)) == 0
    mode = 0.05 * np.linspace(1, 2, 40)
    found = scatter_modes(chance + rng.standard_normal((100, 1)) * mode, counts, 10)
    assert len(found) == 1
    # The amplitude is known to 1 / sqrt(2 x 100).
    np.testing.assert_allclose(found[0][20:], mode[20:], rtol=0.3)
