from itertools import pairwise

import healpy as hp
import numpy as np
import pytest
from holes_skies import (
    band_and_disks,
    healpy_covariance,
    legendre_covariance,
    posterior_covariance,
    signal,
    simulated,
    spectra,
    wiener_mean,
)

from cmbml.methods.holes.filling import ConstrainedRealisations, fill_smoothly, fill_with_zero
from cmbml.methods.holes.preconditioners import Diagonal, HoleAware
from cmbml.methods.holes.screening import Neighbours
from cmbml.methods.holes.signal import Apart, HoleError, NoisyMap, spectral_root
from cmbml.methods.holes.wiener import ConjugateGradients, Posterior
from cmbml.sky.harmonics import inner, iterated_analysis, mix_components, multipoles, power, random_alm

PRECONDITIONERS = ("hole_aware", "diagonal")


def exact(preconditioner="hole_aware", accuracy=1e-8):
    solver = ConjugateGradients(accuracy=accuracy, max_iterations=3000)
    return ConstrainedRealisations(preconditioner=preconditioner, solver=solver)


# The mean.


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("even", [True, False])
def test_mean_is_that_of_a_dense_solve(preconditioner, even):
    given = signal(16, 32, fwhm_deg=8.0)
    observed = band_and_disks(16, 15, [6] * 10)
    sigma = 1.0 if even else np.exp(0.3 * np.random.default_rng(5).standard_normal(observed.size))
    data, clean = simulated(given, sigma, 1)
    noisy = NoisyMap.of(given, observed, sigma**2)
    sky = exact(preconditioner).prepare(noisy)
    found = sky.seen(sky.mean(np.where(observed, data, np.nan)))[0]
    dense = wiener_mean(legendre_covariance(given, np.arange(observed.size)), sigma**2, observed, data[0])
    assert np.abs(found - dense).max() < 1e-6 * clean.std()
    assert (found - clean[0])[~observed].std() > 0.1 * clean.std(), "holes that hold no surprise test nothing"


@pytest.mark.parametrize("nside", [4, 8])
def test_mean_of_polarisation_is_that_of_a_dense_solve(nside):
    given = signal(nside, 2 * nside, 3)
    observed = band_and_disks(nside, 20, [10] * 3)
    sigma = np.array([1.0, 0.2, 0.2])[:, None]
    data, clean = simulated(given, sigma, 2)
    noisy = NoisyMap.of(given, observed, np.broadcast_to(sigma**2, data.shape))
    noise, seen = np.repeat(sigma**2, observed.size), np.tile(observed, 3)
    dense = wiener_mean(healpy_covariance(given), noise, seen, data.ravel())
    sky = exact().prepare(noisy)
    found = sky.seen(sky.mean(data))
    for mine, theirs, truth in zip(found, dense.reshape(3, -1), clean, strict=True):
        assert np.abs(mine - theirs).max() < 1e-6 * truth.std()


def test_low_multipoles_with_power_are_constrained_like_others():
    cl = spectra(32, 1)
    cl[:, :, :2] = cl[:, :, 2:3]
    given = signal(16, 32, fwhm_deg=8.0, cl=cl)
    observed = band_and_disks(16, 15, [6] * 10)
    data, clean = simulated(given, 1.0, 1)
    sky = exact().prepare(NoisyMap.of(given, observed, 1.0))
    dense = wiener_mean(legendre_covariance(given, np.arange(observed.size)), 1.0, observed, data[0])
    assert np.abs(sky.seen(sky.mean(data))[0] - dense).max() < 1e-6 * clean.std()


def test_what_stands_in_holes_does_not_count():
    given = signal(8, 16)
    observed = band_and_disks(8, 20, [10])
    data, _ = simulated(given, 1.0, 3)
    sky = exact().prepare(NoisyMap.of(given, observed, 1.0))
    other = np.where(observed, data, 1e30)
    assert np.array_equal(sky.mean(data).alm, sky.mean(other).alm)


# Preconditioners.


@pytest.mark.parametrize("n_comp", [1, 3])
@pytest.mark.parametrize("make", [Diagonal, lambda noisy: HoleAware(noisy, Neighbours())])
def test_preconditioners_are_symmetric_and_positive(n_comp, make):
    given = signal(16, 32, n_comp, fwhm_deg=6.0)
    noisy = NoisyMap.of(given, band_and_disks(16, 15, [6] * 5), 1.0)
    apply, rng = make(noisy), np.random.default_rng(0)
    one, other = (random_alm(rng, 32, n_comp) for _ in range(2))
    assert inner(one, apply(other)) == pytest.approx(inner(other, apply(one)), rel=1e-9)
    assert inner(one, apply(one)) > 0


