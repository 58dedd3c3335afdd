"""Comparing methods through the program: closed forms, the same tables in any order, and what may go wrong."""

import csv
import hashlib
import itertools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from outcomes import done, refused

from cmbml.sky.beams import gaussian_window

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821
NSIDE, LMAX, LMAX_SCORED = 16, 47, 32
N_PIX = 12 * NSIDE**2
SIMS = ("sim0000", "sim0001", "sim0002")
METHODS = ("control_truth", "control_channel", "control_zero", "ilc_pixel")
FOOTINGS = {"deconvolved": 0.0, "20.6 arcmin": 20.6, "60 arcmin": 60.0}


@pytest.fixture
def analyse(command: Command, scoring: tuple[str, ...]) -> Analyse:
    """Return what compares methods on the dataset `sky` in a folder."""

    def run(root: Path, methods: tuple[str, ...] = METHODS, *overrides: str) -> "Outcome":  # noqa: F821
        return command("analysis", root, "dataset=sky", f"methods=[{','.join(methods)}]", *scoring, *overrides)

    return run


def table(root: Path, stage: str, method: str, sim: str = "sim0000") -> Table:
    name = {"metrics": "scores", "power_spectra": "spectra_scores"}[stage]
    return Table.read(root / "sky" / stage / method / "test" / sim / f"{name}.ecsv")


def scores(root: Path, method: str, metric: str, footing: str, region: str = "mask") -> np.ndarray:
    """Return a metric of each simulation."""
    rows = [table(root, "metrics", method, sim) for sim in SIMS]
    return np.array([found[(found["footing"] == footing) & (found["region"] == region)][metric][0] for found in rows])


def truth_alm(root: Path, sim: str) -> np.ndarray:
    return np.load(root / "sky" / "cmb" / "test" / sim / "cmb_alm.npy")[0].astype(np.complex128)


def mask(root: Path) -> np.ndarray:
    return hp.read_map(root / "sky" / "mask" / "main" / "mask.fits") > 0.5


def predict(folder: Path, values: dict[str, np.ndarray]) -> Path:
    """Write predictions, simulation -> `(n_pix,)` uK_CMB."""
    (folder / "test").mkdir(parents=True)
    for sim, sky in values.items():
        hp.write_map(folder / "test" / f"{sim}.fits", sky, column_units="uK_CMB", dtype=np.float64)
    return folder


@pytest.fixture
def take(command: Command) -> Callable[..., str]:
    """Return what imports predictions under a name."""

    def run(root: Path, name: str, folder: Path, fwhm_arcmin: float = 0.0, *overrides: str) -> str:
        words = ("method=imported", f"method.name={name}", f"predictions.folder={folder}", "runner.threads=1")
        return done(command("clean", root, "dataset=sky", *words, f"predictions.fwhm_arcmin={fwhm_arcmin}", *overrides))

    return run


@pytest.fixture
def copy(compared: Path, tmp_path: Path) -> Path:
    """Copy the compared dataset, to be changed; return the folder that holds it."""
    return Path(shutil.copytree(compared, tmp_path / "compared"))


# What is known beforehand


@pytest.mark.parametrize("footing", FOOTINGS)
def test_truth_scores_perfectly(compared: Path, footing: str) -> None:
    for region in ("mask", "b5-30", "b30-90"):
        found = {m: scores(compared, "control_truth", m, footing, region) for m in ("mae", "rmse", "nrmse", "r2")}
        # The map is in single precision, and so are its values of some hundred uK.
        assert (found["mae"] < 1e-4).all()
        assert (found["rmse"] < 1e-4).all()
        assert (found["nrmse"] < 1e-6).all()
        np.testing.assert_allclose(found["r2"], 1, atol=1e-9)
    for metric in ("psnr_truth", "psnr_union"):
        assert (scores(compared, "control_truth", metric, footing) > 120).all()


def test_spectra_of_the_truth_are_those_of_the_truth(compared: Path) -> None:
    for sim in SIMS:
        found = table(compared, "power_spectra", "control_truth", sim)
        assert set(found["kind"]) == {"pseudo", "master"}
        np.testing.assert_allclose(found["transfer"], 1, atol=1e-6)
        np.testing.assert_allclose(found["correlation"], 1, atol=1e-6)
        np.testing.assert_allclose(found["d_prediction"], found["d_truth"], rtol=1e-5)
        assert (np.abs(found["d_residual"]) < 1e-9 * found["d_truth"]).all()
        assert np.isfinite(found["d_theory"]).all()


