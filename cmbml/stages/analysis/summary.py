"""Put the scores of all methods and simulations together."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import ClassVar, Literal

import numpy as np
from astropy.table import Table

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import ChannelName
from cmbml.metrics.footing import map_window
from cmbml.metrics.pixel import ScoreError
from cmbml.metrics.summary import METRICS, Place, Score, score_grid, summarise, to_csv
from cmbml.metrics.verdict import About, PartRow, markdown, part_grid, part_rows, verdict
from cmbml.settings import Nside, settings
from cmbml.sims.foregrounds import SkyModel
from cmbml.sky.harmonics import alm_lmax, cut_alm, filter_components, synthesise
from cmbml.sky.maps import SkyMap
from cmbml.stages.analysis.metrics import spec_of
from cmbml.stages.assets import (
    BENCHMARK,
    BUNDLE,
    CMB_ALM,
    INFERENCE,
    METHOD,
    PARTS_RMS,
    PARTS_SUMMARY,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    RESIDUAL_MEAN,
    SCORES,
    SIM,
    SPLIT,
    SUMMARY,
    SUMMARY_CSV,
    SUMMARY_LATEX,
    SUMMARY_MARKDOWN,
    TRAINING,
    VERDICT,
)
from cmbml.stages.maps import Maps

PARTS_HEAD = (
    "What the errors are made of: rms of each part of I inside the mask, mean ± scatter over simulations, the largest "
    "bold. Parts may be correlated, so that their squares need not add up to that of the whole error."
)


@settings
class Dataset:
    """What the verdict says of the dataset.

    Attributes:
        nside: of its maps.
        instrument: the channels that there are.
        channels: those that it has: `all`, or some.
        skies: the models of foregrounds that a split may name.
        seed: root of its randomness.
    """

    nside: Nside
    instrument: tuple[ChannelName, ...]
    channels: tuple[ChannelName, ...] | Literal["all"]
    skies: Mapping[str, SkyModel]
    seed: int

    def about(self, split: str, skies: set[str], benchmark: str | None) -> About:
        """Return what the verdict is told, of a split whose simulations see these skies."""
        seen = {n: model for n, model in self.skies.items() if any(s == n or s.startswith(f"{n}_") for s in skies)}
        models = [" ".join((type(model).__name__, *getattr(model, "presets", ()))) for model in seen.values()]
        channels = self.instrument if self.channels == "all" else self.channels
        return About(self.nside, channels, " and ".join(models), self.seed, split, benchmark)


@settings
class Summarise(Executor):
    """Mean and scatter of every score, how sure the differences between methods are, ranks, tables, and a bundle.

    Attributes:
        unranked: methods that are shown and not ranked, such as controls that see the truth.
        controls: methods that the verdict sets apart: none of them can win.
        memory_controls: of these, those that only remember their training; those that were not scored do not matter.
        footing: at which the verdict compares.
        dataset: what the dataset is.
    """

    unranked: tuple[str, ...]
    controls: tuple[str, ...]
    memory_controls: tuple[str, ...]
    footing: str
    dataset: Dataset
    reads: ClassVar = (SCORES, INFERENCE, PREDICTION_SPEC)
    may_read: ClassVar = (BENCHMARK, TRAINING, PARTS_RMS)
    writes: ClassVar = (SUMMARY, SUMMARY_CSV, SUMMARY_MARKDOWN, SUMMARY_LATEX, BUNDLE, VERDICT)
    may_write: ClassVar = (PARTS_SUMMARY,)
    per: ClassVar = (SPLIT,)
    version: ClassVar[int] = 2

    def process(self, io: UnitIO) -> None:
        """Read all scores, summarise, write."""
        tables = {(key[METHOD], key[SIM]): table for key, table in io.read_all(SCORES)}
        scores = [score for (method, sim), table in tables.items() for score in scores_of(method, sim, table)]
        rows = summarise(scores, self._seconds(io), self.unranked)
        io.write(SUMMARY, Table([asdict(row) for row in rows]))
        scored = [(str(row["footing"]), float(row["mae"])) for table in tables.values() for row in table]
        footings = list(dict.fromkeys(name for name, mae in scored if not math.isnan(mae)))
        grid = score_grid(rows, footings=footings)
        io.write(SUMMARY_CSV, to_csv(rows))
        parts = _parts(io)
        frozen = io.read_optional(BENCHMARK)
        about = self.dataset.about(io.key[SPLIT], {score.sky for score in scores}, frozen and frozen["verdict"])
        lines = verdict(scores, about, self.footing, self.controls, self.memory_controls, parts)
        io.write(VERDICT, lines)
        text = f"{markdown(lines)}\n{grid.markdown()}"
        if parts:
            io.write(PARTS_SUMMARY, Table([asdict(row) for row in parts]))
            text += f"\n{PARTS_HEAD}\n\n{part_grid(parts, footings).markdown()}"
        io.write(SUMMARY_MARKDOWN, text)
        io.write(SUMMARY_LATEX, grid.latex())
        specs = {(key[METHOD], key[SIM]): spec for key, spec in io.read_all(PREDICTION_SPEC)}
        io.write(BUNDLE, _bundle(tables, specs))

    def _seconds(self, io: UnitIO) -> dict[str, tuple[float, float]]:
        times: dict[str, list[float]] = {}
        for key, found in io.read_all(INFERENCE):
            if found["inference_seconds"] is not None:
                times.setdefault(key[METHOD], []).append(found["inference_seconds"])
        trained = {key[METHOD]: float(found.get("seconds", math.nan)) for key, found in io.read_all(TRAINING)}
        median = {method: float(np.median(found)) for method, found in times.items()}
        return {
            method: (trained.get(method, math.nan), median.get(method, math.nan)) for method in {**trained, **median}
        }


def _parts(io: UnitIO) -> list[PartRow]:
    """Average the parts of the errors of I, where they were scored."""
    tables = ((key[METHOD], table[table["field"] == "I"]) for key, table in io.read_all(PARTS_RMS))
    return part_rows(
        (method, str(row["footing"]), str(row["part"]), float(row["rms"])) for method, table in tables for row in table
    )


def scores_of(method: str, sim: str, table: Table) -> Iterator[Score]:
    """Return the scores of one simulation that are numbers."""
    for row in table:
        for metric in METRICS:
            value = float(row[metric])
            if math.isnan(value):
                continue
            place = Place(str(row["footing"]), str(row["field"]), str(row["region"]), metric)
            floor = float(row[f"floor_{metric}"]) if f"floor_{metric}" in table.colnames else math.nan
            noise = float(row["noise_rmse"]) if metric == "rmse" else math.nan
            yield Score(method, sim, place, value, floor, noise, str(row["sky"]))


def _bundle(tables: dict[tuple[str, str], Table], specs: dict[tuple[str, str], dict]) -> str:
    """Write what another person needs to check every score: the scores, and what each map was."""
    entries = [
        {
            "method": method,
            "sim": sim,
            "map": specs[method, sim],
            "scores": [{name: _plain(row[name]) for name in table.colnames} for row in table],
        }
        for (method, sim), table in sorted(tables.items(), key=lambda entry: entry[0])
    ]
    return json.dumps({"format": "cmbml score bundle 1", "predictions": entries}, indent=1) + "\n"


def _plain(value: object) -> str | float | int | None:
    """Return a table's entry as JSON has it; None for what is no finite number."""
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and not isinstance(value, np.floating) else number