def test_system_is_symmetric():
    given = signal(8, 16, 3)
    posterior = Posterior(NoisyMap.of(given, band_and_disks(8, 15, [10]), 1.0))
    one, other = (random_alm(np.random.default_rng(seed), 16, 3) for seed in (0, 1))
    assert inner(one, posterior.apply(other)) == pytest.approx(inner(other, posterior.apply(one)), rel=1e-11)


def test_all_pixels_as_neighbours_invert_the_system():
    """With every pixel on the coarsest grid, nothing is approximated but HEALPix's quadrature."""
    given = signal(4, 6)
    noisy = NoisyMap.of(given, band_and_disks(4, 25, [20]), 0.1)
    posterior, preconditioner = Posterior(noisy), HoleAware(noisy, Neighbours())
    white = random_alm(np.random.default_rng(1), 6)
    white[0, multipoles(6) < 2] = 0
    back = preconditioner(posterior.apply(white))
    assert np.abs(back - white).max() < 0.1 * np.abs(white).max()


@pytest.mark.parametrize("n_comp", [1, 3])
def test_hole_aware_one_needs_few_iterations(n_comp):
    """Far above the noise, where what is diagonal in l takes a hundred times as many."""
    given = signal(32, 64, n_comp, fwhm_deg=5.3)
    observed = band_and_disks(32, 15, [3] * 20)
    data, _ = simulated(given, 1.0, 4)
    noisy = NoisyMap.of(given, observed, 1.0)
    took = exact(accuracy=1e-3).prepare(noisy).mean(data).convergence.iterations
    assert took < 40
    solver = ConjugateGradients(accuracy=1e-3, max_iterations=5 * took)
    with pytest.raises(HoleError):
        ConstrainedRealisations(preconditioner="diagonal", solver=solver).prepare(noisy).mean(data)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_error_that_is_stated_bounds_the_true_one(preconditioner):
    given = signal(16, 32, fwhm_deg=8.0)
    observed = band_and_disks(16, 15, [6] * 10)
    data, _ = simulated(given, 1.0, 1)
    noisy = NoisyMap.of(given, observed, 1.0)
    best = exact(accuracy=1e-9).prepare(noisy).mean(data)
    rough = exact(preconditioner, accuracy=1e-2).prepare(noisy).mean(data)
    root = given.root[0, 0]
    gap = (rough.alm - best.alm) / np.where(root > 0, root, np.inf)[multipoles(32)]
    posterior = Posterior(noisy)
    true = np.sqrt(inner(gap, posterior.apply(gap)) / posterior.n_modes)
    assert 0.01 * rough.convergence.error < true < rough.convergence.error


# Draws.


@pytest.fixture(scope="module")
def drawn():
    """Return 500 draws of a small sky, their exact mean and covariance, and which pixels are holes."""
    given = signal(8, 12)
    observed = band_and_disks(8, 12, [12, 8])
    data, _ = simulated(given, 2.0, 6)
    sky = exact(accuracy=1e-3).prepare(NoisyMap.of(given, observed, 4.0))
    rng = np.random.default_rng(7)
    draws = np.stack([sky.seen(sky.draw(data, rng))[0] for _ in range(500)])
    prior = legendre_covariance(given, np.arange(observed.size))
    mean, covariance = wiener_mean(prior, 4.0, observed, data[0]), posterior_covariance(prior, 4.0, observed)
    return draws, mean, covariance, observed


def test_draws_have_the_right_mean_and_covariance(drawn):
    draws, mean, covariance, _ = drawn
    values, vectors = np.linalg.eigh(covariance)
    # A signal up to lmax has (lmax + 1)^2 - 4 modes in pixels: no monopole, no dipole.
    used = slice(-(13**2 - 4), None)
    white = (draws - mean) @ vectors[:, used] / np.sqrt(values[used])
    n_draw, n_mode = white.shape
    assert values[used].min() > 1e3 * np.abs(values[: -(13**2 - 4)]).max()
    # Each mode is normal: chi-square over all of them, within 4 standard deviations, and mode by mode.
    assert abs((white**2).sum() - n_draw * n_mode) < 4 * np.sqrt(2 * n_draw * n_mode)
    assert np.abs(white.mean(axis=0) * np.sqrt(n_draw)).max() < 4.5
    correlation = white.T @ white / n_draw - np.eye(n_mode)
    assert np.abs(correlation * np.sqrt(n_draw)).max() < 7
    assert np.sqrt((correlation[np.triu_indices(n_mode, 1)] ** 2).mean() * n_draw) == pytest.approx(1, abs=0.03)


