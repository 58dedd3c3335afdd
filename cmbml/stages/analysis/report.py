"""Write one page on a comparison."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import yaml
from astropy.table import Table
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.report import ReportData, render_report
from cmbml.figures.results import (
    OUTLIER_Z,
    Columns,
    PredictionMaps,
    SimulationTable,
    TextTable,
    TrainingRun,
    robust_z,
    words,
)
from cmbml.metrics.footing import Footing
from cmbml.metrics.summary import METRICS
from cmbml.metrics.verdict import PartRow, intervals_note, part_grid
from cmbml.settings import PositiveFloat, settings
from cmbml.stages.analysis.figures import prediction_maps, simulation_tables, theory_band
from cmbml.stages.analysis.metrics import spec_of
from cmbml.stages.analysis.training import training_curves
from cmbml.stages.assets import (
    CMB_ALM,
    GENERALISATION,
    MASK,
    METHOD,
    PARTS_SUMMARY,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    REPORT,
    SCORES,
    SIM,
    SPECTRA_SCORES,
    SPLIT,
    SUMMARY,
    THEORY_BAND,
    TRAINING,
    TRAINING_CURVE,
    VERDICT,
)
from cmbml.stages.maps import Maps

PACKAGES = ("cmbml", "numpy", "ducc0", "healpy", "astropy", "camb", "pysm3")


@settings
class WriteReport(Executor):
    """Put scores, spectra, maps, configuration and provenance of all methods on one page.

    Attributes:
        footing: of the maps in the gallery.
        maps: what the maps of the dataset are.
        limit_uk: end of their colour scale.
        gallery: how many simulations the gallery shows, beside outliers.
        dataset: its name.
        configuration: what the page says of the dataset.
    """

    footing: Footing
    maps: Maps
    limit_uk: PositiveFloat
    gallery: PositiveInt
    dataset: str
    configuration: Mapping[str, Any]
    reads: ClassVar = (
        SUMMARY,
        VERDICT,
        SCORES,
        SPECTRA_SCORES,
        THEORY_BAND,
        PREDICTION_ALM,
        PREDICTION_SPEC,
        CMB_ALM,
        MASK,
    )
    may_read: ClassVar = (GENERALISATION, PARTS_SUMMARY, TRAINING, TRAINING_CURVE)
    writes: ClassVar = (REPORT,)
    per: ClassVar = (SPLIT,)

    def disk_bytes(self) -> int:
        """Mostly the script that draws, and a picture per method."""
        return 8_000_000

    def process(self, io: UnitIO) -> None:
        """Gather, render, write."""
        scores = simulation_tables(io, SCORES)
        methods = list(dict.fromkeys(table.method for table in scores))
        summary = io.read(SUMMARY)
        band = theory_band(io.read(THEORY_BAND))
        data = ReportData(
            title=f"{self.dataset}: {len(methods)} methods on split {io.key[SPLIT]}",
            methods=methods,
            summary=_columns(summary),
            scores=scores,
            verdict=io.read(VERDICT),
            parts=parts_table(io.read_optional(PARTS_SUMMARY), words(scores, "footing")),
            intervals=intervals_note({table.simulation: str(table.columns["sky"][0]) for table in scores}),
            spectra=simulation_tables(io, SPECTRA_SCORES),
            bands={} if band is None else {"TT": band},
            generalisation=_columns(io.read_optional(GENERALISATION)),
            training=_training_runs(io),
            maps=self._maps(io, self._shown(scores)),
            metric_labels={name: metric.heading() for name, metric in METRICS.items()},
            configuration=yaml.safe_dump(dict(self.configuration), sort_keys=False),
            provenance={name: version(name) for name in PACKAGES},
            commands=[
                *(f"python main_clean.py dataset={self.dataset} method={method}" for method in methods),
                f"python main_analysis.py dataset={self.dataset} methods=[{','.join(methods)}]{self._splits}",
            ],
            limit=self.limit_uk,
        )
        io.write(REPORT, render_report(data))

    @property
    def _splits(self) -> str:
        """What to add to the command that makes the page, where it is not the only one."""
        splits = self.over.get("split", [])
        return f" over.split=[{','.join(map(str, splits))}]" if len(splits) > 1 else ""

    def _shown(self, scores: list[SimulationTable]) -> list[str]:
        """Return the simulations of the gallery: the first few, and one that is an outlier for each method."""
        sims = sorted({table.simulation for table in scores})
        shown = dict.fromkeys(sims[: self.gallery])
        for method in dict.fromkeys(table.method for table in scores):
            own = [table for table in scores if table.method == method]
            errors = [table.where(footing=self.footing.name, field="I", region="mask")["rmse"][0] for table in own]
            far = np.nan_to_num(np.abs(robust_z(np.array(errors))))
            if far.max(initial=0) > OUTLIER_Z:
                shown[own[int(far.argmax())].simulation] = None
        return list(shown)

    def _maps(self, io: UnitIO, sims: list[str]) -> list[PredictionMaps]:
        only = {SIM: sims}
        mask = io.read(MASK).values[0]
        truths = {key[SIM]: alm for key, alm in io.read_all(CMB_ALM, only)}
        specs = dict(io.read_all(PREDICTION_SPEC, only))
        return [
            prediction_maps(
                (key[METHOD], key[SIM]),
                (alm, truths[key[SIM]]),
                spec_of(specs[key]),
                mask,
                self.footing,
                self.maps.nside,
                self.maps.pixel_windows,
                io.threads,
            )
            for key, alm in io.read_all(PREDICTION_ALM, only)
        ]


def _columns(table: Table | None) -> Columns:
    return {} if table is None else {name: np.asarray(table[name]) for name in table.colnames}


def parts_table(table: Table | None, footings: list[str]) -> TextTable | None:
    """Lay out the parts of the errors, where they were scored."""
    if table is None:
        return None
    rows = [PartRow(**{name: row[name] for name in table.colnames}) for row in table]
    grid = part_grid(rows, footings)
    return TextTable(heads=grid.heads, lines=grid.lines, marked=grid.best)


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
