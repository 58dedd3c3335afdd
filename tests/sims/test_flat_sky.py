"""Patches that are drawn flat hold what their settings say; the fits are those of the published tables."""

import os
from pathlib import Path

import numpy as np
import pytest

from cmbml.sims.flat_sky import (
    DustOfPatches,
    FlatGrid,
    FlatSky,
    draw_patch,
    grey_ratio,
    infrared_counts,
    per_cmb_kelvin,
    radio_counts,
)
from cmbml.sims.sources import cib_shape
from cmbml.sky.flat import flat_spectra
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError

ASSETS = os.environ.get("CMBML_ASSETS")
needs_assets = pytest.mark.skipif(not ASSETS, reason="CMBML_ASSETS names no folder")
GRID = FlatGrid(n_pixels=64, pixel_arcmin=6.0)
CHANNELS = {
    "143": Channel(freq_ghz=142.876, fwhm_arcmin=7.3, depth_uk_arcmin=33.0),
    "217": Channel(freq_ghz=221.156, fwhm_arcmin=5.0, depth_uk_arcmin=46.8),
    "353": Channel(freq_ghz=357.5, fwhm_arcmin=4.9, depth_uk_arcmin=153.6),
}
ELL = np.arange(3001)
C_ELL = np.where(ELL > 1, 6e4 / (1.0 + ELL) ** 2.2, 0.0)


def table(name: str) -> np.ndarray:
    return np.loadtxt(Path(str(ASSETS)) / "extragalactic" / name, comments="%")


@needs_assets
def test_shape_of_the_cib() -> None:
    ell, log = table("cib_cl_lapi_217.dat").T
    ratio = np.log10(cib_shape(ell)) - log
    assert np.ptp(ratio) < 2 * np.log10(1.06)


@needs_assets
def test_counts_of_radio_sources() -> None:
    flux, counts = table("radio_counts_tucci_c2ex_220.dat")[:, :2].T
    inside = (flux > 1e-3) & (flux < 20)
    ratio = radio_counts(flux[inside]) / (counts * flux**2.5)[inside]
    assert np.abs(np.log10(ratio)).max() < np.log10(1.11)


@needs_assets
def test_counts_of_infrared_sources() -> None:
    rows = table("irlatetype_counts_1400um.dat")
    flux, number = 10 ** rows[:, 0] * 1e-3, (rows[:, 1] + rows[:, 2]) * (180 / np.pi) ** 2
    inside = (flux > 1e-3) & (flux < 20)
    counts = (number / (flux * np.log(10)) * flux**2.5)[inside]
    assert np.abs(np.log10(infrared_counts(flux[inside]) / counts)).max() < 0.18


def test_units() -> None:
    # Planck 2013 results IX, table 6, for a delta function at the centre: 483.7 at 217 GHz, 296.7 at 353 GHz.
    assert per_cmb_kelvin(217.0) == pytest.approx(483.6e6, rel=1e-3)
    assert per_cmb_kelvin(353.0) == pytest.approx(296.7e6, rel=1e-3)
    assert grey_ratio(353.0, 353.0, np.array(1.5), np.array(20.0)) == pytest.approx(1.0)


def drawn(seed: int = 1, latitude: float = 60.0, **changes: float) -> dict[str, np.ndarray]:
    return draw_patch(FlatSky(**changes), CHANNELS, C_ELL, latitude, GRID, np.random.default_rng(seed))


def test_same_seed_same_patch() -> None:
    first, again, other = drawn(1), drawn(1), drawn(2)
    for name, image in first.items():
        assert image.shape == (3, 64, 64)
        np.testing.assert_array_equal(image, again[name])
        assert not np.array_equal(image, other[name])


def test_cmb_is_the_same_in_all_channels_but_for_beams() -> None:
    cmb = drawn()["cmb"]
    edges = np.array([100.0, 300, 600])
    spectra = flat_spectra(cmb, edges, GRID.pixel_rad).c_ell
    beams = np.stack([channel.beam(600, 1)[0] for channel in CHANNELS.values()])
    ratio = spectra[0] / spectra[2]
    wanted = (beams[0] / beams[2])[[200, 450]] ** 2
    np.testing.assert_allclose(ratio, wanted, rtol=0.02)


def test_noise_has_the_channels_depth() -> None:
    noise, louder = drawn()["noise"], drawn(noise=5.0)["noise"]
    for image, channel in zip(noise, CHANNELS.values(), strict=True):
        assert image.std() == pytest.approx(channel.depth_uk_arcmin / 6.0, rel=0.05)
    np.testing.assert_allclose(louder, 5 * noise)


def test_dust_is_brighter_in_the_plane_and_at_high_frequencies() -> None:
    plane, pole = (np.mean([drawn(seed, b)["dust"].mean((1, 2)) for seed in range(20)], axis=0) for b in (2.0, 90.0))
    # 1 / sin |b|, to the scatter of a log-normal of 0.5 over 20 patches.
    assert plane[2] / pole[2] == pytest.approx(1 / np.sin(np.radians(2)), rel=0.01)
    assert pole[2] > 5 * pole[1] > 5 * pole[0]


def test_sz_is_negative_below_its_null_and_positive_above() -> None:
    low, _, high = drawn()["sz"]
    assert low.mean() < 0 < high.mean()
    assert abs(drawn()["sz"][1].mean()) < 0.1 * abs(low.mean())


def test_a_component_that_is_switched_off_leaves_nothing() -> None:
    found = drawn(dust_uk=0.0, cib_d1000_uk2=0.0, clusters=0.0, noise=0.0)
    assert all(not np.abs(found[name]).max() > 1e-12 for name in ("dust", "cib", "sz", "noise"))


def test_dust_that_is_given_is_what_channels_see() -> None:
    """Turned or mirrored, through the beams, as bright as its spectrum says; beyond its edges it goes on smoothly."""
    sky = FlatSky(dust_index_scatter=0.0, dust_temperature_scatter_k=0.0, dust_index=1.6)
    rows, columns = np.mgrid[:64, :64] / 64
    given = 100 * (1 + rows + 0.3 * columns**2)
    seen = draw_patch(sky, CHANNELS, C_ELL, 40.0, GRID, np.random.default_rng(1), given)["dust"]
    ratio = grey_ratio(217.0, 353.0, np.array(1.6), np.array(19.6)) / grey_ratio(
        353.0, 353.0, np.array(1.6), np.array(19.6)
    )
    expected = [grey_ratio(nu.freq_ghz, 353.0, np.array(1.6), np.array(19.6)) for nu in CHANNELS.values()]
    assert 0 < ratio < 1
    views = [np.rot90(view, turn) for view in (given, given[:, ::-1]) for turn in range(4)]
    for image, factor in zip(seen, expected, strict=True):
        # Beams of a pixel change a smooth image at its creased edges alone, by less than a per cent.
        assert min(np.abs(image / factor - view).max() for view in views) < 0.01 * given.max()


def test_units_of_given_dust() -> None:
    """A magnitude is 3.17 MJy/sr at 353 GHz, where 1 K_CMB is 287.45 MJy/sr over the band (Planck 2013 results IX)."""
    dust = DustOfPatches(files=(Path("x"),), scale=2.0)
    one = dust.factor("mag")
    assert dust.factor("uK_CMB") == 2
    with pytest.raises(MapError, match="patches of dust in K; known are uK_CMB, mag"):
        dust.factor("K")
    assert one == pytest.approx(2 * 3.17 / 287.45e-6, rel=0.06)
