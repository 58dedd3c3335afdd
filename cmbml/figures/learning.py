"""How all methods that learn have learnt."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from cmbml.figures.palette import COLUMN_WIDTH_INCH, LINE_INCH, legend_above, legend_rows, method_styles
from cmbml.figures.results import FigureError
from cmbml.figures.style import SMALL_TEXT_SIZE, TEXT_SIZE
from cmbml.tables import Columns

VALIDATION = (4, 1.5)  # dashes
NARROW = 8.0  # a logarithmic axis that spans less gets the ticks of a linear one


def learning_figure(curves: Mapping[str, Columns], methods: Sequence[str]) -> Figure:
    """Draw the losses and the validation error of every method over its epochs.

    Args:
        curves: method -> `epoch` (from 0), `train_loss`, `valid_loss`, `valid_rmse_uk`: a value per epoch. Losses are
            each method's own, in its own normalisation; the error is in uK_CMB over the whole sky, and NaN of methods
            that have none, as generators: where no method has one, it has no panel.
        methods: of the comparison, in the order of drawing; the place gives the colour.

    Returns:
        The figure, as wide as a journal's column.

    Raises:
        FigureError: no method has learnt.
    """
    if not curves:
        message = "no method has a training curve"
        raise FigureError(message)
    styles = method_styles(methods)
    look: dict[str, Any] = {"color": "black", "linewidth": 1.2}
    handles: list[Artist] = [
        Line2D([], [], label="training", **look),
        Line2D([], [], label="validation", dashes=VALIDATION, **look),
        *(Line2D([], [], color=styles[name].colour, linewidth=3, label=name) for name in methods if name in curves),
    ]
    labels = [str(handle.get_label()) for handle in handles]
    head = 0.38 + LINE_INCH * legend_rows(labels)[1]
    has_errors = any(np.isfinite(curve["valid_rmse_uk"]).any() for curve in curves.values())
    total = head + (3.9 if has_errors else 2.16)
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, total), facecolor="white")
    figure.text(0.5, 1 - 0.14 / total, "Training and validation", ha="center", va="center", fontsize=TEXT_SIZE + 1)
    legend_above(figure, handles, labels, 0.31)
    losses = figure.add_axes((0.21, (2.2 if has_errors else 0.46) / total, 0.76, 1.65 / total))
    errors = figure.add_axes((0.21, 0.46 / total, 0.76, 1.65 / total), sharex=losses) if has_errors else None
    for name in (name for name in methods if name in curves):
        curve, colour = curves[name], styles[name].colour
        epochs = np.asarray(curve["epoch"]) + 1
        drawn: dict[str, Any] = {"color": colour, "linewidth": 1.2, "marker": "." if len(epochs) == 1 else None}
        losses.plot(epochs, curve["train_loss"], **drawn)
        losses.plot(epochs, curve["valid_loss"], dashes=VALIDATION, **drawn)
        best, marked, shown = int(np.argmin(curve["valid_loss"])), losses, curve["valid_loss"]
        if errors is not None:
            marked, shown = errors, curve["valid_rmse_uk"]
            errors.plot(epochs, shown, dashes=VALIDATION, **drawn)
        marked.plot(epochs[best], shown[best], styles[name].marker, color=colour, markersize=4.5)
    losses.set_ylabel("loss (normalised)", fontsize=TEXT_SIZE)
    lowest = losses if errors is None else errors
    if errors is not None:
        errors.set_ylabel("RMSE, validation,\nwhole sky [µK]", fontsize=TEXT_SIZE)
        losses.tick_params(labelbottom=False)
    lowest.set_xlabel("epoch (markers: least validation loss)", fontsize=TEXT_SIZE)
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in figure.axes:
        axes.set_yscale("log")
        _plain_ticks(axes)
        axes.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in", top=True, right=True)
        axes.grid(color="0.93", linewidth=0.6)
    return figure


def _plain_ticks(axes: Axes) -> None:
    """Write the ticks of a logarithmic axis as short numbers: powers, as `6 x 10^1`, push the label off the page."""
    low, high = axes.get_ylim()
    few = high < NARROW * low
    axes.yaxis.set_major_locator(MaxNLocator(4) if few else LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
