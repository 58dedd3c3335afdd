import numpy as np
import pytest
from astropy.table import Table

from cmbml.metrics.footing import (
    Footing,
    FootingError,
    band_limit,
    check,
    map_window,
    to_conventions,
    to_footing,
    windows,
)
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_alm, filter_components, random_alm, synthesise
from cmbml.sky.maps import MapSpec, SkyMap

NSIDE, LMAX = 64, 128
TRUTH = MapSpec(nside=NSIDE, lmax=LMAX)
SHARP = TRUTH.with_(beam="gaussian", fwhm_arcmin=60.0)
FOOTINGS = [
    Footing(name="deconvolved"),
    Footing(name="deconvolved, damped", regularisation="wiener"),
    Footing(name="60 arcmin", fwhm_arcmin=60.0),
    Footing(name="180 arcmin", fwhm_arcmin=180.0),
    Footing(name="to l = 100", lmax=100),
]


@pytest.fixture(scope="module")
def truth_alm():
    ell = np.arange(LMAX + 1)
    red = 100 / np.sqrt(np.maximum(ell * (ell + 1), 1))
    return filter_alm(random_alm(np.random.default_rng(3), LMAX, 3), red)


@pytest.mark.parametrize("footing", FOOTINGS, ids=lambda footing: footing.name)
def test_a_map_without_error_meets_the_truth(footing, truth_alm):
    prediction = filter_components(truth_alm, map_window(SHARP, LMAX, 3))
    truth, found = to_footing(prediction, SHARP.with_(fields="IQU"), truth_alm, footing, NSIDE, 1)
    # Damping costs epsilon^2 / b^2, and b is 0.64 at the highest multipole.
    tolerance = 5e-4 if footing.regularisation == "wiener" else 1e-10
    np.testing.assert_allclose(found, truth, atol=tolerance * truth.std())


@pytest.mark.parametrize("footing", FOOTINGS, ids=lambda footing: footing.name)
def test_the_truth_carries_the_footing_s_window_alone(footing, truth_alm):
    truth, _ = to_footing(truth_alm[:1], TRUTH, truth_alm[:1], footing, NSIDE, 1)
    ell = np.arange(LMAX + 1)
    wanted = gaussian_window(footing.fwhm_arcmin or 0, LMAX) * (ell <= (footing.lmax or LMAX))
    np.testing.assert_allclose(truth, synthesise(filter_alm(truth_alm[:1], wanted), NSIDE), atol=1e-9 * truth.std())


def test_the_same_coefficients_give_the_same_bits_with_any_number_of_threads(truth_alm):
    single = truth_alm.astype(np.complex64)
    maps = [to_footing(single, TRUTH, single, FOOTINGS[3], NSIDE, threads) for threads in (1, 2)]
    assert maps[0][0].dtype == np.float32
    assert np.array_equal(maps[0][0], maps[0][1])
    assert np.array_equal(maps[0], maps[1])


def test_a_map_at_the_footing_s_own_beam_is_left_untouched():
    found = windows(SHARP, Footing(name="own", fwhm_arcmin=60.0), LMAX, 1)
    np.testing.assert_allclose(found.prediction, 1.0, rtol=1e-12)


def test_regularisation_bounds_the_gain_and_joins_smoothly():
    beam, own = np.ones((1, 2001)), np.linspace(2.0, 0.0, 2001)[None]
    cut = Footing(name="x", epsilon=0.1).inverse(own, beam)
    wiener = Footing(name="x", epsilon=0.1, regularisation="wiener").inverse(own, beam)
    assert cut.max() == pytest.approx(10, rel=1e-2)
    assert (cut[own < 0.1] == 0).all()
    assert wiener.max() == pytest.approx(1.01 / 0.2, rel=1e-3)
    assert wiener[0, -1] == 0
    assert np.abs(np.diff(wiener[0, :1500])).max() < 2e-2
    np.testing.assert_allclose(wiener[own >= 1], 1 / own[own >= 1])
    assert (wiener * own).max() <= 1 + 1e-12