@pytest.mark.parametrize("footing", FOOTINGS)
def test_zero_errs_by_the_truth(compared: Path, footing: str) -> None:
    # The error is the truth, up to l = 3 nside - 1, and is analysed to a quarter of a per cent of itself.
    np.testing.assert_allclose(scores(compared, "control_zero", "nrmse", footing), 1, atol=5e-4)
    np.testing.assert_allclose(scores(compared, "control_zero", "r2", footing), 0, atol=1e-3)


def test_cleaning_is_better_than_not_cleaning(compared: Path) -> None:
    for footing, metric in itertools.product(FOOTINGS, ("mae", "rmse", "nrmse")):
        best, worst = (scores(compared, method, metric, footing) for method in ("ilc_pixel", "control_channel"))
        assert (best < 0.5 * worst).all()
    found = Table.read(compared / "sky/summary/test/summary.ecsv")
    chosen = found[(found["metric"] == "rmse") & (found["region"] == "mask")]
    assert {(row["method"], row["rank"]) for row in chosen if row["method"] in {"ilc_pixel", "control_truth"}} == {
        ("ilc_pixel", 1),
        ("control_truth", 0),
    }


def white_noise_left(fwhm_arcmin: float, own_fwhm_arcmin: float) -> float:
    """Return what of unit white noise a footing leaves: its standard deviation without monopole and dipole."""
    ell = np.arange(2, LMAX_SCORED + 1)
    ratio = gaussian_window(fwhm_arcmin, LMAX_SCORED) / gaussian_window(own_fwhm_arcmin, LMAX_SCORED)
    return math.sqrt(float(np.sum((2 * ell + 1) * ratio[2:] ** 2)) / N_PIX)


def truth_at(root: Path, sim: str, fwhm_arcmin: float, lmax: int = LMAX_SCORED) -> np.ndarray:
    """Return the truth under a beam, by healpy, without monopole and dipole outside the mask."""
    alm = hp.resize_alm(truth_alm(root, sim), LMAX, LMAX, lmax, lmax)
    values = hp.alm2map(hp.almxfl(alm, gaussian_window(fwhm_arcmin, lmax)), NSIDE)
    values[~mask(root)] = hp.UNSEEN
    return hp.remove_dipole(values)[mask(root)]


@pytest.mark.parametrize("own_fwhm", [0.0, 100.0])
def test_white_noise_scores_as_it_must(
    copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path, own_fwhm: float
) -> None:
    """Truth plus white noise: all footings, within the sampling error of the noise's few hundred modes."""
    sigma, rng = 20.0, np.random.default_rng(11)
    values = {
        sim: hp.alm2map(hp.almxfl(truth_alm(copy, sim), gaussian_window(own_fwhm, LMAX)), NSIDE)
        + sigma * rng.standard_normal(N_PIX)
        for sim in SIMS
    }
    take(copy, "noisy", predict(tmp_path / "given", values), own_fwhm)
    done(analyse(copy, ("noisy", "control_zero")))
    for footing, fwhm in FOOTINGS.items():
        rms = sigma * white_noise_left(fwhm, own_fwhm)
        # Each mode adds its own error; MAE and RMSE are means over the same modes, of three simulations.
        n_modes = len(SIMS) * mask(copy).mean() * (LMAX_SCORED + 1) ** 2
        slack = 4 / math.sqrt(2 * n_modes)
        assert np.sqrt(np.mean(scores(copy, "noisy", "rmse", footing) ** 2)) == pytest.approx(rms, rel=slack)
        assert scores(copy, "noisy", "mae", footing).mean() == pytest.approx(rms * math.sqrt(2 / math.pi), rel=slack)
        truths = [truth_at(copy, sim, fwhm) for sim in SIMS]
        expected = [rms / np.sqrt(np.mean(truth**2)) for truth in truths]
        np.testing.assert_allclose(scores(copy, "noisy", "nrmse", footing), expected, rtol=2 * slack)
        expected = [20 * math.log10((truth.max() - truth.min()) / rms) for truth in truths]
        decibels = 20 * math.log10(1 + 2 * slack)
        np.testing.assert_allclose(scores(copy, "noisy", "psnr_truth", footing), expected, atol=decibels)
        # The prediction's extremes lie outside the truth's by a few sigma at most.
        gain = scores(copy, "noisy", "psnr_union", footing) - scores(copy, "noisy", "psnr_truth", footing)
        assert (gain >= 0).all()
        most = [20 * math.log10(1 + 9 * rms / (truth.max() - truth.min())) for truth in truths]
        assert (gain < most).all()


