"""Standard deviations that are made right where the truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from cmbml.methods.base import MethodError
from cmbml.methods.recalibration import Ratios, Recalibration, brightness, gather, recalibrated
from cmbml.sky.case import Answer, Bandpowers, CaseSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap
from cmbml.sky.patches import Patches, PatchSpec

NSIDE = 32
N_PIX = 12 * NSIDE**2
SPEC = MapSpec(nside=NSIDE)


def sky(values: np.ndarray) -> SkyMap:
    return SkyMap(values.reshape(1, -1).astype(np.float32), SPEC)


def case(seed: int, degrees: float = math.inf) -> tuple[Answer, SkyMap, SkyMap]:
    """Errors that grow with brightness, of which the method says three times too little where it is bright."""
    rng = np.random.default_rng(seed)
    tracer = rng.exponential(1000.0, N_PIX)
    size = 2 + tracer / 500
    shape = norm.rvs(size=N_PIX, random_state=rng)
    if math.isfinite(degrees):
        shape = t.rvs(degrees, size=N_PIX, random_state=rng)
    truth = rng.standard_normal(N_PIX) * 100
    return Answer(sky(truth + size * shape), sky(size / (1 + 2 * (tracer > 1000)))), sky(truth), sky(tracer)


def calibrated(how: Recalibration, degrees: float = math.inf) -> dict[str, object]:
    found = [case(seed, degrees) for seed in (1, 2, 3)]
    edges = np.mean([how.edges(brightness(tracer)) for _, _, tracer in found], axis=0)
    pixels = Ratios.none(1, how.classes)
    for answer, truth, tracer in found:
        gather(pixels, answer, truth, tracer, edges)
    return {"edges": edges.tolist(), "factors": how.factors(pixels).tolist(), "bandpowers": None}


def ratio(answer: Answer, truth: SkyMap) -> np.ndarray:
    return ((answer.value.values - truth.values) / answer.sigma.values).ravel()


@pytest.mark.parametrize("kind", ["variance", "conformal"])
def test_coverage_is_right_on_a_case_that_it_has_not_seen(kind: str) -> None:
    answer, truth, tracer = case(9)
    mended = recalibrated(answer, tracer, calibrated(Recalibration(kind=kind)))
    np.testing.assert_array_equal(mended.value.values, answer.value.values)
    for bright in (tracer.values.ravel() < 500, tracer.values.ravel() > 2000):
        z = np.abs(ratio(mended, truth)[bright])
        for level in (0.68, 0.95):
            # Sampling of the judged pixels, and of the third as many in a class that were calibrated on: four sigma.
            slack = 4 * math.sqrt(level * (1 - level) * (1 / z.size + 1 / (0.3 * N_PIX)))
            assert np.mean(z < norm.ppf(0.5 + level / 2)) == pytest.approx(level, abs=slack)


def test_conformal_coverage_is_right_whatever_the_errors_are() -> None:
    """Student's t of three degrees: their variance says too much, at 68 %; the quantile does not."""
    answer, truth, tracer = case(9, 3.0)
    covered = {
        kind: np.mean(
            np.abs(ratio(recalibrated(answer, tracer, calibrated(Recalibration(kind=kind), 3.0)), truth)) < 0.9945
        )
        for kind in ("variance", "conformal")
    }
    assert covered["conformal"] == pytest.approx(0.68, abs=4 * math.sqrt(0.68 * 0.32 * (1 + 1 / 3) / N_PIX))
    assert covered["variance"] > 0.75


def test_a_method_that_tells_no_sigma_is_given_one_per_class() -> None:
    how = Recalibration(classes=2)
    pixels, edges = Ratios.none(1, 2), np.array([0.5])
    tracer, error = np.arange(N_PIX) % 2, np.where(np.arange(N_PIX) % 2, 6.0, 2.0)
    answer, truth = Answer(sky(error)), sky(np.zeros(N_PIX))
    gather(pixels, answer, truth, sky(tracer), edges)
    mended = recalibrated(
        answer, sky(tracer), {"edges": edges, "factors": how.factors(pixels).tolist(), "bandpowers": None}
    )
    np.testing.assert_allclose(mended.sigma.values.ravel(), error, rtol=1e-6)


def test_patches_and_their_spectra_are_recalibrated_too() -> None:
    patch = PatchSpec(maps=SPEC, height=4, width=4, pixel_arcmin=(30.0, 30.0))
    rng = np.random.default_rng(1)

    def patches(values: np.ndarray) -> Patches:
        return Patches(values.astype(np.float32), patch, np.zeros((3, 3)))

    tracer, sigma = patches(rng.random((3, 1, 4, 4))), patches(np.ones((3, 1, 4, 4)))
    told = Bandpowers(np.array([1.0, 2.0, 3.0]), np.ones((3, 2)), np.full((3, 2), 5.0))
    calibration = {"edges": [0.5], "factors": [[2.0, 3.0]], "bandpowers": [0.1, 10.0]}
    mended = recalibrated(Answer(sigma, sigma, bandpowers=told), tracer, calibration)
    np.testing.assert_array_equal(mended.sigma.values, np.where(tracer.values < 0.5, 2.0, 3.0))
    np.testing.assert_allclose(mended.bandpowers.sigma, [[0.5, 50.0]] * 3)
    with pytest.raises(MethodError, match="the calibration is of 3 bins of l, and the spectra have 2"):
        recalibrated(Answer(sigma, sigma, bandpowers=told), tracer, calibration | {"bandpowers": [1.0] * 3})
    with pytest.raises(MethodError, match="the calibration is of 0 bins of l"):
        recalibrated(Answer(sigma, sigma, bandpowers=told), tracer, calibration | {"bandpowers": None})


def test_what_cannot_be_recalibrated_is_refused() -> None:
    ratios = Ratios.none(1)
    with pytest.raises(MethodError, match="2 of 3 standard deviations of the method are zero, negative or NaN"):
        ratios.add((0,), np.ones(3), np.array([1.0, 0.0, np.nan]))
    for kind in ("variance", "conformal"):
        with pytest.raises(MethodError, match=r"1 of 1 classes have no pixel with an error.* recalibration.classes"):
            Recalibration(kind=kind).factors(ratios)


def test_pixels_are_sorted_by_the_highest_frequency_if_nobody_says_otherwise() -> None:
    channels = {name: Channel(freq_ghz=float(name), fwhm_arcmin=0.0, depth_uk_arcmin=1.0) for name in ("545", "143")}
    spec = CaseSpec(dict.fromkeys(channels, SPEC), SPEC, channels)
    assert Recalibration().tracer_of(spec) == "545"
    assert Recalibration(tracer="143").tracer_of(spec) == "143"
    with pytest.raises(MapError, match="no channel '217'"):
        Recalibration(tracer="217").tracer_of(spec)
    with pytest.raises(MethodError, match="these cases show none"):
        Recalibration().tracer_of(CaseSpec({"map": SPEC}, SPEC))
