import healpy as hp
import numpy as np
import pytest

from cmbml.sky.harmonics import (
    adjoint_synthesise,
    alm_lmax,
    alm_size,
    analyse,
    cut_alm,
    filter_alm,
    inner,
    mix_components,
    multipoles,
    power,
    random_alm,
    rotate,
    synthesise,
)

NSIDE, LMAX = 32, 70


@pytest.fixture
def alm():
    return random_alm(np.random.default_rng(1), LMAX, 3)


def without_low(alm):
    """E and B have no l < 2."""
    out = alm.copy()
    out[..., 1:, multipoles(alm_lmax(alm.shape[-1])) < 2] = 0
    return out


@pytest.mark.parametrize("lmax", [0, 1, 2, 95, 1535])
def test_sizes(lmax):
    assert alm_size(lmax) == hp.Alm.getsize(lmax)
    assert alm_lmax(alm_size(lmax)) == lmax
    assert np.array_equal(multipoles(lmax), hp.Alm.getlm(lmax)[0])


def test_synthesis_of_intensity_against_healpy(alm):
    ours = synthesise(alm[:1], NSIDE)[0]
    np.testing.assert_allclose(ours, hp.alm2map(alm[0], NSIDE, lmax=LMAX), atol=1e-11 * ours.std())


def test_synthesis_of_polarisation_against_healpy(alm):
    ours = synthesise(without_low(alm), NSIDE)
    reference = np.array(hp.alm2map(without_low(alm), NSIDE, lmax=LMAX, pol=True))
    np.testing.assert_allclose(ours, reference, atol=1e-10 * ours.std())
    spin = np.array(hp.alm2map_spin(list(without_low(alm)[1:]), NSIDE, 2, LMAX))
    np.testing.assert_allclose(synthesise(without_low(alm)[1:], NSIDE), spin, atol=1e-10 * ours.std())


@pytest.mark.parametrize("n_comp", [1, 2, 3])
def test_batches_equal_single_transforms(n_comp):
    batch = random_alm(np.random.default_rng(2), LMAX, 4 * n_comp).reshape(2, 2, n_comp, -1)
    maps = synthesise(batch, NSIDE, threads=2)
    assert maps.shape == (2, 2, n_comp, 12 * NSIDE**2)
    assert np.array_equal(maps[1, 0], synthesise(batch[1, 0], NSIDE))
    found = analyse(maps, LMAX, threads=2)
    assert np.array_equal(found[1, 0], analyse(maps[1, 0], LMAX))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_threads_do_not_change_a_bit(dtype):
    alm = random_alm(np.random.default_rng(2), 95, 6, dtype).reshape(2, 3, -1)
    maps = [synthesise(alm, NSIDE, threads) for threads in (1, 2, 5)]
    assert maps[0].dtype == alm.real.dtype
    assert all(np.array_equal(maps[0], other) for other in maps[1:])
    found = [analyse(maps[0], 80, threads) for threads in (1, 2, 5)]
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize(("dtype", "accuracy"), [(np.complex128, 1e-5), (np.complex64, 1e-4)])
def test_analysis_recovers_band_limited_fields(alm, dtype, accuracy):
    wanted = without_low(alm).astype(dtype)
    found = analyse(synthesise(wanted, NSIDE), LMAX)
    assert found.dtype == dtype
    error = np.sqrt(power(found - wanted)[:, 2:] / power(wanted)[:, 2:])
    assert error.max() < accuracy


def test_analysis_agrees_with_iterated_healpy(alm):
    maps = synthesise(without_low(alm), NSIDE)
    reference = hp.map2alm(maps, lmax=LMAX, iter=10)
    ours = analyse(maps, LMAX)
    np.testing.assert_allclose(power(ours)[:, 2:], power(reference)[:, 2:], rtol=1e-3)


def test_spectra_against_healpy(alm):
    np.testing.assert_allclose(power(alm), [hp.alm2cl(row) for row in alm], rtol=1e-12)
    np.testing.assert_allclose(power(alm[0], alm[1]), hp.alm2cl(alm[0], alm[1]), atol=1e-14)
    assert power(alm[0]).shape == (LMAX + 1,)
    assert power(alm.reshape(1, 3, -1)).shape == (1, 3, LMAX + 1)