def test_scores_are_those_of_an_independent_calculation(compared: Path) -> None:
    """healpy and NumPy, from the FITS files alone, for a method with a beam of its own."""
    for footing, fwhm in FOOTINGS.items():
        sim = "sim0001"
        given = hp.read_map(compared / "sky" / "clean" / "control_channel" / "test" / sim / "cleaned_map.fits")
        alm = hp.map2alm(given.astype(float), lmax=LMAX, iter=30)
        alm = hp.resize_alm(alm, LMAX, LMAX, LMAX_SCORED, LMAX_SCORED)
        ratio = gaussian_window(fwhm, LMAX_SCORED) / gaussian_window(32.4, LMAX_SCORED)
        inside, values = mask(compared), hp.alm2map(hp.almxfl(alm, ratio), NSIDE)
        values[~inside] = hp.UNSEEN
        error = hp.remove_dipole(values)[inside] - (truth := truth_at(compared, sim, fwhm))
        expected = {
            "mae": np.abs(error).mean(),
            "rmse": np.sqrt(np.mean(error**2)),
            "nrmse": np.linalg.norm(error) / np.linalg.norm(truth),
            "bias": error.mean(),
            "r2": 1 - np.sum(error**2) / np.sum((truth - truth.mean()) ** 2),
        }
        found = {metric: scores(compared, "control_channel", metric, footing)[1] for metric in expected}
        # An analysis with 3 iterations and one with 30 differ most where the Galaxy is bright.
        assert found.pop("bias") == pytest.approx(expected.pop("bias"), abs=1e-3 * expected["rmse"])
        assert found == pytest.approx(expected, rel=5e-3, abs=1e-4)


def test_residual_spectrum_of_white_noise(
    copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path
) -> None:
    sigma, rng = 20.0, np.random.default_rng(12)
    values = {sim: hp.alm2map(truth_alm(copy, sim), NSIDE) + sigma * rng.standard_normal(N_PIX) for sim in SIMS}
    take(copy, "noisy", predict(tmp_path / "given", values))
    done(analyse(copy, ("noisy",), "spectra.bin_width=10"))
    found = [table(copy, "power_spectra", "noisy", sim) for sim in SIMS]
    for kind in ("pseudo", "master"):
        rows = [spectra[spectra["kind"] == kind] for spectra in found]
        residual = np.mean([spectra["d_residual"] for spectra in rows], axis=0)
        noise = sigma**2 * 4 * np.pi / N_PIX
        for row, value in zip(rows[0], residual, strict=True):
            ell = np.arange(row["l_low"], row["l_high"] + 1)
            expected = np.average(noise * ell * (ell + 1) / (2 * np.pi), weights=2 * ell + 1)
            assert value == pytest.approx(expected, rel=4 * math.sqrt(2 / (len(SIMS) * row["n_modes"])))


def test_gain_is_the_transfer_function(copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path) -> None:
    values = {sim: 1.01 * hp.alm2map(truth_alm(copy, sim), NSIDE) for sim in SIMS}
    take(copy, "louder", predict(tmp_path / "given", values))
    done(analyse(copy, ("louder",), "spectra.bin_width=10"))
    for sim in SIMS:
        found = table(copy, "power_spectra", "louder", sim)
        np.testing.assert_allclose(found["transfer"], 1.01, atol=2e-5)
        np.testing.assert_allclose(found["correlation"], 1, atol=1e-6)
        np.testing.assert_allclose(found["d_residual"] / found["d_truth"], 1e-4, rtol=0.05)
    for footing in FOOTINGS:
        np.testing.assert_allclose(scores(copy, "louder", "nrmse", footing), 0.01, rtol=1e-3)