def test_stated_uncertainty_is_that_of_the_dense_solve(drawn):
    _, _, covariance, observed = drawn
    given = signal(8, 12)
    sky = exact(accuracy=1e-2).prepare(NoisyMap.of(given, observed, 4.0))
    found = sky.uncertainty(np.random.default_rng(8), 200)[0]
    assert (found[observed] == 0).all()
    true = np.sqrt(np.diag(covariance))[~observed]
    assert (found[~observed] / true).mean() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(found[~observed], true, rtol=5 / np.sqrt(400))


# Noise with a spectrum.


def with_correlated_noise():
    """Return a small sky, spectra of noise like 1 / l in its map, its white noise, holes, and the dense covariances."""
    given = signal(8, 12, fwhm_deg=20.0)
    ell = np.maximum(np.arange(13), 1)
    correlated = np.where(np.arange(13) >= 2, 0.3 * given.beamed_spectra[0, 0, 2] / ell, 0.0)[None]
    observed = band_and_disks(8, 12, [12, 8])
    pixels = np.arange(observed.size)
    of_signal = legendre_covariance(given, pixels)
    together = legendre_covariance(given.with_noise(correlated), pixels)
    return given, correlated, observed, of_signal, together


def test_mean_beside_correlated_noise_is_that_of_a_dense_solve():
    given, correlated, observed, of_signal, together = with_correlated_noise()
    data, clean = simulated(given.with_noise(correlated), 1.0, 3)
    sky = exact().prepare(
        NoisyMap.of(given.with_noise(correlated), observed, 1.0), Apart(given.beamed_spectra, correlated)
    )
    found = sky.signal(sky.mean(data))[0]
    covariance = together[np.ix_(observed, observed)] + np.eye(observed.sum())
    dense = of_signal[:, observed] @ np.linalg.solve(covariance, data[0, observed])
    assert np.abs(found - dense).max() < 1e-6 * clean.std()
    assert np.abs(found - sky.seen(sky.mean(data))[0]).max() > 0.05 * clean.std(), "noise that is nothing tests nothing"


def test_draws_beside_correlated_noise_have_the_right_covariance():
    given, correlated, observed, of_signal, together = with_correlated_noise()
    sky = exact(accuracy=1e-2).prepare(
        NoisyMap.of(given.with_noise(correlated), observed, 1.0), Apart(given.beamed_spectra, correlated)
    )
    rng, nothing = np.random.default_rng(4), np.zeros((1, observed.size))
    draws = []
    for _ in range(400):
        solution = sky.draw(nothing, rng)
        draws.append(sky.signal(solution, rng)[0])
    seen = np.linalg.inv(together[np.ix_(observed, observed)] + np.eye(observed.sum()))
    covariance = of_signal - of_signal[:, observed] @ seen @ of_signal[observed]
    values, vectors = np.linalg.eigh(covariance)
    used = slice(-(13**2 - 4), None)
    white = np.array(draws) @ vectors[:, used] / np.sqrt(values[used])
    n = white.size
    assert abs((white**2).sum() - n) < 4 * np.sqrt(2 * n)
    assert np.abs(white.mean(axis=0) * np.sqrt(len(white))).max() < 4.5
    found = sky.uncertainty(rng, 200)[0]
    np.testing.assert_allclose(found[~observed], np.sqrt(np.diag(covariance))[~observed], rtol=5 / np.sqrt(400))


def test_intervals_cover_what_they_promise(drawn):
    """Over skies: how often the truth in a hole is within 1 and 1.96 standard deviations of the mean.

    The standard deviation is that of draws for another sky: it does not depend on the data.
    """
    draws, mean, _, observed = drawn
    sigma = np.sqrt(((draws - mean) ** 2).mean(axis=0))[~observed]
    given = signal(8, 12)
    sky = exact(accuracy=1e-2).prepare(NoisyMap.of(given, observed, 4.0))
    pulls = []
    for seed in range(150):
        data, clean = simulated(given, 2.0, 100 + seed)
        pulls.append((sky.seen(sky.mean(data)) - clean)[0, ~observed] / sigma)
    pulls = np.abs(np.array(pulls))
    for limit, share in ((1.0, 0.6827), (1.96, 0.95)):
        inside = (pulls < limit).mean(axis=1)
        # Pixels of one sky go together, skies are independent.
        assert abs(inside.mean() - share) < 3.5 * inside.std() / np.sqrt(len(inside))
        assert inside.std() / np.sqrt(len(inside)) < 0.012


