"""The embedded sources: noise as deep as published, where the scan has it."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from cmbml.sims.noise import draw_noise
from cmbml.sims.noise_sources import AnisotropicNoise, CorrelatedNoise, NoNoise, WhiteNoise
from cmbml.sims.noise_spectrum import NoiseError, mode_sum
from cmbml.sims.scan import ScanStrategy, hits
from cmbml.sky.instrument import Channel

NSIDE, LMAX, N_DRAW = 32, 80, 240
CHANNEL = Channel(freq_ghz=100, fwhm_arcmin=30, depth_uk_arcmin=60, depth_p_uk_arcmin=100, knee_multipole=30, slope=1.2)


def model_of(source, fields="I", channel=CHANNEL, nside=NSIDE, lmax=LMAX):
    source.check({"100": channel}, nside, lmax, fields)
    return source.model("100", channel, nside, lmax, fields, threads=1)


def draws_of(model, n_draw=N_DRAW, seed=1):
    return (draw_noise([model], [np.random.default_rng([seed, i])])[0] for i in range(n_draw))


def test_wanted_spectrum_is_the_published_one():
    model = model_of(CorrelatedNoise(), "IQU")
    ell = np.arange(2, LMAX + 1)
    for row, depth in zip(model.noise, (60, 100, 100), strict=True):
        wanted = np.deg2rad(depth / 60) ** 2 * (1 + (30 / ell) ** 1.2)
        np.testing.assert_allclose(row[2:], wanted, rtol=1e-12)


def test_white_variance_is_depth_squared_over_pixel_area():
    area_arcmin2 = hp.nside2resol(NSIDE, arcmin=True) ** 2
    for source in (WhiteNoise(), AnisotropicNoise()):
        model = model_of(source, "IQU")
        mean = np.mean(model.std_map.astype(float) ** 2, axis=1)
        np.testing.assert_allclose(mean, np.array([60, 100, 100]) ** 2 / area_arcmin2, rtol=1e-6)
    assert np.ptp(model_of(WhiteNoise()).std_map) == 0


def test_knee_adds_to_the_pixel_variance():
    model = model_of(CorrelatedNoise())
    white = 60**2 / hp.nside2resol(NSIDE, arcmin=True) ** 2
    excess = mode_sum(model.noise[0] - np.deg2rad(1.0) ** 2)
    # What coupling moves into the monopole or beyond lmax is in the variance but not in the sum up to lmax.
    assert np.mean(model.std_map.astype(float) ** 2) == pytest.approx(white + excess, rel=0.01)


def test_variance_goes_as_one_over_hits():
    for source in (AnisotropicNoise(), CorrelatedNoise()):
        product = model_of(source).std_map[0].astype(float) ** 2 * hits(NSIDE, ScanStrategy())
        np.testing.assert_allclose(product, product.mean(), rtol=1e-5)


def test_quiet_at_the_ecliptic_poles():
    model = model_of(CorrelatedNoise())
    pole = hp.vec2pix(NSIDE, *hp.Rotator(coord=["E", "G"])([0.0, 0.0, 1.0]))
    total = np.zeros(12 * NSIDE**2)
    for noise in draws_of(model, 100):
        total += noise[0].astype(float) ** 2
    disc = hp.query_disc(NSIDE, hp.pix2vec(NSIDE, pole), np.deg2rad(8))
    assert total[disc].mean() < 0.35 * total.mean()


def test_no_noise_is_zero():
    assert not draw_noise([model_of(NoNoise(), "IQU")], [np.random.default_rng(1)]).any()
    silent = Channel(freq_ghz=100, fwhm_arcmin=30, depth_uk_arcmin=0)
    assert not draw_noise([model_of(CorrelatedNoise(), channel=silent)], [np.random.default_rng(1)]).any()


def test_too_high_lmax_and_too_steep_spectra_are_refused():
    with pytest.raises(NoiseError, match="l = 96 does not fit on nside 32, which holds l <= 95"):
        WhiteNoise().check({}, 32, 96, "I")
    steep = Channel(freq_ghz=100, fwhm_arcmin=30, depth_uk_arcmin=60, knee_multipole=80, slope=9)
    with pytest.raises(NoiseError, match="too steep"):
        model_of(CorrelatedNoise(), channel=steep)


@pytest.mark.parametrize("wrong", [{"level_scatter": -0.1}, {"knee_scatter": 2}, {"knee_scater": 0.1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        CorrelatedNoise(**wrong)


@pytest.mark.parametrize("name", ["none", "white", "anisotropic", "correlated", "planck"])
def test_configs_name_a_class(name):
    text = (Path(__file__).parents[2] / "cfg" / "noise" / f"{name}.yaml").read_text()
    module, _, cls = yaml.safe_load(text)["_target_"].rpartition(".")
    assert hasattr(__import__(module, fromlist=[cls]), cls)
