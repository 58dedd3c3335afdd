"""HEALPix maps as FITS."""

from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbml.core.handler import Stamp
from cmbml.handlers.healpix_map import HealpixMap, MapSamples
from cmbml.sky.maps import UNSEEN, MapError, MapSpec, SkyMap

STAMP = Stamp("observe", "0123456789abcdef" * 4)


def sky_map(**spec: Any) -> SkyMap:
    made = MapSpec(**({"nside": 16} | spec))
    values = np.random.default_rng(0).normal(size=(len(made.fields), made.n_pix)).astype(np.float32)
    return SkyMap(values, made)


def written(tmp_path: Path, value: SkyMap) -> Path:
    path = tmp_path / "map.fits"
    HealpixMap().write(path, value, STAMP)
    return path


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"fields": "IQU", "lmax": 47, "beam": "gaussian", "fwhm_arcmin": 33.102652125, "pixel_window": True},
        {"nside": 1, "frame": "C"},
        {"nside": 32, "beam": "window", "frame": "E", "polconv": "IAU", "unit": "K_CMB"},
        {"unit": ""},
    ],
)
def test_round_trip_bit_for_bit(tmp_path: Path, spec: dict[str, Any]) -> None:
    before = sky_map(**spec)
    after = HealpixMap().read(written(tmp_path, before))
    assert after.spec == before.spec
    assert after.values.dtype == np.float32
    assert after.values.tobytes() == before.values.tobytes()


def test_same_bytes_twice(tmp_path: Path) -> None:
    path = written(tmp_path, sky_map(fields="IQU"))
    first = path.read_bytes()
    path.unlink()
    assert written(tmp_path, sky_map(fields="IQU")).read_bytes() == first


def test_header_says_what_the_numbers_are(tmp_path: Path) -> None:
    spec = {"fields": "IQU", "lmax": 47, "beam": "gaussian", "fwhm_arcmin": 10.0, "pixel_window": True}
    header = fits.getheader(written(tmp_path, sky_map(**spec)), 1)
    expected = {
        "PIXTYPE": "HEALPIX",
        "ORDERING": "RING",
        "NSIDE": 16,
        "FIRSTPIX": 0,
        "LASTPIX": 3071,
        "INDXSCHM": "IMPLICIT",
        "COORDSYS": "G",
        "POLAR": True,
        "POLCCONV": "COSMO",
        "BEAMTYPE": "gaussian",
        "FWHM": 10.0,
        "LMAX": 47,
        "PIXWIN": True,
        "STAGE": "observe",
        "FPRINT": "0123456789abcdef" * 2,
    }
    assert {name: header[name] for name in expected} == expected
    assert [header[f"TTYPE{i}"] for i in (1, 2, 3)] == ["I_STOKES", "Q_STOKES", "U_STOKES"]
    assert [header[f"TUNIT{i}"] for i in (1, 2, 3)] == ["uK_CMB"] * 3
    assert "DATE" not in header


@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_healpy_reads_the_same_map(tmp_path: Path, fields: str) -> None:
    before = sky_map(fields=fields)
    found, header = hp.read_map(written(tmp_path, before), field=None, h=True, dtype=np.float32)
    assert np.array_equal(np.atleast_2d(found), before.values)
    assert dict(header)["ORDERING"] == "RING"


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_truncated_file_is_refused(tmp_path: Path, part: float) -> None:
    path = written(tmp_path, sky_map(nside=32))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises((ValueError, OSError), match=r"truncated|cut short|corrupt"):
        HealpixMap().read(path)


def edited(tmp_path: Path, **cards: object) -> Path:
    """Write a map and change its header: None removes a keyword."""
    path = written(tmp_path, sky_map())
    with fits.open(path, mode="update") as hdus:
        for name, value in cards.items():
            if value is None:
                del hdus[1].header[name]
            else:
                hdus[1].header[name] = value
    return path


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"ORDERING": "NESTED"}, "ORDERING is NESTED, and RING is needed"),
        ({"NSIDE": 8}, "NSIDE 8 means 768 pixels"),
        ({"POLAR": True}, "IQU"),
        *(({name: None}, name) for name in ("ORDERING", "NSIDE", "POLAR", "TUNIT1", "LMAX", "BEAMTYPE", "FWHM")),
        *(({name: None}, name) for name in ("PIXWIN", "COORDSYS", "POLCCONV")),
    ],
)
def test_header_that_is_wrong_or_lacks_something_is_refused(
    tmp_path: Path, cards: dict[str, object], words: str
) -> None:
    with pytest.raises(MapError, match=words):
        HealpixMap().read(edited(tmp_path, **cards))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, UNSEEN, hp.UNSEEN])
def test_pixels_without_a_number_are_neither_written_nor_read(tmp_path: Path, value: float) -> None:
    spoilt = sky_map().values.copy()
    spoilt[0, 7] = value
    with pytest.raises(MapError, match="1 of 3072 pixel values are NaN, infinite or UNSEEN"):
        SkyMap(spoilt, MapSpec(nside=16))
    path = written(tmp_path, sky_map())
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["I_STOKES"][0, 7] = value
    with pytest.raises(MapError, match="1 of 3072 pixel values are NaN, infinite or UNSEEN"):
        HealpixMap().read(path)


def test_samples_of_a_map_are_columns_of_one_file(tmp_path: Path) -> None:
    samples = tuple(SkyMap(sky_map(fields="IQU").values + number, sky_map(fields="IQU").spec) for number in range(3))
    MapSamples().write(tmp_path / "samples.fits", samples, STAMP)
    found = MapSamples().read(tmp_path / "samples.fits")
    assert [one.spec for one in found] == [one.spec for one in samples]
    for one, other in zip(found, samples, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    names = fits.open(tmp_path / "samples.fits")[1].columns.names
    assert names[:4] == ["I_STOKES_0", "Q_STOKES_0", "U_STOKES_0", "I_STOKES_1"]
    np.testing.assert_array_equal(hp.read_map(tmp_path / "samples.fits", field=4), samples[1].values[1])


def test_header_holds_what_else_is_to_be_said(tmp_path: Path) -> None:
    stamp = Stamp("clean", "0" * 64, {"METHOD": "constrained_wiener", "HOLEMASK": "ab" * 32})
    HealpixMap().write(tmp_path / "map.fits", sky_map(), stamp)
    header = fits.getheader(tmp_path / "map.fits", 1)
    assert (header["METHOD"], header["HOLEMASK"]) == ("constrained_wiener", "ab" * 32)
    assert HealpixMap().read(tmp_path / "map.fits").spec == sky_map().spec
