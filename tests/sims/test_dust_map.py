"""Dust may be read from a map: it is the map's, in the right place and unit."""

import os
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbml.sims.dust_map import DustMap
from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sims.foregrounds import SkyError
from cmbml.sims.galaxy import Dust
from cmbml.sky.bandpass import BandError
from cmbml.sky.instrument import Channel

ASSETS = os.environ.get("CMBML_ASSETS")
NSIDE = 16
CHANNEL = Channel(freq_ghz=353.0, fwhm_arcmin=0.0, depth_uk_arcmin=0.0)


def written(path: Path, values: np.ndarray, table: bool) -> Path:
    if table:
        hp.write_map(path, values, dtype=np.float64, coord="G")
    else:
        fits.PrimaryHDU(values).writeto(path)
    return path


def dipole(frame: str) -> np.ndarray:
    """A map that is bright where the Galactic x axis points, in a frame."""
    vectors = np.stack(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
    there = hp.Rotator(coord=[frame, "G"])(vectors) if frame != "G" else vectors
    return 2 + there[0]


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("frame", ["G", "C", "E"])
def test_map_lies_where_it_belongs(tmp_path: Path, frame: str, table: bool) -> None:
    path = written(tmp_path / "d.fits", dipole(frame), table)
    found = DustMap(file=path, frame=frame, unit="uK_RJ").intensity(NSIDE)
    np.testing.assert_allclose(found, dipole("G"), atol=0.03)


def test_nested_maps_are_put_in_order(tmp_path: Path) -> None:
    path = written(tmp_path / "d.fits", hp.reorder(dipole("G"), r2n=True), False)
    np.testing.assert_allclose(DustMap(file=path, nested=True, unit="uK_RJ").intensity(NSIDE), dipole("G"), atol=0.03)


def test_units_and_sources(tmp_path: Path) -> None:
    values = np.full(12 * NSIDE**2, 0.1)
    values[100] = 500.0
    path = written(tmp_path / "d.fits", values, False)
    assert np.median(DustMap(file=path).intensity(NSIDE)) == pytest.approx(82.8)
    assert DustMap(file=path, most=2.0).intensity(NSIDE).max() == pytest.approx(2 * 828, rel=1e-5)


def test_sky_has_the_maps_dust(tmp_path: Path) -> None:
    path = written(tmp_path / "d.fits", 100 * dipole("G"), False)
    others = ("synchrotron", "free_free", "spinning_dust", "radio_sources", "infrared_sources", "cib", "thermal_sz")
    brightness = DustMap(file=path, unit="uK_RJ")
    sky = EmbeddedSky(dust=Dust(brightness=brightness), **dict.fromkeys(others))
    assert sky.files() == (path,)
    seen = sky.emission(CHANNEL, NSIDE, "I", 3)[0]
    # At the reference frequency the spectrum is one: uK_RJ become uK_CMB by a factor of 12.9 (Planck 2013 results IX).
    np.testing.assert_allclose(
        seen / brightness.intensity(NSIDE), np.mean(seen / brightness.intensity(NSIDE)), rtol=1e-4
    )
    assert np.mean(seen / brightness.intensity(NSIDE)) == pytest.approx(12.9, rel=0.01)
    # A varied sky keeps the map, and draws its spectrum anew.
    assert EmbeddedSky(dust=Dust(brightness=brightness)).varied(1).dust.brightness == brightness


def test_map_that_is_not_there_is_refused_before_work(tmp_path: Path) -> None:
    sky = EmbeddedSky(dust=Dust(brightness=DustMap(file=tmp_path / "none.fits")))
    with pytest.raises(SkyError, match=r"sky.dust.brightness.file=.*none.fits: there is no such file"):
        sky.check(NSIDE, "I")
    path = written(tmp_path / "half.fits", np.ones(1000), False)
    with pytest.raises(BandError, match="holds no full-sky HEALPix map: 1000 values"):
        DustMap(file=path).intensity(NSIDE)


@pytest.mark.skipif(not ASSETS, reason="CMBML_ASSETS names no folder")
def test_real_dust_is_where_and_as_bright_as_planck_has_it() -> None:
    """Against the same product in Galactic coordinates at nside 64, above 30 degrees."""
    folder = Path(str(ASSETS)) / "sky"
    found = DustMap(file=folder / "planck13_ebv_ns256_icrs.fits.gz", frame="C").intensity(64)
    wanted = 828 * hp.read_map(folder / "planck13_ebv_ns64.fits")
    high = np.abs(hp.pix2ang(64, np.arange(wanted.size), lonlat=True)[1]) > 30
    assert np.corrcoef(np.log(found[high]), np.log(wanted[high]))[0, 1] > 0.99
    assert np.median(found[high] / wanted[high]) == pytest.approx(1.0, abs=0.02)