def disks_apart(nside, radius_deg, number, rng):
    """Return disks at random places, eight radii apart."""
    chosen = []
    while len(chosen) < number:
        centre = rng.standard_normal(3)
        centre /= np.linalg.norm(centre)
        if all(centre @ other < np.cos(np.radians(8 * radius_deg)) for other in chosen):
            chosen.append(centre)
    return [(centre, hp.query_disc(nside, centre, np.radians(radius_deg))) for centre in chosen]


def residuals(given, sigma, disks, n_sky):
    """Return the mean square of the residual in each disk of each sky, `(n_sky, n_disk)`, and which pixels are seen."""
    observed = np.ones(12 * given.nside**2, bool)
    observed[np.concatenate([disk for _, disk in disks])] = False
    sky = exact(accuracy=1e-2).prepare(NoisyMap.of(given, observed, sigma**2))
    found = []
    for number in range(n_sky):
        data, clean = simulated(given, sigma, 1000 + number)
        gap = (sky.seen(sky.mean(data)) - clean)[0]
        found.append([np.mean(gap[disk] ** 2) for _, disk in disks])
    return np.array(found), observed


def check_ratio(found, expected):
    """Hold mean squares against what is expected, within three and a half sampling errors, which must be small."""
    ratio = (found / expected).mean(axis=1)
    error = ratio.std(ddof=1) / np.sqrt(len(ratio))
    assert abs(ratio.mean() - 1) < 3.5 * error
    assert error < 0.1


def test_residual_in_disk_holes_is_that_of_a_dense_solve():
    given = signal(16, 32, fwhm_deg=6.0)
    disks = disks_apart(16, 8, 6, np.random.default_rng(0))
    found, observed = residuals(given, 1.0, disks, 40)
    dense = np.diag(posterior_covariance(legendre_covariance(given, np.arange(observed.size)), 1.0, observed))
    check_ratio(found, [dense[disk].mean() for _, disk in disks])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nside", "radius_deg"), [(64, 2), (64, 3), (128, 1), (128, 1.5), (128, 2), (256, 0.3), (256, 0.6), (256, 1)]
)
def test_residual_in_small_disk_holes_is_that_of_a_dense_solve(nside, radius_deg):
    """The dense solve sees what is within five radii and ten pixels of a hole: what is further away tells nothing."""
    lmax, pixel_deg = 2 * nside, hp.nside2resol(nside, arcmin=True) / 60
    given = signal(nside, lmax, fwhm_deg=2 * pixel_deg, cl=spectra(lmax, 1, damping=lmax))
    disks = disks_apart(nside, radius_deg, 20, np.random.default_rng(0))
    found, observed = residuals(given, 1.0, disks, 16)
    expected = []
    for centre, disk in disks:
        around = hp.query_disc(nside, centre, np.radians(5 * radius_deg + 10 * pixel_deg))
        dense = posterior_covariance(legendre_covariance(given, around), 1.0, observed[around])
        expected.append(np.diag(dense)[np.isin(around, disk)].mean())
    check_ratio(found, expected)


# Fillings.


@pytest.fixture(scope="module")
def holed():
    observed = band_and_disks(32, 10, [4] * 20)
    data, _ = simulated(signal(32, 64, 3), np.array([1.0, 0.1, 0.1])[:, None], 10)
    return np.where(observed, data, hp.UNSEEN).astype(np.float32), observed


@pytest.mark.parametrize("fill", [fill_with_zero, fill_smoothly])
def test_simple_fillings_leave_the_map_alone(holed, fill):
    values, observed = holed
    filled = fill(values, observed)
    assert filled.dtype == values.dtype
    assert np.array_equal(filled[:, observed], values[:, observed])
    assert np.abs(filled).max() <= np.abs(values[:, observed]).max()


def test_constrained_filling_leaves_the_map_alone_and_draws_differ(holed):
    values, observed = holed
    given = signal(32, 64, 3)
    noise = np.broadcast_to(np.array([1.0, 0.01, 0.01])[:, None], values.shape)
    sky = exact(accuracy=1e-2).prepare(NoisyMap.of(given, observed, noise))
    rng = np.random.default_rng(11)
    one, other = (sky.fill(values, sky.draw(values, rng)) for _ in range(2))
    assert one.dtype == values.dtype
    assert np.array_equal(one[:, observed], values[:, observed])
    assert (one != other)[:, ~observed].all()


