"""The plain ILC against its closed forms: two channels, one foreground, no noise."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.pixel import PixelIlc, ilc_weights
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.harmonics import filter_alm, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap

NSIDE, LMAX = 16, 32
TRUTH = MapSpec(nside=NSIDE, lmax=LMAX)
FWHM = {"100": 300.0, "143": 240.0, "217": 360.0}
COMMON = 400.0
GAINS = {"100": 1.0, "143": 2.0, "217": 5.0}  # of the foreground; the CMB's are 1
EDGES = (20.0, 45.0)


def spec_of(fwhm: dict[str, float] = FWHM) -> ObservationSpec:
    channels = {name: Channel(freq_ghz=float(name), fwhm_arcmin=f, depth_uk_arcmin=1.0) for name, f in fwhm.items()}
    maps = {name: TRUTH.with_(beam="gaussian", fwhm_arcmin=f) for name, f in fwhm.items()}
    return ObservationSpec(maps, TRUTH, channels)


def seen(alm: np.ndarray, fwhm: float) -> np.ndarray:
    return synthesise(filter_alm(alm, gaussian_window(fwhm, LMAX)), NSIDE)


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    """Coefficients of a CMB and of a foreground that is ten times as strong."""
    rng = np.random.default_rng(3)
    return {"cmb": random_alm(rng, LMAX), "foreground": 10 * random_alm(rng, LMAX)}


def observe(parts: dict[str, np.ndarray], noise_sigma: float = 0.0) -> Observation:
    rng = np.random.default_rng(7)
    maps = {}
    for name, fwhm in FWHM.items():
        values = seen(parts["cmb"] + GAINS[name] * parts["foreground"], fwhm)
        values += noise_sigma * rng.standard_normal(values.shape)
        maps[name] = SkyMap(values, spec_of().shown[name])
    return Observation(spec_of(), maps)


def method(channels: tuple[str, ...] = ("100", "217"), **settings: object) -> PixelIlc:
    return PixelIlc(
        **({"name": "ilc", "channels": channels, "fwhm_arcmin": COMMON, "zone_edges_deg": EDGES} | settings)
    )


def zones() -> np.ndarray:
    latitude = 90 - np.rad2deg(hp.pix2ang(NSIDE, np.arange(TRUTH.n_pix))[0])
    return np.digitize(np.abs(latitude), EDGES)


def test_weights_are_those_of_least_variance() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((4, 4)) * 10.0 ** np.arange(4)[:, None]  # channels of very different variance
    covariance = root @ root.T
    weights = ilc_weights(covariance)
    inverse = np.linalg.inv(covariance)
    np.testing.assert_allclose(weights, inverse.sum(axis=1) / inverse.sum(), rtol=1e-6)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    best = weights @ covariance @ weights
    for _ in range(20):
        other = weights + (step := rng.standard_normal(4)) - step.mean()
        assert other @ covariance @ other > best


def test_error_is_the_chance_correlation_of_cmb_and_foreground(parts: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Two channels and one foreground f: what comes out is s - f cov(s, f) / var(f) in each zone, exactly."""
    sky = method().clean(observe(parts), tmp_path, 1).value
    assert sky.spec == method().accepts(spec_of()) == TRUTH.with_(beam="gaussian", fwhm_arcmin=COMMON)
    cleaned = sky.values[0]
    cmb, foreground = (seen(parts[name], COMMON)[0] for name in ("cmb", "foreground"))
    expected = cmb.copy()
    for zone in np.unique(zones()):
        inside = zones() == zone
        covariance = np.cov(cmb[inside], foreground[inside])
        expected[inside] -= foreground[inside] * covariance[0, 1] / covariance[1, 1]
    np.testing.assert_allclose(cleaned, expected, atol=2e-3 * cmb.std())
    # Left alone, even the best channel is off by ten times the CMB.
    assert np.std(cleaned - cmb) < 0.5 * cmb.std() < 0.1 * np.std(foreground)


def test_parts_add_up_and_are_those_of_the_weights(parts: dict[str, np.ndarray], tmp_path: Path) -> None:
    whole, ilc = observe(parts, noise_sigma=0.5), method(("100", "143", "217"))
    foregrounds = {
        name: SkyMap(seen(GAINS[name] * parts["foreground"], fwhm), spec_of().shown[name])
        for name, fwhm in FWHM.items()
    }
    noise = {
        name: SkyMap(sky.values - seen(parts["cmb"], FWHM[name]) - foregrounds[name].values, sky.spec)
        for name, sky in whole.shown.items()
    }
    found = ilc.decompose(whole, foregrounds, noise, tmp_path, 1)
    cleaned = ilc.clean(whole, tmp_path, 1).value.values
    np.testing.assert_allclose(sum(part.values for part in found.values()), cleaned, atol=1e-3)
    # Weights add up to one, so that no CMB is lost: it comes through at the common beam.
    np.testing.assert_allclose(found["signal"].values, seen(parts["cmb"], COMMON), atol=2e-3)
    assert found["noise"].values.std() > 0


@pytest.mark.parametrize(
    ("ilc", "words"),
    [
        (method(("143",)), "needs at least two channels to combine, and method.channels has 1"),
        (method(("100", "143"), fwhm_arcmin=1.0), "leave it out of method.channels, or widen method.fwhm_arcmin"),
    ],
)
def test_observation_that_cannot_be_cleaned(ilc: PixelIlc, words: str) -> None:
    with pytest.raises(MethodError, match=words):
        ilc.accepts(spec_of({"100": 1200.0, "143": 240.0}))


def test_channel_that_is_not_there() -> None:
    with pytest.raises(MapError, match="no channel '353'; it has 100, 143, 217"):
        method(("100", "353")).accepts(spec_of())


@pytest.mark.parametrize("setting", [{"fwhm_arcmin": -1.0}, {"fwhm_arcmin": 0.0}, {"zone_edges_deg": (90.0,)}])
def test_impossible_settings(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Input should be"):
        method(**setting)


def test_channels_may_be_named_by_numbers() -> None:
    assert method((100, 217)) == method(("100", "217"))


def test_polarisation_is_left_out() -> None:
    spec = spec_of()
    polarised = ObservationSpec(
        {n: s.with_(fields="IQU") for n, s in spec.shown.items()}, TRUTH.with_(fields="IQU"), spec.channels
    )
    assert method().accepts(polarised).fields == "I"
