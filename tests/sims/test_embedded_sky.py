"""The embedded sky: as bright, as steep and as polarised as the real one; the same bits for the same seed."""

import os
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import healpy as hp
import numpy as np
import pysm3
import pysm3.units as u
import pytest
import yaml
from pydantic import ValidationError

from cmbml.sims.components import H_OVER_K_GHZ, Band, VaryingSpectrum, grey_body, power_law
from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sims.flat_sky import infrared_counts, radio_counts
from cmbml.sims.galaxy import Dust
from cmbml.sims.pysm_sky import PysmSky
from cmbml.sims.sources import cib_shape
from cmbml.sky.instrument import Channel

ASSETS = Path(os.environ.get("CMBML_ASSETS", "/nowhere"))
needs_assets = pytest.mark.skipif(not (ASSETS / "masks").is_dir(), reason="set CMBML_ASSETS to the folder of test data")
FREQS_GHZ = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
GALAXY = {"d1": "dust", "s1": "synchrotron", "f1": "free_free", "a1": "spinning_dust"}
COMPONENTS = (*GALAXY.values(), "radio_sources", "infrared_sources", "cib", "thermal_sz")
SEEDS = (2026, 1, 2, 3)


def channel(freq_ghz):
    return Channel(freq_ghz=freq_ghz, fwhm_arcmin=10.0, depth_uk_arcmin=1.0)


def only(*names):
    return EmbeddedSky(**{name: None for name in COMPONENTS if name not in names})


@cache
def embedded(names, seed, nside=64, stokes="IQU", freqs=FREQS_GHZ):
    """Emission of some components, `(n_freq, n_field, n_pix)`."""
    sky = only(*names)
    return np.array([sky.emission(channel(freq), nside, stokes, seed, 1) for freq in freqs], dtype=np.float64)


@cache
def real(preset):
    sky = PysmSky(presets=(preset,), data_folder=ASSETS / "pysm-data", download=False)
    return np.array([sky.emission(channel(freq), 64, "IQU", 1, 1) for freq in FREQS_GHZ], dtype=np.float64)


@cache
def real_sum():
    return sum(real(preset) for preset in GALAXY)


@cache
def masks():
    """GAL020, GAL040 and GAL060, `(3, n_pix)`, True where the sky is kept."""
    return hp.read_map(ASSETS / "masks/planck_galplane_ns64.fits", field=(0, 1, 2)) > 0.5


def rms(maps):
    """Root mean square in each mask, `(3, ...)`."""
    return np.array([np.sqrt((maps[..., mask] ** 2).mean(-1)) for mask in masks()])


def slope(values):
    """Slope of ln C_l over ln l at l = 20-120 of a map in GAL060, apodised by 4 degrees."""
    mask = masks()[2].astype(float)
    weight = np.clip(2 * hp.smoothing(mask, np.radians(4)) - 1, 0, 1) * mask
    cl = hp.anafast(values * weight, lmax=128, iter=1)
    edges = np.unique(np.geomspace(20, 120, 13).astype(int))
    ell = np.arange(len(cl))
    pairs = list(pairwise(edges))
    means = [np.average(cl[a:b], weights=2 * ell[a:b] + 1) for a, b in pairs]
    return np.polyfit([np.log(ell[a:b].mean()) for a, b in pairs], np.log(means), 1)[0]


@needs_assets
@pytest.mark.parametrize("seed", SEEDS)
def test_the_galaxy_is_as_bright_as_the_real_one_in_every_mask_and_channel(seed):
    ours, theirs = embedded(tuple(GALAXY.values()), seed), real_sum()
    np.testing.assert_allclose(rms(ours[:, 0]) / rms(theirs[:, 0]), 1, atol=0.3)
    polarised = rms(ours[:, 1:]) / rms(theirs[:, 1:])
    assert (polarised > 0.5).all()
    assert (polarised < 2).all()


@needs_assets
@pytest.mark.parametrize("seed", SEEDS)
def test_the_whole_sky_is_as_bright_as_the_real_galaxy(seed):
    ours = embedded(COMPONENTS, seed, stokes="I")
    np.testing.assert_allclose(rms(ours[:, 0]) / rms(real_sum()[:, 0]), 1, atol=0.3)


@needs_assets
@pytest.mark.slow
def test_the_galaxy_resolved_better_is_as_bright():
    fine = embedded(tuple(GALAXY.values()), 2026, nside=256, stokes="I")
    coarse = np.array([[hp.ud_grade(row[0], 64)] for row in fine])
    np.testing.assert_allclose(rms(coarse[:, 0]) / rms(real_sum()[:, 0]), 1, atol=0.3)


@needs_assets
@pytest.mark.parametrize("seed", SEEDS)
def test_the_total_spectrum_is_as_steep_as_the_real_one(seed):
    ours, theirs = embedded(tuple(GALAXY.values()), seed), real_sum()
    differences = [slope(mine[0]) - slope(real[0]) for mine, real in zip(ours, theirs, strict=True)]
    np.testing.assert_allclose(differences, 0, atol=0.3)


