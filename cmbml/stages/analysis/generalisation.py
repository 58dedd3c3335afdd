"""Say how much worse methods are on a sky that they do not know."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import ClassVar

import numpy as np
from astropy.table import Table

from cmbml.core.errors import ConfigError
from cmbml.core.executor import Executor
from cmbml.core.space import Axis, Space
from cmbml.core.unit_io import UnitIO
from cmbml.figures.generalisation import generalisation_figure
from cmbml.metrics.generalisation import compare_skies, other_sky_csv, other_sky_grid
from cmbml.metrics.scores import ScoreBook
from cmbml.settings import later, settings
from cmbml.stages.assets import (
    GENERALISATION,
    GENERALISATION_CSV,
    GENERALISATION_FIGURE,
    GENERALISATION_FIGURE_PDF,
    GENERALISATION_MARKDOWN,
    METHOD,
    SCORE_STACK,
    SPLIT,
)
from cmbml.tables import Stack


@settings
class Generalise(Executor):
    """Compare every method's scores on the splits that are analysed; where there is one only, there is nothing to say.

    Attributes:
        splits: what is analysed.
        reference: the split, of these, that the others are compared with.
        metrics: which; of those whose smaller values are better. The first is drawn.
        left_out: methods that are left out, such as controls that see the truth.
        region: the part of the sky of the table and of the figure.
    """

    splits: tuple[str, ...]
    reference: str
    metrics: tuple[str, ...] = ("rmse", "mae")
    left_out: tuple[str, ...] = ()
    region: str = later("mask")
    reads: ClassVar = (SCORE_STACK,)
    may_write: ClassVar = (
        GENERALISATION,
        GENERALISATION_CSV,
        GENERALISATION_MARKDOWN,
        GENERALISATION_FIGURE,
        GENERALISATION_FIGURE_PDF,
    )

    def restricts(self) -> Mapping[Axis, Collection[str]]:
        """Look at what is analysed alone."""
        return {SPLIT: self.splits}

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether the reference is among what is analysed.

        Raises:
            ConfigError: it is not.
        """
        if len(self.splits) > 1 and self.reference not in self.splits:
            message = (
                f"reference={self.reference}: it is not among the splits that are analysed, {', '.join(self.splits)}; "
                f"add it to over.split, or name one of them: reference={self.splits[0]}"
            )
            raise ConfigError(message)

    def disk_bytes(self) -> int:
        """Tables, and a figure twice."""
        return 200_000 if len(self.splits) > 1 else 0

    def process(self, io: UnitIO) -> None:
        """Read all scores, compare, write."""
        if len(self.splits) < 2:
            return
        stacks: dict[str, dict[str, Stack]] = {split: {} for split in self.splits}
        for key, stack in io.read_all(SCORE_STACK):
            stacks[key[SPLIT]][key[METHOD]] = stack
        methods = list(dict.fromkeys(method for of in stacks.values() for method in of))
        kept = {
            split: ScoreBook({method: stack for method, stack in of.items() if method not in self.left_out})
            for split, of in stacks.items()
        }
        rows = compare_skies(kept, self.reference, self.metrics)
        if not rows:
            return
        footings = kept[self.reference].footings
        table = Table([asdict(row) for row in rows])
        io.write(GENERALISATION, table)
        io.write(GENERALISATION_CSV, other_sky_csv(rows))
        io.write(GENERALISATION_MARKDOWN, other_sky_grid(rows, footings, self.metrics, region=self.region).markdown())
        metric = self.metrics[0]
        figure = generalisation_figure(
            {name: np.asarray(table[name]) for name in table.colnames},
            methods,
            footings,
            metric,
            label=kept[self.reference].metrics[metric].axis_label,
            region=self.region,
        )
        for asset in (GENERALISATION_FIGURE, GENERALISATION_FIGURE_PDF):
            io.write(asset, figure)
