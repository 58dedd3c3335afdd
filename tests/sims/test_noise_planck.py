"""Planck's files, as small ones made here: NESTED, K_CMB^2, of another nside than the noise."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from cmbml.sims.noise import build_model, draw_noise
from cmbml.sims.noise_planck import PlanckNoise
from cmbml.sims.noise_sources import CorrelatedNoise
from cmbml.sims.noise_spectrum import NoiseError
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import UNSEEN
from cmbml.sky.spectra import bin_spectrum

NSIDE_FILE, NSIDE, LMAX, N_SIMS, N_DRAW = 64, 32, 80, 60, 240
CHANNEL = Channel(freq_ghz=100, fwhm_arcmin=30, depth_uk_arcmin=60, depth_p_uk_arcmin=100, knee_multipole=30, slope=1.2)
TRUTH = CorrelatedNoise(level_scatter=0.05, knee_scatter=0.3)
EDGES = np.array([2, 4, 8, 14, 22, 32, 44, 60, 76])
AVERAGE_UK = 20.0


def write(path, columns, units, nside=NSIDE_FILE, ordering="NESTED"):
    columns = {
        name: hp.reorder(np.asarray(values), r2n=True) if ordering == "NESTED" else values
        for name, values in columns.items()
    }
    table = [
        fits.Column(name=name, format="E", array=values.astype(np.float32), unit=unit)
        for (name, values), unit in zip(columns.items(), units, strict=True)
    ]
    hdu = fits.BinTableHDU.from_columns(table)
    hdu.header.update({"PIXTYPE": "HEALPIX", "ORDERING": ordering, "NSIDE": nside})
    hdu.writeto(path, overwrite=True)
    return path


def average_map():
    return AVERAGE_UK * np.cos(hp.pix2ang(NSIDE_FILE, np.arange(12 * NSIDE_FILE**2))[0])


def write_data(folder, fields, knee=True):
    """Variance map (of the white part alone, as map-making gives it) and simulations about a known average."""
    channel = CHANNEL if knee else Channel(freq_ghz=100, fwhm_arcmin=30, depth_uk_arcmin=60)
    truth = TRUTH.model("100", channel, NSIDE_FILE, 3 * NSIDE_FILE - 1, fields, threads=1)
    white = truth.std_map.astype(float) ** 2 * truth.white()[:, None] * 1e-12
    names = ["II_COV", "QQ_COV", "UU_COV"][: len(fields)]
    write(folder / "variance_100.fits", dict(zip(names, white, strict=True)), ["Kcmb^2"] * len(fields))
    spectra = []
    for number in range(N_SIMS):
        noise = draw_noise([truth], [np.random.default_rng([5, number])])[0]
        spectra.append(binned_spectra(noise))
        noise[0] += average_map()
        columns = {f"{field}_STOKES": row * 1e-6 for field, row in zip(fields, noise, strict=True)}
        write(folder / f"sim_100_{number:05d}.fits", columns, ["K_CMB"] * len(fields))
    return truth, np.array(spectra)


def binned_spectra(noise):
    cl = hp.anafast(noise.astype(float) if len(noise) == 3 else noise[0].astype(float), lmax=LMAX, iter=0)
    return bin_spectrum(np.atleast_2d(cl)[: len(noise)], EDGES)


def source(folder, **changes):
    common = {
        "folder": folder,
        "variance_maps": {"100": "variance_100.fits"},
        "simulations": {"100": "sim_{channel}_{number:05d}.fits"},
        "n_simulations": N_SIMS,
    }
    return PlanckNoise(**common | changes)


@pytest.fixture(scope="module", params=["I", "IQU"])
def data(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planck")
    return folder, request.param, *write_data(folder, request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    write_data(folder, "I")
    return folder


def degraded_variance(folder, fields):
    with fits.open(folder / "variance_100.fits") as file:
        maps = [hp.reorder(np.array(file[1].data.field(i), dtype=float), n2r=True) * 1e12 for i in range(len(fields))]
    return np.array([hp.ud_grade(row, NSIDE) * (NSIDE / NSIDE_FILE) ** 2 for row in maps])


def test_variance_map_is_degraded_to_the_variance_of_the_mean(data):
    folder, fields, *_ = data
    model = source(folder, kind="anisotropic").model("100", CHANNEL, NSIDE, LMAX, fields, threads=1)
    np.testing.assert_allclose(model.std_map.astype(float) ** 2, degraded_variance(folder, fields), rtol=1e-5)
    assert not model.red.any()
    uniform = source(folder, kind="white").model("100", CHANNEL, NSIDE, LMAX, fields, threads=1)
    np.testing.assert_allclose(
        uniform.std_map[:, 0].astype(float) ** 2, degraded_variance(folder, fields).mean(axis=1), rtol=1e-5
    )
    assert not np.ptp(uniform.std_map, axis=1).any()


def test_correlated_noise_has_the_statistics_of_the_simulations(data):
    folder, fields, truth, simulated = data
    model = source(folder).model("100", CHANNEL, NSIDE, LMAX, fields, threads=1)
    # The model knows the spectrum from the simulations, which scatter by chance and otherwise.
    spread = simulated.std(axis=0, ddof=1)
    wanted = bin_spectrum(truth.noise[:, : LMAX + 1], EDGES)
    assert np.abs((bin_spectrum(model.noise, EDGES) - wanted) / spread).max() < 4.5 / np.sqrt(N_SIMS)

    drawn, squares = [], np.zeros(model.std_map.shape)
    for i in range(N_DRAW):
        noise = draw_noise([model], [np.random.default_rng([6, i])])[0] - model.mean_map
        squares += noise.astype(float) ** 2 / N_DRAW
        drawn.append(binned_spectra(noise))
    drawn = np.array(drawn)
    sigma = (drawn.mean(axis=0) - bin_spectrum(model.noise, EDGES)) / (drawn.std(axis=0, ddof=1) / np.sqrt(N_DRAW))
    assert np.abs(sigma).max() < 4
    ratio = squares / model.std_map.astype(float) ** 2
    assert np.abs(ratio - 1).max() < 6.5 * np.sqrt(2 / N_DRAW)
    assert np.abs(ratio.mean(axis=1) - 1).max() < 0.03

    # Chance scatter and true scatter together, in each bin.
    again = drawn.std(axis=0, ddof=1) / drawn.mean(axis=0)
    relative = again / (spread / simulated.mean(axis=0))
    assert np.abs(relative - 1).max() < 4 * np.sqrt(0.5 / N_SIMS + 0.5 / N_DRAW)
    assert np.abs(relative.mean() - 1) < 0.1


def test_pixel_variance_follows_the_variance_map(data):
    """The total is higher than the white variance map by the knee's part, and the pattern is the map's."""
    folder, fields, *_ = data
    model = source(folder).model("100", CHANNEL, NSIDE, LMAX, fields, threads=1)
    ratio = model.std_map.astype(float) ** 2 / degraded_variance(folder, fields)
    assert np.ptp(ratio, axis=1).max() < 1e-4
    assert np.all((ratio[:, 0] > 1) & (ratio[:, 0] < 1.6))


def test_average_of_the_simulations(data):
    folder, fields, truth, _ = data
    model = source(folder).model("100", CHANNEL, NSIDE, LMAX, fields, threads=1)
    wanted = AVERAGE_UK * np.cos(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0])
    residual = model.mean_map[0] - wanted
    # What is left is the mean of the simulations' own noise, band-limited to lmax.
    expected = np.sum((2 * np.arange(LMAX + 1) + 1) * truth.noise[0, : LMAX + 1]) / (4 * np.pi) / N_SIMS
    assert residual.var() == pytest.approx(expected, rel=0.25)
    assert source(folder, average_map=False).model("100", CHANNEL, NSIDE, LMAX, fields, 1).mean_map is None


def test_variance_and_spectrum_agree_without_a_knee(tmp_path):
    """White simulations: the level of the variance map comes out whatever part of it the spectrum shows."""
    even = build_model(np.ones((1, 12 * NSIDE_FILE**2)), np.zeros((1, 10)), np.array([1e-4]))
    write(tmp_path / "variance_100.fits", {"II_COV": even.std_map[0].astype(float) ** 2 * 1e-12}, ["Kcmb^2"])
    for number in range(N_SIMS):
        noise = draw_noise([even], [np.random.default_rng([5, number])])[0]
        write(tmp_path / f"sim_100_{number:05d}.fits", {"I_STOKES": noise[0] * 1e-6}, ["K_CMB"])
    model = source(tmp_path).model("100", CHANNEL, NSIDE, LMAX, "I", threads=1)
    assert np.mean(model.std_map.astype(float) ** 2) == pytest.approx(np.mean(even.std_map**2.0) / 4, rel=0.03)
    # Nothing scatters but by chance, so there is nothing to keep.
    assert len(model.white_modes) == 0


def test_polarisation_stands_in_where_there_is_none(plain):
    folder = plain
    model = source(folder).model("100", CHANNEL, NSIDE, LMAX, "IQU", threads=1)
    np.testing.assert_allclose(model.std_map[1] / model.std_map[0], 100 / 60, rtol=0.1)
    np.testing.assert_allclose(model.noise[1, 2:] / model.noise[0, 2:], (100 / 60) ** 2, rtol=1e-6)
    assert not model.mean_map[1:].any()


def test_threads_do_not_matter(plain):
    folder = plain
    one, two = (source(folder).model("100", CHANNEL, NSIDE, LMAX, "I", threads) for threads in (1, 2))
    assert np.array_equal(one.std_map, two.std_map)
    assert np.array_equal(one.mean_map, two.mean_map)


def test_files_are_listed_for_fingerprints(plain):
    folder = plain
    assert len(source(folder).files("100")) == 1 + N_SIMS
    assert source(folder, kind="anisotropic").files("100") == (folder / "variance_100.fits",)


def test_ring_and_nested_files_give_the_same(plain, tmp_path):
    folder = plain
    with fits.open(folder / "variance_100.fits") as file:
        ring = hp.reorder(np.array(file[1].data["II_COV"], dtype=float), n2r=True)
    write(tmp_path / "variance_100.fits", {"II_COV": ring}, ["(K_CMB)^2"], ordering="RING")
    models = [
        source(where, kind="anisotropic").model("100", CHANNEL, nside, LMAX, "I", 1)
        for where in (folder, tmp_path)
        for nside in (NSIDE, NSIDE_FILE)
    ]
    np.testing.assert_allclose(models[0].std_map, models[2].std_map, rtol=1e-6)
    np.testing.assert_allclose(models[1].std_map, models[3].std_map, rtol=1e-6)


def test_mjy_maps_need_and_use_a_calibration(tmp_path):
    variance = np.full(12 * NSIDE_FILE**2, 4.0)
    write(tmp_path / "variance_100.fits", {"II_COV": variance}, ["(MJy/sr)^2"])
    with pytest.raises(NoiseError, match=r"unit '\(MJy/sr\)\^2'.*mjy_per_k"):
        source(tmp_path, kind="anisotropic").check({"100": CHANNEL}, NSIDE, LMAX, "I")
    noise = source(tmp_path, kind="anisotropic", mjy_per_k={"100": 58.0})
    model = noise.model("100", CHANNEL, NSIDE_FILE, LMAX, "I", threads=1)
    np.testing.assert_allclose(model.std_map, 2 / 58 * 1e6, rtol=1e-5)


def refused(folder, match, *, nside=NSIDE, lmax=LMAX, whole=False, **changes):
    noise = source(folder, **changes)
    with pytest.raises(NoiseError, match=match):
        if whole:
            noise.model("100", CHANNEL, nside, lmax, "I", threads=1)
        else:
            noise.check({"100": CHANNEL}, nside, lmax, "I")


def test_missing_files_are_refused(plain, tmp_path):
    folder = plain
    refused(tmp_path, "variance_100.fits does not exist")
    refused(folder, "sim_100_00060.fits does not exist", n_simulations=61)
    refused(folder, "variance_maps has no entry for channel 100; it has \\['30'\\]", variance_maps={"30": "a"})
    refused(folder, "may hold {number} and {channel} only", simulations={"100": "{nummer}"})
    refused(folder, "names one file", simulations={"100": "sim.fits"})


def test_too_coarse_files_are_refused(plain):
    folder = plain
    refused(folder, "has nside 64; channel 100 needs at least 128", nside=128)


def test_broken_pixels_are_refused(tmp_path):
    good = np.full(12 * NSIDE_FILE**2, 1e-12)
    for value, match in ((np.nan, "2 of 49152 pixels of II_COV are NaN"), (UNSEEN, "2 of 49152"), (-1.0, "<= 0")):
        values = good.copy()
        values[[5, 900]] = value
        write(tmp_path / "variance_100.fits", {"II_COV": values}, ["Kcmb^2"])
        if value == -1.0:
            # Averaging would hide a single one.
            refused(tmp_path, match, kind="anisotropic", whole=True, nside=NSIDE_FILE)
        else:
            refused(tmp_path, match, kind="anisotropic", whole=True)


def test_broken_files_are_refused(tmp_path):
    path = write(tmp_path / "variance_100.fits", {"II_COV": np.ones(12 * NSIDE_FILE**2)}, ["Kcmb^2"])
    with fits.open(path, mode="update") as file:
        file[1].header["NSIDE"] = 32
    refused(tmp_path, "NSIDE is 32, but the columns hold 49152 pixels", kind="white")
    with fits.open(path, mode="update") as file:
        file[1].header["NSIDE"] = 64
        del file[1].header["ORDERING"]
    refused(tmp_path, "ORDERING is ''", kind="white")
    write(path, {"HITS": np.ones(12 * NSIDE_FILE**2)}, [""])
    refused(tmp_path, "has no column II_COV; it has HITS", kind="white")
    path.write_bytes(b"SIMPLE = nothing")
    refused(tmp_path, "cannot be read as a FITS table", kind="white")


def test_variance_map_of_other_data_is_refused(plain, tmp_path):
    folder = plain
    variance = np.full(12 * NSIDE_FILE**2, 1e-6)
    write(tmp_path / "variance_100.fits", {"II_COV": variance}, ["Kcmb^2"])
    refused(folder, "must belong to the same data", whole=True, variance_maps={"100": tmp_path / "variance_100.fits"})


def test_impossible_settings_are_refused(tmp_path):
    for wrong in ({"kind": "pink"}, {"n_simulations": 1}, {"n_component": 3}, {"mjy_per_k": {"545": -1}}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            source(tmp_path, **wrong)
