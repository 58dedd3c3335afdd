"""Tables in the form in which the page's scripts want them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cmbml.figures.results import OUTLIER_Z, Stacks, TheoryBand, TrainingRun, mean_and_spread, robust_z
from cmbml.tables import Columns, different

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


def find_outliers(scores: Stacks) -> list[dict[str, Any]]:
    """Return the scores whose robust z over the simulations of a method is beyond the limit, the farthest first."""
    found = []
    for method, stack in scores.items():
        for row in range(stack.n_rows):
            values = stack.numbers["value"][:, row]
            z = robust_z(values)
            where = {name: str(stack.words[name][row]) for name in (*KEYS, "metric")}
            for i in np.flatnonzero(np.abs(np.nan_to_num(z)) > OUTLIER_Z):
                place = {"method": method, "simulation": str(stack.sims[i])} | where
                found.append(place | {"value": float(values[i]), "z": float(z[i])})
    return sorted(found, key=lambda row: -abs(row["z"]))


def shown_simulations(scores: Stacks, outliers: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """Return the simulations whose scores stand in the page: those that lie farthest out, and the first ones.

    Args:
        scores: of all methods.
        outliers: the farthest first.
        most: how many; half of them are kept for the first ones.
    """
    sims = sorted({sim for stack in scores.values() for sim in stack.sims.tolist()})
    far = list(dict.fromkeys(str(row["simulation"]) for row in outliers))[: most // 2]
    return sorted(dict.fromkeys([*far, *sims]), key=lambda sim: (sim not in far, sim))[:most]


def simulation_rows(scores: Stacks, sims: Sequence[str]) -> list[dict[str, Any]]:
    """Return the scores of some simulations, by method, place and metric."""
    rows = []
    for method, stack in scores.items():
        kept = stack.of_sims(sims)
        names = kept.sims.tolist()
        places = dict.fromkeys(zip(*(kept.words[name].tolist() for name in KEYS), strict=True))
        for place in places:
            where = dict(zip(KEYS, place, strict=True))
            here = kept.where(**where)
            values = dict(zip(here.words["metric"].tolist(), here.numbers["value"].T, strict=True))
            rows.append(where | {"method": method, "names": names, "values": values})
    return rows


def spectra_curves(spectra: Stacks, bands: Mapping[str, TheoryBand], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each kind and spectrum, truth and theory, and mean and spread of each method over simulations."""
    sets = []
    pairs = [(k, f) for k in different(spectra.values(), "kind") for f in different(spectra.values(), "field")]
    for kind, field in pairs:
        found = {m: spectra[m].where(kind=kind, field=field) for m in methods if m in spectra}
        stacked = {m: stack.numbers for m, stack in found.items() if stack.n_rows}
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
