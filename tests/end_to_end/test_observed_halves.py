"""Real maps in two halves: what their spectra say of sky and noise, and which halves are refused."""

from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from outcomes import refused

from cmbml.sky.beams import gaussian_window

Outcome = Callable[..., "Outcome"]
NSIDE, LMAX, FWHM = 32, 64, 120.0
CHANNELS = {"70": (70.0, 110.0, 30.0), "143": (143.0, 90.0, 20.0), "217": (217.0, 80.0, 40.0)}
"""Frequency, beam in arcmin, and the noise of a half in each pixel, uK_CMB."""
ELL = np.arange(LMAX + 1)
TO_D = ELL * (ELL + 1) / (2 * np.pi)
PRODUCTS = "real/clean/hilc/observed/sim0000"


def drawn(rng: np.random.Generator, d_ell: np.ndarray) -> np.ndarray:
    """Draw coefficients whose D_l is this, from l = 2 on."""
    ell, m = hp.Alm.getlm(LMAX)
    parts = rng.standard_normal((2, ell.size))
    alm = np.where(m == 0, parts[0], (parts[0] + 1j * parts[1]) / np.sqrt(2))
    return alm * np.sqrt(np.where(ell > 1, d_ell[ell] / np.maximum(TO_D[ell], 1e-9), 0))


CMB = drawn(np.random.default_rng(1), np.full(LMAX + 1, 1000.0))
DUST = drawn(np.random.default_rng(2), np.full(LMAX + 1, 500.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the maps of three channels, and of two halves of each: two realisations of noise over one sky."""
    folder, rng = tmp_path_factory.mktemp("maps"), np.random.default_rng(3)
    for name, (freq, fwhm, noise) in CHANNELS.items():
        seen = hp.alm2map(hp.almxfl(CMB + (freq / 143) ** 2 * DUST, gaussian_window(fwhm, LMAX)), NSIDE)
        halves = [seen + noise * rng.standard_normal(seen.size) for _ in "12"]
        for path, values in (("", (halves[0] + halves[1]) / 2), ("_1", halves[0]), ("_2", halves[1])):
            file = folder / f"{name}{path}.fits"
            hp.write_map(file, values, dtype=np.float64, column_units="uK_CMB", coord="G")
    return folder


def words(folder: Path) -> list[str]:
    """Return what cleans the maps, halves and all; 'file' is left out of one, whose halves' mean is its map."""
    maps = {}
    for name, (freq, fwhm, _) in CHANNELS.items():
        file = "" if name == "70" else f"file: {name}.fits, "
        halves = f"halves: [{name}_1.fits, {name}_2.fits]"
        maps[f"c{name}"] = f"{{{file}freq_ghz: {freq}, fwhm_arcmin: {fwhm}, {halves}}}"
    missions = ["30", "44", "70", "100", "143", "217", "353", "545", "857"]
    return [
        *("dataset=real", "method=hilc", "method.channels=[c70,c143,c217]", f"method.fwhm_arcmin={FWHM}"),
        *("observations=planck", f"observed.folder={folder}", "runner.threads=1", "method.uncertainty=false"),
        *(f"observed.nside={NSIDE}", f"observed.lmax={LMAX}"),
        *(f"~observed.maps.{name}" for name in missions),
        *(f"+observed.maps.{name}={entry}" for name, entry in maps.items()),
    ]


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int]) -> Path:
    """Clean them; the spectrum is that of the whole sky, so that it can be held against the very truth."""
    root = tmp_path_factory.mktemp("halves")
    np.savetxt(root / "theory.txt", np.column_stack([ELL, np.full(LMAX + 1, 1000.0)])[2:])
    pictures = ("cut_deg=0", "apodisation_arcmin=0", "bin_width=7", f"theory={root / 'theory.txt'}")
    assert calling("clean", root, *words(folder), *(f"observed.pictures.{word}" for word in pictures)) == 0
    return root