@settings
class MeanResidual(Executor):
    """Average the error of a method over simulations, as a map: what does not average out is its bias.

    Attributes:
        maps: what the maps of the dataset are.
    """

    maps: Maps
    reads: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC, CMB_ALM)
    writes: ClassVar = (RESIDUAL_MEAN,)
    per: ClassVar = (METHOD, SPLIT)

    def process(self, io: UnitIO) -> None:
        """Add up the errors one by one, and write their mean."""
        specs = {key: spec_of(spec) for key, spec in io.read_all(PREDICTION_SPEC)}
        total, number = None, 0
        for (key, prediction), (_, truth) in zip(io.read_all(PREDICTION_ALM), io.read_all(CMB_ALM), strict=True):
            lmax = alm_lmax(prediction.shape[-1])
            own = map_window(specs[key], lmax, len(prediction), pixel_windows=self.maps.pixel_windows)
            error = prediction - filter_components(cut_alm(truth[: len(prediction)], lmax), own)
            total = error.astype(np.complex128) if total is None else total + error
            number += 1
        if total is None:
            message = f"there is no simulation of {io.key} to average over"
            raise ScoreError(message)
        spec = specs[key]
        values = synthesise((total / number).astype(np.complex64), spec.nside, io.threads)
        io.write(RESIDUAL_MEAN, SkyMap(values, spec.with_(fields=spec.fields[: len(values)])))
