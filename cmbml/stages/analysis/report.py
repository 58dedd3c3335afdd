"""Write one page on a comparison."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import yaml
from astropy.table import Table
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.manifest import versions
from cmbml.core.unit_io import UnitIO
from cmbml.figures.report import ReportData, render_report
from cmbml.figures.report.inserts import joined
from cmbml.figures.results import OUTLIER_Z, PredictionMaps, Stacks, TextTable, TrainingRun, robust_z
from cmbml.metrics.footing import Footing
from cmbml.metrics.parameters import bias_grid
from cmbml.metrics.scores import ScoreBook
from cmbml.metrics.uncertainty import TABLE_HEADS, covered, error_bar_lines, error_bar_rows
from cmbml.metrics.verdict import PartRow, intervals_note, part_grid
from cmbml.settings import PositiveFloat, settings
from cmbml.stages.analysis.figures import prediction_maps, theory_band
from cmbml.stages.analysis.judges import stacks_of
from cmbml.stages.analysis.metrics import spec_of
from cmbml.stages.analysis.summary import Decisive
from cmbml.stages.analysis.training import training_curves
from cmbml.stages.assets import (
    CMB_ALM,
    GENERALISATION,
    MASK,
    METHOD,
    PAGE_PARTS,
    PAGE_PICTURES,
    PARTS_PICTURE,
    PARTS_SUMMARY,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    RECOVERED_PAGE,
    REPORT,
    SCORE_STACK,
    SIM,
    SPECTRA_STACK,
    SPLIT,
    SUMMARY,
    THEORY_BAND,
    TRAINING,
    TRAINING_CURVE,
    VERDICT,
)
from cmbml.stages.maps import Maps
from cmbml.tables import Columns


@settings
class WriteReport(Executor):
    """Put scores, spectra, maps, configuration and provenance of all methods on one page.

    Attributes:
        footing: of the maps in the gallery.
        maps: what the maps of the dataset are.
        limit_uk: end of their colour scale.
        gallery: how many simulations the gallery shows, beside outliers.
        decisive: the score that is shown first.
        controls: methods that are set apart.
        memory_controls: the same, of those that only remember their training.
        dataset: its name.
        configuration: what the page says of the dataset.
    """

    footing: Footing
    maps: Maps
    limit_uk: PositiveFloat
    gallery: PositiveInt
    decisive: Decisive
    controls: tuple[str, ...]
    memory_controls: tuple[str, ...]
    dataset: str
    configuration: Mapping[str, Any]
    reads: ClassVar = (SUMMARY, VERDICT, SCORE_STACK)
    may_read: ClassVar = (
        SPECTRA_STACK,
        THEORY_BAND,
        PREDICTION_ALM,
        PREDICTION_SPEC,
        CMB_ALM,
        MASK,
        GENERALISATION,
        PARTS_PICTURE,
        PARTS_SUMMARY,
        TRAINING,
        TRAINING_CURVE,
        PAGE_PICTURES,
        PAGE_PARTS,
        RECOVERED_PAGE,
    )
    writes: ClassVar = (REPORT,)
    per: ClassVar = (SPLIT,)
    tells: ClassVar[bool] = True

    def disk_bytes(self) -> int:
        """Mostly the script that draws, and a picture per method."""
        return 8_000_000

    def process(self, io: UnitIO) -> None:
        """Gather, render, write."""
        scores = stacks_of(io, SCORE_STACK)
        methods, book = list(scores), ScoreBook(scores)
        summary = io.read(SUMMARY)
        theories = io.read_optional(THEORY_BAND)
        band = None if theories is None else theory_band(theories)
        said: dict[str, Any] = io.read(VERDICT)
        pictures, sections = joined(io.read_optional(asset) for asset in (PAGE_PICTURES, PAGE_PARTS, RECOVERED_PAGE))
        data = ReportData(
            title=f"{self.dataset}: {len(methods)} methods on split {io.key[SPLIT]}",
            methods=methods,
            summary=_columns(summary),
            scores=scores,
            verdict=said,
            parts=parts_table(io.read_optional(PARTS_SUMMARY), book.footings),
            parts_pictures=joined([io.read_optional(PARTS_PICTURE)])[0],
            error_bars=error_bars_of(book),
            parameters=parameters_of(book),
            intervals=intervals_note(dict(zip(book.sims, book.skies or [""] * len(book.sims), strict=True))),
            spectra=stacks_of(io, SPECTRA_STACK),
            bands={} if band is None else {"TT": band},
            generalisation=_columns(io.read_optional(GENERALISATION)),
            training=_training_runs(io),
            pictures=pictures,
            sections=sections,
            maps=self._maps(io, self._shown(scores, book)),
            metric_labels={name: metric.heading for name, metric in book.metrics.items()},
            configuration=yaml.safe_dump(dict(self.configuration), sort_keys=False),
            provenance=versions(),
            commands=commands_for(methods, io.history),
            controls=(*self.controls, *self.memory_controls),
            limit=self.limit_uk,
            decisive=asdict(self.decisive),
        )
        io.write(REPORT, render_report(data))

    def _shown(self, scores: Stacks, book: ScoreBook) -> list[str]:
        """Return the simulations of the gallery: the first few, and one that is an outlier for each method."""
        shown = dict.fromkeys(book.sims[: self.gallery])
        for stack in scores.values():
            errors = stack.where(**asdict(self.decisive)).numbers["value"]
            far = np.nan_to_num(np.abs(robust_z(errors[:, 0]))) if errors.shape[1] else np.zeros(0)
            if far.max(initial=0) > OUTLIER_Z:
                shown[str(stack.sims[far.argmax()])] = None
        return list(shown)

    def _maps(self, io: UnitIO, sims: list[str]) -> list[PredictionMaps]:
        """Return what the gallery shows; nothing where answers are no full-sky maps."""
        only = {SIM: sims}
        mask = io.read_optional(MASK)
        truths = {key[SIM]: alm for key, alm in io.read_all(CMB_ALM, only)}
        specs = dict(io.read_all(PREDICTION_SPEC, only))
        return [
            prediction_maps(
                (key[METHOD], key[SIM]),
                (alm, truths[key[SIM]]),
                spec_of(specs[key]),
                mask.values[0],
                self.footing,
                self.maps.nside,
                self.maps.pixel_windows,
                io.threads,
            )
            for key, alm in io.read_all(PREDICTION_ALM, only)
            if mask is not None
        ]


def commands_for(methods: Sequence[str], history: Sequence[str]) -> list[str]:
    """Return the commands that make a page again; the order in which methods were listed plays no part.

    Example:
        >>> commands_for(["a", "b"], ["python main_analysis.py system.root=ROOT dataset=demo methods=[b,a]"])
        ["python main_analysis.py system.root=ROOT dataset=demo 'methods=[a,b]'"]
    """
    listed = f"methods=[{','.join(methods)}]"
    lines = [shlex.split(command) for command in history]
    return [shlex.join([listed if word.startswith("methods=") else word for word in words]) for words in lines]


def _columns(table: Table | None) -> Columns:
    return {} if table is None else {name: np.asarray(table[name]) for name in table.colnames}


def parts_table(table: Table | None, footings: list[str]) -> TextTable | None:
    """Lay out the parts of the errors, where they were scored."""
    if table is None:
        return None
    rows = [PartRow(**{name: row[name] for name in table.colnames}) for row in table]
    grid = part_grid(rows, footings)
    return TextTable(heads=grid.heads, lines=grid.lines, marked=grid.best)


def parameters_of(book: ScoreBook) -> TextTable | None:
    """Lay out what the errors of spectra do to cosmological parameters, where that was scored."""
    heads, lines, marked = bias_grid(book)
    return TextTable(heads=heads, lines=lines, marked=marked) if lines else None


def error_bars_of(book: ScoreBook) -> TextTable | None:
    """Lay out how good error bars are, of methods that tell them; coverages that are right stand out."""
    rows = error_bar_rows(book)
    if not rows:
        return None
    lines = error_bar_lines(rows)
    right = [{3: covered(row, "coverage68"), 4: covered(row, "coverage95")} for row in rows]
    marked = [[of.get(i, False) for i in range(len(line))] for line, of in zip(lines, right, strict=True)]
    return TextTable(heads=TABLE_HEADS, lines=lines, marked=marked)


def _training_runs(io: UnitIO) -> list[TrainingRun]:
    """Read how the methods that learn have learnt."""
    curves = training_curves(io)
    return [
        TrainingRun(
            method=key[METHOD],
            curve=curves[key[METHOD]],
            kept_epoch=int(found["kept_epoch"]),
            facts=dict(found) | {"samples": found["method"]["samples"]},
        )
        for key, found in io.read_all(TRAINING)
        if key[METHOD] in curves
    ]