@pytest.fixture(scope="module")
def spectrum(made: Path) -> Table:
    return Table.read(made / "real/pictures/hilc/observed/sim0000/observed_spectrum.ecsv")


def binned(d_ell: np.ndarray, table: Table) -> np.ndarray:
    """Return means over the modes of each bin, as MASTER weighs multipoles of the whole sky."""
    bins = zip(table["l_low"], table["l_high"], strict=True)
    return np.array([np.average(d_ell[low : high + 1], weights=2 * ELL[low : high + 1] + 1) for low, high in bins])


def test_cross_spectrum_has_no_noise_and_the_auto_spectrum_has(spectrum: Table) -> None:
    """Both beside this very sky, so that what scatters is noise alone: 2 D_t N + N^2 over the modes, N of a half."""
    truth, noise = binned(TO_D * hp.alm2cl(CMB), spectrum), 2 * spectrum["d_noise"]
    scatter = np.sqrt((2 * truth * noise + noise**2) / spectrum["n_modes"])
    # What the weights take from the CMB by chance: two free ones in bins of 20 multipoles or more, 2 % of the first.
    lost = 0.02 * truth
    assert np.all(np.abs(spectrum["d_cross"] - truth) < 3.5 * scatter + lost)
    high = spectrum["l_low"] > LMAX / 2
    total = np.sqrt(np.sum(scatter[high] ** 2))
    assert abs(np.sum((spectrum["d_cross"] - truth)[high])) < 3.5 * total
    assert np.sum((spectrum["d_ell"] - truth)[high]) > 7 * total


def test_difference_of_halves_is_the_noise_that_was_put_in(spectrum: Table, made: Path) -> None:
    """Propagated through the weights that were told: sum of w_c^2 N_c / b_c^2, of half the variance of a half."""
    weights = Table.read(made / PRODUCTS / "channel_weights.ecsv")
    expected = np.zeros(LMAX + 1)
    for name, (_, fwhm, noise) in CHANNELS.items():
        told = weights[weights["channel"] == f"c{name}"]
        at = np.asarray(told["at"], float)
        # Weights are the same in all of a bin of theirs, whose middle is told.
        own = np.asarray(told["mean"])[np.abs(ELL[:, None] - at).argmin(axis=1)]
        level = noise**2 / 2 * 4 * np.pi / hp.nside2npix(NSIDE)
        expected += own**2 * level / gaussian_window(fwhm, LMAX) ** 2
    expected = binned(TO_D * expected, spectrum)
    # The first bin holds the edge between bins of weights, where a middle is not exactly half way: a few per cent.
    error = 3.5 * np.sqrt(2 / spectrum["n_modes"]) + 0.05
    assert np.all(np.abs(spectrum["d_noise"] / expected - 1) < error)


def test_halves_of_a_mean_add_up(spectrum: Table, made: Path) -> None:
    """The power of the mean of two maps is that of their difference beside what they share, to single precision."""
    np.testing.assert_allclose(spectrum["d_ell"] - spectrum["d_noise"], spectrum["d_cross"], rtol=2e-3)
    maps = {name: hp.read_map(made / PRODUCTS / f"{name}.fits") for name in ("cleaned_half_1", "cleaned_half_2")}
    first, second = maps.values()
    np.testing.assert_allclose(hp.read_map(made / PRODUCTS / "half_difference.fits"), (first - second) / 2, atol=1e-4)
    np.testing.assert_allclose(hp.read_map(made / PRODUCTS / "cleaned_map.fits"), (first + second) / 2, atol=1e-2)
    assert (made / "real/pictures/hilc/observed/sim0000/observed_spectrum_figure.png").stat().st_size > 10_000