def test_multipoles_that_a_map_lacks_are_lost_and_not_blown_up(truth_alm):
    coarse = SHARP.with_(lmax=100)
    found = windows(coarse, FOOTINGS[0], LMAX, 1)
    assert (found.prediction[:, 101:] == 0).all()
    assert (found.truth[:, 101:] == 1).all()
    assert found.perfect[:, :101] == pytest.approx(1.0)


def test_another_nside_is_fine_if_it_reaches_far_enough():
    check(MapSpec(nside=32, lmax=90), TRUTH, Footing(name="to l = 90", lmax=90))
    check(MapSpec(nside=32), TRUTH, Footing(name="wide", fwhm_arcmin=180.0))
    assert band_limit(MapSpec(nside=32, lmax=1000)) == 95
    with pytest.raises(FootingError, match=r"nothing above l = 47 \(nside 16\).*give the footing lmax=47"):
        check(MapSpec(nside=16), TRUTH, FOOTINGS[0])


def test_a_beam_that_is_too_wide_is_refused_with_the_multipole():
    wide = TRUTH.with_(beam="gaussian", fwhm_arcmin=600.0)
    ell = int(np.flatnonzero(gaussian_window(600.0, LMAX) < 0.01)[0])
    with pytest.raises(FootingError, match=rf"600 arcmin\) falls below epsilon=0.01.* l = {ell}, .*lmax={ell - 1}"):
        check(wide, TRUTH, FOOTINGS[0])
    check(wide, TRUTH, Footing(name="as wide", fwhm_arcmin=600.0))
    check(wide, TRUTH, Footing(name="low", lmax=ell - 1))
    check(wide, TRUTH, Footing(name="tolerant", max_lost=1.0))


@pytest.mark.parametrize(
    ("prediction", "truth", "footing", "message"),
    [
        ({"unit": "MJy/sr"}, {}, {}, "a map in 'MJy/sr' cannot .* units of CMB temperature: uK_CMB"),
        ({"unit": "uK_RJ"}, {}, {}, "bandpass"),
        ({}, {"beam": "gaussian", "fwhm_arcmin": 5.0}, {}, "neither a beam"),
        ({}, {"lmax": None}, {}, "band-limited"),
        ({}, {}, {"lmax": 129}, "lmax=129, and the truth ends at l = 128"),
        ({"beam": "window"}, {}, {}, "none was given"),
        ({"pixel_window": True}, {}, {}, "pixel_window_n0064"),
    ],
)
def test_refusals(prediction, truth, footing, message):
    with pytest.raises(FootingError, match=message):
        check(TRUTH.with_(**prediction), TRUTH.with_(**truth), Footing(name="x", **footing))


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"fwhm_arcmin": -1}, {"lmax": 1}, {"max_lost": 2}, {"beem": 3}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Footing(name="x", **wrong)


def test_tabulated_and_pixel_windows_multiply(tmp_path):
    pixel = np.linspace(1, 0.9, 4 * NSIDE + 1)
    Table({"TEMPERATURE": pixel, "POLARIZATION": pixel**2}).write(tmp_path / f"pixel_window_n{NSIDE:04d}.fits")
    spec = TRUTH.with_(beam="window", pixel_window=True)
    table = gaussian_window(30.0, LMAX)
    found = map_window(spec, LMAX, 3, table, tmp_path)
    np.testing.assert_allclose(found[0], (table * pixel[: LMAX + 1]))
    np.testing.assert_allclose(found[2], (table * pixel[: LMAX + 1] ** 2))
    with pytest.raises(FootingError, match="ends at l = 99"):
        map_window(spec, LMAX, 1, table[:100], tmp_path)


def test_units_and_the_sign_of_u():
    rng = np.random.default_rng(5)
    sky = SkyMap(rng.standard_normal((3, 12)), MapSpec(nside=1, fields="IQU", unit="K_CMB", polconv="IAU"))
    found = to_conventions(sky, "uK_CMB")
    np.testing.assert_allclose(found.values, 1e6 * sky.values * [[1], [1], [-1]])
    assert (found.spec.unit, found.spec.polconv) == ("uK_CMB", "COSMO")
    same = to_conventions(found, "uK_CMB")
    assert same.values is found.values
