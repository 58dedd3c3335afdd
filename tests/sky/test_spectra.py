import numpy as np
import pytest

from cmbml.sky.spectra import Spectra, bin_spectrum, d_ell


def test_spectra_reach_as_far_as_the_shortest():
    spectra = Spectra({"lensed_TT": np.arange(11.0), "PP": np.arange(8.0)})
    assert spectra.lmax == 7
    assert spectra["lensed_TT"][10] == 10.0


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="lensed_EB"):
        Spectra({"lensed_TT": np.zeros(3)})["lensed_EB"]


def test_d_ell_of_a_scale_invariant_spectrum_is_flat():
    ell = np.arange(50)
    cl = np.divide(2 * np.pi, ell * (ell + 1), out=np.zeros(50), where=ell > 0)
    np.testing.assert_allclose(d_ell(cl)[1:], 1.0, rtol=1e-14)
    assert d_ell(cl)[0] == 0.0


def test_bins_weight_each_multipole_by_its_modes():
    values = np.array([0.0, 0.0, 1.0, 3.0, 10.0])
    edges = np.array([2, 4, 5])
    np.testing.assert_allclose(bin_spectrum(values, edges), [(5 * 1 + 7 * 3) / 12, 10.0])


def test_bins_keep_the_leading_axes():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 3, 40))
    edges = np.array([2, 10, 40])
    binned = bin_spectrum(values, edges)
    assert binned.shape == (2, 3, 2)
    np.testing.assert_allclose(binned[1, 2], bin_spectrum(values[1, 2], edges))


def test_the_variance_of_a_bin_is_that_of_its_modes():
    # Sum of (2 l + 1) modes: chi2 statistics, so the mean of a bin has the variance 2 C^2 / (number of modes).
    rng = np.random.default_rng(1)
    ell = np.arange(31)
    estimates = np.array([rng.chisquare(2 * ell + 1) / (2 * ell + 1) for _ in range(4000)])
    binned = bin_spectrum(estimates, np.array([2, 11, 31]))
    modes = np.array([np.sum(2 * ell[a:b] + 1) for a, b in ((2, 11), (11, 31))])
    np.testing.assert_allclose(binned.var(axis=0), 2 / modes, rtol=4 * np.sqrt(2 / 4000))
