"""PySM's skies: equal to its published benchmark maps, checked before work, integrated over measured bands."""

import os
from dataclasses import fields
from pathlib import Path

import healpy as hp
import numpy as np
import pysm3
import pysm3.units as u
import pytest
import yaml
from pydantic import ValidationError

from cmbml.sims.components import Band
from cmbml.sims.downloads import DownloadError
from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sims.foregrounds import SkyError
from cmbml.sims.presets import REFUSED, preset_files, presets
from cmbml.sims.pysm_sky import PysmSky
from cmbml.sky.instrument import Channel

ASSETS = Path(os.environ.get("CMBML_ASSETS", "/nowhere"))
TEMPLATES = ASSETS / "pysm-data"
needs_assets = pytest.mark.skipif(not TEMPLATES.is_dir(), reason="set CMBML_ASSETS to the folder of test data")
CHECK_FILES = {"d1": "check1therm", "s1": "check2synch", "f1": "check4freef", "a1": "check3spinn"}


def channel(freq_ghz, bandpass=None):
    return Channel(freq_ghz=freq_ghz, fwhm_arcmin=10.0, depth_uk_arcmin=1.0, bandpass=bandpass)


def template(folder, name, nside, seed):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).uniform(1, 2, 12 * nside**2)
    hp.write_map(path, values, dtype=np.float32, column_units="uK_RJ", overwrite=True)
    return path


def rj_to_cmb(freq_ghz):
    x = 0.0479924307 * freq_ghz / 2.7255
    return np.expm1(x) ** 2 / (x**2 * np.exp(x))


@needs_assets
@pytest.mark.parametrize("preset", CHECK_FILES)
@pytest.mark.parametrize("freq", [30, 100, 353])
def test_each_preset_equals_pysm_published_benchmark(preset, freq, tmp_path):
    sky = PysmSky(presets=(preset,), data_folder=TEMPLATES, cache_folder=tmp_path, download=False)
    ours = sky.emission(channel(float(freq)), 64, "IQU", seed=1, threads=2)
    published = hp.read_map(
        TEMPLATES / f"pysm_2_test_data/{CHECK_FILES[preset]}_{freq}p0_64.fits", field=(0, 1, 2), dtype=None
    )
    # The conversion is made here in closed form, independently of PySM's own.
    np.testing.assert_allclose(ours / rj_to_cmb(freq), published, rtol=1e-5, atol=0)
    assert ours.dtype == np.float32


@needs_assets
def test_presets_add_up_and_intensity_is_the_same_alone(tmp_path):
    settings = {"data_folder": TEMPLATES, "cache_folder": tmp_path}
    together = PysmSky(presets=("d1", "s1"), **settings).emission(channel(100.0), 64, "IQU", 1, 1)
    apart = [PysmSky(presets=(name,), **settings).emission(channel(100.0), 64, "IQU", 1, 1) for name in ("d1", "s1")]
    np.testing.assert_allclose(together, apart[0] + apart[1], rtol=1e-5, atol=1e-6)
    intensity = PysmSky(presets=("d1", "s1"), **settings).emission(channel(100.0), 64, "I", 1, 2)
    np.testing.assert_array_equal(intensity, together[:1])


@needs_assets
def test_a_measured_band_agrees_with_the_integral_over_its_whole_table(tmp_path):
    table = ASSETS / "instrument/bandpasses/HFI_BANDPASS_F217_reformat.txt"
    freq, response = np.loadtxt(table).T
    inside = (freq > 150) & (freq < 320)
    dust = pysm3.ModifiedBlackBody(
        **{f"map_{name}": np.ones(2, dtype=np.float32) * u.uK_RJ for name in "IQU"},
        freq_ref_I=545 * u.GHz,
        freq_ref_P=545 * u.GHz,
        map_mbb_index=np.full(2, 1.54, dtype=np.float32),
        map_mbb_temperature=np.full(2, 20.0, dtype=np.float32),
        unit_mbb_temperature="K",
        nside=1,
    )
    whole = {"freqs": freq[inside] * u.GHz, "weights": np.maximum(response[inside], 0)}
    expected = dust.get_emission(**whole).value[0, 0]
    band = Band.of(channel(221.156, table))
    assert len(band.freq_ghz) == 128
    assert dust.get_emission(band.freqs, band.weights).value[0, 0] == pytest.approx(expected, rel=1e-3)
    factor = pysm3.utils.bandpass_unit_conversion(whole["freqs"], whole["weights"], u.uK_CMB).value
    assert band.to_uk_cmb() == pytest.approx(factor, rel=1e-3)
    # Far out of the highest band the little response that there is weighs most in uK_CMB.
    highest = ASSETS / "instrument/bandpasses/HFI_BANDPASS_F857_reformat.txt"
    freq, response = np.loadtxt(highest).T
    factor = pysm3.utils.bandpass_unit_conversion(freq * u.GHz, np.maximum(response, 0), u.uK_CMB).value
    assert Band.of(channel(857.0, highest)).to_uk_cmb() == pytest.approx(factor, rel=5e-3)
    sky = PysmSky(presets=("d1",), data_folder=TEMPLATES, cache_folder=tmp_path)
    broad, sharp = (sky.emission(channel(221.156, path), 64, "I", 1, 2) for path in (table, None))
    assert 0.8 < np.median(broad / sharp) < 1.2
    assert not np.allclose(broad, sharp, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:loadtxt")
@pytest.mark.parametrize("rows", ["", "100 1\n", "100 1\n90 1\n", "100 0\n110 0\n", "a b\n", "100 nan\n110 1\n"])
def test_a_table_that_is_no_bandpass_is_refused(rows, tmp_path):
    table = tmp_path / "band.txt"
    table.write_text(rows)
    with pytest.raises(SkyError, match=r"band\.txt"):
        EmbeddedSky().emission(channel(100.0, table), 8, "I", 1, 1)


def test_a_narrow_table_is_taken_as_it_is(tmp_path):
    table = tmp_path / "band.txt"
    np.savetxt(table, np.stack([np.linspace(99, 101, 21), np.ones(21)], axis=-1))
    sky = EmbeddedSky()
    broad, sharp = (sky.emission(channel(100.0, path), 8, "I", 1, 1) for path in (table, None))
    np.testing.assert_allclose(broad, sharp, rtol=3e-3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"presets": ("d99",)}, "no preset 'd99'; the nearest is 'd9'"),
        ({"presets": ("c1",)}, "every simulation adds its own"),
        ({"presets": ("rg3",)}, "carry a beam"),
        ({"presets": ("d1", "d1")}, "named twice: d1"),
        ({"presets": ("d1",), "data_folder": "/nowhere/at/all"}, "data_folder /nowhere/at/all is not a folder"),
        ({"presets": ("d1",), "mirror": "/nowhere/at/all"}, "mirror /nowhere/at/all is not a folder"),
        ({"presets": ("f1",), "download": False}, "not here: pysm_2/ff_t_new.fits"),
    ],
)
def test_an_impossible_sky_is_refused_before_any_work(asked, message, tmp_path):
    with pytest.raises(SkyError, match=message):
        PysmSky(**{"cache_folder": tmp_path, **asked}).check(64, "I")


