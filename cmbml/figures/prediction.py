"""One method's map of one simulation: prediction, truth, difference, and how its errors are distributed."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import NDArray

from cmbml.figures.maps import mollweide
from cmbml.figures.palette import COLUMN_WIDTH_INCH
from cmbml.figures.results import PredictionMaps
from cmbml.figures.style import (
    GREY,
    SMALL_TEXT_SIZE,
    TEXT_SIZE,
    UNIT_LABELS,
    Scale,
    round_to,
    symmetric_scale,
    tick_label,
)

Values = NDArray[np.floating[Any]]

RASTER = 900  # points along the equator
BINS = 60
SHOWN_RMS = 4.0  # the scale of differences, and the histogram, end at so many times the rms


def draw_map(axes: Axes, values: Values, mask: Values, scale: Scale, width: int = RASTER) -> None:
    """Draw a map in the Mollweide projection, with grey where the mask leaves out.

    Args:
        axes: filled wholly; its frame is taken off.
        values: `(n_pix,)`, RING order.
        mask: `(n_pix,)`: 1 keep, 0 leave out.
        scale: numbers to colours.
        width: points along the equator.
    """
    image = axes.imshow(
        mollweide(np.where(mask > 0.5, values, np.nan), width),
        norm=scale.norm,
        cmap=scale.colours.with_extremes(bad=GREY),
        extent=(-2, 2, -1, 1),
        aspect="auto",
        interpolation="nearest",
    )
    border = Ellipse((0, 0), 4, 2, facecolor="none", edgecolor="black", linewidth=0.6, clip_on=False)
    axes.add_patch(border)
    image.set_clip_path(border)
    axes.set_axis_off()


def draw_bar(figure: Figure, axes: Axes, scale: Scale, unit: str) -> None:
    """Draw the colour bar of a map below it, with the unit at its right."""
    box, height = axes.get_position(), figure.get_figheight()
    bar = figure.add_axes((box.x0 + 0.12 * box.width, box.y0 - 0.13 / height, 0.6 * box.width, 0.07 / height))
    fill_bar(figure, axes, bar, scale, unit)


def fill_bar(figure: Figure, axes: Axes, bar: Axes, scale: Scale, unit: str) -> None:
    """Draw the colour bar of a map into axes of its own, with the unit at its right."""
    figure.colorbar(axes.images[0], cax=bar, orientation="horizontal", ticks=scale.ticks, extend="both")
    bar.set_xticks(scale.ticks, [tick_label(tick) for tick in scale.ticks], fontsize=SMALL_TEXT_SIZE)
    bar.tick_params(length=2, pad=1.5, width=0.5)
    bar.minorticks_off()
    label = UNIT_LABELS.get(unit, unit)
    bar.text(1.12, 0.5, label, transform=bar.transAxes, va="center", ha="left", fontsize=SMALL_TEXT_SIZE)


def difference_limit(maps: PredictionMaps) -> float:
    """Return where the scale of differences ends, unless it is given: at four times the rms, to one digit."""
    return round_to(SHOWN_RMS * _rms(maps.difference[maps.kept]), 1) or 1.0


def prediction_figure(maps: PredictionMaps, limit: float, limit_difference: float | None = None) -> Figure:
    """Draw prediction, truth, their difference, and the histogram of the error per pixel, as the paper's figure 6.

    Args:
        maps: of one method and simulation on one footing.
        limit: end of the colour scale of prediction and truth, in the maps' unit.
        limit_difference: end of that of the difference; by default four times the rms of the difference.

    Returns:
        The figure, as wide as a journal's column.
    """
    end = limit_difference or difference_limit(maps)
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, 3.75), facecolor="white")
    title = f"{maps.method}, {maps.simulation}, {maps.field}, footing {maps.footing}"
    figure.text(0.5, 0.965, title, ha="center", va="center", fontsize=TEXT_SIZE + 1)
    parts = (
        ("prediction", maps.prediction, symmetric_scale(limit), (0.015, 0.575)),
        ("truth", maps.truth, symmetric_scale(limit), (0.515, 0.575)),
        ("prediction − truth", maps.difference, symmetric_scale(end), (0.015, 0.1)),
    )
    for name, values, scale, (left, bottom) in parts:
        axes = figure.add_axes((left, bottom, 0.47, 0.235 * COLUMN_WIDTH_INCH / figure.get_figheight()))
        draw_map(axes, values, maps.mask, scale)
        axes.set_title(name, fontsize=TEXT_SIZE, pad=3)
        draw_bar(figure, axes, scale, maps.unit)
    _draw_histogram(figure.add_axes((0.6, 0.12, 0.375, 0.28)), maps, end)
    return figure


def _draw_histogram(axes: Axes, maps: PredictionMaps, end: float) -> None:
    """Draw how many pixels have which error, and a Gaussian of the same rms; rms and mean stand above it."""
    errors = maps.difference[maps.kept].astype(np.float64)
    rms = _rms(errors)
    edges = np.linspace(-end, end, BINS + 1)
    counts, _ = np.histogram(errors, edges)
    axes.stairs(counts, edges, fill=True, color="#7FB2D6")
    if rms > 0:
        centres = 0.5 * (edges[1:] + edges[:-1])
        gaussian = (
            errors.size * (edges[1] - edges[0]) / (np.sqrt(2 * np.pi) * rms) * np.exp(-0.5 * (centres / rms) ** 2)
        )
        axes.plot(centres, gaussian, color="black", linewidth=0.9, linestyle="--")
    axes.set_yscale("log")
    axes.set_ylim(0.7, 3 * max(counts.max(), 1))
    axes.set_xlim(-end, end)
    unit = UNIT_LABELS.get(maps.unit, maps.unit)
    beyond = np.mean(np.abs(errors) > end)
    text = f"rms {rms:.3g}, mean {errors.mean():.2g}".replace("-", "−") + f" {unit}"
    axes.set_title(text, fontsize=SMALL_TEXT_SIZE, pad=4)
    axes.set_xlabel(f"error [{unit}]; {100 * beyond:.2g} % beyond", fontsize=SMALL_TEXT_SIZE, labelpad=2)
    axes.set_ylabel("pixels", fontsize=SMALL_TEXT_SIZE, labelpad=2)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in")
    axes.set_xticks([-end, 0, end], [tick_label(-end), "0", tick_label(end)])


def _rms(values: Values) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
