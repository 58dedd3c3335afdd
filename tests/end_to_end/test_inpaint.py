"""Holes made, filled and judged by the programs."""

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from comparing import wide
from outcomes import done, refused

Command = Callable[..., Any]
NSIDE = 16
HOLES = ("holes.shape.disks_deg=[10,20]", "holes.shape.irregular_deg=[20]", "holes.shape.number=1")
MAPS = ("holes.source.fwhm_arcmin=300", "holes.source.noise_uk_arcmin=600")
METHODS = ("constrained_wiener", "constrained_realisation", "smooth_filling", "control_unfilled")


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int], simulate: Callable[..., None]
) -> Path:
    """A dataset whose holes every method has filled, compared."""
    root = tmp_path_factory.mktemp("holes")
    size = (f"scenario.nside={NSIDE}", f"scenario.nside_sky={NSIDE}", "scenario.lmax=32", "scenario.lmax_scored=32")
    simulate(root, "dataset=sky", *size, train=0, test=3)
    for method in METHODS:
        bars = ("method.error_draws=20",) if method == "constrained_wiener" else ()
        assert calling("inpaint", root, "dataset=sky", f"method={method}", *HOLES, *MAPS, *bars) == 0
    methods = f"methods=[{','.join(METHODS)}]"
    assert calling("analysis", root, "dataset=sky", "stages=hole_analysis", methods) == 0
    return root / "sky"


def values(path: Path) -> np.ndarray:
    return hp.read_map(path, dtype=np.float32)


def test_what_is_around_the_holes_stays_to_the_bit(filled: Path) -> None:
    for sim in ("sim0000", "sim0001"):
        holed, mask = (values(filled / f"holes/test/{sim}/truth/{name}.fits") for name in ("holed_map", "hole_mask"))
        known = mask > 0.5
        assert 0.5 < known.mean() < 0.97
        for method in METHODS:
            path = filled / f"clean/{method}/test/{sim}/cleaned_map.fits"
            np.testing.assert_array_equal(values(path)[known], holed[known])
            assert (values(path)[~known] == 0).all() == (method == "control_unfilled")
            assert fits.getheader(path, 1)["FWHM"] == 300
    first, second = (values(filled / f"holes/test/sim000{i}/truth/hole_mask.fits") for i in (0, 1))
    assert (first != second).any(), "holes lie elsewhere in each simulation"


def test_the_exact_answer_wins_and_zero_has_all_of_the_variance(filled: Path) -> None:
    found = {}
    for method in METHODS:
        tables = [wide(filled / f"metrics/{method}/test/sim000{i}/scores.csv") for i in range(3)]
        rows = [table[table["region"] == "holes"][0] for table in tables]
        found[method] = {name: float(np.mean([row[name] for row in rows])) for name in ("rmse", "left", "rms_ratio")}
    rmse = {method: of["rmse"] for method, of in found.items()}
    assert min(rmse, key=rmse.get) == "constrained_wiener"
    assert found["control_unfilled"]["rms_ratio"] == 0
    # A draw errs as the truth does: its error has twice the variance of the mean's, give or take a factor of two of the
    # few modes of three skies.
    assert 1 < found["constrained_realisation"]["left"] / found["constrained_wiener"]["left"] < 4
    verdict = yaml.safe_load((filled / "summary/test/verdict.yaml").read_text())
    assert verdict["Winner"].startswith("RMSE in holes at the map's beam, in holes: constrained_wiener")
    assert "RMSE in holes" in (filled / "report/test/report.html").read_text()


def test_spectra_of_filled_maps(filled: Path) -> None:
    """Draws have the power of the sky, give or take its few modes; smooth fillings lack it, and empty holes."""
    ratio = {}
    for method in METHODS:
        tables = [Table.read(filled / f"metrics/{method}/test/sim000{i}/scores.csv") for i in range(3)]
        rows = [table[table["metric"] == "spectrum_ratio"] for table in tables]
        assert [set(of["region"]) for of in rows] == [{"l 2-9", "l 10-29"}] * 3
        ratio[method] = {
            name: np.mean([of["value"][of["region"] == name][0] for of in rows]) for name in ("l 2-9", "l 10-29")
        }
    # A fifth of the sky are holes, and l = 10 to 29 has some 800 modes.
    assert ratio["constrained_realisation"]["l 10-29"] == pytest.approx(1, abs=0.05)
    assert ratio["constrained_wiener"]["l 10-29"] < ratio["constrained_realisation"]["l 10-29"]
    assert min(ratio, key=lambda method: ratio[method]["l 2-9"]) == "control_unfilled"
    assert min(ratio, key=lambda method: ratio[method]["l 10-29"]) == "smooth_filling"