def test_prediction_at_another_resolution_and_frame(
    copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path
) -> None:
    """A perfect map at nside 32 in equatorial coordinates is perfect."""
    values = {}
    for sim in SIMS:
        alm = truth_alm(copy, sim)
        hp.Rotator(coord=["G", "C"]).rotate_alm(alm, inplace=True)
        values[sim] = hp.alm2map(alm, 32)
    take(copy, "turned", predict(tmp_path / "given", values), 0.0, "predictions.frame=C", f"predictions.lmax={LMAX}")
    done(analyse(copy, ("turned",)))
    for footing in FOOTINGS:
        assert (scores(copy, "turned", "nrmse", footing) < 1e-5).all()


def test_further_masks_of_the_sky(copy: Path, analyse: Analyse, tmp_path: Path) -> None:
    """North and south are two parts of the mask, if they are made from it."""
    colatitude = hp.pix2ang(NSIDE, np.arange(N_PIX))[0]
    for name, half in (("north", colatitude < np.pi / 2), ("south", colatitude >= np.pi / 2)):
        member = hp.ud_grade((half & mask(copy)).astype(float), 2 * NSIDE)
        hp.write_map(tmp_path / f"{name}.fits", member, column_units="", dtype=np.float64)
    masks = [f"+sky_masks.{name}={tmp_path}/{name}.fits" for name in ("north", "south")]
    done(analyse(copy, ("ilc_pixel",), *masks))
    for footing in FOOTINGS:
        found = table(copy, "metrics", "ilc_pixel")
        of = {row["region"]: row for row in found[found["footing"] == footing]}
        parts = [of["sky:north"], of["sky:south"]]
        assert sum(row["n_pix"] for row in parts) == of["mask"]["n_pix"] == mask(copy).sum()
        for metric in ("mae", "bias"):
            mean = sum(row["n_pix"] * row[metric] for row in parts) / of["mask"]["n_pix"]
            assert mean == pytest.approx(of["mask"][metric], rel=1e-9, abs=1e-9)


def test_polarised_dataset(program: Analyse, command: Command, scoring: tuple[str, ...], tmp_path: Path) -> None:
    """Every field has its rows, and I alone where a method gives no more."""
    splits = ("splits.train=0", "splits.test={sims: 2, cosmology: shared}")
    done(program("scenario.fields=IQU", "scenario.lmax_scored=16", *splits))
    ilc = ("method=ilc_pixel", 'method.channels=["100","143"]')
    for words in (("method=control_truth",), ("method=control_channel",), ilc):
        done(command("clean", tmp_path, "dataset=small", *words))
    methods = "methods=[control_truth,control_channel,ilc_pixel]"
    done(command("analysis", tmp_path, "dataset=small", methods, *scoring))
    of = {name: tmp_path / "small" / "metrics" / name / "test" / "sim0000" for name in ("control_truth", "ilc_pixel")}
    truth, ilc_scores = (Table.read(folder / "scores.ecsv") for folder in of.values())
    assert set(truth["field"]) == {"I", "Q", "U"}
    assert set(ilc_scores["field"]) == {"I"}
    assert (truth["nrmse"][truth["n_pix"] > 0] < 1e-5).all()
    spectra = Table.read(tmp_path / "small/power_spectra/control_channel/test/sim0001/spectra_scores.ecsv")
    assert set(spectra["field"]) == {"TT", "EE", "BB"}
    summary = Table.read(tmp_path / "small/summary/test/summary.ecsv")
    assert set(summary["n"]) == {2}


