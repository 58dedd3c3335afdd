import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from cmbml.sims.cosmology import Cosmology, FixedCosmology
from cmbml.sims.spectrum import T_CMB, CambSettings, SpectrumError, theory_spectra
from cmbml.sky.spectra import d_ell

LMAX = 2500
NAMES = {f"{kind}_{pair}" for kind in ("lensed", "unlensed") for pair in ("TT", "EE", "BB", "TE")} | {"PP", "PT", "PE"}
PLANCK_FILE = "COM_PowerSpect_CMB-base-plikHM-TTTEEE-lowl-lowE-lensing-minimum-theory_R3.01.txt"


def planck(**changes):
    best_fit = FixedCosmology().draw(0, np.random.default_rng(0), 0).to_dict()
    return Cosmology(**best_fit | changes)


@pytest.fixture(scope="module")
def spectra():
    return theory_spectra(planck(), LMAX)


def test_every_spectrum_is_there_from_l_0_on(spectra):
    assert set(spectra.cl) == NAMES
    for name in NAMES:
        assert spectra[name].shape == (LMAX + 1,), name
        assert spectra[name].dtype == np.float64
        assert not spectra[name][:2].any()
    assert not spectra["unlensed_BB"].any()
    for name in ("lensed_TT", "lensed_EE", "lensed_BB", "unlensed_TT", "unlensed_EE", "PP"):
        assert (spectra[name][2:] > 0).all(), name


def test_the_spectra_are_plancks_best_fit(spectra):
    folder = os.environ.get("CMBML_ASSETS")
    if not folder or not (path := Path(folder) / "cosmology" / PLANCK_FILE).is_file():
        pytest.skip("CMBML_ASSETS does not name a folder with Planck's theory spectra")
    ell, *columns = np.loadtxt(path, skiprows=1).T
    keep = ell <= LMAX
    tt, te, ee, bb, pp = (column[keep] for column in columns)
    ours = {pair: d_ell(spectra[f"lensed_{pair}"])[2:] for pair in ("TT", "EE", "BB", "TE")}
    # Planck's file is of an older CAMB, recombination and helium table: 0.5 %.
    np.testing.assert_allclose(ours["TT"], tt, rtol=5e-3)
    # Only the dip of EE beyond the reionisation bump is sampled otherwise there.
    np.testing.assert_allclose(ours["EE"][:20], ee[:20], rtol=6e-2)
    np.testing.assert_allclose(ours["EE"][20:], ee[20:], rtol=5e-3)
    assert (np.abs(ours["TE"] - te) < 5e-3 * np.sqrt(tt * ee)).all()
    # Small-scale lenses are followed further and with a newer model of non-linear growth here.
    np.testing.assert_allclose(ours["BB"][:1500], bb[:1500], rtol=2.5e-2)
    multipole = np.arange(LMAX + 1.0)[2:]
    ours_pp = (multipole * (multipole + 1)) ** 2 * spectra["PP"][2:] / (2 * np.pi)
    np.testing.assert_allclose(ours_pp[:400], pp[:400], rtol=5e-3)
    np.testing.assert_allclose(ours_pp[:1000], pp[:1000], rtol=2.5e-2)


def test_the_potential_is_correlated_with_the_sky_through_the_isw_effect(spectra):
    correlation = spectra["PT"][2:] / np.sqrt(spectra["PP"][2:] * spectra["unlensed_TT"][2:])
    # About one half on the largest scales, gone on the small ones (Lewis, Challinor and Hanson 2011, Fig. 2).
    assert 0.3 < correlation[0] < 0.7
    assert np.abs(correlation[500:]).max() < 0.05
    cross_e = spectra["PE"][2:] / np.sqrt(spectra["PP"][2:] * spectra["unlensed_EE"][2:])
    assert 0.01 < np.abs(cross_e).max() < 0.5
    assert np.abs(cross_e[500:]).max() < 0.05