@pytest.mark.parametrize("wrong", [{"preset": ("d1",)}, {"presets": ()}, {"retries": -1}, {"timeout_s": 0.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        PysmSky(**wrong)


def test_every_preset_that_is_allowed_says_which_files_it_reads():
    bands = [Band(freq_ghz=np.array([100.89])), Band(freq_ghz=np.array([217.0]))]
    assert {name for name in presets() if name not in REFUSED and not preset_files(name, 2048, bands)} == {
        "dip1",
        "dip2",
    }
    assert preset_files("d9", 2048, bands) == ["dust_gnilc/gnilc_dust_template_nside2048_2023.02.10.fits"]
    assert preset_files("cib1", 2048, bands) == [
        f"websky/0.4/cib/cib_{freq}.fits" for freq in ("0100.0", "0111.0", "0217.0")
    ]
    assert len(preset_files("d12", 64, bands)) == 18


def test_files_are_those_of_the_data_folder_alone(tmp_path):
    path = template(tmp_path / "data", "pysm_2/ff_t_new.fits", 8, seed=1)
    template(tmp_path / "mirror", "pysm_2/synch_t_new.fits", 8, seed=2)
    folders = {"cache_folder": tmp_path / "cache", "mirror": tmp_path / "mirror"}
    assert PysmSky(presets=("f1", "s0"), data_folder=tmp_path / "data", **folders).files() == (path,)
    assert PysmSky(presets=("f1",), **folders).files() == ()
    assert EmbeddedSky().files() == ()


def test_templates_come_from_the_mirror_and_pysm_asks_nobody(tmp_path):
    source = template(tmp_path / "mirror", "pysm_2/ff_t_new.fits", 8, seed=1)
    sky = PysmSky(presets=("f1",), cache_folder=tmp_path / "cache", mirror=tmp_path / "mirror", download=False)
    (fetched,) = sky.fetch([channel(30.0)], 8)
    assert fetched == tmp_path / "cache/pysm_2/ff_t_new.fits"
    source.unlink()
    values = sky.emission(channel(30.0), 8, "I", 1, 1)
    np.testing.assert_allclose(values[0] / rj_to_cmb(30), hp.read_map(fetched, dtype=float), rtol=1e-6)


def test_a_template_that_cannot_be_had_is_named_with_its_mends(tmp_path):
    sky = PysmSky(presets=("f1",), cache_folder=tmp_path, url="http://127.0.0.1:9/", retries=0)
    with pytest.raises(DownloadError, match=r"ff_t_new\.fits.*mirror=.*sky=embedded"):
        sky.fetch([channel(30.0)], 8)


def test_a_map_at_the_intensity_reference_scales_polarisation_too(tmp_path):
    for name, seed in (("t", 1), ("q", 2), ("u", 3)):
        template(tmp_path, f"pysm_2/dust_{name}_new.fits", 8, seed)
    sky = PysmSky(presets=("d0",), data_folder=tmp_path, cache_folder=tmp_path / "cache", download=False)
    at, beside = (sky.emission(channel(freq), 8, "IQU", 1, 1) for freq in (545.0, 545.01))
    np.testing.assert_allclose(at, beside, rtol=1e-3)


def test_the_config_file_states_the_defaults():
    config = yaml.safe_load((Path(__file__).parents[2] / "cfg/sky/pysm.yaml").read_text())
    assert config.pop("_target_") == "cmbml.sims.pysm_sky.PysmSky"
    # PySM's own variable says where its templates are, if it is set.
    assert config["data_folder"] == "${oc.env:PYSM_LOCAL_DATA,null}"
    assert PysmSky(**config | {"data_folder": None}) == PysmSky()
    drawn = {"changes", "orientation"}  # by `varied`, for one sky
    assert set(config) == {field.name for field in fields(PysmSky)} - drawn
