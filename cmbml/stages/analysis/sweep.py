"""Collect the runs of a sweep: what differs between them, and how they did."""

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

from cmbml.core.errors import ConfigError, MissingAssetError, nearest
from cmbml.core.executor import Executor
from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.scores import Metric
from cmbml.metrics.summary import Grid, csv_text, plus_minus
from cmbml.settings import flat, settings
from cmbml.stages.assets import METHOD, SPLIT, STATE, SUMMARY, SWEEP_CSV, SWEEP_MARKDOWN, TRAINING

log = logging.getLogger(f"cmbml.{__name__}")

OUTCOMES = {
    "n_parameters": "parameters",
    "kept_epoch": "kept epoch",
    "epochs": "epochs done",
    "valid_loss": "validation loss",
    "valid_rmse_uk": "validation RMSE (µK)",
    "seconds": "training (s)",
}
"""What TRAINING tells of how a training went, in the order of the columns, and what it is called."""
NAMES = ("examples.name",)
"""Settings that say where things are kept, and nothing else."""
Cell = str | float | int | bool | None


@settings
class CollectSweep(Executor):
    """Write a table with a row per method: the settings that differ, how the training went, and scores, if there are.

    Attributes:
        methods: a row each, in this order.
        splits: whose scores are taken, where there are.
        footings: of the scores, of those that there are.
        metrics: of the scores, field I.
        region: of the sky.
    """

    methods: tuple[str, ...]
    splits: tuple[str, ...]
    footings: tuple[str, ...]
    metrics: tuple[str, ...] = ("rmse",)
    region: str = "mask"
    may_read: ClassVar = (TRAINING, STATE, SUMMARY)
    writes: ClassVar = (SWEEP_CSV, SWEEP_MARKDOWN)

    def restricts(self) -> Mapping[Axis, Collection[str]]:
        """Look at the scores of some splits alone."""
        return {SPLIT: self.splits}

    def process(self, io: UnitIO) -> None:
        """Gather, lay out, write, and show."""
        trainings = {key[METHOD]: found for key, found in io.read_all(TRAINING)}
        settings_of = {key[METHOD]: flat(state[1].get("settings", {})) for key, state in io.read_all(STATE)}
        scores = self._scores(io)
        differing = differing_settings(settings_of)
        columns: dict[str, dict[str, Cell]] = {name: differing[name] for name in differing}
        for name, label in OUTCOMES.items():
            columns[label] = {method: _outcome(found, name) for method, found in trainings.items()}
        columns |= scores
        columns = {label: cells for label, cells in columns.items() if any(x is not None for x in cells.values())}
        _require_known(self.methods, columns)
        heads = ["method", *columns]
        lines: list[list[Cell]] = [
            [method, *(cells.get(method) for cells in columns.values())] for method in self.methods
        ]
        io.write(SWEEP_CSV, csv_text(heads, lines))
        texts = [list(map(_text, line)) for line in lines]
        table = Grid(heads, texts, [[False] * len(heads)] * len(lines)).markdown()
        io.write(SWEEP_MARKDOWN, table)
        log.info("%s", table)

    def _scores(self, io: UnitIO) -> dict[str, dict[str, Cell]]:
        """Return column -> method -> mean score.

        Raises:
            ConfigError: there is no such metric.
        """
        columns: dict[str, dict[str, Cell]] = {}
        for key, summary in io.read_all(SUMMARY):
            if unknown := set(self.metrics) - set(summary["metric"].tolist()):
                known = ", ".join(dict.fromkeys(summary["metric"].tolist()))
                message = f"stages.sweep.metrics={', '.join(unknown)}: there is no such metric; there are {known}"
                raise ConfigError(message)
            for footing, name in product(self.footings, self.metrics):
                wanted = {"footing": footing, "field": "I", "region": self.region, "metric": name}
                rows = [row for row in summary if all(str(row[word]) == value for word, value in wanted.items())]
                if rows:
                    metric = Metric(name, str(rows[0]["label"]), str(rows[0]["unit"]), float(rows[0]["best"]))
                    label = metric.axis_label.replace(metric.label, f"{metric.label}, {key[SPLIT]}, {footing}", 1)
                    columns[label] = {str(row["method"]): float(row["mean"]) for row in rows}
        return columns


def differing_settings(settings_of: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Cell]]:
    """Find the settings of trained methods that are not the same for all.

    Args:
        settings_of: method -> its settings, as STATE has them, flat.

    Returns:
        Setting, called by its last part unless two that differ share it -> method -> value.
    """
    names = list(dict.fromkeys(name for mine in settings_of.values() for name in mine))
    differing = [
        name for name in names if name not in NAMES and len({repr(mine.get(name)) for mine in settings_of.values()}) > 1
    ]
    last = [name.rpartition(".")[2] for name in differing]
    labels = [short if last.count(short) == 1 else name for name, short in zip(differing, last, strict=True)]
    return {
        label: {method: _cell(mine.get(name)) for method, mine in settings_of.items()}
        for label, name in zip(labels, differing, strict=True)
    }


def _require_known(methods: Sequence[str], columns: Mapping[str, Mapping[str, Cell]]) -> None:
    """Refuse methods of which nothing is known.

    Raises:
        MissingAssetError: there is neither a training nor a score of one.
    """
    known = {method for cells in columns.values() for method in cells}
    if unknown := [method for method in methods if method not in known]:
        message = (
            f"of {', '.join(unknown)} there is neither a training nor a score; train or compare these first, leave "
            f"them out, or look at the spelling ({nearest(unknown[0], known)})"
        )
        raise MissingAssetError(message)


def _outcome(training: Mapping[str, Any], name: str) -> Cell:
    value = training.get(name)
    return value + 1 if name == "kept_epoch" and value is not None else value


def _cell(value: Any) -> Cell:  # noqa: ANN401
    """Return a setting as one word: lists have their entries beside one another."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(f"{entry:.4g}" if isinstance(entry, float) else str(entry) for entry in value)
    cell: Cell = value
    return cell


def _text(value: Cell) -> str:
    if value is None:
        return "–"
    return plus_minus(value, float("nan")) if isinstance(value, float) else str(value)
