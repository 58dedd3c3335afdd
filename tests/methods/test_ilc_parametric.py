"""Parametric separation: laws against PySM's, and skies that obey the model or do not."""

import functools
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.laws import LAWS, OWNERS, seen
from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.methods.ilc.parametric import Parametric, Prior
from cmbml.methods.ilc.sed import PowerLaw
from cmbml.methods.ilc.spectral import fit_spectra
from cmbml.sims.components import Band, grey_body, one_value, power_law
from cmbml.sky.bandpass import Bandpass
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.harmonics import filter_alm, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapSpec, SkyMap

NSIDE, LMAX, COMMON = 32, 64, 180.0
FREQS = (28.4, 44.1, 70.4, 100.9, 142.9, 221.2, 357.5, 555.2, 866.8)
DEPTHS = (300.0, 300.0, 400.0, 150.0, 70.0, 100.0, 300.0, 1600.0, 40000.0)
CHANNELS = {
    str(round(freq)): Channel(freq_ghz=freq, fwhm_arcmin=120.0, depth_uk_arcmin=depth)
    for freq, depth in zip(FREQS, DEPTHS, strict=True)
}
TRUE = np.array([1.6, 19.5, -3.1, -0.05])
INDEX, WIDTH = -2.14, 0.41


def spec_of(fields: Fields = "I", channels: dict[str, Channel] = CHANNELS) -> ObservationSpec:
    truth = MapSpec(nside=NSIDE, lmax=LMAX, fields=fields)
    maps = {name: truth.with_(beam="gaussian", fwhm_arcmin=c.fwhm_arcmin) for name, c in channels.items()}
    return ObservationSpec(maps, truth, channels)


def method(**settings: Any) -> Parametric:
    common: dict[str, Any] = {
        "name": "parametric",
        "channels": tuple(CHANNELS),
        "fwhm_arcmin": COMMON,
        "bands": CosineNeedlets(peaks=(30, 60)),
        "dust_index": Prior(mean=1.55, spread=0.15),
        "dust_temperature_k": Prior(mean=21.0, spread=3.0),
        "synchrotron_index": Prior(mean=-3.0, spread=0.2),
        "ame_peak": Prior(mean=-0.124, spread=0.15),
        "average_deg": 15.0,
    }
    return Parametric(**(common | settings))


@functools.cache
def sky(seed: int = 1) -> tuple[Observation, dict[str, dict[str, SkyMap]]]:
    """Observe a sky that obeys the model: one spectrum for each law, templates that fall off from the plane."""
    rng, spec = np.random.default_rng(seed), spec_of()
    laws = seen([Bandpass.of(c) for c in CHANNELS.values()], TRUE[None], INDEX, WIDTH)[0][0]
    ell = np.arange(LMAX + 1.0)
    cmb = filter_alm(random_alm(rng, LMAX), 400 / (ell + 5))
    latitude = np.abs(np.pi / 2 - hp.pix2ang(NSIDE, np.arange(spec.asked.n_pix))[0])
    plane = 0.1 + np.exp(-latitude / 0.3)
    templates = []
    for size in (200.0, 80.0, 20.0, 60.0):  # uK_RJ at the reference frequencies
        rough = synthesise(filter_alm(random_alm(rng, LMAX), 3 / (ell + 3) ** 1.4), NSIDE)[0]
        found = hp.map2alm(size * plane * np.exp(rough), lmax=LMAX, iter=3)
        templates.append(found.reshape(1, -1))
    pixel = np.rad2deg(np.sqrt(4 * np.pi / spec.asked.n_pix)) * 60
    parts: dict[str, dict[str, SkyMap]] = {"cmb": {}, "foregrounds": {}, "noise": {}}
    for (name, channel), row in zip(CHANNELS.items(), laws, strict=True):
        beam = channel.beam(LMAX, 1)[0]
        emission = sum(factor * alm for factor, alm in zip(row, templates, strict=True))
        values = {
            "cmb": synthesise(filter_alm(cmb, beam), NSIDE),
            "foregrounds": synthesise(filter_alm(emission, beam), NSIDE),
            "noise": channel.depth("I") / pixel * rng.standard_normal((1, spec.asked.n_pix)),
        }
        for part, found in values.items():
            parts[part][name] = SkyMap(found, spec.shown[name])
    maps = {
        name: SkyMap(np.sum([part[name].values for part in parts.values()], axis=0), spec.shown[name])
        for name in CHANNELS
    }
    common = Channel(freq_ghz=1.0, fwhm_arcmin=COMMON, depth_uk_arcmin=1.0).beam(LMAX, 1)[0]
    return Observation(spec, maps, SkyMap(synthesise(filter_alm(cmb, common), NSIDE), spec.asked)), parts


