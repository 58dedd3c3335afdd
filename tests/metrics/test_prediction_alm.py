"""What a cleaned map is as coefficients: exact for the truth, linear in the error."""

import healpy as hp
import numpy as np
import pytest

from cmbml.metrics.footing import map_window
from cmbml.metrics.prediction import prediction_alm
from cmbml.sky.harmonics import Alm, alm_lmax, cut_alm, filter_components, random_alm, synthesise
from cmbml.sky.maps import MapSpec, SkyMap

NSIDE, LMAX = 16, 47
PLAIN = MapSpec(nside=NSIDE, lmax=LMAX)


def truth_alm(n_comp: int = 1, seed: int = 0) -> Alm:
    alm = 50 * random_alm(np.random.default_rng(seed), LMAX, n_comp, np.complex64)
    return filter_components(alm, np.tile(np.arange(LMAX + 1) >= 2, (n_comp, 1)))


def window(spec: MapSpec, n_comp: int = 1) -> np.ndarray:
    return map_window(spec, LMAX, n_comp)


def seen(alm: Alm, spec: MapSpec) -> SkyMap:
    """Return the map that a perfect method would give."""
    values = synthesise(filter_components(alm, window(spec, len(alm))), spec.nside)
    return SkyMap(values.astype(np.float32), spec)


@pytest.mark.parametrize(
    "spec",
    [
        PLAIN,
        PLAIN.with_(beam="gaussian", fwhm_arcmin=300.0),
        PLAIN.with_(lmax=20),
        PLAIN.with_(nside=8, lmax=23),
        PLAIN.with_(nside=32, lmax=LMAX),
        PLAIN.with_(fields="IQU", beam="gaussian", fwhm_arcmin=60.0),
    ],
    ids=["plain", "beam", "low lmax", "coarse", "fine", "polarised"],
)
def test_perfect_map_has_the_coefficients_of_the_truth(spec: MapSpec) -> None:
    """To the rounding of a map in single precision, even at l = 3 nside - 1, where HEALPix is worst."""
    alm = truth_alm(len(spec.fields))
    own = window(spec, len(alm))
    found = prediction_alm(seen(alm, spec), alm, own, "G")
    top = alm_lmax(found.shape[-1])
    assert found.dtype == np.complex64
    assert top == min(LMAX, spec.lmax or LMAX)
    expected = filter_components(cut_alm(alm, top), own[:, : top + 1])
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(alm).max())


def test_error_is_analysed_as_healpy_does() -> None:
    alm, rng = truth_alm(), np.random.default_rng(1)
    error = rng.standard_normal(PLAIN.n_pix)
    sky = SkyMap(synthesise(alm, NSIDE).astype(np.float64) + error, PLAIN)
    found = prediction_alm(sky, alm, window(PLAIN), "G", iterations=3)[0] - alm[0]
    np.testing.assert_allclose(found, hp.map2alm(error, lmax=LMAX, iter=3), atol=1e-4)


def rms(alm: Alm) -> float:
    return float(np.sqrt(np.mean(np.abs(alm) ** 2)))


@pytest.mark.parametrize("iterations", [1, 3])
def test_error_is_found_to_a_per_cent_of_itself(iterations: int) -> None:
    """Where scores are taken, at l <= 2 nside; with more iterations better."""
    alm, error = truth_alm(), cut_alm(cut_alm(truth_alm(seed=2), 32), LMAX)
    found = prediction_alm(seen(alm + error, PLAIN), alm, window(PLAIN), "G", iterations)
    assert rms(cut_alm(found - alm - error, 32)) < 0.02 / iterations * rms(cut_alm(error, 32))


def test_gain_is_kept() -> None:
    alm = truth_alm()
    found = prediction_alm(SkyMap(1.01 * seen(alm, PLAIN).values, PLAIN), alm, window(PLAIN), "G")
    assert rms(cut_alm(found - 1.01 * alm, 32)) < 3e-4 * rms(cut_alm(alm, 32))


@pytest.mark.parametrize("frame", ["C", "E"])
def test_map_in_another_frame(frame: str) -> None:
    """A perfect map in equatorial or ecliptic coordinates is perfect; healpy turns the truth for it."""
    alm = truth_alm()
    turned = alm.astype(np.complex128)
    hp.Rotator(coord=["G", frame]).rotate_alm(turned[0], inplace=True)
    spec = PLAIN.with_(frame=frame)
    sky = SkyMap(synthesise(turned, NSIDE), spec)
    found = prediction_alm(sky, alm, window(spec), "G")
    np.testing.assert_allclose(found, alm, atol=2e-4 * np.abs(alm).max())


def test_fields_are_those_that_both_have() -> None:
    alm = truth_alm(3)
    sky = seen(alm[:1], PLAIN)
    assert prediction_alm(sky, alm, window(PLAIN), "G").shape == (1, alm.shape[1])
    polarised = seen(alm, PLAIN.with_(fields="IQU"))
    assert prediction_alm(polarised, alm[:1], window(PLAIN), "G").shape == (1, alm.shape[1])


def test_threads_do_not_change_a_bit() -> None:
    alm = truth_alm(3)
    spec = PLAIN.with_(fields="IQU")
    values = seen(alm, spec).values + np.random.default_rng(3).standard_normal((3, spec.n_pix)).astype(np.float32)
    found = [prediction_alm(SkyMap(values, spec), alm, window(spec, 3), "G", 3, threads) for threads in (1, 2)]
    assert found[0].tobytes() == found[1].tobytes()
