"""How much worse methods are on a sky that they do not know, per footing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cmbml.figures.footing_panels import footing_panels, is_wide
from cmbml.figures.palette import method_styles
from cmbml.figures.results import FigureError
from cmbml.figures.style import SMALL_TEXT_SIZE
from cmbml.tables import Columns

ROW_INCH = 0.24
RATIO_INCH = 1.03  # beside the panels, for the ratio to one other split
OPEN_MARKERS = "sD^v"


def generalisation_figure(
    table: Columns,
    methods: Sequence[str],
    footings: Sequence[str],
    metric: str,
    *,
    label: str = "",
    field: str = "I",
    region: str = "mask",
) -> Figure:
    """Draw, for each method, its mean score on the known sky and on others, and say their ratio; a panel per footing.

    Args:
        table: a row per method, footing, field, region, metric and other split, with the columns `reference`, `mean`,
            `ratio`, `ratio_low` and `ratio_high`.
        methods: of the comparison, in the order of drawing; the place gives the colour.
        footings: in the order of drawing.
        metric: which.
        label: of the axis, with its unit; by default the name of the metric.
        field: `I`, `Q` or `U`.
        region: part of the sky.

    Returns:
        The figure, as wide as a journal's column, or wider for long names; its height grows with methods and footings.

    Raises:
        FigureError: there is no such row.
    """
    rows = {name: np.asarray(column) for name, column in table.items()}
    kept = (rows["metric"] == metric) & (rows["field"] == field) & (rows["region"] == region)
    rows = {name: column[kept] for name, column in rows.items()}
    shown = {name: [m for m in methods if m in set(rows["method"][rows["footing"] == name])] for name in footings}
    shown = {name: found for name, found in shown.items() if found}
    if not shown:
        message = f"no {metric} of field {field} in region {region} on two skies"
        raise FigureError(message)
    splits = list(dict.fromkeys(rows["split"].tolist()))
    figure, panels = footing_panels(
        shown,
        _handles(str(rows["reference_split"][0]), splits),
        title=f"{label or metric}, {field}, {region}: on another sky",
        label=label or metric,
        row_inch=ROW_INCH,
        right_inch=RATIO_INCH * len(splits),
    )
    for footing, axes in panels.items():
        here = rows["footing"] == footing
        _draw_panel(axes, {name: column[here] for name, column in rows.items()}, shown[footing], methods, splits)
    first = next(iter(panels.values()))
    first.text(1.03, 1, "ratio [95 %]", transform=first.transAxes, fontsize=SMALL_TEXT_SIZE, va="bottom")
    values = np.concatenate([rows["reference"], rows["mean"]]).astype(float)
    if is_wide(values):
        first.set_xscale("log")
    else:
        first.set_xlim(0, 1.06 * values.max())
    return figure


def _handles(reference: str, splits: Sequence[str]) -> list[Artist]:
    look: dict[str, Any] = {"color": "black", "linestyle": "none", "markersize": 5}
    known = Line2D([], [], marker="o", label=f"{reference}: the known sky", **look)
    others = [
        Line2D([], [], marker=OPEN_MARKERS[i % len(OPEN_MARKERS)], markerfacecolor="white", label=split, **look)
        for i, split in enumerate(splits)
    ]
    return [known, *others]


def _draw_panel(
    axes: Axes,
    rows: dict[str, NDArray[np.generic]],
    shown: Sequence[str],
    methods: Sequence[str],
    splits: Sequence[str],
) -> None:
    """Draw the lines of one footing."""
    styles = method_styles(methods)
    for place, method in enumerate(shown):
        colour, texts = styles[method].colour, []
        for i in np.flatnonzero(rows["method"] == method):
            known, other = float(rows["reference"][i]), float(rows["mean"][i])
            marker = OPEN_MARKERS[splits.index(str(rows["split"][i])) % len(OPEN_MARKERS)]
            axes.plot([known, other], [place] * 2, "-", color=colour, linewidth=1.2, zorder=2)
            axes.plot(known, place, "o", color=colour, markersize=5, zorder=3)
            axes.plot(other, place, marker, color=colour, markerfacecolor="white", markersize=5, zorder=4)
            low, high = (float(rows[name][i]) for name in ("ratio_low", "ratio_high"))
            interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
            texts.append(f"{float(rows['ratio'][i]):.2f}{interval}")
        axes.text(
            1.03,
            place,
            "; ".join(texts),
            transform=axes.get_yaxis_transform(),
            fontsize=SMALL_TEXT_SIZE - 1,
            va="center",
        )
