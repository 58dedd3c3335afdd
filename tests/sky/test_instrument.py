import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from cmbml.sky.beams import gaussian_window
from cmbml.sky.instrument import Channel

CONFIGS = Path(__file__).parents[2] / "cfg" / "instrument"
GOOD = {"freq_ghz": 100.0, "fwhm_arcmin": 10.0, "depth_uk_arcmin": 77.4}


def channels(name):
    entries = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["channels"]
    return {key: TypeAdapter(Channel).validate_python(values) for key, values in entries.items()}


@pytest.mark.parametrize(("name", "number"), [("planck_widened", 9), ("planck", 9), ("litebird", 15)])
def test_shipped_instruments_are_valid(name, number):
    found = channels(name)
    assert len(found) == number
    frequencies = [channel.freq_ghz for channel in found.values()]
    assert frequencies == sorted(frequencies)
    for key, channel in found.items():
        assert isinstance(key, str)
        assert float(key) == pytest.approx(channel.freq_ghz, rel=0.06)
        # Polarisation is never deeper than intensity allows: depth_p >= sqrt(2) depth_i, to the rounding of tables.
        assert channel.depth("Q") > 1.35 * channel.depth("I")
        assert channel.depth("Q") == channel.depth("U")


@pytest.mark.parametrize("name", ["wmap", "planck"])
def test_simulations_are_of_what_is_observed(name):
    """What is learnt from simulations of a mission is for its maps: one instrument, two files."""
    maps = yaml.safe_load((CONFIGS.parent / "observations" / f"{name}.yaml").read_text())["observed"]["maps"]
    found = channels(name)
    assert list(found) == list(maps)
    for key, channel in found.items():
        assert (channel.freq_ghz, channel.fwhm_arcmin) == (maps[key]["freq_ghz"], maps[key]["fwhm_arcmin"])
        assert maps[key]["depth_uk_arcmin"] in (None, channel.depth_uk_arcmin)


def test_wmap_is_as_deep_as_its_time_tells():
    sigma_mk = {"K": 1.42366, "Ka": 1.44883, "Q": 2.21122, "V": 3.11236, "W": 6.49760}
    assemblies_per_s = {"K": 1 / 0.128, "Ka": 1 / 0.128, "Q": 2 / 0.1024, "V": 2 / 0.0768, "W": 4 / 0.0512}
    sky_arcmin2 = 4 * np.pi * (180 * 60 / np.pi) ** 2
    for key, channel in channels("wmap").items():
        seen_per_arcmin2 = 2 * 9 * 365.25 * 86400 * assemblies_per_s[key] / sky_arcmin2
        assert channel.depth_uk_arcmin == pytest.approx(1e3 * sigma_mk[key] / np.sqrt(seen_per_arcmin2), rel=3e-3)
        assert channel.depth("Q") == pytest.approx(np.sqrt(2) * channel.depth("I"), rel=3e-3)


def test_planck_instruments_differ_in_the_beam_alone():
    flown, widened = channels("planck"), channels("planck_widened")
    assert list(flown) == list(widened) == ["30", "44", "70", "100", "143", "217", "353", "545", "857"]
    for key in flown:
        assert widened[key].fwhm_arcmin > flown[key].fwhm_arcmin
        assert widened[key].freq_ghz == flown[key].freq_ghz
        assert widened[key].depth_uk_arcmin == flown[key].depth_uk_arcmin


@pytest.mark.parametrize("table", ["cmb-ml_deltabandpass.tbl", "planck_deltabandpass.tbl"])
def test_planck_tables(table, assets):
    found = channels("planck_widened" if table.startswith("cmb-ml") else "planck")
    rows = (assets / "instrument" / table).read_text().splitlines()[4:]
    for name, freq_ghz, fwhm_arcmin in (row.split() for row in rows):
        assert found[name].freq_ghz == float(freq_ghz)
        assert found[name].fwhm_arcmin == float(fwhm_arcmin)


@pytest.fixture
def assets():
    if "CMBML_ASSETS" not in os.environ:
        pytest.skip("CMBML_ASSETS does not name the folder of test data")
    return Path(os.environ["CMBML_ASSETS"])


def test_depths_of_polarisation():
    assert Channel(**GOOD).depth("Q") == pytest.approx(77.4 * 2**0.5)
    assert Channel(**GOOD, depth_p_uk_arcmin=118).depth("U") == 118
    assert Channel(**GOOD, depth_p_uk_arcmin=118).depth("I") == 77.4


def test_beam_of_each_component(tmp_path):
    channel = Channel(**GOOD)
    beam = channel.beam(500, 3)
    np.testing.assert_array_equal(beam[0], gaussian_window(10.0, 500))
    np.testing.assert_array_equal(beam[1], gaussian_window(10.0, 500, spin=2))
    np.testing.assert_array_equal(beam[1], beam[2])
    path = tmp_path / "window.txt"
    window = np.exp(-np.arange(600) / 300)
    np.savetxt(path, np.stack([np.arange(600), window], axis=1))
    tabulated = Channel(**GOOD, window=path)
    np.testing.assert_allclose(tabulated.beam(500, 3), np.stack([window[:501]] * 3))
    assert tabulated.files() == (path,)
    assert channel.files() == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"freq_ghz": 0},
        {"freq_ghz": "hundred"},
        {"fwhm_arcmin": -5},
        {"fwhm_arcmin": float("nan")},
        {"depth_uk_arcmin": -1},
        {"depth_p_uk_arcmin": float("nan")},
        {"knee_multipole": -1},
        {"slope": 0},
        {"fwhm_arcmim": 5},
    ],
)
def test_impossible_channels_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Channel(**GOOD | wrong)


def test_channels_cannot_be_changed():
    with pytest.raises((AttributeError, ValidationError)):
        Channel(**GOOD).freq_ghz = 5
