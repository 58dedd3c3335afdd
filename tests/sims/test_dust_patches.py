"""The map that patches of dust are cut from."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbml.sims.dust_patches import DustError, DustFile, PatchLayout, SkyDust, require_positive
from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sky.maps import MapError

NSIDE = 16


def file(tmp_path: Path, values: np.ndarray, **more: object) -> DustFile:
    path = tmp_path / "dust.fits"
    fits.PrimaryHDU(values).writeto(path, overwrite=True)
    return DustFile(**{"nside": NSIDE, "file": path, "unit": "mag"} | more)


def test_values_are_scaled_lifted_and_cut_off(tmp_path: Path) -> None:
    values = np.linspace(-1, 10, 12 * NSIDE**2)
    found = file(tmp_path, values, scale=2.0, least=0.1, most=5.0).read(0, 1)
    np.testing.assert_allclose(found, np.clip(2 * values, 0.1, 5.0))
    assert file(tmp_path, values).read(0, 1).min() == -1
    nested = file(tmp_path, hp.reorder(values, r2n=True), nested=True).read(0, 1)
    np.testing.assert_array_equal(nested, values)


def test_smoothing_keeps_the_mean_and_falls_as_the_beam_does(tmp_path: Path) -> None:
    """A quadrupole loses exp(-l (l + 1) sigma^2 / 2) of its amplitude, l = 2."""
    z = hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]
    source = file(tmp_path, 10 + 3 * z**2, fwhm_arcmin=1200.0)
    found, sigma = source.read(0, 1), np.radians(20) / np.sqrt(8 * np.log(2))
    wanted = 11 + 3 * (z**2 - 1 / 3) * np.exp(-3 * sigma**2)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert (source.spec.beam, source.spec.fwhm_arcmin, source.spec.unit) == ("gaussian", 1200.0, "mag")


def test_what_is_no_such_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DustError, match=r"has nside 16, and dust.nside=32 was said"):
        file(tmp_path, np.ones(12 * NSIDE**2), nside=32).read(0, 1)
    with pytest.raises(DustError, match="holds no full-sky HEALPix map: 100 values"):
        file(tmp_path, np.ones(100)).read(0, 1)
    with pytest.raises(DustError, match=r"dust.file=.*missing.fits: there is no such file"):
        DustFile(nside=NSIDE, file=tmp_path / "missing.fits", unit="mag").check()
    with pytest.raises(DustError, match=r"dust.part=gas: the sky has dust, synchrotron"):
        SkyDust(nside=NSIDE, sky=EmbeddedSky(), part="gas").check()


def test_pixels_without_a_logarithm_are_counted() -> None:
    require_positive(np.ones((2, 3)), "mag")
    with pytest.raises(DustError, match=r"2 of 6 pixels .* \(the lowest is -1 mag\).* dust.least"):
        require_positive(np.array([[1.0, 0, -1], [1, 1, 1]]), "mag")
    with pytest.raises(DustError, match=r"1 of 3 pixels"):
        require_positive(np.array([1.0, np.nan, 1.0]), "mag")


def test_the_sky_has_dust_that_is_bright_in_the_plane() -> None:
    source = SkyDust(nside=NSIDE, sky=EmbeddedSky())
    source.check()
    found = source.read(5, 1)
    latitude = np.abs(90 - np.degrees(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0]))
    assert (found > 0).all() and np.median(found[latitude < 5]) > 10 * np.median(found[latitude > 40])
    np.testing.assert_array_equal(found, source.read(5, 1))
    assert (found != source.read(6, 1)).any()


def test_layout_splits_by_halves_or_not_at_all() -> None:
    layout = PatchLayout(halves={"train": "north", "test": "south"})
    rng = np.random.default_rng(0)
    assert (layout.centres_of("train", rng)[:, 1] >= 25).all() and (layout.centres_of("test", rng)[:, 1] <= -25).all()
    assert [layout.count(split) for split in ("train", "test", "other")] == [517, 517, 1034]
    drawn = PatchLayout(centres="random", number=30, halves={"train": "north"})
    assert drawn.count("train") == 30
    assert (drawn.centres_of("train", rng) != drawn.centres_of("train", rng)).any()
    spec = layout.patch_spec(DustFile(nside=NSIDE, file=Path("a"), unit="mag").spec)
    assert (spec.sides_deg, spec.projection, spec.maps.unit) == ((20, 20), "plate_carree", "mag")
    with pytest.raises(MapError, match="projections bear 60"):
        PatchLayout(side_deg=70).patch_spec(spec.maps)
