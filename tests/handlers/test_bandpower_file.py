from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cmbml.core.handler import Stamp
from cmbml.handlers.bandpower_file import BandpowerFile
from cmbml.sky.case import Bandpowers
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.patches import PatchSpec

STAMP = Stamp("clean", "f" * 64)
PATCH = PatchSpec(
    maps=MapSpec(nside=64, lmax=100, beam="gaussian", fwhm_arcmin=22.0), height=8, width=6, pixel_arcmin=(30.0, 20.0)
)


def spectra(n_bin: int = 3, **more: object) -> Bandpowers:
    rng = np.random.default_rng(1)
    return Bandpowers(np.arange(n_bin + 1.0), rng.random((2, n_bin)), rng.random((2, n_bin)), **more)


@pytest.mark.parametrize("n_bin", [1, 3])
@pytest.mark.parametrize("more", [{}, {"patch": PATCH, "centres": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])}])
def test_spectra_come_back_to_the_last_bit(tmp_path: Path, n_bin: int, more: dict[str, object]) -> None:
    path, value = tmp_path / "b.fits", spectra(n_bin, **more)
    BandpowerFile().write(path, value, STAMP)
    found = BandpowerFile().read(path)
    for name in ("l_edges", "d_ell", "sigma"):
        np.testing.assert_array_equal(getattr(found, name), getattr(value, name))
    assert found.patch == value.patch
    if value.centres is not None:
        np.testing.assert_array_equal(found.centres, value.centres)
    with fits.open(path) as hdus:
        assert hdus[0].header["STAGE"] == "clean"


def test_same_spectra_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        BandpowerFile().write(tmp_path / name, spectra(patch=PATCH, centres=np.zeros((2, 3))), STAMP)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_file_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros(3)).writeto(tmp_path / "other.fits")
    with pytest.raises(MapError, match="holds no bandpowers"):
        BandpowerFile().read(tmp_path / "other.fits")
