"""Figures of what is left in cleaned maps: their shapes, and what residuals have in common with foregrounds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from cmbml.figures.palette import method_styles
from cmbml.figures.style import PAGE_WIDTH_INCH, SMALL_TEXT_SIZE, TEXT_SIZE

Float = NDArray[np.float64]
NAMES = {"v0": "$V_0$: area", "v1": "$V_1$: contour", "v2": "$V_2$: curvature"}
MULTIPOLE_TICKS = (2, 10, 30, 100, 300, 1000, 3000)
GAUSSIAN = "0.6"


def shapes_figure(
    thresholds: Float, expected: Mapping[str, Float], found: Mapping[str, Mapping[tuple[str, str], Float]]
) -> Figure:
    """Draw the Minkowski functionals of the truth, how far maps are from it, and those of residuals.

    Args:
        thresholds: `(n,)`, in standard deviations.
        expected: functional -> `(n,)`, of a Gaussian field, in its own maximum.
        found: method -> (`truth`, `map` or `residual`, functional) -> `(n_sim, n)`, in maxima of a Gaussian field's.
            A method without a residual has none.

    Returns:
        A page-wide figure: a column per functional.
    """
    figure = Figure(figsize=(PAGE_WIDTH_INCH, 7.4), facecolor="white", layout="constrained")
    axes = figure.subplots(3, len(expected), sharex=True)
    styles = method_styles(list(found))
    for column, (name, gaussian) in zip(axes.T, expected.items(), strict=True):
        upper, middle, lower = column
        truth = next(iter(found.values()))["truth", name]
        upper.plot(thresholds, gaussian, color=GAUSSIAN, lw=3.5, label="Gaussian field")
        upper.plot(thresholds, truth.mean(axis=0), color="black", lw=1.1, label="truth")
        lower.plot(thresholds, gaussian, color=GAUSSIAN, lw=3.5)
        for method, curves in found.items():
            look = {"color": styles[method].colour, "ls": styles[method].dashes, "lw": 1.1}
            gap = 100 * (curves["map", name] - curves["truth", name]).mean(axis=0)
            middle.plot(thresholds, gap, label=method, **look)
            if ("residual", name) in curves:
                lower.plot(thresholds, np.nanmean(curves["residual", name], axis=0), **look)
        upper.set_title(NAMES[name], fontsize=TEXT_SIZE)
        middle.set_yscale("symlog", linthresh=1.0)
        middle.axhline(0, color=GAUSSIAN, lw=0.8)
        lower.set_xlabel("threshold / standard deviation", fontsize=TEXT_SIZE)
        for panel in column:
            panel.tick_params(labelsize=SMALL_TEXT_SIZE)
    for panel, label in zip(
        axes[:, 0],
        ("truth / Gaussian maximum", "map - truth [% of maximum]", "residual / own Gaussian maximum"),
        strict=True,
    ):
        panel.set_ylabel(label, fontsize=TEXT_SIZE)
    axes[0, 0].legend(fontsize=SMALL_TEXT_SIZE)
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=SMALL_TEXT_SIZE, frameon=False)
    return figure


def foregrounds_figure(
    edges: Float,
    chance: Float,
    components: Mapping[str, Mapping[str, tuple[Float, Float]]],
    methods: Sequence[str],
) -> Figure:
    """Draw the correlation of residuals with each foreground by multipole.

    Args:
        edges: `(n_bin + 1,)`, of the bins.
        chance: `(n_bin,)`, rms of what chance gives one simulation.
        components: component -> method -> mean and spread over simulations, `(n_bin,)` each.
        methods: of the comparison, in the order of drawing; the place gives the colour.

    Returns:
        A page-wide figure: a panel per component.
    """
    columns = min(3, len(components))
    rows = -(-len(components) // columns)
    figure = Figure(figsize=(PAGE_WIDTH_INCH, 2.3 * rows + 0.7), facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    styles, centres = method_styles(methods), np.sqrt(edges[:-1] * (edges[1:] - 1.0))
    for panel, (name, of) in zip(axes.flat, components.items(), strict=False):
        panel.fill_between(centres, -chance, chance, color="0.88", lw=0)
        panel.axhline(0, color=GAUSSIAN, lw=0.8)
        for method, (mean, spread) in of.items():
            style = styles[method]
            panel.plot(
                centres, mean, color=style.colour, ls=style.dashes, marker=style.marker, ms=3, lw=1.1, label=method
            )
            panel.fill_between(centres, mean - spread, mean + spread, color=style.colour, alpha=0.12, lw=0)
        panel.set_title(name, fontsize=TEXT_SIZE)
        panel.set_xscale("log")
        ticks = [tick for tick in MULTIPOLE_TICKS if edges[0] <= tick < edges[-1]]
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_ylim(-1.05, 1.05)
        panel.tick_params(labelsize=SMALL_TEXT_SIZE)
    for panel in axes.flat[len(components) :]:
        panel.set_axis_off()
    for number in range(columns):
        lowest = [row[number] for number_row, row in enumerate(axes) if number_row * columns + number < len(components)]
        lowest[-1].tick_params(labelbottom=True)
        lowest[-1].set_xlabel(r"multipole $\ell$", fontsize=TEXT_SIZE)
    for row in axes:
        row[0].set_ylabel("correlation $r$", fontsize=TEXT_SIZE)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=SMALL_TEXT_SIZE, frameon=False)
    return figure