def test_each_simulation_has_a_filling_of_its_own(filled: Path, command: Command) -> None:
    """Where holes are the same for all simulations, what is drawn in them is not."""
    words = ("dataset=sky", "holes.name=fixed", f"holes.shape.mask={filled}/holes/test/sim0000/truth/hole_mask.fits")
    alike = ("holes.shape.disks_deg=[]", "holes.shape.irregular_deg=[]")
    drawn = {}
    for method in ("constrained_wiener", "constrained_realisation"):
        done(
            command("inpaint", filled.parent, *words, *alike, *MAPS, f"method={method}", f"method.name={method}_fixed")
        )
        paths = [filled / f"clean/{method}_fixed/test/sim000{i}/cleaned_map.fits" for i in range(3)]
        drawn[method] = np.array([values(path) for path in paths])
    hole = values(filled / "holes/test/sim0000/truth/hole_mask.fits") < 0.5
    fluctuations = (drawn["constrained_realisation"] - drawn["constrained_wiener"])[:, hole].astype(np.float64)
    overlaps = np.corrcoef(fluctuations)[np.triu_indices(3, 1)]
    # A hole of some ten modes: independent draws correlate by less than 0.9, and the same draw by 1.
    assert np.abs(overlaps).max() < 0.9, overlaps
    assert fluctuations.std() > 1


def test_error_bars_hold(filled: Path) -> None:
    """What twenty draws say of the mean's error is right to sampling error."""
    rows = [Table.read(filled / f"metrics/constrained_wiener/test/sim000{i}/scores.csv") for i in range(3)]
    found = [table[(table["region"] == "holes") & (table["metric"] == "calibration")]["value"][0] for table in rows]
    assert 0.5 < np.mean(found) < 1.6


def test_maps_in_files_are_filled_where_they_are_unseen(filled: Path, command: Command, tmp_path: Path) -> None:
    """A map of somebody else's, whose holes nobody else has named; what is known stays."""
    root = filled.parent
    sky = hp.read_map(filled / "cmb/test/sim0000/cmb_map.fits", dtype=np.float64)
    sky[hp.query_disc(NSIDE, (1, 0, 0), 0.3)] = hp.UNSEEN
    hp.write_map(tmp_path / "theirs.fits", sky, column_units="uK_CMB", dtype=np.float64)
    words = ("dataset=sky", "holes=file", "holes.name=theirs", f"holes.source.file={tmp_path}/theirs.fits", *MAPS)
    chosen = ("method=smooth_filling", "method.name=theirs_smooth", "over.split=[test]", "+over.sim=[sim0000]")
    done(command("inpaint", root, *words, *chosen, "holes.shape.mask=null"))
    values = hp.read_map(filled / "clean/theirs_smooth/test/sim0000/cleaned_map.fits", dtype=np.float64)
    known = sky != hp.UNSEEN
    np.testing.assert_allclose(values[known], sky[known], rtol=1e-6)
    assert np.abs(values[~known]).max() <= np.abs(sky[known]).max()
    ran = command("inpaint", root, *words, *chosen, "holes.shape.mask=dataset")
    refused(ran, "pixels outside of the mask's holes are NaN or UNSEEN: mask them, too")