def test_drawn_coefficients_have_unit_spectrum():
    alm = random_alm(np.random.default_rng(3), 300, 2)
    ell = np.arange(301)
    sigma = (power(alm) - 1) / np.sqrt(2 / (2 * ell + 1))
    assert np.abs(sigma.mean(axis=1)).max() < 4 / np.sqrt(301)
    assert sigma.std() == pytest.approx(1, abs=0.1)
    cross = power(alm[0], alm[1]) * np.sqrt(2 * ell + 1)
    assert np.abs(cross.mean()) < 4 / np.sqrt(301)
    assert not alm[:, :301].imag.any()


def test_drawn_large_scales_do_not_depend_on_lmax():
    coarse, fine = (random_alm(np.random.default_rng(4), lmax, 3) for lmax in (40, 90))
    assert np.array_equal(coarse, cut_alm(fine, 40))
    single = random_alm(np.random.default_rng(4), 40, 3, np.complex64)
    np.testing.assert_allclose(single, coarse, rtol=1e-6)


def test_filters_against_healpy(alm):
    window = np.exp(-np.arange(LMAX + 1) / 30)
    np.testing.assert_allclose(filter_alm(alm, window)[1], hp.almxfl(alm[1], window), rtol=1e-14)
    assert filter_alm(alm.astype(np.complex64), window).dtype == np.complex64


@pytest.mark.parametrize("lmax", [10, LMAX, 95])
def test_cuts_against_healpy(alm, lmax):
    np.testing.assert_array_equal(cut_alm(alm, lmax)[2], hp.resize_alm(alm[2], LMAX, LMAX, lmax, lmax))


@pytest.fixture(scope="module")
def red_alm():
    ell = np.arange(129)
    return filter_alm(random_alm(np.random.default_rng(3), 128, 3), 100 / np.sqrt(np.maximum(ell * (ell + 1), 1)))


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_rotation_brings_a_map_to_the_other_frame(red_alm, dtype):
    """The value in a direction does not depend on the frame in which the direction is written."""
    alm = red_alm[:1].astype(dtype)
    turned = rotate(alm, "G", "C", threads=2)
    assert turned.dtype == dtype
    np.testing.assert_allclose(power(turned), power(alm), rtol=1e-4)
    to_galactic = hp.Rotator(coord=["C", "G"])
    low = filter_alm(alm, (np.arange(128 + 1) < 16).astype(float))
    theta, phi = to_galactic(*hp.pix2ang(64, np.arange(12 * 64**2)))
    # A bilinear look-up of a smooth map is good to (l * pixel)^2 / 8, under 1 % at l = 16.
    wanted = hp.get_interp_val(synthesise(low, 64)[0].astype(float), theta, phi)
    found = synthesise(rotate(low, "G", "C"), 64)[0]
    assert np.abs(found - wanted).std() < 0.01 * wanted.std()
    assert np.array_equal(turned, rotate(alm, "G", "C", threads=1))
    np.testing.assert_allclose(rotate(turned, "C", "G"), alm, atol=1e-4 * np.abs(alm).max())


def test_a_polarised_map_in_another_frame(red_alm):
    """E and B turn as scalars: their spectra stay."""
    e_only = red_alm.copy()
    e_only[2] = 0
    turned = rotate(e_only, "G", "E")
    assert (turned[2] == 0).all()
    back = analyse(synthesise(rotate(turned, "E", "G")[1:], 64), 128)
    assert power(back)[1, 2:].max() < 1e-8 * power(back)[0, 2:].max()


@pytest.mark.parametrize("n_comp", [1, 3])
def test_adjoint_synthesis_is_the_transpose_of_synthesis(alm, n_comp):
    maps = np.random.default_rng(3).standard_normal((n_comp, 12 * NSIDE**2))
    wanted = (synthesise(alm[:n_comp], NSIDE) * maps).sum()
    assert inner(alm[:n_comp], adjoint_synthesise(maps, LMAX)) == pytest.approx(wanted, rel=1e-11)


def test_inner_product_is_that_of_spectra(alm):
    wanted = (power(alm, alm[::-1]) * (2 * np.arange(LMAX + 1) + 1)).sum()
    assert inner(alm, alm[::-1]) == pytest.approx(wanted, rel=1e-12)


def test_mixed_components(alm):
    matrices = np.random.default_rng(4).standard_normal((3, 3, LMAX + 1))
    mixed = mix_components(alm, matrices)
    wanted = np.einsum("ijk,jk->ik", matrices[:, :, multipoles(LMAX)], alm)
    np.testing.assert_allclose(mixed, wanted, rtol=1e-12, atol=1e-12)