def test_dataset_averaged_over_pixels(program: Analyse, command: Command, tmp_path: Path) -> None:
    """The window of the pixels is taken out again, in every stage, of the truth and of what a method gives."""
    window = gaussian_window(60 * np.rad2deg(hp.nside2resol(8)) / 2, 31)
    table = Table({"TEMPERATURE": window, "POLARIZATION": window})
    table.write(tmp_path / "pixel_window_n0008.fits")
    splits = ("splits.train=0", "splits.test=1", "scenario.lmax_scored=16", "noise=none")
    done(program(f"pixel_windows={tmp_path}", *splits))
    methods = ("control_truth", "control_channel")
    for method in methods:
        done(command("clean", tmp_path, "dataset=small", f"method={method}"))
    done(command("analysis", tmp_path, "dataset=small", f"methods=[{','.join(methods)}]"))
    for method in methods:
        place = Path(method) / "test" / "sim0000"
        found = Table.read(tmp_path / "small" / "power_spectra" / place / "spectra_scores.ecsv")
        # What is common to the channel and the truth is the CMB: its sources know nothing of it.
        np.testing.assert_allclose(found["d_cross"], found["d_truth"], rtol=0.2)
        np.testing.assert_allclose(found["d_truth"], found["d_theory"], rtol=1)
        if method == "control_truth":
            scored = Table.read(tmp_path / "small" / "metrics" / place / "scores.ecsv")
            assert (scored["nrmse"][scored["n_pix"] > 0] < 1e-5).all()
            np.testing.assert_allclose(found["transfer"], 1, atol=1e-5)


def test_parts_of_the_error_are_scored(copy: Path, command: Command, scoring: tuple[str, ...]) -> None:
    """They add up to the error that the method has; what is not cleaned is all foregrounds."""
    for method in ("control_channel", "ilc_pixel"):
        done(command("clean", copy, "dataset=sky", f"method={method}", "stages=clean_with_parts"))
    methods = "methods=[control_channel,ilc_pixel]"
    done(command("analysis", copy, "dataset=sky", methods, *scoring, "stages=analysis_with_parts"))
    for method, sim in itertools.product(("control_channel", "ilc_pixel"), SIMS):
        folder = copy / "sky" / "parts_scores" / method / "test" / sim
        found = Table.read(folder / "parts_rms.ecsv")
        of = {row["part"]: row for row in found}
        assert sum(of[part]["share"] for part in ("signal_loss", "foregrounds", "noise")) == pytest.approx(1, abs=1e-6)
        assert of["signal_loss"]["rms"] < 0.1 * of["residual"]["rms"]
        if method == "control_channel":
            assert of["foregrounds"]["share"] > 0.98
            # Under its own beam, and to a higher multipole than at the footing.
            assert of["residual"]["rms"] == pytest.approx(
                scores(copy, method, "rmse", "60 arcmin")[SIMS.index(sim)], rel=0.3
            )
        spectra = Table.read(folder / "parts_spectra.ecsv")
        for kind in ("pseudo", "master"):
            rows = spectra[spectra["kind"] == kind]
            parts = [rows["d_share"][rows["part"] == name] for name in ("signal_loss", "foregrounds", "noise")]
            np.testing.assert_allclose(np.sum(parts, axis=0), rows["d_share"][rows["part"] == "residual"], rtol=1e-5)


# Error bars


def test_error_bars_are_scored_where_a_method_gives_them(
    copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path
) -> None:
    """Honest ones, and such that are half as long, in K, under a beam: on the map as it was given."""
    rng, fwhm = np.random.default_rng(13), 100.0
    sigma = 20 * (1 + 0.5 * np.cos(np.arange(N_PIX)))
    for name, factor in (("honest", 1.0), ("bold", 0.5)):
        values = {
            sim: hp.alm2map(hp.almxfl(truth_alm(copy, sim), gaussian_window(fwhm, LMAX)), NSIDE)
            + sigma * rng.standard_normal(N_PIX)
            for sim in SIMS
        }
        folder = predict(tmp_path / name, values)
        predict(folder / "bars", dict.fromkeys(SIMS, factor * sigma))
        take(copy, name, folder, fwhm, "predictions.uncertainty='bars/{split}/{sim}.fits'")
    done(analyse(copy, ("honest", "bold", "ilc_pixel")))
    slack = 5 / math.sqrt(2 * len(SIMS) * mask(copy).sum())
    found = {
        n: {m: scores(copy, n, m, "as given").mean() for m in ("coverage68", "coverage95", "calibration", "crps")}
        for n in ("honest", "bold")
    }
    assert found["honest"]["coverage68"] == pytest.approx(0.68, abs=slack)
    assert found["honest"]["coverage95"] == pytest.approx(0.95, abs=slack)
    assert found["honest"]["calibration"] == pytest.approx(1, rel=slack)
    assert found["bold"]["calibration"] == pytest.approx(2, rel=slack)
    assert found["bold"]["coverage68"] == pytest.approx(math.erf(0.5 * 0.99446 / math.sqrt(2)), abs=slack)
    # The score of an honest forecast is sigma / sqrt(pi), and no other is better.
    assert found["honest"]["crps"] == pytest.approx(sigma[mask(copy)].mean() / math.sqrt(math.pi), rel=2 * slack)
    assert found["bold"]["crps"] > found["honest"]["crps"]
    assert np.isnan(scores(copy, "honest", "coverage68", "deconvolved")).all()
    assert "as given" not in set(table(copy, "metrics", "ilc_pixel")["footing"])
    summary = Table.read(copy / "sky/summary/test/summary.ecsv")
    assert set(summary[summary["metric"] == "coverage68"]["method"]) == {"honest", "bold"}
    assert "as given" not in (copy / "sky/summary/test/summary_table.md").read_text()


