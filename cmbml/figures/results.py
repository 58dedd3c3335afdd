"""What figures and reports are given: tables of single simulations, theory, and maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.tables import Columns, Stack

Values = NDArray[np.floating[Any]]

OUTLIER_Z = 3.5
"""Robust z beyond which a score is called an outlier (Iglewicz & Hoaglin 1993)."""
FEWEST_FOR_OUTLIERS = 5
"""Below this number of simulations, the median deviation says too little to call anything an outlier."""


class FigureError(ValueError):
    """What was to be drawn is not there, or does not fit together."""


Stacks = Mapping[str, Stack]
"""Method -> its scores, or its spectra, of all simulations."""


@dataclass(frozen=True, kw_only=True)
class TheoryBand:
    """Theory spectra over the cosmologies of the training set.

    Attributes:
        ell: `(n,)`, multipoles.
        mean: `(n,)`, uK_CMB^2: mean of D_l.
        std: `(n,)`, uK_CMB^2: standard deviation of D_l.
    """

    ell: Values
    mean: Values
    std: Values


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """How one method has learnt.

    Attributes:
        method: name of the method.
        curve: `epoch` (from 0), `train_loss`, `valid_loss`, `valid_rmse_uk`: a value per epoch.
        kept_epoch: the epoch, from 0, whose weights were kept.
        facts: what there is of `n_parameters`, `simulations`, `epochs`, `valid_rmse_uk`, `device`, `seconds`,
            `maps_per_second` and `waiting_for_data`, a share of the seconds.
    """

    method: str
    curve: Columns
    kept_epoch: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table that is shown as it is.

    Attributes:
        heads: of the columns; the first two name a line.
        lines: the cells' texts.
        marked: the cells that stand out.
    """

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    marked: Sequence[Sequence[bool]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table with a heading, for a page or for a file that is to be read.

    Attributes:
        title: the heading.
        note: what must be known to read it.
        table: the table.
        words: how many of its columns, from the first, name a line.
    """

    title: str
    note: str
    table: TextTable
    words: int = 1

    @classmethod
    def plain(
        cls, title: str, note: str, heads: Sequence[str], lines: Sequence[Sequence[str]], words: int = 1
    ) -> "Section":
        """Return one in which no cell stands out."""
        marked = [[False] * len(line) for line in lines]
        return cls(title=title, note=note, table=TextTable(heads=heads, lines=lines, marked=marked), words=words)

    def markdown(self) -> str:
        """Write it as Markdown."""
        rows = [self.table.heads, ["---"] * len(self.table.heads)]
        for line, marked in zip(self.table.lines, self.table.marked, strict=True):
            rows.append([f"**{text}**" if stands_out else text for text, stands_out in zip(line, marked, strict=True)])
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        return f"# {self.title}\n\n{table}\n\n{self.note}\n"


@dataclass(frozen=True, kw_only=True)
class PredictionMaps:
    """What a method gave for one simulation beside the truth, on one footing.

    Attributes:
        method: name of the method.
        simulation: name of the simulation.
        footing: name of the footing.
        truth: `(n_pix,)`, RING order.
        prediction: the same.
        mask: `(n_pix,)`: 1 keep, 0 leave out.
        field: `I`, `Q` or `U`.
        unit: of the maps.
    """

    method: str
    simulation: str
    footing: str
    truth: Values
    prediction: Values
    mask: Values
    field: str = "I"
    unit: str = "uK_CMB"

    def __post_init__(self) -> None:
        """Refuse maps that do not fit together, and masks that keep nothing."""
        sizes = {"truth": self.truth.shape, "prediction": self.prediction.shape, "mask": self.mask.shape}
        what = f"maps of {self.method}, {self.simulation}"
        if len(set(sizes.values())) > 1 or self.truth.ndim != 1:
            message = f"{what}: truth, prediction and mask must each be (n_pix,), but are {sizes}"
            raise FigureError(message)
        if not self.kept.any():
            message = f"{what}: the mask keeps no pixel, so there is no error to draw; choose another mask"
            raise FigureError(message)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Pixels that count."""
        kept: NDArray[np.bool_] = self.mask > 0.5
        return kept

    @property
    def difference(self) -> Values:
        """Prediction minus truth, `(n_pix,)`."""
        difference: Values = self.prediction - self.truth
        return difference


def mean_and_spread(values: Values) -> tuple[Values, Values]:
    """Return mean and standard deviation (ddof 1) over simulations; the latter is NaN for a single one.

    Args:
        values: `(n_sim, ...)`.
    """
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), spread


def robust_z(values: Values) -> NDArray[np.float64]:
    """Return how far each value is from the median, in units of the scaled median absolute deviation.

    Args:
        values: `(n_sim,)`; values that are not finite get NaN.

    Returns:
        `(n_sim,)`; zeros where there are too few values, or all are alike.

    Example:
        >>> robust_z(np.array([1.0, 2.0, 3.0, 4.0, 50.0])).round(1).tolist()
        [-1.3, -0.7, 0.0, 0.7, 31.7]
    """
    values = np.asarray(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if len(finite) < FEWEST_FOR_OUTLIERS:
        return np.where(np.isfinite(values), 0.0, np.nan)
    middle = np.median(finite)
    deviation = np.median(np.abs(finite - middle))
    if deviation == 0:
        return np.where(np.isfinite(values), 0.0, np.nan)
    z: NDArray[np.float64] = 0.6745 * (values - middle) / deviation
    return z
