"""A made comparison: three methods and a control, five simulations, three footings, at nside 64."""

from dataclasses import dataclass

import healpy as hp
import numpy as np
import pytest

from cmbml.figures.report import ReportData
from cmbml.figures.results import PredictionMaps, Stacks, TheoryBand
from cmbml.sky.harmonics import filter_alm, random_alm, synthesise
from cmbml.tables import Stack

NSIDE, LMAX = 64, 128
METHODS = ("control_truth", "nilc", "cmbnncs", "control_channel")
LEVELS = {"control_truth": 0.0, "nilc": 6.0, "cmbnncs": 11.0, "control_channel": 40.0}  # uK per pixel
FOOTINGS = ("deconvolved", "20.6 arcmin", "60 arcmin")
REGIONS = ("mask", "b0-5", "b5-30", "b30-90")
METRICS = ("bias", "mae", "rmse", "nrmse", "psnr_truth", "r2")
SIMULATIONS = tuple(f"sim{i:04d}" for i in range(5))
ODD = ("cmbnncs", "sim0003")  # whose error is three times the usual


@dataclass(frozen=True)
class Comparison:
    """All that figures and the report are given."""

    scores: Stacks
    spectra: Stacks
    band: TheoryBand
    maps: tuple[PredictionMaps, ...]
    report: ReportData


def theory(ell):
    """Give D_l in uK^2: a plateau and a first peak."""
    return 1000 + 4700 * np.exp(-(((ell - 220) / 90) ** 2))


