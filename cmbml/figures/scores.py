"""How scores are distributed over simulations, per method and footing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cmbml.figures.footing_panels import footing_panels, is_wide
from cmbml.figures.palette import Dashes, method_styles
from cmbml.figures.results import FigureError, SimulationTable, Values, over_simulations, words

FLOORS = {"mae": "floor_mae", "rmse": "floor_rmse", "nrmse": "floor_nrmse", "psnr_truth": "floor_psnr_truth"}
NOISE_FLOORS = {"rmse": "noise_rmse"}
ROW_INCH = 0.2
MANY = 30  # points of one method, from which they are drawn faint
LABEL: dict[str, Any] = {"fontsize": 7, "zorder": 6, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
FLOOR_LABEL, NOISE_LABEL = "perfect map (floor)", "noise alone"


def distributions_figure(
    tables: Sequence[SimulationTable],
    methods: Sequence[str],
    metric: str,
    *,
    label: str = "",
    field: str = "I",
    region: str = "mask",
) -> Figure:
    """Draw a box and every simulation's point for each method, one panel per footing, with floors as lines.

    Args:
        tables: scores of single simulations.
        methods: in the order of drawing; the place gives the colour.
        metric: a column of the tables.
        label: of the axis, with its unit; by default the name of the metric.
        field: `I`, `Q` or `U`.
        region: part of the sky.

    Returns:
        The figure, as wide as a journal's column; its height grows with methods and footings.

    Raises:
        FigureError: no method has a value there.
    """
    panels = {}
    for footing in words(tables, "footing"):
        rows = {m: over_simulations(tables, m, footing=footing, field=field, region=region) for m in methods}
        rows = {m: r for m, r in rows.items() if r and not np.isnan(r[metric]).all()}
        if any(np.isfinite(r[metric]).any() for r in rows.values()):
            panels[footing] = rows
    if not panels:
        message = f"no finite {metric} of field {field} in region {region}; fields: {words(tables, 'field')}, "
        raise FigureError(message + f"regions: {words(tables, 'region')}")
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=1.6, label=text)
        for text, _, colour, dashes in _floor_marks(metric)
    ]
    title, names = f"{label or metric}, {field}, {region}", {footing: list(rows) for footing, rows in panels.items()}
    figure, axes = footing_panels(names, handles, title=title, label=label or metric, row_inch=ROW_INCH)
    for footing, rows in panels.items():
        _draw_panel(axes[footing], rows, methods, metric)
    if is_wide(np.concatenate([r[metric].ravel() for rows in panels.values() for r in rows.values()])):
        figure.axes[0].set_xscale("log")
    return figure


def _floor_marks(metric: str) -> list[tuple[str, str, str, Dashes]]:
    """Return label, column, colour and dashes of each floor that the metric has."""
    marks: list[tuple[str, str, str, Dashes]] = []
    if metric in FLOORS:
        marks.append((FLOOR_LABEL, FLOORS[metric], "black", "-"))
    if metric in NOISE_FLOORS:
        marks.append((NOISE_LABEL, NOISE_FLOORS[metric], "0.45", "--"))
    return marks


def _draw_panel(axes: Axes, rows: dict[str, dict[str, Values]], methods: Sequence[str], metric: str) -> None:
    """Draw the lines of one footing."""
    styles = method_styles(methods)
    for place, (method, columns) in enumerate(rows.items()):
        colour = styles[method].colour
        values = columns[metric].ravel()
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
        for _, column, shade, dashes in _floor_marks(metric):
            floor = columns[column][np.isfinite(columns[column])]
            if floor.size:
                axes.plot(
                    [floor.mean()] * 2, [place - 0.44, place + 0.44], dashes, color=shade, linewidth=1.6, zorder=5
                )