@pytest.fixture
def spoilt(folder: Path, tmp_path: Path, command: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Return what cleans a copy of the maps, one of whose halves is another."""
    copy = tmp_path / "maps"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())

    def run(spoil: Callable[[Path], object], *more: str) -> Outcome:
        spoil(copy / "143_2.fits")
        return command("clean", tmp_path / "out", *words(copy), *more)

    return run


def _other_nside(path: Path) -> None:
    hp.write_map(path, hp.ud_grade(hp.read_map(path), 64), column_units="uK_CMB", overwrite=True)


def _in_kelvin_by_the_numbers(path: Path) -> None:
    with fits.open(path, mode="update") as file:
        file[1].data.field(0)[:] *= 1e-3


def _blind(path: Path) -> None:
    with fits.open(path, mode="update") as file:
        file[1].data.field(0).ravel()[:500] = hp.UNSEEN


def _with_beams(path: Path) -> None:
    for file, beam in (("143.fits", 90.0), (path.name, 60.0)):
        fits.setval(path.parent / file, "BEAMTYPE", value="gaussian", ext=1)
        fits.setval(path.parent / file, "FWHM", value=beam, ext=1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_other_nside, ["observed.maps.c143.halves: 143_2.fits has another nside than 143.fits: 64, not 32"]),
        (lambda path: fits.setval(path, "TUNIT1", value="mK_CMB", ext=1), ["143_2.fits has another unit", "mK_CMB"]),
        (
            lambda path: fits.setval(path, "COORDSYS", value="C", ext=1),
            ["143_2.fits has another frame than 143.fits: C"],
        ),
        (_with_beams, ["143_2.fits has another beam than 143.fits: 60 arcmin, not 90 arcmin"]),
        (lambda path: path.unlink(), ["channel c143", "143_2.fits, is not there", "observed.maps.c143"]),
        (_in_kelvin_by_the_numbers, ["143_2.fits holds 0.00", "times what the whole map does", "another unit"]),
        (_blind, ["143_2.fits: 500 of 12288 pixels are without data", "1%"]),
    ],
)
def test_half_that_is_none_is_refused(spoil: Callable, said: list[str], spoilt: Callable[..., Outcome]) -> None:
    refused(spoilt(spoil), *said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["observed.maps.c143.halves=[143_1.fits]"], ["observed.maps.c143.halves"]),
        (["observed.maps.c70.halves=null"], ["channel c70 has no map: name it in observed.maps.c70.file"]),
        (["+observed.maps.c143.depth_uk_arcmin=5"], ["says its noise by depth_uk_arcmin and by halves"]),
    ],
)
def test_pair_that_cannot_be(more: list[str], said: list[str], spoilt: Callable[..., Outcome]) -> None:
    refused(spoilt(lambda _: None, *more), *said)


def test_network_asks_for_what_it_has_learnt(folder: Path, command: Callable[..., Outcome], tmp_path: Path) -> None:
    asked = [word for word in words(folder) if not word.startswith("method")]
    said = "cmbnncs learns from simulations: name what it has learnt, observed.weights=datasets/NAME/train/cmbnncs/"
    refused(command("clean", tmp_path, *asked, "method=cmbnncs"), said)


def test_channel_without_halves_is_said(folder: Path, command: Callable[..., Outcome], tmp_path: Path) -> None:
    more = ("observed.maps.c217.halves=null", "~stages.pictures")
    outcome = command("clean", tmp_path, *words(folder), *more)
    assert (outcome.status, outcome.err) == (0, "")
    assert "hilc cleans no halves: channel c217 has none; name them in observed.maps.c217.halves" in outcome.out
    assert not (tmp_path / PRODUCTS / "cleaned_half_1.fits").exists()


def test_few_pixels_that_a_half_did_not_see_are_filled(spoilt: Callable[..., Outcome], tmp_path: Path) -> None:
    def blind(path: Path) -> None:
        with fits.open(path, mode="update") as file:
            file[1].data.field(0).ravel()[:50] = hp.UNSEEN

    outcome = spoilt(blind, "~stages.pictures")
    assert (outcome.status, outcome.err) == (0, "")
    assert np.abs(hp.read_map(tmp_path / "out" / PRODUCTS / "half_difference.fits")).max() < 200
