import os
import subprocess
import sys
from itertools import pairwise, product

import ducc0
import numpy as np
import pytest
from camb.correlations import lensed_cls

from cmbml.sims import cmb
from cmbml.sims.cmb import CmbError, needed_lmax, realise
from cmbml.sims.cosmology import FixedCosmology
from cmbml.sims.spectrum import theory_spectra
from cmbml.sky.harmonics import alm_size, cut_alm, power, synthesise
from cmbml.sky.spectra import Spectra, bin_spectrum

PAIRS = ("TT", "EE", "BB", "TE")


@pytest.fixture(scope="module")
def spectra():
    return theory_spectra(FixedCosmology().draw(0, np.random.default_rng(0), 0), 2500)


def measure(alm):
    t, e, b = alm
    return np.stack([power(t), power(e), power(b), power(t, e)])


def theory(spectra, prefix, lmax):
    return np.stack([spectra[f"{prefix}_{pair}"][: lmax + 1] for pair in PAIRS])


def scatter(cl, edges, n_realisation):
    """Standard deviation of the mean of Gaussian spectra, per pair and bin (Knox 1995)."""
    tt, ee, bb, te = cl
    modes = 2.0 * np.arange(cl.shape[1]) + 1
    variance = np.stack([2 * tt**2, 2 * ee**2, 2 * bb**2, te**2 + tt * ee]) / modes
    binned = [np.sum(modes[a:b] ** 2 * variance[:, a:b], axis=1) / modes[a:b].sum() ** 2 for a, b in pairwise(edges)]
    return np.sqrt(np.stack(binned, axis=1) / n_realisation)


@pytest.mark.parametrize(("lensing", "prefix"), [("none", "unlensed"), ("spectra", "lensed")])
def test_the_mean_of_200_realisations_is_the_theory(spectra, lensing, prefix):
    lmax, edges = 127, np.array([2, 5, 10, 20, 35, 50, 65, 80, 95, 112, 128])
    measured = np.mean(
        [measure(realise(spectra, np.random.default_rng(i), lmax, "IQU", lensing)) for i in range(200)], axis=0
    )
    expected = theory(spectra, prefix, lmax)
    sigma = scatter(expected, edges, 200)
    difference = bin_spectrum(measured, edges) - bin_spectrum(expected, edges)
    rows = slice(None) if lensing == "spectra" else [0, 1, 3]
    assert (np.abs(difference[rows]) < 3 * sigma[rows]).all()
    assert (sigma[2] > 0).all() == (lensing == "spectra")
    if lensing == "none":
        assert not measured[2].any()
    # And the scatter is as wide as it should be: chi2 of its degrees of freedom, within 4 sigma.
    chi = (difference[rows] / sigma[rows]).ravel()
    assert abs(np.sum(chi**2) - chi.size) < 4 * np.sqrt(2 * chi.size)


@pytest.mark.parametrize("lensing", ["none", "spectra", "remap"])
@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_a_realisation_has_the_promised_form(spectra, fields, lensing, monkeypatch):
    monkeypatch.setattr(cmb, "needed_lmax", lambda lmax, *_: lmax + 100 * (lensing == "remap"))
    alm = realise(spectra, np.random.default_rng(0), 100, fields, lensing)
    assert alm.shape == (len(fields), alm_size(100))
    assert alm.dtype == np.complex64
    assert np.isfinite(alm).all()
    assert not alm[:, [0, 1, 101]].any()
    np.testing.assert_allclose(alm[:, :101].imag, 0.0, atol=1e-6)


def test_the_same_sky_under_every_choice(spectra):
    def draw(lmax, fields, lensing):
        return realise(spectra, np.random.default_rng(7), lmax, fields, lensing)

    for lensing in ("none", "spectra"):
        full = draw(200, "IQU", lensing)
        np.testing.assert_array_equal(draw(100, "IQU", lensing), cut_alm(full, 100))
        np.testing.assert_array_equal(draw(200, "I", lensing), full[:1])
    assert not np.array_equal(draw(100, "I", "none"), realise(spectra, np.random.default_rng(8), 100, "I", "none"))

    def correlation(one, other):
        return power(one[0], other[0])[2:] / np.sqrt(power(one[0])[2:] * power(other[0])[2:])

    remapped = draw(300, "I", "remap")
    for other in (draw(300, "I", "none"), draw(300, "I", "spectra"), cut_alm(draw(600, "I", "remap"), 300)):
        assert correlation(remapped, other).min() > 0.98
    assert correlation(remapped, cut_alm(draw(600, "I", "remap"), 300)).min() > 0.9999