# The same tables in any order


TABLES = ("summary.ecsv", "summary_rows.csv", "summary_table.md", "summary_latex.tex", "bundle.json")


def tables(root: Path) -> dict[str, bytes]:
    return {name: (root / "sky" / "summary" / "test" / name).read_bytes() for name in TABLES}


@pytest.mark.parametrize("order", [METHODS[::-1], (*METHODS[2:], *METHODS[:2])])
def test_order_of_methods_changes_no_byte(copy: Path, compared: Path, analyse: Analyse, order: tuple[str, ...]) -> None:
    done(analyse(copy, order, "resume=restart"))
    assert tables(copy) == tables(compared)


def test_two_processes_change_no_byte(
    copy: Path, compared: Path, analyse: Analyse, digests: Callable[[Path], dict[str, str]]
) -> None:
    out = done(analyse(copy, METHODS[::-1], "resume=restart", "runner=processes", "runner.workers=2"))
    assert "0 fresh" in out
    assert tables(copy) == tables(compared)
    assert digests(copy / "sky") == digests(compared / "sky")


def test_rows_of_the_summary_are_sorted(compared: Path) -> None:
    found = Table.read(compared / "sky/summary/test/summary.ecsv")
    keys = [tuple(row[name] for name in ("footing", "field", "region", "metric", "method")) for row in found]
    assert keys == sorted(keys)
    rows = list(csv.DictReader((compared / "sky/summary/test/summary_rows.csv").open()))
    assert [float(row["mean"]) for row in rows] == pytest.approx(list(found["mean"]), rel=0, nan_ok=True)


def test_summary_is_the_mean_over_simulations(compared: Path) -> None:
    found = Table.read(compared / "sky/summary/test/summary.ecsv")
    for method, footing, metric in itertools.product(METHODS[1:], FOOTINGS, ("mae", "rmse", "psnr_union")):
        each = scores(compared, method, metric, footing)
        keys = {"method": method, "footing": footing, "region": "mask", "metric": metric}
        (row,) = [row for row in found if all(row[name] == value for name, value in keys.items())]
        assert row["n"] == len(SIMS)
        assert row["mean"] == pytest.approx(each.mean(), rel=1e-12)
        assert row["std"] == pytest.approx(each.std(ddof=1), rel=1e-12)
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]


def planned(out: str) -> dict[str, int]:
    """Read the plan that the program printed: units to be done of each stage that has any."""
    rows = [line.split() for line in out.splitlines() if re.match(r"\w+ +\d+ +\d+ ", line)]
    return {row[0]: int(row[1]) for row in rows if row[0] != "total" and row[1] != "0"}


def test_nothing_is_done_twice(copy: Path, analyse: Analyse) -> None:
    assert planned(done(analyse(copy, METHODS, "plan_only=true"))) == {}
    assert planned(done(analyse(copy, METHODS[::-1], "plan_only=true"))) == {}
    assert planned(done(analyse(copy, METHODS[:2], "plan_only=true"))) == {"summary": 1}
    again = {"coupling": 1, "power_spectra": 12}
    assert planned(done(analyse(copy, METHODS, "plan_only=true", "spectra.bin_width=10"))) == {"power_spectra": 12}
    assert again.items() <= planned(done(analyse(copy, METHODS, "plan_only=true", "spectra.lmax=30"))).items()