def score_table(method, simulation, rng):
    level = LEVELS[method] * (3 if (method, simulation) == ODD else 1)
    rows = []
    for f, footing in enumerate(FOOTINGS):
        for region in REGIONS:
            floor = 4.0 / (1 + f)
            scatter = (1 + 0.1 * rng.random()) * {"b0-5": 3, "b5-30": 1.2}.get(region, 1)
            rmse = float(np.hypot(level / (1 + f), floor if level else 0)) * scatter
            values = {
                "bias": 0.01 * rmse,
                "mae": 0.8 * rmse,
                "rmse": rmse,
                "nrmse": rmse / 100,
                "r2": 1 - rmse**2 / 1e4,
            }
            values["psnr_truth"] = 20 * np.log10(800 / rmse) if rmse else np.inf
            floors = {"mae": 0.8 * floor, "rmse": floor, "nrmse": floor / 100, "psnr_truth": 20 * np.log10(800 / floor)}
            noise = {"rmse": 0.6 * floor if f else np.nan}
            where = {"footing": footing, "field": "I", "region": region}
            for name, value in values.items():
                numbers = {"value": value, "floor": floors.get(name, np.nan), "noise_floor": noise.get(name, np.nan)}
                rows.append(where | {"metric": name} | numbers)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def spectra_table(method, simulation, rng):
    level = LEVELS[method] * (3 if (method, simulation) == ODD else 1)
    low = np.arange(2, LMAX - 9, 10)
    high = low + 9
    ell = 0.5 * (low + high)
    parts = []
    for kind in ("pseudo", "master"):
        expected = theory(ell)
        variance = expected * np.sqrt(2 / ((2 * ell + 1) * 10 * 0.7))
        shared = np.random.default_rng(SIMULATIONS.index(simulation))  # every method is given the same sky
        truth = expected + variance * shared.normal(size=ell.size)
        noise = 0.2 * level**2 * (ell / 60) ** 2 * (1.3 if kind == "pseudo" else 1)
        transfer = 1 - 0.001 * level * (ell / LMAX)
        prediction = transfer**2 * truth + noise
        parts.append(
            {
                "kind": np.full(ell.size, kind),
                "field": np.full(ell.size, "TT"),
                "l_low": low,
                "l_high": high,
                "l_eff": ell,
                "n_modes": (2 * ell + 1) * 10,
                "d_truth": truth,
                "d_prediction": prediction,
                "d_cross": transfer * truth,
                "d_residual": noise,
                "d_theory": expected,
                "cosmic_variance": variance,
                "transfer": transfer + 0.001 * rng.normal(size=ell.size) * (level > 0),
                "correlation": transfer * truth / np.sqrt(truth * prediction),
                "bias_sigma": (prediction - truth) / variance,
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def summary_of(scores):
    rows = []
    for footing in FOOTINGS:
        for region in REGIONS:
            for metric in METRICS:
                place = {"footing": footing, "region": region, "metric": metric}
                here = {m: scores[m].where(**place).numbers["value"][:, 0] for m in METHODS}
                sign = -1 if metric in ("psnr_truth", "r2") else 1
                order = sorted(METHODS, key=lambda m: sign * here[m].mean())
                floor = scores["nilc"].where(**place).numbers["floor"][0, 0]
                for method in METHODS:
                    with np.errstate(invalid="ignore"):
                        difference = here[method].mean() - here[order[0]].mean()
                        std = here[method].std(ddof=1)
                    seconds = (np.nan, 0.2) if method.startswith("control") else (1234.5, 8.25)
                    keys = {"method": method, "footing": footing, "field": "I", "region": region, "metric": metric}
                    values = {"n": 5, "mean": here[method].mean(), "std": std, "floor": floor, "noise_floor": np.nan}
                    values |= {"rank": order.index(method) + 1, "difference": difference}
                    values |= {"ci_low": difference - 0.5, "ci_high": difference + 0.5}
                    rows.append(keys | values | dict(zip(("train_seconds", "inference_seconds"), seconds, strict=True)))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def made_maps():
    rng = np.random.default_rng(5)
    ell = np.arange(LMAX + 1)
    cl = np.zeros(LMAX + 1)
    cl[2:] = 2 * np.pi * theory(ell[2:]) / (ell[2:] * (ell[2:] + 1))
    latitude = 90 - np.degrees(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0])
    mask = (np.abs(latitude) > 8).astype(np.float32)
    made = []
    for simulation in SIMULATIONS[2:4]:
        alm = filter_alm(random_alm(rng, LMAX, 1, np.complex64), np.sqrt(cl))
        truth = synthesise(alm, NSIDE, 1)[0]
        for method in METHODS:
            error = LEVELS[method] * rng.normal(size=truth.size) * (1 + 3 * np.exp(-((latitude / 10) ** 2)))
            prediction = (truth + error).astype(np.float32)
            places = {"method": method, "simulation": simulation, "footing": "20.6 arcmin"}
            made.append(PredictionMaps(**places, truth=truth, prediction=prediction, mask=mask))
    return tuple(made)


@pytest.fixture(scope="session")
def comparison():
    rng = np.random.default_rng(1)
    scores = {m: Stack.of([(sim, score_table(m, sim, rng)) for sim in SIMULATIONS]) for m in METHODS}
    spectra = {m: Stack.of([(sim, spectra_table(m, sim, rng)) for sim in SIMULATIONS]) for m in METHODS}
    ell = np.arange(2, LMAX + 1).astype(float)
    band = TheoryBand(ell=ell, mean=theory(ell), std=0.03 * theory(ell))
    maps = made_maps()
    report = ReportData(
        title="Three methods at nside 64",
        methods=METHODS,
        summary=summary_of(scores),
        scores=scores,
        spectra=spectra,
        bands={"TT": band},
        maps=maps,
        metric_labels={"rmse": "RMSE (µK_CMB)", "psnr_truth": "PSNR, truth's range (dB)"},
        descriptions={"nilc": "Needlet internal linear combination <f7>"},
        configuration="scenario:\n  nside: 64\n  note: </script><b>",
        provenance={"cmbml": "0.1.0", "root seed": "1", "git commit": "0123abc", "fingerprint of nilc": "f" * 64},
        commands=("make environment", "python main_analysis.py methods=[nilc,cmbnncs]"),
    )
    return Comparison(scores, spectra, band, maps, report)