def test_without_lenses_remapping_changes_nothing(spectra, monkeypatch):
    monkeypatch.setattr(cmb, "needed_lmax", lambda lmax, _, lensing: lmax + 400 * (lensing == "remap"))
    straight = Spectra(spectra.cl | {name: 0 * spectra[name] for name in ("PP", "PT", "PE")})
    same = realise(straight, np.random.default_rng(3), 200, "IQU", "remap")
    unlensed = realise(straight, np.random.default_rng(3), 200, "IQU", "none")
    error = np.sqrt(power(same[:2] - unlensed[:2]) / np.maximum(power(unlensed[:2]), 1e-30))
    # The interpolation is good to 1e-5 of the field's rms; the weakest multipoles of E have 1/50 of it.
    assert error[0, 2:].max() < 1e-4
    assert error[1, 2:].max() < 1e-3
    assert power(same[2]).max() < 1e-6 * power(same[1])[100:].max()


def test_the_deflection_points_along_the_gradient():
    # phi = a cos(theta) moves every point by -a sin(theta) along the meridian; T = P_3(cos(theta)) moves with it.
    lmax, amplitude = 16, 2e-3
    sky = {name: np.zeros(alm_size(600), dtype=np.complex64) for name in "TP"}
    sky["T"][3] = np.sqrt(4 * np.pi / 7)
    sky["P"][1] = amplitude * np.sqrt(4 * np.pi / 3)
    theta = ducc0.healpix.Healpix_Base(16, "RING").pix2ang(np.arange(12 * 16**2))[:, 0]
    moved = theta - amplitude * np.sin(theta)
    cosine = np.cos(moved)
    expected = 0.5 * (5 * cosine**3 - 3 * cosine)
    found = synthesise(cmb._remap(sky, lmax, 1)[:, :], 16)[0]
    assert np.abs(0.5 * (5 * np.cos(theta) ** 3 - 3 * np.cos(theta)) - expected).max() > 1e-3
    # Second order puts (2e-3)^2 into the dipole, which the result leaves out.
    np.testing.assert_allclose(found, expected, atol=6e-5)


