"""Pictures of real maps that were cleaned: the map, the weights of its channels, and its spectrum."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbml.figures.palette import COLOURS, COLUMN_WIDTH_INCH, LINE_INCH, MARKERS, legend_above, legend_rows
from cmbml.figures.prediction import draw_bar, draw_map
from cmbml.figures.results import Values
from cmbml.figures.style import SMALL_TEXT_SIZE, TEXT_SIZE, UNIT_LABELS, symmetric_scale

AXES = {"multipole": r"multipole $\ell$", "latitude": "|b| of the middle of the zone [deg]"}
HALVES = {
    "d_cross": "half 1 x half 2",
    "d_first": "half 1",
    "d_second": "half 2",
    "d_noise": "noise: half their difference",
}
BRIGHT = 0.92  # end of the colours of channels, before they are too pale for white paper


def cleaned_figure(values: Values, mask: Values, limit: float, *, title: str, unit: str = "uK_CMB") -> Figure:
    """Draw a cleaned map, whole and inside the mask of its spectrum.

    Args:
        values: `(n_pix,)`, RING order, without the monopole and dipole that it has inside the mask.
        mask: `(n_pix,)`: 1 keep, 0 leave out.
        limit: end of the colour scale, in the map's unit.
        title: what it is.
        unit: of the map.

    Returns:
        The figure, as wide as a journal's column.
    """
    height = 2 * 0.48 * COLUMN_WIDTH_INCH + 1.15
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, height), facecolor="white")
    figure.text(0.5, 1 - 0.14 / height, title, ha="center", va="center", fontsize=TEXT_SIZE + 1)
    scale, tall = symmetric_scale(limit), 0.48 * COLUMN_WIDTH_INCH / height
    kept = f"inside the mask of the spectrum, {100 * float(np.mean(mask > 0.5)):.0f} % of the sky"
    whole = np.ones_like(mask)
    for name, shown, bottom in (("whole sky", whole, 0.5 * (1 + 0.16 / height)), (kept, mask, 0.36 / height)):
        axes = figure.add_axes((0.02, bottom, 0.96, tall))
        draw_map(axes, values, shown, scale)
        axes.set_title(name, fontsize=SMALL_TEXT_SIZE, pad=3)
    draw_bar(figure, figure.axes[-1], scale, unit)
    return figure


def weights_figure(rows: Sequence[str], along: str, at: Values, mean: Values, low: Values, high: Values) -> Figure:
    """Draw with what weights channels were added up; bands hold 90 % of the sky.

    Args:
        rows: names of channels, from the lowest frequency on, and of templates.
        along: `multipole` or `latitude`.
        at: `(n,)`.
        mean: `(n_row, n)`; NaN where a row takes no part.
        low: the same shape: lower end of the band.
        high: the same shape: upper end.

    Returns:
        The figure, as wide as a journal's column.
    """
    head = 0.36 + LINE_INCH * legend_rows(rows)[1]
    total = head + 2.6 + 0.42
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, total), facecolor="white")
    figure.text(
        0.5, 1 - 0.14 / total, "Weights of I, at the map's beam", ha="center", va="center", fontsize=TEXT_SIZE + 1
    )
    axes = figure.add_axes((0.145, 0.42 / total, 0.83, 2.6 / total))
    colours = mpl.colormaps["viridis"](np.linspace(0, BRIGHT, len(rows)))
    for place, (name, colour) in enumerate(zip(rows, colours, strict=True)):
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(at, mean[place], color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=name)
        axes.fill_between(at, low[place], high[place], color=colour, alpha=0.2, linewidth=0)
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=1)
    axes.set_yscale("symlog", linthresh=0.1)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in", top=True, right=True)
    axes.grid(color="0.93", linewidth=0.6)
    axes.set_xlabel(AXES[along], fontsize=TEXT_SIZE)
    axes.set_ylabel(r"weight [$\mathrm{K_{CMB}/K_{CMB}}$]", fontsize=TEXT_SIZE)
    legend_above(figure, axes.lines[: len(rows)], list(rows), 0.29)
    return figure


def observed_spectrum_figure(table: Mapping[str, Values], *, title: str, theory: Values | None = None) -> Figure:
    """Draw the spectrum of a cleaned map, and over the theory what is more or less than that.

    Args:
        table: `l_eff`, `l_low`, `l_high`, `d_ell` and `sigma`, `(n_bin,)` each; `d_theory`, NaN where there is none. Of
            halves of the data `d_cross` and `sigma_cross`, `d_first`, `d_second` and `d_noise`, too, on an axis that is
            logarithmic but near zero.
        title: what it is.
        theory: `(lmax + 1,)`: D_l to draw as a line; None where there is none.

    Returns:
        The figure, as wide as a journal's column.
    """
    known = theory is not None and bool(np.isfinite(table["d_theory"]).any())
    halves = "d_cross" in table
    labels = ["cleaned map, noise and all", *(HALVES.values() if halves else ()), *(["theory"] if known else ())]
    heights: tuple[float, ...] = (2.4, 1.3) if known else (2.6,)
    head = 0.36 + LINE_INCH * legend_rows(labels)[1]
    total = head + sum(heights) + 0.08 * (len(heights) - 1) + 0.42
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, total), facecolor="white")
    figure.text(0.5, 1 - 0.14 / total, title, ha="center", va="center", fontsize=TEXT_SIZE + 1)
    upper = figure.add_axes((0.145, (total - head - heights[0]) / total, 0.83, heights[0] / total))
    half = 0.5 * (table["l_high"] - table["l_low"] + 1)
    look: dict[str, Any] = {"fmt": "o", "markersize": 3, "elinewidth": 0.9, "color": COLOURS[0], "zorder": 3}
    upper.errorbar(table["l_eff"], table["d_ell"], table["sigma"], half, label=labels[0], **look)
    drawn = [("d_ell", "sigma", look)]
    if halves:
        for place, (name, label) in enumerate(HALVES.items(), 1):
            other = look | {"fmt": MARKERS[place], "color": COLOURS[place], "markerfacecolor": "white", "zorder": 4}
            bars = table["sigma_cross"] if name == "d_cross" else None
            upper.errorbar(table["l_eff"], table[name], bars, None if bars is None else half, label=label, **other)
            drawn += [(name, "sigma_cross", other)] if name == "d_cross" else []
    panels = [upper]
    if known and theory is not None:
        ell = np.arange(2, len(theory))
        upper.plot(ell, theory[2:], color="0.35", linewidth=1.0, label=labels[-1])
        lower = figure.add_axes((0.145, 0.42 / total, 0.83, heights[1] / total), sharex=upper)
        reach = 0.05
        for name, spread, style in drawn:
            ratio, error = table[name] / table["d_theory"], table[spread] / table["d_theory"]
            lower.errorbar(table["l_eff"], ratio, error, half, **style)
            reach = max(reach, 1.1 * float(np.nanmax(np.abs(ratio - 1) + error)))
        lower.axhline(1, color="0.35", linewidth=1.0)
        reach = min(reach, 1.0)
        lower.set_ylim(1 - reach, 1 + reach)
        lower.set_ylabel("spectrum / theory", fontsize=TEXT_SIZE)
        panels.append(lower)
        upper.tick_params(labelbottom=False)
    for axes in panels:
        axes.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in", top=True, right=True)
        axes.grid(color="0.93", linewidth=0.6)
    _limit(upper, table, ("d_ell", *HALVES) if halves else ("d_ell",))
    upper.set_xlim(0, float(table["l_high"][-1]) + 2)
    upper.set_ylabel(rf"$\mathcal{{D}}_\ell$  [{UNIT_LABELS['uK_CMB^2']}]", fontsize=TEXT_SIZE)
    panels[-1].set_xlabel(r"multipole $\ell$", fontsize=TEXT_SIZE)
    handles, labels = upper.get_legend_handles_labels()
    legend_above(figure, handles, labels, 0.29)
    return figure


def _limit(axes: Axes, table: Mapping[str, Values], names: Sequence[str]) -> None:
    """Let an axis hold spectra: linear for one; noise and sky differ by powers of ten, and some may be below zero."""
    seen = np.concatenate([np.asarray(table[name], np.float64) for name in names])
    low, high = float(np.nanmin(seen)), float(np.nanmax(seen))
    if len(names) == 1:
        top = float(np.nanmax(table["d_ell"] + np.nan_to_num(table["sigma"])))
        axes.set_ylim(min(0.0, low), 1.1 * top if top > 0 else None)
    elif low > 0:
        axes.set_yscale("log")
        axes.set_ylim(0.5 * low, 3 * high)
    else:
        axes.set_yscale("symlog", linthresh=max(float(np.nanmin(np.abs(table["d_noise"]))), 1e-6 * high))
        axes.set_ylim(2 * low, 3 * high)
