"""Cubes in files: ours, and those of others."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbml.core.handler import Stamp
from cmbml.handlers.velocity_cube import CubeFile, read_columns, read_image, read_slices
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.velocity import CubeSpec, VelocityAxis, VelocityCube

NSIDE, N = 4, 5
AXIS = VelocityAxis(low_km_s=-20, high_km_s=30, number=N)
SPEC = CubeSpec(maps=MapSpec(nside=NSIDE, unit="K"), axis=AXIS, noise_k=(0.1, 0.2, 0.3, 0.4, 0.0))
VALUES = np.random.default_rng(1).random((N, 12 * NSIDE**2)).astype(np.float32)
STAMP = Stamp("hydrogen", "f" * 64)


def test_round_trip_and_header(tmp_path: Path) -> None:
    for name in ("a.fits", "b.fits"):
        CubeFile().write(tmp_path / name, VelocityCube(VALUES, SPEC), STAMP)
    found = CubeFile().read(tmp_path / "a.fits")
    np.testing.assert_array_equal(found.values, VALUES)
    assert found.spec == SPEC
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
    header = fits.getheader(tmp_path / "a.fits")
    axis = (header["CTYPE2"], header["CUNIT2"], header["CRVAL2"], header["CDELT2"], header["BUNIT"], header["SPECSYS"])
    assert axis == ("VRAD", "km/s", -15, 10, "K", "LSRK")
    # Others' readers see the velocities, too.
    np.testing.assert_allclose(read_image(tmp_path / "a.fits").velocities, AXIS.centres)


def write_slices(
    folder: Path, unit: str = "mK", factor: float = 1e3, velocities: bool = True, nside: int = NSIDE
) -> list[Path]:
    paths = [folder / f"slice_{i}.fits" for i in range(N)]
    for i, path in enumerate(paths):
        extra = [("VELOCITY", AXIS.centres[i])] if velocities else []
        values = hp.ud_grade(VALUES[i].astype(float), nside) * factor
        hp.write_map(path, values, column_units=unit, coord="G", extra_header=extra, nest=False, overwrite=True)
    return paths


def test_slices_in_mk(tmp_path: Path) -> None:
    found = read_slices(write_slices(tmp_path))
    np.testing.assert_allclose(found.values, VALUES, rtol=1e-6)
    np.testing.assert_allclose(found.velocities, AXIS.centres)
    assert read_slices(write_slices(tmp_path, "K", 1, velocities=False)).velocities is None


def test_slices_that_do_not_fit_are_named(tmp_path: Path) -> None:
    paths = write_slices(tmp_path)
    with pytest.raises(
        MapError, match=r"velocities must rise from slice to slice: slice_1\.fits is at -5 km/s and slice_0"
    ):
        read_slices([paths[1], paths[0]])
    hp.write_map(paths[2], np.ones(12), column_units="K", coord="G", overwrite=True)
    with pytest.raises(MapError, match=r"slice_2\.fits has nside 1 and frame G, and slice_0\.fits 4 and G"):
        read_slices(paths)
    paths[3].unlink()
    with pytest.raises(MapError, match=r"1 of 5 slices of the cube are missing in .*: slice_3\.fits"):
        read_slices(paths)
    with pytest.raises(MapError, match=r"slice_0\.fits is in 'MJy/sr', and brightness temperatures are in K, mK, uK"):
        read_slices(write_slices(tmp_path, "MJy/sr"))


def test_many_columns_in_nested_order(tmp_path: Path) -> None:
    nested = [hp.reorder(row, r2n=True) for row in VALUES]
    hp.write_map(tmp_path / "cube.fits", nested, nest=True, column_units="K", coord="G")
    np.testing.assert_allclose(read_columns(tmp_path / "cube.fits", N).values, VALUES, rtol=1e-6)
    with pytest.raises(MapError, match="has 5 columns, and the cube 4 velocity channels"):
        read_columns(tmp_path / "cube.fits", 4)


def test_image_of_falling_velocity_in_m_s(tmp_path: Path) -> None:
    image = fits.PrimaryHDU(VALUES[::-1] * 1000)
    image.header.extend([("CRVAL2", 25e3), ("CDELT2", -10e3), ("CUNIT2", "m/s"), ("BUNIT", "mK"), ("ORDERING", "RING")])
    image.writeto(tmp_path / "image.fits")
    found = read_image(tmp_path / "image.fits")
    np.testing.assert_allclose(found.values, VALUES, rtol=1e-6)
    np.testing.assert_allclose(found.velocities, AXIS.centres)
    fits.setval(tmp_path / "image.fits", "ORDERING", value="")
    with pytest.raises(MapError, match="does not say in ORDERING"):
        read_image(tmp_path / "image.fits")


def test_a_real_cube(assets_folder: Path) -> None:
    """GHIGLS' deep field: local gas about 0 km/s, and intermediate-velocity gas about -45."""
    found = read_image(assets_folder / "hi/GHIGLS_DFN_Tb.fits")
    assert found.values.shape == (490, 35, 35)
    assert np.diff(found.velocities) == pytest.approx(1.03, abs=0.01)
    spectrum = found.values.mean(axis=(1, 2))
    local, intermediate = (
        found.velocities[inside][spectrum[inside].argmax()]
        for inside in (
            (found.velocities > -25) & (found.velocities < 20),
            (found.velocities > -80) & (found.velocities < -25),
        )
    )
    assert -10 < local < 5
    assert -60 < intermediate < -35
    # The line's brightest parts are a kelvin or two, and what is outside is noise of about 0.1 K.
    assert 0.3 < spectrum.max() < 3
    assert np.abs(spectrum[np.abs(found.velocities) > 200]).max() < 0.05
