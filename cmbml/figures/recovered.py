"""Figure of the spectra that methods recover on patches, over the true ones."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.figures.palette import method_styles
from cmbml.figures.style import PAGE_WIDTH_INCH, SMALL_TEXT_SIZE, TEXT_SIZE

Float = NDArray[np.float64]
LINEAR = 1.0
"""Per cent up to which the axis of errors is linear."""


def recovered_figure(
    found: Mapping[str, tuple[Float, Float, Float, Float]],
    methods: Sequence[str],
    published: tuple[float, float],
) -> Figure:
    """Draw, in a panel per method, how far recovered spectra are from the true ones.

    Args:
        found: method -> edges of the bins `(n_bin, 2)`; ratio of the sums over patches, `(n_bin,)`; its standard error,
            `(n_bin,)`; percentiles over patches, 2.5, 16, 50, 84, 97.5, `(5, n_bin)`.
        methods: of the comparison, in the order of drawing; the place gives the colour.
        published: up to which multipole, and how closely, the published network recovers most patches.

    Returns:
        The figure, as wide as a page.
    """
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(PAGE_WIDTH_INCH, 3.1 * rows + 0.4), facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    styles = method_styles(methods)
    for panel, (method, (edges, ratio, error, bands)) in zip(axes.flat, found.items(), strict=False):
        colour, middle, off = styles[method].colour, edges.mean(axis=1), 100 * (bands - 1)
        panel.fill_between(middle, off[0], off[4], color=colour, alpha=0.15, lw=0, label="95 % of patches")
        panel.fill_between(middle, off[1], off[3], color=colour, alpha=0.3, lw=0, label="68 %")
        panel.plot(middle, off[2], color=colour, lw=1.2, label="median")
        panel.errorbar(
            middle,
            100 * (ratio - 1),
            100 * np.nan_to_num(error),
            fmt="o",
            ms=3,
            color="black",
            lw=1,
            label="all patches",
        )
        limit, close = published
        panel.plot([0, limit], [100 * close] * 2, "k--", lw=0.9, label=f"published: 1 % to $\\ell$ = {limit:.0f}")
        panel.plot([0, limit], [-100 * close] * 2, "k--", lw=0.9)
        panel.axhline(0, color="0.6", lw=0.8)
        panel.set_yscale("symlog", linthresh=LINEAR)
        panel.set_xlim(0, float(edges.max()))
        panel.set_title(method, fontsize=TEXT_SIZE)
        panel.tick_params(labelsize=SMALL_TEXT_SIZE)
    for panel in axes.flat[len(found) :]:
        panel.set_axis_off()
    for panel in axes[-1]:
        panel.set_xlabel(r"multipole $\ell$", fontsize=TEXT_SIZE)
    for row in axes:
        row[0].set_ylabel(r"recovered / true $D_\ell$ - 1 (%)", fontsize=TEXT_SIZE)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=SMALL_TEXT_SIZE, frameon=False)
    return figure