@needs_assets
@pytest.mark.parametrize("preset", GALAXY)
def test_each_component_is_as_steep_as_the_real_one(preset):
    # Free-free is dominated by few bright spots, so one sky scatters by 0.2: the mean over seeds is what is fitted.
    at = 6 if preset == "d1" else 0
    ours = [slope(embedded((GALAXY[preset],), seed)[at, 0]) for seed in SEEDS]
    assert np.mean(ours) == pytest.approx(slope(real(preset)[at, 0]), abs=0.3)


@needs_assets
@pytest.mark.parametrize("preset", ["d1", "s1"])
def test_e_and_b_are_shared_as_in_the_real_sky(preset):
    at = 6 if preset == "d1" else 0
    mask = masks()[2].astype(float)
    weight = np.clip(2 * hp.smoothing(mask, np.radians(4)) - 1, 0, 1) * mask

    def b_to_e(maps):
        _, ee, bb, *_ = hp.anafast(maps * weight, lmax=128, iter=1)
        return np.mean(bb[20:120] / ee[20:120])

    ours = embedded((GALAXY[preset],), 2026)[at]
    assert b_to_e(ours) == pytest.approx(b_to_e(real(preset)[at]), abs=0.25)
    fraction = np.hypot(ours[1], ours[2]) / ours[0]
    assert fraction.max() < 0.75
    assert 0.03 < np.median(fraction) < 0.3


def test_the_sky_is_brightest_on_the_galactic_plane_and_not_gaussian():
    ours = embedded(tuple(GALAXY.values()), 2026)
    latitude = np.abs(hp.pix2ang(64, np.arange(12 * 64**2), lonlat=True)[1])
    for maps in ours:
        assert maps[0][latitude < 5].mean() > 5 * maps[0][latitude > 45].mean()
    dust = embedded(("dust",), 2026)[6, 0][latitude > 45]
    contrast = dust - dust.mean()
    assert (contrast**3).mean() / (contrast**2).mean() ** 1.5 > 0.5


def test_the_seed_makes_the_sky_and_threads_do_not():
    sky = EmbeddedSky()
    one, other = sky.emission(channel(143.0), 32, "IQU", 5, 1), sky.emission(channel(143.0), 32, "IQU", 6, 1)
    again = sky.emission(channel(143.0), 32, "IQU", 5, 2)
    np.testing.assert_array_equal(one, again)
    assert np.mean(one == other) < 0.01
    assert one.dtype == np.float32
    np.testing.assert_array_equal(sky.emission(channel(143.0), 32, "I", 5, 2), one[:1])


@pytest.mark.parametrize("off", COMPONENTS)
def test_a_component_that_is_off_leaves_the_others_as_they_were(off):
    whole = EmbeddedSky().emission(channel(100.0), 16, "IQU", 5, 1).astype(float)
    without = replace(EmbeddedSky(), **{off: None}).emission(channel(100.0), 16, "IQU", 5, 1)
    alone = only(off).emission(channel(100.0), 16, "IQU", 5, 1)
    for parts, sums in zip(without + alone.astype(float), whole, strict=True):
        np.testing.assert_allclose(parts, sums, rtol=1e-5, atol=1e-5 * np.abs(sums).max())


def test_another_resolution_has_the_same_large_scales():
    coarse, fine = (
        hp.map2alm(embedded(tuple(GALAXY.values()), 7, nside, "IQU", (143.0,))[0], lmax=20, iter=3)
        for nside in (64, 128)
    )
    for low, high in zip(coarse, fine, strict=True):
        correlation = np.vdot(low, high).real / np.sqrt(np.vdot(low, low).real * np.vdot(high, high).real)
        assert correlation > 0.99


def test_settings_come_from_plain_mappings_and_wrong_ones_are_refused():
    sky = EmbeddedSky(dust={"amplitude": 2.0}, cib=None)
    assert sky.dust == Dust(amplitude=2.0)
    assert len(sky.components) == 7
    for wrong in (
        {"dusty": None},
        {"dust": {"amplitud": 1.0}},
        {"dust": {"amplitude": -1.0}},
        {"dust": {"index": "blue"}},
    ):
        with pytest.raises(ValidationError):
            EmbeddedSky(**wrong)


def test_the_config_file_states_the_defaults():
    config = yaml.safe_load((Path(__file__).parents[2] / "cfg/sky/embedded.yaml").read_text())
    assert config.pop("_target_") == "cmbml.sims.embedded_sky.EmbeddedSky"
    assert EmbeddedSky(**config) == EmbeddedSky()
    for name in COMPONENTS:
        numbers = {field.name for field in fields(getattr(EmbeddedSky(), name))} - {"profile", "turbulence", "spectral"}
        assert set(config[name]) == numbers


