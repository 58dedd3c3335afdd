"""How scores are distributed over simulations, per method and footing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cmbml.figures.footing_panels import footing_panels, is_wide
from cmbml.figures.palette import Dashes, method_styles
from cmbml.figures.results import FigureError, Stacks, Values
from cmbml.tables import different

ROW_INCH = 0.2
MANY = 30  # points of one method, from which they are drawn faint
LABEL: dict[str, Any] = {"fontsize": 7, "zorder": 6, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
FLOORS: tuple[tuple[str, str, str, Dashes], ...] = (
    ("perfect map (floor)", "floor", "black", "-"),
    ("noise alone", "noise_floor", "0.45", "--"),
)
"""Label, column, colour and dashes of each floor."""


def distributions_figure(
    scores: Stacks,
    methods: Sequence[str],
    metric: str,
    *,
    label: str = "",
    field: str = "I",
    region: str = "mask",
) -> Figure:
    """Draw a box and every simulation's point for each method, one panel per footing, with floors as lines.

    Args:
        scores: of all simulations.
        methods: in the order of drawing; the place gives the colour.
        metric: which.
        label: of the axis, with its unit; by default the name of the metric.
        field: `I`, `Q` or `U`.
        region: part of the sky.

    Returns:
        The figure, as wide as a journal's column; its height grows with methods and footings.

    Raises:
        FigureError: no method has a value there.
    """
    panels = {}
    for footing in different(scores.values(), "footing"):
        wanted = {"footing": footing, "field": field, "region": region, "metric": metric}
        stacks = {m: scores[m].where(**wanted) for m in methods if m in scores}
        rows = {m: stack.numbers for m, stack in stacks.items() if not np.isnan(stack.numbers["value"]).all()}
        if any(np.isfinite(row["value"]).any() for row in rows.values()):
            panels[footing] = rows
    if not panels:
        message = (
            f"no finite {metric} of field {field} in region {region}; fields: {different(scores.values(), 'field')}, "
        )
        raise FigureError(message + f"regions: {different(scores.values(), 'region')}")
    shown = [row for rows in panels.values() for row in rows.values()]
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=1.6, label=text)
        for text, column, colour, dashes in FLOORS
        if any(np.isfinite(row[column]).any() for row in shown)
    ]
    title, names = f"{label or metric}, {field}, {region}", {footing: list(rows) for footing, rows in panels.items()}
    figure, axes = footing_panels(names, handles, title=title, label=label or metric, row_inch=ROW_INCH)
    for footing, rows in panels.items():
        _draw_panel(axes[footing], rows, methods)
    if is_wide(np.concatenate([row["value"].ravel() for row in shown])):
        figure.axes[0].set_xscale("log")
    return figure


def _draw_panel(axes: Axes, rows: Mapping[str, Mapping[str, Values]], methods: Sequence[str]) -> None:
    """Draw the lines of one footing."""
    styles = method_styles(methods)
    for place, (method, columns) in enumerate(rows.items()):
        colour = styles[method].colour
        values = columns["value"].ravel()
        infinite = int(np.isinf(values).sum())
        if infinite:
            text = f"infinite in {infinite} of {values.size}"
            axes.text(0.99, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", **LABEL)
        values = values[np.isfinite(values)]
        box = axes.boxplot(
            values,
            positions=[place],
            orientation="horizontal",
            widths=0.62,
            patch_artist=True,
            showfliers=False,
            manage_ticks=False,
        )
        box["boxes"][0].set(facecolor=colour, alpha=0.3, edgecolor=colour)
        for line in (*box["medians"], *box["whiskers"], *box["caps"]):
            line.set(color=colour, linewidth=1.1)
        # Points are set apart vertically in a fixed pattern: chance would change the file's bytes.
        apart = 0.11 * ((2 * np.arange(values.size)) % 5 - 2)
        faint = 0.6 if values.size > MANY else 1.0
        axes.plot(
            values, place + apart, styles[method].marker, color=colour, markersize=2.6, alpha=faint, mew=0, zorder=4
        )
        for _, column, shade, dashes in FLOORS:
            floor = columns[column][np.isfinite(columns[column])]
            if floor.size:
                axes.plot(
                    [floor.mean()] * 2, [place - 0.44, place + 0.44], dashes, color=shade, linewidth=1.6, zorder=5
                )