def test_one_more_simulation_redoes_only_what_depends_on_it(
    copy: Path,
    command: Command,
    analyse: Analyse,
    digests: Callable[[Path], dict[str, str]],
    whole_sky: tuple[str, ...],
) -> None:
    before = digests(copy / "sky")
    words = [word for word in whole_sky if not word.startswith("splits.test")]
    done(command("sims", copy, *words, "splits.test={sims: 4, cosmology: shared}"))
    for method in METHODS:
        assert "1 units to do, 3 fresh" in done(command("clean", copy, "dataset=sky", f"method={method}"))
    out = done(analyse(copy, METHODS, "plan_only=true"))
    assert planned(out) == {"common": 4, "metrics": 4, "power_spectra": 4, "summary": 1, "residual": 4}
    done(analyse(copy, METHODS))
    after = digests(copy / "sky")
    changed = {path.split("/")[0] for path in before if after[path] != before[path]}
    assert changed == {"summary", "residual"}
    assert set(Table.read(copy / "sky/summary/test/summary.ecsv")["n"]) == {4}


# The bundle


def bundle(root: Path) -> Iterator[dict]:
    yield from json.loads((root / "sky/summary/test/bundle.json").read_text())["predictions"]


def test_bundle_holds_all_scores_and_can_be_checked(compared: Path) -> None:
    entries = list(bundle(compared))
    assert [(entry["method"], entry["sim"]) for entry in entries] == list(itertools.product(sorted(METHODS), SIMS))
    for entry in entries:
        folder = compared / "sky" / "clean" / entry["method"] / "test" / entry["sim"]
        values = hp.read_map(folder / "cleaned_map.fits", dtype=np.float32)
        assert entry["map"]["values_sha256"] == hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
        assert entry["map"]["nside"] == NSIDE
        own = table(compared, "metrics", entry["method"], entry["sim"])
        assert len(entry["scores"]) == len(own)
        for ours, theirs in zip(own, entry["scores"], strict=True):
            for name in own.colnames:
                finite = isinstance(ours[name], str) or np.isfinite(ours[name])
                assert theirs[name] == (ours[name] if finite else None)


# What may go wrong


def harm(path: Path, how: str) -> None:
    with fits.open(path, mode="update") as hdus:
        if how == "NaN":
            hdus[1].data.field(0)[0, :2] = np.nan
        else:
            hdus[1].header["TUNIT1"] = how


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("NaN", ["2 of 3072 pixel values are NaN", "cleaned_map.fits", "stage 'clean' will remake it"]),
        ("MJy/sr", ["in 'MJy/sr' cannot be compared with one in 'uK_CMB'", "needs the channel's bandpass"]),
    ],
)
def test_prediction_that_was_tampered_with(copy: Path, analyse: Analyse, how: str, words: list[str]) -> None:
    harm(copy / "sky/clean/ilc_pixel/test/sim0001/cleaned_map.fits", how)
    outcome = analyse(copy, ("ilc_pixel",), "resume=restart")
    refused(outcome, "common ilc_pixel/test/sim0001", *words)


def test_prediction_too_coarse_for_the_footing(
    copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path
) -> None:
    take(copy, "coarse", predict(tmp_path / "given", dict.fromkeys(SIMS, np.ones(12 * 4**2))))
    outcome = analyse(copy, ("coarse",))
    refused(outcome, "cannot be brought to the footing 'deconvolved'", "nothing above l = 11 (nside 4)", "lmax=11")
    assert not list(copy.rglob("common/coarse/**/*.*"))


def test_beam_too_wide_to_deconvolve(copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path) -> None:
    take(copy, "blurred", predict(tmp_path / "given", dict.fromkeys(SIMS, np.ones(N_PIX))), 1500.0)
    outcome = analyse(copy, ("blurred",))
    refused(
        outcome, "cannot be brought to the footing 'deconvolved'", "its beam (1500 arcmin) falls below", "wider beam"
    )