def test_laws_are_those_of_the_simulations(tmp_path: Path) -> None:
    """Through a delta and a measured bandpass, with a response that falls to nothing."""
    table = tmp_path / "band.txt"
    np.savetxt(table, np.stack([np.linspace(180, 260, 41), np.hanning(41)], axis=1))
    channels = [CHANNELS["143"], Channel(freq_ghz=221.0, fwhm_arcmin=10.0, depth_uk_arcmin=1.0, bandpass=table)]
    laws, _ = seen([Bandpass.of(channel) for channel in channels], TRUE[None], INDEX, WIDTH)
    one = {name: np.full(1, value, np.float32) for name, value in zip("bts", TRUE, strict=False)}
    spinning = np.full(1, TRUE[3] / WIDTH**2 - 2, np.float32)
    scalings = (
        grey_body(353.0, one["b"], one["t"]),
        power_law(30.0, one["s"]),
        power_law(30.0, np.full(1, INDEX, np.float32)),
        power_law(30.0, spinning, -0.5 / WIDTH**2),
    )
    assert len(scalings) == len(LAWS)
    for channel, found in zip(channels, laws[0], strict=True):
        band = Band.of(channel)
        theirs = [one_value(scaling, band) * band.to_uk_cmb() for scaling in scalings]
        np.testing.assert_allclose(found, theirs, rtol=1e-4)  # their CMB is 2.72548 K


def test_derivatives_are_those_of_the_laws() -> None:
    bands = [Bandpass.of(channel) for channel in CHANNELS.values()]
    slopes = seen(bands, TRUE[None], INDEX, WIDTH)[1][0]
    for number, owner in enumerate(OWNERS):
        step = 1e-4 * np.eye(4)[number]
        above, below = (seen(bands, (TRUE + sign * step)[None], INDEX, WIDTH)[0][0, :, owner] for sign in (1, -1))
        np.testing.assert_allclose(slopes[:, number], (above - below) / 2e-4, rtol=1e-5, atol=1e-9)


def test_parameters_are_found_where_nothing_else_varies() -> None:
    """Second moments without noise, of any amplitudes and any CMB."""
    bands = [Bandpass.of(channel) for channel in CHANNELS.values()]
    laws = seen(bands, TRUE[None], INDEX, WIDTH)[0][0]
    rng = np.random.default_rng(4)
    drawn = np.array([100.0, 300.0, 100.0, 30.0, 100.0])[:, None] * rng.standard_normal((5, 50))
    data = np.concatenate([np.ones((len(laws), 1)), laws], axis=1) @ drawn
    moments = (data @ data.T / 50)[None]
    variance = 1e-6 * np.diagonal(moments, axis1=1, axis2=2)
    prior = np.array([1.55, 21.0, -3.0, -0.124]), np.array([0.15, 3.0, 0.2, 0.15])
    found = fit_spectra(moments, variance, lambda t: seen(bands, t, INDEX, WIDTH), *prior, 1e3)
    np.testing.assert_allclose((found[0] - TRUE) / prior[1], 0, atol=0.02)


def test_cmb_is_found_to_the_error_that_is_told(tmp_path: Path) -> None:
    """Where the sky obeys the model, noise is what is left, and error bars are at most two fifths too wide.

    They are wide because the moments' priors are not undone by the data where noise hides them.
    """
    observation, parts = sky()
    answer = method().clean(observation, tmp_path, 1)
    assert answer.value.spec == method().accepts(observation.spec)
    assert answer.sigma is not None
    truth = observation.asked
    assert truth is not None
    latitude = np.abs(90 - np.rad2deg(hp.pix2ang(NSIDE, np.arange(truth.spec.n_pix))[0]))
    away = latitude > 10
    error = (answer.value.values - truth.values)[0, away]
    ratio = error / answer.sigma.values[0, away]
    assert 0.7 < np.sqrt(np.mean(ratio**2)) < 1.15
    assert 0.6 < np.mean(np.abs(ratio) < 1) < 0.86
    noise = method().decompose(observation, parts["foregrounds"], parts["noise"], tmp_path, 1)["noise"].values[0, away]
    assert error.std() < 1.3 * noise.std()