def test_smooth_filling_solves_laplace_equation(holed):
    values, observed = holed
    filled = fill_smoothly(values.astype(np.float64), observed)
    near = hp.get_all_neighbours(32, np.flatnonzero(~observed))
    means = np.where(near >= 0, filled[:, near], 0).sum(axis=1) / (near >= 0).sum(axis=0)
    np.testing.assert_allclose(filled[:, ~observed], means, atol=1e-5 * filled[:, observed].std())


def test_smooth_filling_of_a_constant_is_the_constant():
    observed = band_and_disks(16, 20, [15])
    np.testing.assert_allclose(fill_smoothly(np.full((1, observed.size), 3.0), observed), 3.0, rtol=1e-6)


def test_filled_skies_have_an_unbiased_spectrum_and_zeroed_ones_have_not():
    given = signal(32, 64, fwhm_deg=5.3)
    observed = band_and_disks(32, 14, [5] * 10)
    sky = exact(accuracy=1e-2).prepare(NoisyMap.of(given, observed, 1.0))
    edges, rng = [2, 6, 12, 18, 24], np.random.default_rng(12)
    shifts = {"drawn": [], "zero": [], "mean": []}
    for seed in range(50):
        data, clean = simulated(given, 1.0, 500 + seed)
        fillings = {
            "drawn": sky.fill(data, sky.draw(data, rng)),
            "mean": sky.fill(data, sky.mean(data)),
            "zero": fill_with_zero(data, observed),
        }
        truth = power(iterated_analysis(clean, 30))[0]
        for name, filled in fillings.items():
            # Noise is left where the map was observed; it is below 1e-3 of the signal at these multipoles.
            found = power(iterated_analysis(filled, 30))[0] / truth
            shifts[name].append([found[a:b].mean() - 1 for a, b in pairwise(edges)])
    mean = {name: np.mean(values, axis=0) for name, values in shifts.items()}
    error = np.std(shifts["drawn"], axis=0) / np.sqrt(50)
    assert (np.abs(mean["drawn"]) < 3.5 * error + 1e-3).all()
    assert (np.abs(mean["zero"]) > 0.1).sum() >= 3
    assert mean["mean"][-1] < -0.1, "the Wiener mean alone lacks power"


# Refusals.


def test_square_root_of_spectra():
    cl = spectra(20, 3)
    root = spectral_root(cl)
    np.testing.assert_allclose(np.einsum("ijl,jkl->ikl", root, root), cl, atol=1e-9 * cl.max())
    alm = random_alm(np.random.default_rng(0), 20, 3)
    np.testing.assert_allclose(
        mix_components(mix_components(alm, root), root), mix_components(alm, cl), atol=1e-9 * cl.max()
    )


def test_no_covariance_is_refused():
    cl = spectra(10, 3)
    cl[0, 1, 5] = cl[1, 0, 5] = 10 * cl[0, 0, 5]
    with pytest.raises(HoleError, match="no covariance at l = 5"):
        spectral_root(cl)


@pytest.mark.parametrize(
    ("variance", "message"),
    [
        (np.full((3, 768), np.inf), "no pixel is observed"),
        (np.zeros((3, 768)), "above zero"),
        (np.ones((1, 768)), "shape"),
        (np.where(np.arange(3)[:, None] == 1, np.inf, np.ones((3, 768))), "in all fields or in none"),
    ],
)
def test_senseless_noise_is_refused(variance, message):
    with pytest.raises(HoleError, match=message):
        NoisyMap(signal(8, 16, 3), variance)


def test_signal_without_power_is_refused():
    noisy = NoisyMap.of(signal(8, 16, cl=np.zeros((1, 1, 17))), band_and_disks(8, 20, []), 1.0)
    with pytest.raises(HoleError, match="no power"):
        HoleAware(noisy, Neighbours())


def test_spectra_that_do_not_fit_are_refused():
    with pytest.raises(HoleError, match="do not fit"):
        signal(8, 16, 3, cl=spectra(16, 1))


def test_what_does_not_converge_says_how_far_it_came():
    given = signal(16, 32, fwhm_deg=8.0)
    observed = band_and_disks(16, 15, [6] * 10)
    data, _ = simulated(given, 0.01, 1)
    solver = ConjugateGradients(accuracy=1e-6, max_iterations=10)
    sky = ConstrainedRealisations(preconditioner="diagonal", solver=solver).prepare(NoisyMap.of(given, observed, 1e-4))
    seen = []
    with pytest.raises(HoleError, match="after 10 iterations"):
        sky.mean(data, seen.append)
    assert [state.iterations for state in seen] == list(range(1, 11))
