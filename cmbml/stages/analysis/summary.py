"""Put the scores of all methods and simulations together."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
from astropy.table import Table

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import ChannelName
from cmbml.metrics.footing import map_window
from cmbml.metrics.intervals import Interval
from cmbml.metrics.parameters import AUTO, CROSS
from cmbml.metrics.scores import NUMBERS, Place, ScoreBook, ScoreError
from cmbml.metrics.summary import score_grid, summarise, to_csv
from cmbml.metrics.verdict import About, PartRow, Resampled, markdown, part_grid, part_rows, verdict
from cmbml.settings import settings
from cmbml.sims.foregrounds import SkyModel
from cmbml.sky.harmonics import alm_lmax, cut_alm, filter_components, synthesise
from cmbml.sky.maps import SkyMap
from cmbml.stages.analysis.judges import score_book, stacks_of
from cmbml.stages.analysis.metrics import AS_GIVEN, BY_PATCHES, spec_of
from cmbml.stages.assets import (
    BENCHMARK,
    BUNDLE,
    CMB_ALM,
    METHOD,
    PARTS_STACK,
    PARTS_SUMMARY,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    RESAMPLED,
    RESIDUAL_MEAN,
    SCORE_STACK,
    SPLIT,
    SUMMARY,
    SUMMARY_CSV,
    SUMMARY_LATEX,
    SUMMARY_MARKDOWN,
    TRAINING,
    VERDICT,
)
from cmbml.stages.maps import Maps
from cmbml.tables import Stack

PARTS_HEAD = (
    "What the errors are made of: rms of each part of I inside the mask, mean ± scatter over simulations, the largest "
    "bold. Parts may be correlated, so that their squares need not add up to that of the whole error."
)


@settings
class Dataset:
    """What the verdict says of the dataset.

    Attributes:
        maps: what its maps are, in words.
        instrument: the channels that there are.
        channels: those that it has: `all`, or some.
        skies: the models of foregrounds that a split may name.
        sky: what the sky is, in words, where none of these made its foregrounds.
        seed: root of its randomness.
    """

    maps: str
    instrument: tuple[ChannelName, ...]
    channels: tuple[ChannelName, ...] | Literal["all"]
    skies: Mapping[str, SkyModel]
    seed: int
    sky: str = ""

    def about(self, split: str, skies: set[str], benchmark: str | None) -> About:
        """Return what the verdict is told, of a split whose simulations see these skies."""
        seen = {n: model for n, model in self.skies.items() if any(s == n or s.startswith(f"{n}_") for s in skies)}
        models = [" ".join((type(model).__name__, *getattr(model, "presets", ()))) for model in seen.values()]
        channels = self.instrument if self.channels == "all" else self.channels
        sky = f"foregrounds {' and '.join(models)}" if models else self.sky
        return About(self.maps, channels, sky, self.seed, split, benchmark)


@settings
class Decisive:
    """The score that decides which method wins.

    Attributes:
        footing: where it is taken.
        metric: which.
        field: of which field.
        region: in which part of the sky.
    """

    footing: str
    metric: str = "rmse"
    field: str = "I"
    region: str = "mask"

    @property
    def place(self) -> Place:
        """Where it stands among all scores."""
        return Place(self.footing, self.field, self.region, self.metric)


@settings
class Summarise(Executor):
    """Mean and scatter of every score, how sure the differences between methods are, ranks, tables, and a bundle.

    Attributes:
        unranked: methods that are shown and not ranked, such as controls that see the truth.
        controls: methods that the verdict sets apart: none of them can win.
        memory_controls: of these, those that only remember their training; those that were not scored do not matter.
        decisive: the score that the verdict looks at.
        columns: the metrics of the table that is to be read.
        dataset: what the dataset is.
    """

    unranked: tuple[str, ...]
    controls: tuple[str, ...]
    memory_controls: tuple[str, ...]
    decisive: Decisive
    columns: tuple[str, ...]
    dataset: Dataset
    reads: ClassVar = (SCORE_STACK,)
    may_read: ClassVar = (BENCHMARK, TRAINING, PARTS_STACK, RESAMPLED)
    writes: ClassVar = (SUMMARY, SUMMARY_CSV, SUMMARY_MARKDOWN, SUMMARY_LATEX, BUNDLE, VERDICT)
    may_write: ClassVar = (PARTS_SUMMARY,)
    per: ClassVar = (SPLIT,)
    version: ClassVar[int] = 5

    def process(self, io: UnitIO) -> None:
        """Read all scores, summarise, write."""
        book = score_book(io)
        rows = summarise(book, self._seconds(io, book), self.unranked)
        io.write(SUMMARY, Table([asdict(row) for row in rows]))
        footings = [name for name in book.footings if name not in {AS_GIVEN, BY_PATCHES, AUTO, CROSS}]
        place = self.decisive.place
        grid = score_grid(rows, place.field, place.region, self.columns, footings)
        io.write(SUMMARY_CSV, to_csv(rows))
        parts = _parts(stacks_of(io, PARTS_STACK))
        frozen = io.read_optional(BENCHMARK)
        about = self.dataset.about(io.key[SPLIT], set(book.skies or ()), frozen["verdict"] if frozen else None)
        resampled = _resampled(io.read_optional(RESAMPLED), place)
        lines = verdict(book, about, place, self.controls, self.memory_controls, parts, resampled)
        io.write(VERDICT, lines)
        text = f"{markdown(lines)}\n{grid.markdown()}"
        if parts:
            io.write(PARTS_SUMMARY, Table([asdict(row) for row in parts]))
            text += f"\n{PARTS_HEAD}\n\n{part_grid(parts, footings).markdown()}"
        io.write(SUMMARY_MARKDOWN, text)
        io.write(SUMMARY_LATEX, grid.latex())
        io.write(BUNDLE, bundle(book))

    def _seconds(self, io: UnitIO, book: ScoreBook) -> dict[str, tuple[float, float]]:
        """Return how long each method took to train, and for one simulation, as far as that is known."""
        trained = {key[METHOD]: float(found.get("seconds", math.nan)) for key, found in io.read_all(TRAINING)}
        median: dict[str, float] = {}
        for method, stack in book.stacks.items():
            known = [float(seconds) for seconds in stack.facts["inference_seconds"].tolist() if seconds]
            median[method] = float(np.median(known)) if known else math.nan
        return {method: (trained.get(method, math.nan), median[method]) for method in median}


def _resampled(found: Mapping[str, Any] | None, place: Place) -> Resampled | None:
    """Return what pieces of the skies say of one score; None where they say nothing of it."""
    rows = [row for row in (found or {"rows": []})["rows"] if Place(**row["place"]) == place]
    if not found or not rows:
        return None
    ends = [(row, Interval(row["value"], row["low"], row["high"], found["pieces"])) for row in rows]
    means = {row["method"]: interval for row, interval in ends if not row["other"]}
    worse = {(row["method"], row["other"]): interval for row, interval in ends if row["other"]}
    return Resampled(f"{rows[0]['number']} {found['pieces']}", means, worse)


def _parts(stacks: Mapping[str, Stack]) -> list[PartRow]:
    """Average the parts of the errors of I, where they were scored."""
    found = ((method, stack.where(field="I")) for method, stack in stacks.items())
    return part_rows(
        (method, str(of.words["footing"][row]), str(of.words["part"][row]), of.numbers["rms"][:, row])
        for method, of in found
        for row in range(of.n_rows)
    )


def bundle(book: ScoreBook) -> str:
    """Write what another person needs to check every score: the scores to nine digits, and what each map was."""
    methods: dict[str, Any] = {}
    for method, stack in book.stacks.items():
        rows = {name: of.tolist() for name, of in stack.words.items()}
        numbers = {name: [_short(of) for of in stack.numbers[name].T.tolist()] for name in NUMBERS}
        maps = [json.loads(text) if text else None for text in stack.facts["map"].tolist()]
        sky = stack.facts["sky"].tolist()
        methods[method] = {"sims": stack.sims.tolist(), "sky": sky, "maps": maps, "rows": rows, "scores": numbers}
    return json.dumps({"format": "cmbml score bundle 2", "methods": methods}, separators=(",", ":")) + "\n"


def _short(values: list[float]) -> list[float | None] | float | None:
    """Return the score of each simulation to nine digits, or one number where all have the same."""
    short = [float(f"{value:.9g}") if math.isfinite(value) else None for value in values]
    return short[0] if len(set(short)) == 1 else short


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
