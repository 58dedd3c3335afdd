"""A panel per footing, a line in it per method: the frame that figures of scores share."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbml.figures.palette import COLUMN_WIDTH_INCH, LINE_INCH, legend_above, legend_rows
from cmbml.figures.results import Values
from cmbml.figures.style import SMALL_TEXT_SIZE, TEXT_SIZE, WIDE

LEAST_INCH = 2.0  # of a panel's width
LEGEND_INCH = 0.32  # from the top
GAP_INCH = 0.28  # above each panel, for its title


def footing_panels(
    panels: Mapping[str, Sequence[str]],
    handles: Sequence[Artist],
    *,
    title: str,
    label: str,
    row_inch: float,
    right_inch: float = 0.15,
) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with an empty panel per footing, and in it a labelled line per method, the first on top.

    Args:
        panels: footing -> methods, both in the order of drawing.
        handles: of the legend above the panels; none for no legend.
        title: above everything.
        label: of the horizontal axis, which all panels share.
        row_inch: height of a method's line.
        right_inch: what is left free beside the panels.

    Returns:
        The figure, as wide as a journal's column, or wider for long names, and footing -> axes.
    """
    labels = [str(handle.get_label()) for handle in handles]
    head = LEGEND_INCH + 0.06 + LINE_INCH * (legend_rows(labels)[1] if labels else 0)
    heights = [row_inch * len(methods) + 0.08 for methods in panels.values()]
    total = head + sum(heights) + GAP_INCH * len(heights) + 0.4
    left_inch = 0.3 + 0.071 * max(len(name) for methods in panels.values() for name in methods)
    width = max(COLUMN_WIDTH_INCH, left_inch + LEAST_INCH + right_inch)
    figure = Figure(figsize=(width, total), facecolor="white")
    figure.text(0.5, 1 - 0.15 / total, title, ha="center", va="center", fontsize=10)
    if labels:
        legend_above(figure, handles, labels, LEGEND_INCH)
    left, right, bottom = left_inch / width, 1 - right_inch / width, total - head
    axes: dict[str, Axes] = {}
    for height, (footing, methods) in zip(heights, panels.items(), strict=True):
        bottom -= height + GAP_INCH
        place = (left, (bottom + 0.07) / total, right - left, height / total)
        axes[footing] = figure.add_axes(place, sharex=next(iter(axes.values()), None))
        _dress(axes[footing], footing, methods)
    axes[footing].tick_params(labelbottom=True, which="both")
    axes[footing].set_xlabel(label, fontsize=TEXT_SIZE)
    return figure, axes


def _dress(axes: Axes, footing: str, methods: Sequence[str]) -> None:
    axes.set_title(f"footing: {footing}", fontsize=SMALL_TEXT_SIZE, loc="left", pad=3)
    axes.set_yticks(range(len(methods)), list(methods), fontsize=SMALL_TEXT_SIZE)
    axes.set_ylim(len(methods) - 0.45, -0.55)
    axes.grid(axis="x", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelsize=SMALL_TEXT_SIZE, direction="in", which="both", labelbottom=False)
    axes.tick_params(axis="y", length=0)


def is_wide(values: Values) -> bool:
    """Tell whether positive values, not numbers left out, span more than a linear axis shows."""
    finite = values[np.isfinite(values)]
    return bool(finite.min() > 0 and finite.max() > WIDE * finite.min())
