"""Figures of generated patches beside real ones (Aylor et al., arXiv:1909.06467, figures 1 to 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.figures.palette import COLOURS, method_styles
from cmbml.figures.style import PAGE_WIDTH_INCH, SMALL_TEXT_SIZE, TEXT_SIZE

Float = NDArray[np.float64]
REAL = "0.15"
"""The grey of real patches."""


def unit_label(unit: str) -> str:
    """Return a unit as labels have it, in brackets; nothing for a pure number."""
    label = {"uK_CMB": r"$\mu$K$_\mathrm{CMB}$", "uK_RJ": r"$\mu$K$_\mathrm{RJ}$"}.get(unit, unit)
    return f" [{label}]" if unit else ""


def _images(
    figure: Figure, rows: Mapping[str, Sequence[Float]], limits: tuple[float, float], side: float, bar: str
) -> None:
    """Draw rows of patches with one colour scale."""
    n_columns = max(len(images) for images in rows.values())
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    shown = None
    for line, (title, images) in zip(axes, rows.items(), strict=True):
        for panel in line:
            panel.set_axis_off()
        for panel, image in zip(line, images, strict=False):
            panel.set_axis_on()
            half = side / 2
            extent = (half, -half, -half, half)
            shown = panel.imshow(image, origin="lower", vmin=limits[0], vmax=limits[1], cmap="inferno", extent=extent)
            panel.set_xticks([])
            panel.set_yticks([])
        line[0].set_ylabel(title, fontsize=SMALL_TEXT_SIZE)
    if shown is not None:
        figure.colorbar(shown, ax=axes.ravel().tolist(), shrink=0.7, pad=0.01).set_label(bar, fontsize=SMALL_TEXT_SIZE)


def example_draws(rows: Mapping[str, Sequence[Float]], side_deg: float, unit: str) -> Figure:
    """Draw some patches of every set, in one colour scale (figure 1).

    Args:
        rows: title -> decimal logarithms of patches, `(height, width)` each.
        side_deg: of a patch, degrees.
        unit: of the map.
    """
    everything = np.concatenate([np.ravel(image) for images in rows.values() for image in images])
    low, high = np.percentile(everything, (0.5, 99.5))
    n_columns = max(len(images) for images in rows.values())
    size = (1.35 * n_columns + 1.0, 1.42 * len(rows) + 0.4)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    _images(figure, rows, (float(low), float(high)), side_deg, rf"$\log_{{10}}$ of the map{unit_label(unit)}")
    figure.suptitle(f"Patches of {side_deg:g}° x {side_deg:g}°", fontsize=TEXT_SIZE)
    return figure


def latent_walks(walks: NDArray[Any], side_deg: float, unit: str) -> Figure:
    """Draw what is between pairs of draws, a row per pair.

    Args:
        walks: `(n_walk, n_step, height, width)`, decimal logarithms of patches.
        side_deg: of a patch, degrees.
        unit: of the map.
    """
    rows = {f"walk {number + 1}": list(walk) for number, walk in enumerate(walks)}
    return example_draws(rows, side_deg, unit)


def latent_tail(patches: Mapping[float, NDArray[Any]], unit: str) -> Figure:
    """Draw the distribution of pixels of patches from wider and wider draws, and how bright the brightest are.

    Args:
        patches: standard deviation of the draws -> `(n, height, width)`, decimal logarithms.
        unit: of the map.
    """
    figure = Figure(figsize=(PAGE_WIDTH_INCH * 0.8, 3.2), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    low, high = (function(list(map(function, patches.values()))) for function in (np.min, np.max))
    edges = np.linspace(low, high + 1e-6, 80)
    for number, (width, values) in enumerate(patches.items()):
        density = np.histogram(values, edges, density=True)[0]
        left.stairs(density, edges, color=COLOURS[number % len(COLOURS)], label=f"{width:g}")
    left.set_yscale("log")
    left.set_xlabel(rf"$\log_{{10}}$ of a pixel{unit_label(unit)}")
    left.set_ylabel("density")
    left.legend(title="standard deviation of draws", fontsize=SMALL_TEXT_SIZE, title_fontsize=SMALL_TEXT_SIZE)
    for level, label, marker in zip((50, 99, 99.9), ("median", "99 %", "99.9 %"), "os^", strict=True):
        brightest = [float(np.percentile(values, level)) for values in patches.values()]
        right.plot(list(patches), brightest, marker=marker, label=label)
    right.set_xlabel("standard deviation of draws")
    right.set_ylabel(rf"$\log_{{10}}$ of pixels{unit_label(unit)}")
    right.legend(fontsize=SMALL_TEXT_SIZE)
    return figure


def pixel_histograms(
    edges: Float, real: tuple[str, Float, Float], drawn: Mapping[str, tuple[Float, float]], unit: str
) -> Figure:
    """Draw the distribution of pixels, linear and logarithmic (figure 2).

    Args:
        edges: `(n_bin + 1,)`, decimal logarithms.
        real: what it is called, density and its error, `(n_bin,)` each.
        drawn: method -> density and intersection with the real one.
        unit: of the map.
    """
    figure = Figure(figsize=(PAGE_WIDTH_INCH * 0.6, 5.6), facecolor="white", layout="constrained")
    styles = method_styles(list(drawn))
    for panel, scale in zip(figure.subplots(2, 1, sharex=True), ("linear", "log"), strict=True):
        name, density, error = real
        middle = (edges[1:] + edges[:-1]) / 2
        panel.fill_between(middle, density - error, density + error, step="mid", color=REAL, alpha=0.25, lw=0)
        panel.stairs(density, edges, color=REAL, lw=1.6, label=name)
        for method, (values, shared) in drawn.items():
            panel.stairs(values, edges, color=styles[method].colour, label=f"{method}: {100 * shared:.1f} % shared")
        panel.set_yscale(scale)
        panel.set_ylabel("density of pixels")
        if scale == "log":
            top = float(density.max())
            panel.set_ylim(top * 1e-5, top * 2)
            panel.set_xlabel(rf"$\log_{{10}}$ of a pixel{unit_label(unit)}")
        else:
            panel.legend(fontsize=SMALL_TEXT_SIZE)
    return figure


def spectra_bands(ell: Float, real: tuple[str, Float, Float], drawn: Mapping[str, Float], unit: str) -> Figure:
    """Draw the bands of log10 C_l over patches, a panel per method (figure 3).

    Args:
        ell: `(n_bin,)`.
        real: what it is called, percentiles of log10 C_l at 2.5, 16, 50, 84, 97.5, `(5, n_bin)`, and their errors.
        drawn: method -> percentiles.
        unit: of the map.
    """
    figure = Figure(figsize=(3.3 * len(drawn), 3.4), facecolor="white", layout="constrained")
    axes = figure.subplots(1, len(drawn), sharex=True, sharey=True, squeeze=False)[0]
    styles = method_styles(list(drawn))
    for panel, (method, values) in zip(axes, drawn.items(), strict=True):
        _bands(panel, ell, (real[1], REAL, real[0]), (values, styles[method].colour, method), real[2])
        panel.set_xlabel(r"multipole $\ell$")
        panel.set_title("68 and 95 % of patches", fontsize=SMALL_TEXT_SIZE)
        panel.legend(fontsize=SMALL_TEXT_SIZE)
    power = unit_label(unit).strip(" []")
    axes[0].set_ylabel(r"$\log_{10} C_\ell$" + (f" [({power})$^2$ sr]" if power else " [sr]"))
    return figure


def _bands(panel: Any, x: Float, real: tuple[Float, str, str], drawn: tuple[Float, str, str], errors: Float) -> None:  # noqa: ANN401
    """Draw the bands of real patches as areas, and those of drawn ones as lines."""
    values, colour, name = real
    panel.fill_between(x, values[0], values[4], color=colour, alpha=0.15, lw=0)
    panel.fill_between(x, values[1], values[3], color=colour, alpha=0.25, lw=0)
    panel.errorbar(x, values[2], errors[2], color=colour, lw=1.4, elinewidth=0.6, label=name)
    values, colour, name = drawn
    for low, high, dashes in ((0, 4, ":"), (1, 3, "--")):
        panel.plot(x, values[low], color=colour, ls=dashes, lw=1.1)
        panel.plot(x, values[high], color=colour, ls=dashes, lw=1.1)
    panel.plot(x, values[2], color=colour, lw=1.4, label=name)


def power_distributions(scales: Mapping[str, Mapping[str, Float]], real: str, unit: str) -> Figure:
    """Draw the distribution of the power over patches, a panel per scale (figure 4).

    Args:
        scales: title -> set -> log10 C_l of patches, `(n,)`.
        real: which of the sets is the real one.
        unit: of the map.
    """
    figure = Figure(figsize=(3.3 * len(scales), 3.2), facecolor="white", layout="constrained")
    power = unit_label(unit).strip(" []")
    for panel, (title, sets) in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales.items(), strict=True):
        styles = method_styles([name for name in sets if name != real])
        everything = np.concatenate(list(sets.values()))
        edges = np.linspace(everything.min(), everything.max() + 1e-9, 31)
        for name, values in sets.items():
            density = np.histogram(values, edges, density=True)[0]
            filled = name == real
            colour = REAL if filled else styles[name].colour
            panel.stairs(density, edges, color=colour, fill=filled, alpha=0.3 if filled else 1.0, label=name)
        panel.set_title(title, fontsize=TEXT_SIZE)
        panel.set_xlabel(r"$\log_{10} C_\ell$" + (f" [({power})$^2$ sr]" if power else " [sr]"))
    figure.axes[0].set_ylabel("density of patches")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=SMALL_TEXT_SIZE)
    return figure


def shape_bands(
    thresholds: Float, real: tuple[str, Float, Float], drawn: Mapping[str, Float], pixel_deg: float
) -> Figure:
    """Draw the bands of the Minkowski functionals, a row per method (figure 5).

    Args:
        thresholds: `(n,)`, with the extremes of real patches at -1 and 1.
        real: what it is called, percentiles `(5, 3, n)`, and their errors; in pixels.
        drawn: method -> percentiles.
        pixel_deg: side of a pixel, degrees.
    """
    figure = Figure(figsize=(PAGE_WIDTH_INCH, 2.7 * len(drawn)), facecolor="white", layout="constrained")
    axes = figure.subplots(len(drawn), 3, sharex=True, squeeze=False)
    styles = method_styles(list(drawn))
    labels = ("$V_0$: area", "$V_1$: contour [1/deg]", r"$V_2$: connectivity [1/deg$^2$]")
    for line, (method, values) in zip(axes, drawn.items(), strict=True):
        for kind, panel in enumerate(line):
            scale = pixel_deg**-kind
            pair = (real[1][:, kind] * scale, REAL, real[0]), (values[:, kind] * scale, styles[method].colour, method)
            _bands(panel, thresholds, *pair, real[2][:, kind] * scale)
            panel.set_ylabel(labels[kind], fontsize=SMALL_TEXT_SIZE)
        line[0].legend(fontsize=SMALL_TEXT_SIZE)
    for panel in axes[-1]:
        panel.set_xlabel(r"threshold of $\log_{10}$ of the map, scaled to [-1, 1]", fontsize=SMALL_TEXT_SIZE)
    return figure
