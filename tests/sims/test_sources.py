"""Sources, the infrared background and clusters have their published counts and powers."""

from functools import cache

import healpy as hp
import numpy as np
import pytest

from cmbml.sims.components import Band
from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sims.sources import (
    CosmicInfraredBackground,
    InfraredSources,
    RadioSources,
    ThermalSunyaevZeldovich,
    jansky_to_uk_rj,
    power_law_draws,
    thermal_sz_scaling,
)
from cmbml.sky.instrument import Channel

FREQS_GHZ = (28.4, 44.1, 70.4, 100.89, 142.876, 221.156, 357.5, 555.2, 866.8)
GALAXY = {"d1": "dust", "s1": "synchrotron", "f1": "free_free", "a1": "spinning_dust"}
COMPONENTS = (*GALAXY.values(), "radio_sources", "infrared_sources", "cib", "thermal_sz")


def channel(freq_ghz):
    return Channel(freq_ghz=freq_ghz, fwhm_arcmin=10.0, depth_uk_arcmin=1.0)


def only(*names):
    return EmbeddedSky(**{name: None for name in COMPONENTS if name not in names})


@cache
def embedded(names, seed, nside=64, stokes="IQU", freqs=FREQS_GHZ):
    """Emission of some components, `(n_freq, n_field, n_pix)`."""
    sky = only(*names)
    return np.array([sky.emission(channel(freq), nside, stokes, seed, 1) for freq in freqs], dtype=np.float64)


@pytest.mark.parametrize("nside", [16, 64])
def test_the_sources_keep_their_flux_at_any_resolution(nside):
    settings = RadioSources()
    values = embedded(("radio_sources",), 3, nside, "I", (30.0,))[0, 0] / Band(freq_ghz=np.array([30.0])).to_uk_cmb()
    flux = values.sum() / jansky_to_uk_rj(30.0, nside)
    # The mean of the drawn power law, S^-(slope + 1) between least and most.
    least, most, slope_ = settings.least_jy, settings.most_jy, settings.count_slope
    count = settings.count_1jy * least**-slope_
    expected = count * least**slope_ * slope_ / (slope_ - 1) * (least ** (1 - slope_) - most ** (1 - slope_))
    assert flux == pytest.approx(expected, rel=0.05)


def test_the_counts_are_a_power_law():
    flux = power_law_draws(np.random.default_rng(1), 1e5, 1.5, 0.1, 50.0)
    for limit in (0.1, 0.3, 1.0, 3.0):
        expected = 1e5 * ((limit / 0.1) ** -1.5 - 500**-1.5)
        assert np.sum(flux > limit) == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_the_infrared_sources_and_the_cib_rise_with_frequency():
    for name in ("infrared_sources", "cib"):
        low, high = embedded((name,), 3, 64, "I", (217.0, 545.0))[:, 0].std(axis=-1)
        assert high > 20 * low
    assert InfraredSources().prepare(16, "I", 1, 1).values.min() >= 0


def test_the_cib_has_its_published_power():
    settings = CosmicInfraredBackground()
    values = embedded(("cib",), 3, 512, "I", (217.0,))[0, 0]
    cl = hp.anafast(values, lmax=900, iter=1)
    ell = np.arange(800, 900)
    expected = settings.d3000_uk2 * 2 * np.pi / (3000 * 3001) * (ell / 3000) ** -settings.slope
    # The logarithm adds a few per cent to the power of the Gaussian field.
    assert np.mean(cl[800:900] / expected) == pytest.approx(1, abs=0.15)
    assert abs(values.mean()) < 1e-3 * values.std()


def test_the_clusters_are_positive_skewed_and_of_the_published_power():
    y = ThermalSunyaevZeldovich().prepare(256, "I", 3, 1).values.astype(float)
    assert y.min() >= 0
    assert 3e-7 < y.std() < 3e-6
    assert ((y - y.mean()) ** 3).mean() / y.std() ** 3 > 5
    cl = hp.anafast(y, lmax=150, iter=1)
    # Planck 2015 XXII, figure 17: 10^12 l (l + 1) C_l / 2 pi rises from 0.02 to 0.1 over these multipoles.
    d100 = np.mean(cl[50:150] * 1e12) * 100 * 101 / (2 * np.pi)
    assert 0.02 < d100 < 0.2
    coarse = ThermalSunyaevZeldovich().prepare(64, "I", 3, 1).values.astype(float)
    assert coarse.mean() == pytest.approx(y.mean(), rel=1e-5)


def test_the_sunyaev_zeldovich_effect_vanishes_at_217_ghz_and_changes_sign():
    scaling = {f: thermal_sz_scaling(Band(freq_ghz=np.array([f]))) for f in (143.0, 217.5, 353.0)}
    assert scaling[143.0] < 0 < scaling[353.0]
    assert abs(scaling[217.5]) < 0.01 * abs(scaling[143.0])
    narrow = Band(freq_ghz=np.linspace(142, 144, 21), weights=np.ones(21))
    assert thermal_sz_scaling(narrow) == pytest.approx(scaling[143.0], rel=1e-3)
