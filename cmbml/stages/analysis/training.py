"""Show how the methods that learn have learnt."""

from typing import ClassVar

import numpy as np

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.learning import learning_figure
from cmbml.settings import settings
from cmbml.stages.assets import LEARNING_FIGURE, LEARNING_FIGURE_PDF, METHOD, TRAINING_CURVE
from cmbml.tables import Columns


@settings
class DrawLearning(Executor):
    """Draw the curves of all methods that have learnt; where none has, there is nothing to draw.

    Attributes:
        methods: of the comparison; the place gives the colour.
    """

    methods: tuple[str, ...]
    may_read: ClassVar = (TRAINING_CURVE,)
    may_write: ClassVar = (LEARNING_FIGURE, LEARNING_FIGURE_PDF)

    def process(self, io: UnitIO) -> None:
        """Read the curves, draw, write."""
        if curves := training_curves(io):
            figure = learning_figure(curves, self.methods)
            for asset in (LEARNING_FIGURE, LEARNING_FIGURE_PDF):
                io.write(asset, figure)


def training_curves(io: UnitIO) -> dict[str, Columns]:
    """Read the curve of every method that has learnt."""
    return {
        key[METHOD]: {name: np.asarray(curve[name]) for name in curve.colnames}
        for key, curve in io.read_all(TRAINING_CURVE)
    }
