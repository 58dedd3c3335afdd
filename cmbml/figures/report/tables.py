"""Tables in the form in which the page's scripts want them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cmbml.figures.results import (
    OUTLIER_Z,
    Columns,
    SimulationTable,
    TheoryBand,
    TrainingRun,
    mean_and_spread,
    over_simulations,
    robust_z,
    words,
)

KEYS = ("footing", "field", "region")
SUMMARY_WORDS = ("method", *KEYS, "metric")
SUMMARY_NUMBERS = (
    "n",
    "mean",
    "std",
    "floor",
    "noise_floor",
    "rank",
    "difference",
    "ci_low",
    "ci_high",
    "train_seconds",
    "inference_seconds",
)
OTHER_SKY_NUMBERS = (
    "n_reference",
    "n",
    "reference",
    "reference_std",
    "mean",
    "std",
    "ratio",
    "ratio_low",
    "ratio_high",
)
TRAINING_FACTS = (
    "n_parameters",
    "samples",
    "epochs",
    "valid_rmse_uk",
    "device",
    "seconds",
    "maps_per_second",
    "waiting_for_data",
)
TRAINING_CURVES = ("epoch", "train_loss", "valid_loss", "valid_rmse_uk")
CURVES = ("d_prediction", "d_residual", "transfer", "correlation")


def score_rows(summary: Columns) -> dict[str, Any]:
    """Return the summary by columns."""
    return packed(summary, SUMMARY_WORDS, SUMMARY_NUMBERS)


def packed(table: Columns, word_columns: Sequence[str], number_columns: Sequence[str]) -> dict[str, Any]:
    """Return a table by columns, words as places in lists of the different words, which keeps the page small."""
    words_of, columns = {}, {}
    for name in word_columns:
        column = np.asarray(table[name]).astype(str)
        words_of[name] = list(dict.fromkeys(column.tolist()))
        place = {word: i for i, word in enumerate(words_of[name])}
        columns[name] = [place[word] for word in column.tolist()]
    return {"words": words_of, "columns": columns | {name: np.asarray(table[name]) for name in number_columns}}


def other_sky_rows(table: Columns) -> dict[str, Any]:
    """Return the comparison of skies by columns."""
    return packed(table, (*SUMMARY_WORDS, "reference_split", "split"), OTHER_SKY_NUMBERS)


def training_rows(runs: Sequence[TrainingRun]) -> list[dict[str, Any]]:
    """Return what is said of each training, epochs counted from 1, and its curve."""
    rows = []
    for run in runs:
        curve = {name: np.asarray(run.curve[name]) for name in TRAINING_CURVES}
        facts = {name: run.facts.get(name) for name in TRAINING_FACTS} | {"kept_epoch": run.kept_epoch + 1}
        rows.append({"method": run.method} | facts | {"curve": curve | {"epoch": curve["epoch"] + 1}})
    return rows


def simulation_rows(tables: Sequence[SimulationTable], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return every score of every simulation, by method, place and metric."""
    rows = []
    for keys, per_method in _by_place(tables).items():
        for method, found in per_method.items():
            values = {name: found["columns"][name] for name in metrics if name in found["columns"]}
            rows.append(
                dict(zip(KEYS, keys, strict=True)) | {"method": method, "names": found["names"], "values": values}
            )
    return rows


def find_outliers(tables: Sequence[SimulationTable], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the scores whose robust z over the simulations of a method is beyond the limit, the farthest first."""
    found = []
    for keys, per_method in _by_place(tables).items():
        for method, own in per_method.items():
            for metric in metrics:
                if metric not in own["columns"]:
                    continue
                values = own["columns"][metric]
                z = robust_z(values)
                for i in np.flatnonzero(np.abs(np.nan_to_num(z)) > OUTLIER_Z):
                    row = {"method": method, "simulation": own["names"][i], "metric": metric}
                    found.append(row | {"value": values[i], "z": z[i]} | dict(zip(KEYS, keys, strict=True)))
    return sorted(found, key=lambda row: -abs(row["z"]))


def _by_place(tables: Sequence[SimulationTable]) -> dict[tuple[str, ...], dict[str, dict[str, Any]]]:
    """Return (footing, field, region) -> method -> names of simulations, and columns of `(n_sim,)`."""
    gathered: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for table in sorted(tables, key=lambda table: table.simulation):
        keys = [np.asarray(table.columns[name]).astype(str).tolist() for name in KEYS]
        numbers = {n: np.asarray(c) for n, c in table.columns.items() if np.asarray(c).dtype.kind in "fiu"}
        for i, place in enumerate(zip(*keys, strict=True)):
            own = gathered.setdefault(place, {}).setdefault(table.method, {"names": [], "columns": {}})
            own["names"].append(table.simulation)
            for name, column in numbers.items():
                own["columns"].setdefault(name, []).append(float(column[i]))
    for per_method in gathered.values():
        for own in per_method.values():
            own["columns"] = {name: np.array(column) for name, column in own["columns"].items()}
    return gathered


def spectra_curves(
    tables: Sequence[SimulationTable], bands: Mapping[str, TheoryBand], methods: Sequence[str]
) -> list[dict[str, Any]]:
    """Return, for each kind and spectrum, truth and theory, and mean and spread of each method over simulations."""
    sets = []
    pairs = [(kind, field) for kind in words(tables, "kind") for field in words(tables, "field")]
    for kind, field in pairs:
        stacked = {m: over_simulations(tables, m, kind=kind, field=field) for m in methods}
        stacked = {m: columns for m, columns in stacked.items() if columns}
        if not stacked:
            continue
        first = next(iter(stacked.values()))
        common = {name: first[name].mean(axis=0) for name in ("d_truth", "d_theory", "cosmic_variance")}
        common |= {name: first[name][0] for name in ("l_eff", "l_low", "l_high")}
        curves = {}
        for method, columns in stacked.items():
            curves[method] = {"l_eff": columns["l_eff"][0], "n": len(columns["l_eff"])}
            quantities = {name: columns[name] for name in CURVES}
            quantities["ratio"] = columns["d_prediction"] / columns["d_theory"]
            for name, values in quantities.items():
                mean, spread = mean_and_spread(values)
                curves[method] |= {name: mean, f"{name}_std": spread}
        band = bands.get(field)
        shown = None if band is None else {"ell": band.ell, "mean": band.mean, "std": band.std}
        sets.append({"kind": kind, "field": field, "common": common, "band": shown, "methods": curves})
    return sets
