"""What the errors of methods are made of, multipole by multipole."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbml.figures.palette import COLUMN_WIDTH_INCH, LINE_INCH, legend_above, legend_rows
from cmbml.figures.results import FigureError, Values
from cmbml.figures.style import SMALL_TEXT_SIZE, TEXT_SIZE, UNIT_LABELS

WHOLE = "residual"
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#8B4513")
DASHES = ("-", "--", ":", "-.", (0, (3, 1, 1, 1)))
MOST_DECADES = 6.0  # that the axis of D_l spans


def parts_figure(spectra: Mapping[str, tuple[Values, Mapping[str, Values]]], *, simulations: int) -> Figure:
    """Draw the spectra of the parts of each method's error, and that of the whole error.

    Parts may be correlated, so that their spectra need not add up to that of the whole. A bin in which a spectrum, once
    decoupled from the mask, is not positive is left out.

    Args:
        spectra: method -> multipoles `(n_bin,)`, and part (and `residual`) -> mean D_l `(n_bin,)`, uK_CMB^2.
        simulations: how many were averaged.

    Returns:
        The figure, as wide as a journal's column: two methods in a row, on the same axes.

    Raises:
        FigureError: no method has parts.
    """
    if not spectra:
        message = "no method has parts of its error to draw"
        raise FigureError(message)
    names = list(dict.fromkeys(name for _, of in spectra.values() for name in of if name != WHOLE))
    looks: dict[str, dict[str, Any]] = {
        name: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]} for i, name in enumerate(names)
    }
    looks = {name: look | {"linewidth": 1.2} for name, look in looks.items()}
    # Wide and pale, below the others: where one part makes the error, both can be seen.
    looks[WHOLE] = {"color": "0.7", "linestyle": "-", "linewidth": 3.5, "zorder": 1}
    labels = [*(name.replace("_", " ") for name in names), "whole error"]
    columns = min(2, len(spectra))
    rows = -(-len(spectra) // columns)
    head, step, foot = 0.36 + LINE_INCH * legend_rows(labels)[1], 1.95, 0.42
    total = head + rows * step + foot
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, total), facecolor="white")
    title = f"Parts of the error, I: mean over {simulations} simulation{'s' * (simulations != 1)}"
    figure.text(0.5, 1 - 0.14 / total, title, ha="center", va="center", fontsize=TEXT_SIZE + 1)
    first = None
    for place, (method, (ell, of)) in enumerate(spectra.items()):
        row, column = divmod(place, columns)
        width = 0.82 / columns
        box = (0.15 + column * width, (foot + (rows - 1 - row) * step) / total, width - 0.02, (step - 0.25) / total)
        axes = figure.add_axes(box, sharex=first, sharey=first)
        first = first or axes
        for name in (*names, WHOLE):
            if name in of:
                axes.plot(ell, np.where(of[name] > 0, of[name], np.nan), **looks[name])
        axes.set_title(method, fontsize=SMALL_TEXT_SIZE, pad=3)
        axes.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in", top=True, right=True)
        axes.tick_params(labelleft=column == 0, labelbottom=place + columns >= len(spectra), which="both")
        axes.grid(color="0.93", linewidth=0.6)
        if column == 0:
            axes.set_ylabel(rf"$\mathcal{{D}}_\ell$  [{UNIT_LABELS['uK_CMB^2']}]", fontsize=TEXT_SIZE)
        if place + columns >= len(spectra):
            axes.set_xlabel(r"multipole $\ell$", fontsize=TEXT_SIZE)
    figure.axes[0].set_yscale("log")
    drawn = np.concatenate([values for _, of in spectra.values() for values in of.values()])
    if (drawn > 0).any():
        low, high = float(drawn[drawn > 0].min()), float(drawn.max())
        figure.axes[0].set_ylim(0.6 * max(low, high * 10**-MOST_DECADES), 1.7 * high)
    handles = [figure.axes[0].plot([], [], **looks[name])[0] for name in (*names, WHOLE)]
    legend_above(figure, handles, labels, 0.29)
    return figure