@pytest.fixture(scope="module")
def theirs(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a map of somebody else's, of which the noise is said in three ways."""
    folder = tmp_path_factory.mktemp("theirs")
    alm = np.load(filled / "cmb/test/sim0000/cmb_alm.npy").astype(complex)
    sky = hp.alm2map(hp.smoothalm(alm[0], fwhm=np.radians(5)), NSIDE)
    std = np.radians(200.0) / hp.nside2resol(NSIDE) * (1 + 0.5 * np.sin(hp.pix2ang(NSIDE, np.arange(sky.size))[0]))
    sky += std * np.random.default_rng(1).standard_normal(sky.size)
    sky[hp.query_disc(NSIDE, (1, 0, 0), 0.4)] = hp.UNSEEN
    std[hp.query_disc(NSIDE, (1, 0, 0), 0.4)] = hp.UNSEEN
    hp.write_map(folder / "map.fits", sky, column_units="uK_CMB", dtype=np.float64)
    hp.write_map(folder / "std.fits", std, column_units="uK_CMB", dtype=np.float64)
    ell = np.arange(40)
    level = np.radians(200.0) ** 2
    np.savetxt(folder / "nl.txt", np.stack([ell, level * (1 + 5 / (ell + 1))], axis=1), header="l N_l")
    return folder


@pytest.mark.parametrize("told", ["noise_uk_arcmin=measured", "noise_file={}/std.fits", "noise_spectrum={}/nl.txt"])
def test_noise_of_given_maps(filled: Path, theirs: Path, command: Command, told: str) -> None:
    name = told.split("=", maxsplit=1)[0]
    words = ("holes=file", f"holes.name={name}", f"holes.source.file={theirs}/map.fits", "holes.source.fwhm_arcmin=300")
    kept = ("holes.shape.mask=null", "over.split=[test]", "+over.sim=[sim0000]", f"method.name={name}")
    chosen = ("method=constrained_realisation", "method.samples=2", f"holes.source.{told.format(theirs)}")
    done(command("inpaint", filled.parent, "dataset=sky", *words, *kept, *chosen))
    sky, std = values(theirs / "map.fits"), values(theirs / "std.fits")
    known = sky > hp.UNSEEN
    noise = values(filled / f"holes/test/sim0000/{name}/holed_noise.fits")
    spectra = np.load(filled / f"holes/test/sim0000/{name}/holed_noise_spectra.npy")
    white = 200.0 / np.degrees(hp.nside2resol(NSIDE))
    if name == "noise_file":
        np.testing.assert_allclose(noise[known], std[known], rtol=1e-6)
        np.testing.assert_allclose(noise[~known], np.median(std[known]), rtol=1e-6)
    elif name == "noise_spectrum":
        # The last multipole of the signal, 32, has the least noise, and so has all that is white.
        np.testing.assert_allclose(noise, white * np.sqrt(1 + 5 / 33), rtol=1e-6)
        np.testing.assert_allclose(spectra[0, 2:], np.radians(200.0) ** 2 * (5 / np.arange(3, 34) - 5 / 33), atol=1e-6)
    else:
        # Some 500 modes have little signal in them: 4 % of the standard deviation.
        assert noise[0] == pytest.approx(np.sqrt(np.mean(std[known] ** 2)), rel=0.15)
    assert (name == "noise_spectrum") == spectra.any()
    folder = filled / f"clean/{name}/test/sim0000"
    draws = [values(folder / "cleaned_map.fits"), *hp.read_map(folder / "samples.fits", field=(0, 1))]
    for draw in draws:
        np.testing.assert_array_equal(draw[known], sky[known])
    assert all(np.std((one - other)[~known]) > 1 for one, other in pairwise(draws))
    header = fits.getheader(folder / "cleaned_map.fits", 1)
    hashed = hashlib.sha256(known.astype(np.uint8).tobytes()).hexdigest()
    assert (header["METHOD"], header["HOLEMASK"]) == (name, hashed)
    assert int(header["FILLSEED"]) > 0


def test_noise_that_cannot_be_measured_is_not(filled: Path, command: Command, tmp_path: Path) -> None:
    sky = hp.read_map(filled / "cmb/test/sim0000/cmb_map.fits", dtype=np.float64)
    sky[hp.query_disc(NSIDE, (1, 0, 0), 0.3)] = hp.UNSEEN
    hp.write_map(tmp_path / "map.fits", sky, column_units="uK_CMB", dtype=np.float64)
    words = (
        "holes=file",
        f"holes.source.file={tmp_path}/map.fits",
        "holes.source.fwhm_arcmin=0",
        "+over.sim=[sim0000]",
    )
    chosen = ("method=smooth_filling", "holes.shape.mask=null", "holes.source.noise_uk_arcmin=measured")
    refused(command("inpaint", filled.parent, "dataset=sky", *words, *chosen), "cannot be measured beside the CMB")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("holes.shape.disks_deg=[]", "holes.shape.irregular_deg=[]"), "there is no hole: name a mask"),
        (("holes.shape.disks_deg=[90,90]", "holes.shape.number=9"), "pixels are known, and all else is a hole"),
        (("holes.source.noise_uk_arcmin=0",), "noise_uk_arcmin"),
        (("holes.shape.disks_deg=[200]",), "disks_deg"),
        (("holes=file",), "holes.source.file"),
        (("holes=file", 'holes.source.file="{x}.fits"'), "all that it may hold in braces"),
        (("holes=file", "holes.source.file=x", "holes.source.noise_file=y"), "say what noise the maps have, once"),
        (("method=nilc",), "no channels to clean: what is shown is map, mask, noise"),
    ],
)
def test_bad_input_is_refused(filled: Path, command: Command, words: tuple[str, ...], text: str) -> None:
    chosen = () if words[0].startswith("method=") else ("method=smooth_filling",)
    refused(command("inpaint", filled.parent, "dataset=sky", "holes.name=bad", *MAPS, *chosen, *words), text)


@pytest.mark.parametrize(
    ("values", "text"),
    [(np.full(12 * 8**2, 1.0), "nside 8, and the map 16"), (np.full(12 * 16**2, 2.0), "values from 2 to 2")],
)
def test_masks_that_are_none_are_refused(
    filled: Path, command: Command, tmp_path: Path, values: np.ndarray, text: str
) -> None:
    hp.write_map(tmp_path / "mask.fits", values, column_units="", dtype=np.float64)
    words = ("dataset=sky", "method=smooth_filling", "holes.name=bad", f"holes.shape.mask={tmp_path}/mask.fits")
    refused(command("inpaint", filled.parent, *words, *MAPS), text)


def test_a_method_that_fills_holes_is_refused_elsewhere(filled: Path, command: Command) -> None:
    ran = command("clean", filled.parent, "dataset=sky", "method=smooth_filling")
    refused(ran, "smooth_filling fills holes in a map: run main_inpaint.py method=smooth_filling")


def test_a_dataset_without_holes_is_not_judged_by_them(
    simulate: Callable[..., None], command: Command, tmp_path: Path
) -> None:
    simulate(tmp_path, "dataset=sky", train=0, test=1)
    done(command("clean", tmp_path, "dataset=sky", "method=control_truth"))
    ran = command("analysis", tmp_path, "dataset=sky", "stages=hole_analysis", "methods=[control_truth]")
    refused(ran, "lacks 'hole_mask', 'holed_noise', 'holed_noise_spectra', which stage 'holes' makes: run the program")
