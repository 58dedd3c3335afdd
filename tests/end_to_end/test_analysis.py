"""Comparing methods through the program: closed forms, and what is known beforehand."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
import yaml
from astropy.table import Table
from comparing import FOOTINGS, N_PIX, NSIDE, SIMS, predict, scores, table, wide
from outcomes import done, refused

import cmbml.stages.analysis.benchmark
from cmbml.metrics.frozen import probe
from cmbml.sky.beams import gaussian_window

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821
LMAX, LMAX_SCORED = 47, 32


def truth_alm(root: Path, sim: str) -> np.ndarray:
    return np.load(root / "sky" / "cmb" / "test" / sim / "cmb_alm.npy")[0].astype(np.complex128)


def mask(root: Path) -> np.ndarray:
    return hp.read_map(root / "sky" / "mask" / "mask.fits") > 0.5


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
    said = ("predictions.frame=C", "predictions.nside=32", f"predictions.lmax={LMAX}")
    take(copy, "turned", predict(tmp_path / "given", values), 0.0, *said)
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
    truth, ilc_scores = (wide(folder / "scores.csv") for folder in of.values())
    assert set(truth["field"]) == {"I", "Q", "U"}
    assert set(ilc_scores["field"]) == {"I"}
    assert (truth["nrmse"][truth["n_pix"] > 0] < 1e-5).all()
    spectra = Table.read(tmp_path / "small/power_spectra/control_channel/test/sim0001/spectra_scores.csv")
    assert set(spectra["field"]) == {"TT", "EE", "BB"}
    summary = Table.read(tmp_path / "small/summary/test/summary.ecsv")
    assert set(summary["n"]) == {2}


@pytest.mark.slow
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
        found = Table.read(tmp_path / "small" / "power_spectra" / place / "spectra_scores.csv")
        # What is common to the channel and the truth is the CMB: its sources know nothing of it.
        np.testing.assert_allclose(found["d_cross"], found["d_truth"], rtol=0.2)
        np.testing.assert_allclose(found["d_truth"], found["d_theory"], rtol=1)
        if method == "control_truth":
            scored = wide(tmp_path / "small" / "metrics" / place / "scores.csv")
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
        everywhere = Table.read(folder / "parts_rms.csv")
        for footing in FOOTINGS:
            at = {row["part"]: row for row in everywhere[everywhere["footing"] == footing]}
            # The parts are in single precision, and each is analysed by itself.
            score = scores(copy, method, "rmse", footing)[SIMS.index(sim)]
            assert at["residual"]["rms"] == pytest.approx(score, rel=2e-3)
            assert sum(row["share"] for part, row in at.items() if part != "residual") == pytest.approx(1, abs=1e-6)
        found = everywhere[everywhere["footing"] == "as given"]
        of = {row["part"]: row for row in found}
        names = ["signal_loss", "foregrounds", "noise", *(["chance"] if method == "ilc_pixel" else [])]
        assert list(of) == [*names, "residual"], "chance correlations are a part of the error of linear methods"
        assert sum(of[part]["share"] for part in names) == pytest.approx(1, abs=1e-6)
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
            parts = [rows["d_share"][rows["part"] == name] for name in names]
            np.testing.assert_allclose(np.sum(parts, axis=0), rows["d_share"][rows["part"] == "residual"], rtol=1e-5)


# What a comparison says of itself


def test_verdict_says_who_wins_and_whether_the_dataset_is_a_frozen_one(
    copy: Path, command: Command, analyse: Analyse, whole_sky: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def verdict() -> dict[str, str]:
        return yaml.safe_load((copy / "sky/summary/test/verdict.yaml").read_text())

    said = verdict()
    assert said["Benchmark"].startswith("None of the frozen benchmarks")
    assert "ilc_pixel" in said["Winner"]
    assert said["Data"].startswith(
        "nside 16; channels 100, 143, 217, 353, 545; foregrounds EmbeddedSky, one sky for all"
    )
    assert "All on one sky" in said["Certainty"]

    done(command("sims", copy, *whole_sky, "benchmark={name: benchmark_v1, splits: [test]}"))
    done(analyse(copy))
    assert verdict()["Benchmark"].startswith("Not benchmark_v1, although it is called so: it lacks")

    monkeypatch.setattr(cmbml.stages.analysis.benchmark, "LISTS", copy)
    maps = {sim: sorted((copy / "sky/observe/test" / sim).glob("*.fits")) for sim in SIMS}
    found = {
        sim: probe(
            {path.stem.removeprefix("obs_map_"): hp.read_map(path, dtype=np.float32)[None] for path in paths}
            | {"truth": hp.read_map(copy / "sky/cmb/test" / sim / "cmb_map.fits", dtype=np.float32)[None]}
        )
        for sim, paths in maps.items()
    }
    (copy / "benchmark_v1.yaml").write_text(yaml.safe_dump({"test": found}))
    done(analyse(copy))
    assert verdict()["Benchmark"] == "Benchmark_v1, all 3 simulations and 18 maps compared: byte for byte."

    done(command("sims", copy, *whole_sky, "benchmark={name: benchmark_v0, splits: [test]}"))
    refused(analyse(copy), "no benchmark called benchmark_v0 is frozen; there are benchmark_v1")


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
    assert "coverage68" not in table(copy, "metrics", "ilc_pixel").colnames
    summary = Table.read(copy / "sky/summary/test/summary.ecsv")
    assert set(summary[summary["metric"] == "coverage68"]["method"]) == {"honest", "bold"}
    assert "as given" not in (copy / "sky/summary/test/summary_table.md").read_text()
