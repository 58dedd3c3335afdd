"""Patches survive their file, which says what they are."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cmbml.core.handler import Stamp
from cmbml.handlers.patch_file import FieldFile, PatchFile
from cmbml.sky.maps import MapError, MapSpec, SkyMap
from cmbml.sky.patches import Patches, PatchSpec

STAMP = Stamp("stage", "ab" * 32)


def patches(fields: str = "I", projection: str = "gnomonic") -> Patches:
    maps = MapSpec(nside=64, fields=fields, beam="gaussian", fwhm_arcmin=5.0, lmax=100)
    spec = PatchSpec(maps=maps, height=4, width=6, pixel_arcmin=(3.0, 1.5), projection=projection)
    rng = np.random.default_rng(1)
    values = rng.standard_normal((5, len(fields), 4, 6)).astype(np.float32)
    return Patches(values, spec, rng.uniform(0, 90, (5, 3)))


@pytest.mark.parametrize("projection", ["gnomonic", "plate_carree"])
@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_round_trip(tmp_path: Path, fields: str, projection: str) -> None:
    for handler in (PatchFile(), FieldFile()):
        path, value = tmp_path / f"{type(handler).__name__}.fits", patches(fields, projection)
        handler.write(path, value, STAMP)
        found = handler.read(path)
        assert found.spec == value.spec
        np.testing.assert_array_equal(found.values, value.values)
        np.testing.assert_array_equal(found.centres, value.centres)
        again = tmp_path / "again.fits"
        handler.write(again, found, STAMP)
        assert again.read_bytes() == path.read_bytes()
        again.unlink()


def test_header_has_world_coordinates(tmp_path: Path) -> None:
    PatchFile().write(tmp_path / "p.fits", patches(), STAMP)
    header = fits.getheader(tmp_path / "p.fits")
    assert (header["CTYPE1"], header["CTYPE2"], header["BUNIT"]) == ("GLON-TAN", "GLAT-TAN", "uK_CMB")
    assert (header["CDELT1"], header["CDELT2"]) == (-1.5 / 60, 3.0 / 60)
    assert (header["CRPIX1"], header["CRPIX2"]) == (3.5, 2.5)


def test_a_map_stays_a_map(tmp_path: Path) -> None:
    sky = SkyMap(np.arange(12.0 * 16, dtype=np.float32)[np.newaxis], MapSpec(nside=4))
    FieldFile().write(tmp_path / "m.fits", sky, STAMP)
    found = FieldFile().read(tmp_path / "m.fits")
    assert isinstance(found, SkyMap)
    assert found.spec == sky.spec


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "x.fits")
    with pytest.raises(MapError, match="no cube of patches"):
        PatchFile().read(tmp_path / "x.fits")
    PatchFile().write(tmp_path / "p.fits", patches(), STAMP)
    whole = (tmp_path / "p.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:-3000])
    with pytest.raises((ValueError, OSError, TypeError)):
        PatchFile().read(tmp_path / "cut.fits")
