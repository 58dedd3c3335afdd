"""How much worse methods are on a sky that they do not know, per footing."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cmbml.figures.palette import COLUMN_WIDTH_INCH, LINE_INCH, legend_above, legend_rows, method_styles
from cmbml.figures.results import Columns, FigureError
from cmbml.figures.style import SMALL_TEXT_SIZE, TEXT_SIZE, WIDE

ROW_INCH = 0.24
RATIO_INCH = 1.03  # beside the panels, for the ratio to one other split
LEAST_INCH = 2.0  # of a panel's width
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
    handles = _handles(str(rows["reference_split"][0]), splits)
    labels = [str(handle.get_label()) for handle in handles]
    head = 0.36 + LINE_INCH * legend_rows(labels)[1]
    heights = [ROW_INCH * len(found) + 0.08 for found in shown.values()]
    total = head + sum(heights) + 0.28 * len(heights) + 0.42
    longest = max(len(name) for found in shown.values() for name in found)
    left_inch, right_inch = 0.3 + 0.071 * longest, RATIO_INCH * len(splits)
    width = max(COLUMN_WIDTH_INCH, left_inch + LEAST_INCH + right_inch)
    figure = Figure(figsize=(width, total), facecolor="white")
    figure.text(
        0.5, 1 - 0.14 / total, f"{label or metric}, {field}, {region}: on another sky", ha="center", va="center"
    )
    legend_above(figure, handles, labels, 0.31)
    left, right, bottom = left_inch / width, 1 - right_inch / width, total - head
    first: Axes | None = None
    for height, (footing, found) in zip(heights, shown.items(), strict=True):
        bottom -= height + 0.28
        place = (left, (bottom + 0.06) / total, right - left, height / total)
        axes = figure.add_axes(place, sharex=first)
        here = rows["footing"] == footing
        _draw_panel(axes, {name: column[here] for name, column in rows.items()}, found, methods, splits)
        axes.set_title(f"footing: {footing}", fontsize=SMALL_TEXT_SIZE, loc="left", pad=3)
        axes.tick_params(labelbottom=False, which="both")
        first = first or axes
    axes.tick_params(labelbottom=True, which="both")
    axes.set_xlabel(label or metric, fontsize=TEXT_SIZE)
    figure.axes[0].text(
        1.03, 1, "ratio [95 %]", transform=figure.axes[0].transAxes, fontsize=SMALL_TEXT_SIZE, va="bottom"
    )
    _spread(figure.axes[0], np.concatenate([rows["reference"], rows["mean"]]))
    return figure


def _handles(reference: str, splits: Sequence[str]) -> list[Artist]:
    look = {"color": "black", "linestyle": "none", "markersize": 5}
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
    """Draw one footing: one line per method, the first on top."""
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
    axes.set_yticks(range(len(shown)), list(shown), fontsize=SMALL_TEXT_SIZE)
    axes.set_ylim(len(shown) - 0.45, -0.55)
    axes.grid(axis="x", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelsize=SMALL_TEXT_SIZE, direction="in", which="both")
    axes.tick_params(axis="y", length=0)


def _spread(axes: Axes, values: NDArray[np.generic]) -> None:
    """Take a logarithmic axis where values span more than a linear one shows, which otherwise starts at zero."""
    numbers = values.astype(float)
    if numbers.min() > 0 and numbers.max() > WIDE * numbers.min():
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, 1.06 * numbers.max())