def test_an_amplitude_scales_its_component():
    one, three = (
        EmbeddedSky(**{name: None for name in COMPONENTS if name != "dust"} | {"dust": Dust(amplitude=amplitude)})
        for amplitude in (1.0, 3.0)
    )
    np.testing.assert_allclose(
        three.emission(channel(353.0), 16, "IQU", 1, 1), 3 * one.emission(channel(353.0), 16, "IQU", 1, 1), rtol=1e-5
    )


@pytest.mark.parametrize("table", [None, "HFI_BANDPASS_F217_reformat.txt", "LFI_BANDPASS_F030_reformat.txt"])
def test_spectra_are_those_of_pysm(table):
    """Of its own component classes, in delta functions and in measured bands."""
    if table and not (ASSETS / "instrument").is_dir():
        pytest.skip("set CMBML_ASSETS to the folder of test data")
    rng = np.random.default_rng(1)
    ones, index = np.ones(50, dtype=np.float32), rng.normal(1.55, 0.2, 50).astype(np.float32)
    temperature, steep = rng.uniform(12, 35, 50).astype(np.float32), rng.normal(-3, 0.3, 50).astype(np.float32)
    common = {"freq_ref_I": 353 * u.GHz, "freq_ref_P": 353 * u.GHz, "nside": 1}
    stokes = {f"map_{name}": ones * u.uK_RJ for name in "IQU"}
    models = {
        "grey": pysm3.ModifiedBlackBody(
            **stokes, **common, map_mbb_index=index, map_mbb_temperature=temperature, unit_mbb_temperature="K"
        ),
        "power": pysm3.PowerLaw(**stokes, **common, map_pl_index=steep),
        "curved": pysm3.CurvedPowerLaw(
            **stokes, **common, map_pl_index=steep, spectral_curvature=-0.3, freq_curve=353 * u.GHz
        ),
    }
    scalings = {
        "grey": grey_body(353.0, index, temperature),
        "power": power_law(353.0, steep),
        "curved": power_law(353.0, steep, -0.3),
    }
    path = ASSETS / "instrument/bandpasses" / table if table else None
    for freq in (217.0,) if table else FREQS_GHZ:
        band = Band.of(Channel(freq_ghz=freq, fwhm_arcmin=10.0, depth_uk_arcmin=1.0, bandpass=path))
        for name, model in models.items():
            wanted = model.get_emission(band.freqs * (1 + 1e-12), band.weights).value[0]
            found = np.zeros((1, 50), dtype=np.float32)
            VaryingSpectrum(ones[None], scalings[name]).add_to(found, band, 1.0, 1)
            # Single precision, and at 28 GHz the difference of an exponential from one.
            np.testing.assert_allclose(found[0], wanted, rtol=2e-5)


def cenn() -> EmbeddedSky:
    chosen = yaml.safe_load((Path(__file__).parents[2] / "cmbml/cfg/sky/cenn.yaml").read_text())
    return EmbeddedSky(**{name: value for name, value in chosen.items() if name != "defaults"})


def test_the_cib_of_cenn_s_sky_is_that_of_lapi():
    """D_l is 25 uK^2 at l = 1000, and falls as the table of Lapi et al. does."""
    sky = replace(cenn(), dust=None, radio_sources=None, infrared_sources=None, thermal_sz=None)
    values = sky.emission(channel(217.0), 512, "I", 3, 1)[0].astype(np.float64)
    ell = np.arange(201, 1001)
    power = hp.anafast(values, lmax=1000, iter=1)[201:] * ell * (ell + 1)
    shape = cib_shape(ell.astype(np.float64)) * ell * (ell + 1)
    expected = 25 * 2 * np.pi * shape / shape[-1]
    for part in np.split(np.arange(ell.size), 4):
        # The logarithm adds a few per cent to the power of the Gaussian field.
        assert power[part].mean() == pytest.approx(expected[part].mean(), rel=0.12)


def test_the_sources_of_cenn_s_sky_are_those_that_were_counted():
    """As many above 1 Jy at 220 and 214 GHz as the published counts have."""
    radio, infrared = cenn().radio_sources, cenn().infrared_sources
    flux = np.geomspace(1, 20, 4000)
    counted = [float(np.trapezoid(of(flux) * flux**-2.5, flux) * 4 * np.pi) for of in (radio_counts, infrared_counts)]
    fainter = (220 / 30) ** radio.index
    assert radio.count_1jy * fainter**radio.count_slope == pytest.approx(counted[0], rel=0.05)
    planck = np.expm1(H_OVER_K_GHZ * np.array([857.0, 214.0]) / infrared.temperature_k)
    fainter = (214 / 857) ** (3 + infrared.index) * planck[0] / planck[1]
    assert infrared.count_1jy * fainter**infrared.count_slope == pytest.approx(counted[1], rel=0.05)