def test_remapping_agrees_with_lenspyx(spectra):
    from lenspyx import alm2lenmap
    from lenspyx.remapping.utils_geom import Geom

    lmax, lmax_unlensed = 300, 500
    rng = np.random.default_rng(11)
    sky = cmb._draw(spectra, "unlensed_", "TPE", dict.fromkeys("TEP", rng), lmax_unlensed)
    ours = cmb._remap(sky, lmax, 2)
    ell = np.arange(lmax_unlensed + 1.0)
    t, e, p = (sky[name].astype(np.complex128) for name in "TEP")
    gradient = cmb.filter_alm(p, np.sqrt(ell * (ell + 1)))
    grid = {"lmax": 900}
    maps = alm2lenmap([t, e, 0 * e], gradient, geometry=("gl", grid), epsilon=1e-10, nthreads=2)
    geometry = Geom.get_gl_geometry(**grid)
    temperature = geometry.adjoint_synthesis(np.array(maps[:1], dtype=np.float64), 0, lmax, lmax, 2)
    polarisation = geometry.adjoint_synthesis(np.array(maps[1:], dtype=np.float64), 2, lmax, lmax, 2)
    theirs = np.concatenate([temperature, polarisation])
    error = np.sqrt(power(ours - theirs)[:, 10:] / power(theirs)[:, 10:])
    # T and E to the interpolation's accuracy and the grids' different aliasing; B modes are a hundred times weaker.
    assert error[0].max() < 5e-3
    assert error[1].max() < 2e-2
    assert np.median(error) < 1e-3


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit(spectra, monkeypatch):
    monkeypatch.setattr(cmb, "needed_lmax", lambda *_: 1400)
    one, two = (realise(spectra, np.random.default_rng(5), 63, "IQU", "remap", threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_a_process_that_is_held_to_one_thread_gives_the_same_bits(tmp_path):
    # What is allowed to the whole process decides how ducc0's FFT rounds, not only what is asked for.
    code = (
        "import hashlib, sys\n"
        "import numpy as np\n"
        "from cmbml.sims import cmb\n"
        "from cmbml.sky.spectra import Spectra\n"
        "cmb.needed_lmax = lambda lmax, *_: 1100\n"
        "ell = np.arange(1101.0)\n"
        "cl = {name: 1 / (1 + ell) ** 2.5 for name in ('unlensed_TT', 'unlensed_EE')}\n"
        "cl |= {'PP': 1e-6 / (1 + ell) ** 4} | {name: 0 * ell for name in ('unlensed_TE', 'PT', 'PE')}\n"
        "alm = cmb.realise(Spectra(cl), np.random.default_rng(0), 500, 'IQU', 'remap', 2)\n"
        "print(hashlib.sha256(alm.tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }
    assert len(digests) == 1


def compare_with_camb(spectra, lmax, edges, n_realisation, threads):
    measured = np.array(
        [
            bin_spectrum(measure(realise(spectra, np.random.default_rng(i), lmax, "IQU", "remap", threads)), edges)
            for i in range(n_realisation)
        ]
    )
    expected = theory(spectra, "lensed", lmax)
    return measured.mean(axis=0), bin_spectrum(expected, edges), scatter(expected, edges, n_realisation)


def check_lensed(measured, expected, sigma):
    difference = np.abs(measured - expected)
    scale = np.stack([expected[0], expected[1], expected[2], np.sqrt(expected[0] * expected[1])])
    # Besides chance: what the cut of the unlensed sky leaves out (`needed_lmax`), and CAMB's own accuracy in BB.
    allowance = np.array([5e-4, 1e-3, 1e-2, 5e-4])[:, None] * scale
    for pair, excess in zip(PAIRS, (difference - allowance) / sigma, strict=True):
        assert (excess < 3).all(), f"{pair}: {excess.round(1)}"


@pytest.mark.slow
def test_remapped_skies_have_cambs_lensed_spectra(spectra):
    lmax, edges = 600, np.array([2, 30, 100, 200, 300, 400, 500, 601])
    measured, expected, sigma = compare_with_camb(spectra, lmax, edges, 3, 2)
    check_lensed(measured, expected, sigma)
    # B modes of lensing alone: a sky that is lensed twice has twice as many.
    assert np.sum(measured[2]) / np.sum(expected[2]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.slow
def test_many_remapped_skies_have_cambs_lensed_spectra():
    lmax, edges = 1500, np.concatenate([[2, 20, 50], np.arange(100, 1451, 50), [1501]])
    reach = needed_lmax(lmax, "IQU", "remap")
    spectra = theory_spectra(FixedCosmology().draw(0, np.random.default_rng(0), 0), reach)
    measured, expected, sigma = compare_with_camb(spectra, lmax, edges, 12, 2)
    check_lensed(measured, expected, sigma)


def lensed_bb(spectra, cut, lmax):
    """Let CAMB lens, by correlation functions, no more of the unlensed spectra than a remapped sky is drawn of."""
    ell = np.arange(cut + 1.0)
    scale = ell * (ell + 1) / (2 * np.pi)
    unlensed = {pair: scale * spectra[f"unlensed_{pair}"][: cut + 1] for pair in ("TT", "EE", "TE")}
    drawn = np.stack([unlensed["TT"], unlensed["EE"], 0 * ell, unlensed["TE"]], axis=1)
    potential = 2 * np.pi * scale**2 * spectra["PP"][: cut + 1]
    found = lensed_cls(drawn, potential, lmax_lensed=lmax, sampling_factor=2.8, theta_max=None)[: lmax + 1, 2]
    return np.divide(found, scale[: lmax + 1], out=np.zeros(lmax + 1), where=scale[: lmax + 1] > 0)


@pytest.mark.slow
@pytest.mark.parametrize(("lmax", "n_realisation"), [(191, 40), (767, 24)])
def test_b_modes_of_remapped_skies_are_cambs(spectra, lmax, n_realisation):
    """To 3e-3 a bin: B modes are so weak that what a grid aliases shows in them first."""
    edges = np.unique(np.round(np.linspace(2, lmax + 1, 12)).astype(int))
    measured, camb, sigma = (part[2] for part in compare_with_camb(spectra, lmax, edges, n_realisation, 2))
    expected = bin_spectrum(lensed_bb(spectra, needed_lmax(lmax, "IQU", "remap"), lmax)[None], edges)[0]
    assert np.median(sigma / expected) < 4e-3
    # What the cut of the unlensed sky leaves out, and CAMB's own accuracy.
    np.testing.assert_allclose(expected, camb, rtol=5e-3)
    chi2 = np.sum(((measured - expected) / sigma) ** 2)
    assert abs(chi2 - len(expected)) < 4 * np.sqrt(2 * len(expected)), (measured / expected - 1).round(4)
    assert np.sum(measured) / np.sum(expected) == pytest.approx(1.0, abs=3e-3)


def test_lensed_temperature_alone_has_cambs_spectrum(spectra):
    lmax, edges = 900, np.array([2, 100, 200, 300, 400, 500, 600, 700, 800, 901])
    measured = np.mean(
        [
            bin_spectrum(power(realise(spectra, np.random.default_rng(i), lmax, "I", "remap", 2)[0]), edges)
            for i in range(5)
        ],
        axis=0,
    )
    cl = theory(spectra, "lensed", lmax)
    expected, sigma = bin_spectrum(cl[0], edges), scatter(cl, edges, 5)[0]
    assert (np.abs(measured - expected) < 3 * sigma + 5e-4 * expected).all()
    # The unlensed spectrum, and so a sky lensed twice, is told apart.
    unlensed = bin_spectrum(theory(spectra, "unlensed", lmax)[0], edges)
    assert (np.abs(measured - unlensed) > 5 * sigma).any()


def test_the_potential_is_drawn_with_its_correlations(spectra):
    lmax, edges = 60, np.array([2, 10, 30, 61])
    names = "TPE"
    measured = np.zeros((3, 3, len(edges) - 1))
    for i in range(100):
        streams = {name: np.random.default_rng([i, j]) for j, name in enumerate(names)}
        sky = cmb._draw(spectra, "unlensed_", names, streams, lmax)
        for a, b in product(range(3), range(3)):
            measured[a, b] += bin_spectrum(power(sky[names[a]], sky[names[b]]), edges) / 100
    modes = np.array([np.sum(2 * np.arange(a, b) + 1) for a, b in pairwise(edges)])
    for a, b in product(range(3), range(3)):
        cl = {
            name: spectra[key][: lmax + 1]
            for name, key in zip(names, ("unlensed_TT", "PP", "unlensed_EE"), strict=True)
        }
        pair = {"TP": "PT", "PT": "PT", "PE": "PE", "EP": "PE", "TE": "unlensed_TE", "ET": "unlensed_TE"}
        cross = spectra[pair[names[a] + names[b]]][: lmax + 1] if a != b else cl[names[a]]
        variance = cross**2 + cl[names[a]] * cl[names[b]]
        weights = 2.0 * np.arange(lmax + 1) + 1
        sigma = np.sqrt(
            [np.sum((weights * variance)[lo:hi]) / n**2 for lo, hi, n in zip(edges[:-1], edges[1:], modes, strict=True)]
        )
        assert (np.abs(measured[a, b] - bin_spectrum(cross, edges)) < 3.5 * sigma / 10).all(), names[a] + names[b]


@pytest.mark.parametrize(("fields", "reach"), [("I", 899), ("IQU", 2400)])
def test_spectra_that_end_too_early_are_refused(spectra, fields, reach):
    short = Spectra({name: values[: reach + 1] for name, values in spectra.cl.items()})
    needed = needed_lmax(200, fields, "remap")
    with pytest.raises(CmbError, match=rf"end at l = {reach}.*up to l = {needed}"):
        realise(short, np.random.default_rng(0), 200, fields, "remap")


def test_spectra_that_are_no_covariance_are_refused(spectra):
    wild = Spectra(spectra.cl | {"unlensed_TE": 2 * np.sqrt(spectra["unlensed_TT"] * spectra["unlensed_EE"])})
    with pytest.raises(CmbError, match="no covariance"):
        realise(wild, np.random.default_rng(0), 50, "IQU", "none")
    negative = Spectra(spectra.cl | {"lensed_TT": -spectra["lensed_TT"]})
    with pytest.raises(CmbError, match="no covariance"):
        realise(negative, np.random.default_rng(0), 50, "I", "spectra")


def test_a_draw_takes_a_fixed_amount_of_randomness(spectra):
    states = set()
    for lmax, fields, lensing in ((20, "I", "none"), (40, "IQU", "spectra")):
        rng = np.random.default_rng(0)
        realise(spectra, rng, lmax, fields, lensing)
        states.add(rng.integers(2**62))
    assert len(states) == 1
