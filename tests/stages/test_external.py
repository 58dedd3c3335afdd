"""Templates are read with what their headers say, and refused with one clear message."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbml.core.handler import Stamp
from cmbml.handlers.healpix_map import HealpixMap
from cmbml.methods.external import ExternalMap
from cmbml.methods.ilc.needlet import NeedletIlc
from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import UNSEEN, MapError, MapSpec, SkyMap
from cmbml.stages.modelling.external import spec_with_templates, template_windows, with_templates

NSIDE = 16
VALUES = np.random.default_rng(0).standard_normal(12 * NSIDE**2)


def observation(**asked: Any) -> Observation:
    truth = MapSpec(nside=NSIDE, lmax=40, **asked)
    channels = {name: Channel(freq_ghz=float(name), fwhm_arcmin=0, depth_uk_arcmin=1) for name in ("100", "143")}
    spec = ObservationSpec(dict.fromkeys(channels, truth), truth, channels)
    return Observation(spec, {name: SkyMap(np.zeros((1, truth.n_pix)), truth) for name in channels})


def ours(folder: Path, values: np.ndarray = VALUES, **spec: Any) -> Path:
    """Write a map as this project does."""
    nside = round(np.sqrt(values.size / 12))
    of = MapSpec(nside=nside, **({"unit": "uK_RJ"} | spec))
    HealpixMap().write(folder / "ours.fits", SkyMap(values[None].astype("f4"), of), Stamp("clean", "0" * 64))
    return folder / "ours.fits"


def foreign(folder: Path, values: np.ndarray = VALUES, **header: Any) -> Path:
    """Write a map as others do, with cards changed, or taken away where None."""
    path = folder / "foreign.fits"
    hp.write_map(path, values, nest=header.get("ORDERING") == "NESTED", coord="G", overwrite=True, dtype=np.float64)
    with fits.open(path, mode="update") as hdus:
        for name, value in header.items():
            if value is None:
                del hdus[1].header[name]
            else:
                hdus[1].header[name] = value
    return path


def test_header_is_believed(tmp_path: Path) -> None:
    entry = ExternalMap(file=ours(tmp_path, beam="gaussian", fwhm_arcmin=90.0))
    seen = with_templates(observation(), [entry])
    (name,) = seen.spec.templates
    assert (seen.spec.shown[name].unit, seen.spec.shown[name].fwhm_arcmin) == ("uK_RJ", 90.0)
    np.testing.assert_allclose(seen.spec.templates[name], gaussian_window(90.0, 40))
    np.testing.assert_array_equal(seen.shown[name].values[0], VALUES.astype("f4"))
    assert seen.spec.described(name) == "ours.fits: uK_RJ, nside 16, 90 arcmin"
    assert list(seen.spec.channels) == ["100", "143"]


def test_nested_pixels_are_reordered(tmp_path: Path) -> None:
    path = foreign(tmp_path, hp.reorder(VALUES, r2n=True), ORDERING="NESTED")
    seen = with_templates(observation(), [ExternalMap(file=path, fwhm_arcmin=0, unit="K km/s")])
    np.testing.assert_array_equal(seen.shown[str(path)].values[0], VALUES)
    assert seen.spec.shown[str(path)].unit == "K km/s"


def test_pixel_windows(tmp_path: Path) -> None:
    """What template and observation have in common is no window between them; what they have not needs the tables."""
    window = np.linspace(1, 0.5, 65)

    def table(folder: Path, nside: int) -> None:
        columns = [fits.Column(name, "D", array=window**nside) for name in ("TEMPERATURE", "POLARIZATION")]
        fits.BinTableHDU.from_columns(columns).writeto(folder / f"pixel_window_n{nside:04d}.fits")

    for nside in (16, 32):
        table(tmp_path, nside)
    averaged = ExternalMap(file=ours(tmp_path, pixel_window=True))
    alike = spec_with_templates(observation(pixel_window=True).spec, [averaged])
    np.testing.assert_array_equal(next(iter(alike.templates.values())), np.ones(41))
    with pytest.raises(MapError, match=r"the template is averaged over its pixels.*pixel_windows of method\.external"):
        spec_with_templates(observation().spec, [averaged])
    told = ExternalMap(file=averaged.file, pixel_windows=tmp_path)
    found = spec_with_templates(observation().spec, [told])
    np.testing.assert_allclose(next(iter(found.templates.values())), window[:41] ** 16)
    assert template_windows([told]) == (tmp_path / "pixel_window_n0016.fits",)
    finer = ExternalMap(file=ours(tmp_path, np.repeat(VALUES, 4), pixel_window=True), pixel_windows=tmp_path)
    found = spec_with_templates(observation(pixel_window=True).spec, [finer])
    np.testing.assert_allclose(next(iter(found.templates.values())), window[:41] ** 16)


def holed(value: float) -> np.ndarray:
    values = VALUES.copy()
    values[7] = value
    return values


BAD: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "missing": (lambda folder: folder / "none.fits", {}, r"method\.external names .*none\.fits, and there is no such"),
    "coarser": (lambda folder: ours(folder, VALUES[: 12 * 8**2]), {}, r"nside 8, coarser than the observation's 16"),
    "NaN": (lambda folder: foreign(folder, holed(np.nan)), {"fwhm_arcmin": 0}, "1 of 3072 pixel values are NaN"),
    "UNSEEN": (lambda folder: foreign(folder, holed(UNSEEN)), {"fwhm_arcmin": 0}, "1 of 3072 pixel values are NaN"),
    "frame": (lambda folder: foreign(folder, COORDSYS="C"), {"fwhm_arcmin": 0}, "COORDSYS=C.*contradict"),
    "ordering": (lambda folder: foreign(folder, ORDERING=None), {"fwhm_arcmin": 0}, "does not say in ORDERING"),
    "beam": (foreign, {}, r"does not say what beam it has: give it as method\.external=\[\{file: .*fwhm_arcmin"),
    "column": (foreign, {"column": 3, "fwhm_arcmin": 0}, "it has no column 3"),
    "constant": (lambda folder: foreign(folder, np.ones(VALUES.size)), {"fwhm_arcmin": 0}, "the same value in every"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_templates_get_one_clear_message(name: str, tmp_path: Path) -> None:
    make, settings, message = BAD[name]
    with pytest.raises(MapError, match=message):
        with_templates(observation(), [ExternalMap(file=make(tmp_path), **settings)])


def test_what_was_masked_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("cmbml"), "propagate", True)
    values = VALUES.copy()
    with_templates(observation(), [ExternalMap(file=ours(tmp_path, values))])
    assert not caplog.records
    values[: VALUES.size // 4] = 0
    with_templates(observation(), [ExternalMap(file=ours(tmp_path, values))])
    assert "exactly zero in 25 % of its pixels" in caplog.text


def test_a_template_is_shown_once(tmp_path: Path) -> None:
    entry = ExternalMap(file=ours(tmp_path))
    with pytest.raises(MapError, match="names a map twice"):
        spec_with_templates(observation().spec, [entry, entry])


def test_methods_take_paths_for_templates(tmp_path: Path) -> None:
    """What the command line gives: method.external=[FILE]."""
    path = ours(tmp_path)
    method = NeedletIlc(
        name="nilc",
        channels=("100", "143"),
        fwhm_arcmin=300,
        bands=CosineNeedlets(peaks=(20,)),
        bias_tolerance=0.1,
        external=(str(path), {"file": path, "fwhm_arcmin": 60}),
    )
    assert method.external == (ExternalMap(file=path), ExternalMap(file=path, fwhm_arcmin=60))
    assert method.files() == (path, path)