def test_response_to_the_cmb_is_one(tmp_path: Path) -> None:
    observation, parts = sky()
    found = method().decompose(observation, parts["foregrounds"], parts["noise"], tmp_path, 1)
    truth = observation.asked
    assert truth is not None
    signal, wanted = found["signal"].values[0], truth.values[0]
    np.testing.assert_allclose(signal, wanted, atol=2e-3 * wanted.std())
    assert found["chance"].values.std() < 1e-3 * found["noise"].values.std()
    cleaned = method().clean(observation, tmp_path, 1).value.values[0]
    response = np.mean(cleaned * wanted) / np.mean(wanted**2)
    assert response == pytest.approx(1, abs=0.01)  # the noise correlates with the CMB by chance, too


def test_what_no_law_foresees_is_in_the_data(tmp_path: Path) -> None:
    """Bright dust of another index: the channels' own covariance helps, and the response to the CMB stays 1.

    What it costs is chance correlations, of which there are many at this resolution: 18 uK of the 250 of the CMB.
    """
    observation, parts = sky()
    truth = observation.asked
    assert truth is not None
    spec, rng, ell = observation.spec, np.random.default_rng(7), np.arange(LMAX + 1.0)
    other = seen([Bandpass.of(c) for c in CHANNELS.values()], TRUE[None] - np.array([0.9, 0, 0, 0]), INDEX, WIDTH)[0]
    rough = filter_alm(random_alm(rng, LMAX), 3000 / (ell + 3) ** 1.2)
    more = {
        name: SkyMap(synthesise(filter_alm(factor * rough, c.beam(LMAX, 1)[0]), NSIDE), spec.shown[name])
        for (name, c), factor in zip(CHANNELS.items(), other[0, :, 0], strict=True)
    }
    shown = {name: SkyMap(found.values + more[name].values, found.spec) for name, found in observation.shown.items()}
    foreign = {name: SkyMap(f.values + more[name].values, f.spec) for name, f in parts["foregrounds"].items()}
    strange = Observation(spec, shown, truth)

    def error(share: float) -> float:
        found = method(data_share=share).clean(strange, tmp_path, 1).value.values
        return float(np.std(found - truth.values))

    assert error(0.98) < 0.5 * error(0.0)
    both = method(data_share=0.98)
    found = both.decompose(strange, foreign, parts["noise"], tmp_path, 1)
    np.testing.assert_allclose(found["signal"].values[0], truth.values[0], atol=2e-3 * truth.values.std())


def test_intensity_alone_is_cleaned(tmp_path: Path) -> None:
    observation, _ = sky()
    polarised = Observation(
        spec_of("IQU"),
        {
            name: SkyMap(np.repeat(found.values, 3, axis=0), found.spec.with_(fields="IQU"))
            for name, found in observation.shown.items()
        },
    )
    assert method().accepts(polarised.spec).fields == "I"
    fast = method(em_steps=1)
    found = fast.clean(polarised, tmp_path, 1)
    assert found.value.values.tobytes() == fast.clean(observation, tmp_path, 1).value.values.tobytes()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"channels": ("28", "143", "221", "358")}, "needs at least 5 channels; method.channels has 4"),
        ({"nulled": (PowerLaw(beta=-3.0),)}, "leave method.nulled and method.external empty"),
    ],
)
def test_what_cannot_be_cleaned(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(MethodError, match=words):
        method(**settings).accepts(spec_of())


def test_channels_take_part_up_to_where_they_end(tmp_path: Path) -> None:
    """A channel whose beam is wide is weighed at large scales alone."""
    wide = CHANNELS | {"28": Channel(freq_ghz=28.4, fwhm_arcmin=900.0, depth_uk_arcmin=300.0)}
    observation, _ = sky()
    answer = method(em_steps=1).clean(Observation(spec_of(channels=wide), observation.shown), tmp_path, 1)
    assert answer.weights is not None
    told = answer.weights.mean[answer.weights.rows.index("28")]
    assert np.isnan(told[-1])
    np.testing.assert_allclose(np.nansum(answer.weights.mean, axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("settings", [{"average_deg": 0.0}, {"em_steps": 0}, {"model_error": 0.0}, {"data_share": 1.0}])
def test_impossible_settings(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Input should be"):
        method(**settings)