def test_pixel_window_that_is_not_there(copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path) -> None:
    folder = predict(tmp_path / "given", dict.fromkeys(SIMS, np.ones(N_PIX)))
    take(copy, "averaged", folder, 0.0, "predictions.pixel_window=true")
    refused(analyse(copy, ("averaged",)), "averaged over pixels of nside 16", "pixel_window_n0016.fits")


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (("ilc_pixel", "nilc"), ["'clean nilc/test/sim0000' is not finished in", "run the program that makes it"]),
        (("ilc_pixel", "a/b"), ["'a/b' is no name for a method"]),
        ((), ["methods=[]: name at least one method"]),
        (("ilc_pixel", "ilc_pixel"), ["methods=['ilc_pixel', 'ilc_pixel']: name at least one method, and each once"]),
    ],
)
def test_methods_that_cannot_be_compared(
    compared: Path, analyse: Analyse, methods: tuple[str, ...], words: list[str]
) -> None:
    refused(analyse(compared, methods), *words)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["spectra.lmax=48"], ["the footing 'deconvolved' asks for lmax=48", "the truth ends at l = 47"]),
        (["spectra.bin_width=0"], ["spectra.bin_width", "greater than 0"]),
        (["over={split: [valid]}"], ["over: 'split' has no 'valid'", "allowed are: test"]),
        (["+sky_masks.north=/nowhere/mask.fits"], ["raw file /nowhere/mask.fits cannot be read"]),
        (["spectra.lmx=3"], ["did you mean 'spectra.lmax'?"]),
        (["dataset=none"], ["there is no dataset in", "build it first: python main_sims.py dataset=none"]),
    ],
)
def test_bad_setting(compared: Path, analyse: Analyse, overrides: list[str], words: list[str]) -> None:
    refused(analyse(compared, METHODS, *overrides), *words)


def test_prediction_that_is_missing(copy: Path, analyse: Analyse) -> None:
    (copy / "sky/clean/ilc_pixel/test/sim0002/cleaned_map.fits").unlink()
    refused(analyse(copy, ("ilc_pixel",)), "'clean ilc_pixel/test/sim0002' is not finished in")


def test_methods_with_different_test_sets(copy: Path, command: Command, analyse: Analyse) -> None:
    few = ("method=control_zero", "method.name=few", "+over.sim=[sim0001]")
    done(command("clean", copy, "dataset=sky", *few))
    refused(analyse(copy, ("ilc_pixel", "few")), "'clean few/test/sim0000' is not finished in")
    done(command("clean", copy, "dataset=sky", *few[:2]))
    done(analyse(copy, ("ilc_pixel", "few")))


def test_one_simulation_only(
    cleaned: Path, tmp_path: Path, command: Command, analyse: Analyse, whole_sky: tuple[str, ...]
) -> None:
    """There is a mean, and no scatter and no interval."""
    root = Path(shutil.copytree(cleaned, tmp_path / "root"))
    words = [word for word in whole_sky if not word.startswith("splits.test")]
    done(command("sims", root, *words, "splits.test={sims: 1, cosmology: shared}"))
    done(analyse(root))
    found = Table.read(root / "sky/summary/test/summary.ecsv")
    assert set(found["n"]) == {1}
    assert np.isfinite(found["mean"][(found["metric"] == "mae") & (found["region"] == "mask")]).all()
    for column in ("std", "ci_low", "ci_high"):
        assert np.isnan(found[column]).all()
    assert "nan" not in (root / "sky/summary/test/summary_table.md").read_text()


@pytest.mark.parametrize("kept", [0, 3])
def test_mask_that_leaves_nothing(copy: Path, analyse: Analyse, kept: int) -> None:
    for name in ("mask", "mask_apodised"):
        path = copy / "sky" / "mask" / "main" / f"{name}.fits"
        with fits.open(path, mode="update") as hdus:
            flat = np.zeros(N_PIX, dtype=">f4")
            flat[:kept] = 1
            hdus[1].data.field(0)[:] = flat.reshape(hdus[1].data.field(0).shape)
    outcome = analyse(copy, ("ilc_pixel",), "resume=restart")
    words = (
        ("the mask is empty",) if kept == 0 else ("the 3 pixels that the mask leaves cannot tell", "use a wider one")
    )
    refused(outcome, *words)
