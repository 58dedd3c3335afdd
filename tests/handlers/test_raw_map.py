"""HEALPix maps of others."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbml.handlers.raw_map import read_raw_columns, read_raw_header, read_raw_map
from cmbml.sky.maps import MapError

NSIDE = 8
VALUES = np.random.default_rng(0).normal(size=(3, 12 * NSIDE**2))


def foreign(path: Path, nest: bool = False, units: str | list[str] = "uK_CMB") -> Path:
    """Write VALUES as healpy does."""
    values = hp.reorder(VALUES, r2n=True) if nest else VALUES
    hp.write_map(path, values, nest=nest, dtype=np.float64, column_units=units, overwrite=True)
    return path


@pytest.mark.parametrize("nest", [False, True])
def test_any_ordering_comes_back_as_ring(tmp_path: Path, nest: bool) -> None:
    values, units = read_raw_columns(foreign(tmp_path / "m.fits", nest), (0, 1, 2))
    assert np.array_equal(values, VALUES)
    assert units == ["uK_CMB"] * 3


def test_columns_by_name_and_number(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.fits")
    name = fits.getheader(path, 1)["TTYPE3"]
    values, _ = read_raw_columns(path, (name, 1))
    assert np.array_equal(values, VALUES[[2, 1]])


@pytest.mark.parametrize(("unit", "factor"), [("uK_CMB", 1), ("uK", 1), ("mK", 1e3), ("K_CMB", 1e6), ("K", 1e6)])
def test_any_unit_of_temperature_comes_back_as_microkelvin(tmp_path: Path, unit: str, factor: float) -> None:
    found = read_raw_map(foreign(tmp_path / "m.fits", units=unit), (0,))
    assert found[0] == pytest.approx(factor * VALUES[0], rel=1e-14)


def test_each_column_has_its_own_unit(tmp_path: Path) -> None:
    found = read_raw_map(foreign(tmp_path / "m.fits", units=["K", "mK", "uK"]), (0, 1, 2))
    assert found == pytest.approx(VALUES * np.array([[1e6], [1e3], [1.0]]), rel=1e-14)


@pytest.mark.parametrize("unit", ["", "MJy/sr", "K_RJ", "kK"])
def test_unit_that_is_no_temperature_is_refused_and_may_be_overruled(tmp_path: Path, unit: str) -> None:
    path = foreign(tmp_path / "m.fits", units=unit or "x")
    if not unit:
        with fits.open(path, mode="update") as hdus:
            del hdus[1].header["TUNIT1"]
    with pytest.raises(MapError, match="not known to be a thermodynamic temperature; allowed are uK_CMB") as error:
        read_raw_map(path)
    assert str(path) in str(error.value)
    assert read_raw_map(path, unit="K_CMB")[0] == pytest.approx(1e6 * VALUES[0])


SAID = {"G": "G", "GALACTIC": "G", "C": "C", "Celestial": "C", "ICRS": "C", "E": "E", "Ecliptic": "E"}


@pytest.mark.parametrize("coordsys", SAID)
def test_frame_is_what_header_and_setting_agree_on(tmp_path: Path, coordsys: str) -> None:
    path = foreign(tmp_path / "m.fits")
    assert [read_raw_header(path).frame(wanted, "a.frame") for wanted in (None, "G", "E")] == ["G", "G", "E"]
    fits.setval(path, "COORDSYS", value=coordsys, ext=1)
    header, frame = read_raw_header(path), SAID[coordsys]
    assert header.frame(None, "a.frame") == header.frame(frame, "a.frame") == frame
    other = "E" if frame == "C" else "C"
    with pytest.raises(MapError, match=f"says COORDSYS={coordsys}, and a.frame={other}: .*set a.frame={frame}"):
        header.frame(other, "a.frame")


def test_frame_that_nobody_knows(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.fits")
    fits.setval(path, "COORDSYS", value="S", ext=1)
    assert read_raw_header(path).frame("E", "a.frame") == "E"
    with pytest.raises(MapError, match=r"COORDSYS=S, which is none of G, .*; say in a.frame whether"):
        read_raw_header(path).frame(None, "a.frame")


def test_header_says_what_the_pixels_are(tmp_path: Path) -> None:
    header = read_raw_header(foreign(tmp_path / "m.fits", nest=True, units=["K", "mK", "uK"]))
    assert (header.nside, header.nested, list(header.units.values())) == (NSIDE, True, ["K", "mK", "uK"])


@pytest.mark.parametrize(("polcconv", "sign"), [("IAU", -1), ("COSMO", 1)])
def test_sign_of_u_is_that_of_healpix(tmp_path: Path, polcconv: str, sign: int) -> None:
    path = foreign(tmp_path / "m.fits")
    fits.setval(path, "POLCCONV", value=polcconv, ext=1)
    values = read_raw_columns(path, (0, 1, 2))[0]
    assert np.array_equal(values, VALUES * np.array([[1], [1], [sign]]))


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, hp.UNSEEN])
def test_pixels_without_a_number_are_counted(tmp_path: Path, value: float, nest: bool) -> None:
    path = foreign(tmp_path / "m.fits", nest)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data.field(0)[3:5] = value
    with pytest.raises(MapError, match="2 of 768 pixel values are NaN, infinite or UNSEEN; fill or mask them"):
        read_raw_columns(path)


def test_ordering_that_is_not_said_is_not_guessed(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus[1].header["ORDERING"]
    with pytest.raises(MapError, match="does not say in ORDERING"):
        read_raw_columns(path)


def test_table_that_is_no_full_map(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("T", "D", array=np.zeros(100))])
    table.header["ORDERING"] = "RING"
    table.writeto(tmp_path / "m.fits")
    with pytest.raises(MapError, match="has 100 pixels, which is no full HEALPix map"):
        read_raw_columns(tmp_path / "m.fits")


@pytest.mark.parametrize("field", [5, "NOTHING"])
def test_column_that_is_not_there(tmp_path: Path, field: int | str) -> None:
    with pytest.raises(MapError, match="cannot be read as a HEALPix map") as error:
        read_raw_columns(foreign(tmp_path / "m.fits"), (field,))
    assert "m.fits" in str(error.value)


@pytest.mark.parametrize("part", [0.0, 0.2, 0.6, 0.95])
def test_truncated_file(tmp_path: Path, part: float) -> None:
    path = foreign(tmp_path / "m.fits")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(MapError, match="cannot be read as a HEALPix map"):
        read_raw_columns(path)


@pytest.mark.parametrize("content", [None, b"", b"no FITS at all"])
def test_no_map_at_all(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "m.fits").write_bytes(content)
    with pytest.raises(MapError, match=r"m.fits cannot be read"):
        read_raw_columns(tmp_path / "m.fits")


def test_real_mask_in_nested_order(assets_folder: Path) -> None:
    """The Planck Galactic masks are NESTED: read right, they hide the Galactic plane."""
    paths = sorted((assets_folder / "masks").glob("*.fits"))
    if not paths:
        pytest.skip("no masks there")
    path = paths[0]
    values = read_raw_columns(path)[0][0]
    nside = hp.npix2nside(values.size)
    latitude = 90 - np.rad2deg(hp.pix2ang(nside, np.arange(values.size))[0])
    assert values[np.abs(latitude) < 1].mean() < 0.2 < values[np.abs(latitude) > 60].mean()


def test_image_before_the_table_is_passed_over(tmp_path: Path) -> None:
    values = np.arange(12 * 8**2, dtype=np.float32)
    table = fits.BinTableHDU.from_columns([fits.Column("T", "E", unit="uK_CMB", array=values)])
    table.header["ORDERING"] = "RING"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 3))), table]).writeto(tmp_path / "map.fits")
    np.testing.assert_array_equal(read_raw_columns(tmp_path / "map.fits", (0,))[0][0], values)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 3)))]).writeto(tmp_path / "image.fits")
    with pytest.raises(MapError, match="it holds no table"):
        read_raw_header(tmp_path / "image.fits")