def test_lensing_keeps_the_variance_of_the_temperature(spectra):
    weights = 2 * np.arange(LMAX + 1) + 1
    ratio = np.sum(weights * spectra["lensed_TT"]) / np.sum(weights * spectra["unlensed_TT"])
    # Remapping moves power between multipoles and makes none; little of it crosses lmax.
    assert ratio == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_the_amplitude_scales_the_spectra_and_the_pivot_moves_it(spectra):
    cosmology = planck()
    moved = planck(a_s=cosmology.a_s * (0.002 / 0.05) ** (cosmology.ns - 1), pivot_per_mpc=0.002)
    same = theory_spectra(moved, 300)
    np.testing.assert_allclose(same["lensed_TT"][2:], spectra["lensed_TT"][2:301], rtol=1e-4)
    wrong = theory_spectra(planck(pivot_per_mpc=0.002), 300)
    # A tilt of -0.034 over a factor of 25 in scale is 11 % in amplitude: not to be lost.
    assert wrong["unlensed_TT"][220] / spectra["unlensed_TT"][220] == pytest.approx(25**-0.03395, rel=1e-3)


def test_massive_neutrinos_smooth_the_lenses(spectra):
    heavy = theory_spectra(planck(mnu=0.3), 1000)
    ratio = heavy["PP"][300:1001] / spectra["PP"][300:1001]
    # About 1 - 8 f_nu in matter power at fixed omch2 and h0, which also lowers the dark energy: 5 to 20 %.
    assert (ratio < 0.95).all()
    assert (ratio > 0.80).all()


def test_a_lower_lmax_gives_the_same_numbers(spectra):
    lower = theory_spectra(planck(), 1500)
    power = {"T": spectra["unlensed_TT"], "E": spectra["unlensed_EE"], "P": spectra["PP"]}
    for name in NAMES:
        first, second = name[-2:]
        scale = np.sqrt(power[first] * power[second]) if first != second else spectra[name]
        # CAMB goes further for a higher lmax, which the last lensed multipoles feel.
        tolerance = 4e-3 if name == "lensed_BB" else 5e-4
        assert (np.abs(lower[name] - spectra[name][:1501]) <= tolerance * scale[:1501]).all(), name


@pytest.mark.slow
def test_the_defaults_have_converged(spectra):
    sharp = CambSettings(lens_potential_accuracy=6, margin=3000, accuracy_boost=2.0)
    fine = theory_spectra(planck(), 1535, sharp)
    for name, tolerance in {"TT": 1e-3, "EE": 2e-3, "BB": 5e-3}.items():
        np.testing.assert_allclose(spectra[f"lensed_{name}"][2:1536], fine[f"lensed_{name}"][2:], rtol=tolerance)


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit():
    code = (
        "import hashlib\n"
        "from cmbml.sims.cosmology import FixedCosmology\n"
        "from cmbml.sims.spectrum import theory_spectra\n"
        "cl = theory_spectra(FixedCosmology().draw(0, None, 0), 700).cl\n"
        "print(hashlib.sha256(b''.join(cl[name].tobytes() for name in sorted(cl))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(digests) == 1


def test_camb_keeps_the_threads_it_was_set_to():
    import camb

    before = camb.config.ThreadNum
    with pytest.raises(SpectrumError):
        theory_spectra(planck(ombh2=0.001), 200)
    assert before == camb.config.ThreadNum


def test_what_camb_refuses_is_said_with_the_parameters():
    # So few baryons cannot scatter light to this optical depth.
    with pytest.raises(SpectrumError, match=r"CAMB refuses .*'ombh2': 0.001"):
        theory_spectra(planck(ombh2=0.001), 300)


@pytest.mark.parametrize(
    ("name", "value"), [("lens_potential_accuracy", 0), ("margin", -1), ("accuracy_boost", 0), ("halofit_version", "x")]
)
def test_impossible_settings_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        CambSettings(**{name: value})


def test_the_temperature_of_the_cmb_is_fixsens():
    assert T_CMB == 2.7255
