"""Maps of the whole sky in the Mollweide projection."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import healpy as hp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import NDArray

from cmbml.figures.style import (
    PAGE_WIDTH_INCH,
    SMALL_TEXT_SIZE,
    TEXT_SIZE,
    UNIT_LABELS,
    Scale,
    bright_scale,
    symmetric_scale,
    tick_label,
)

Values = NDArray[np.floating[Any]]

COLUMNS = 4
BIG = 2  # cells that the first map spans, each way
HEAD_INCH, TITLE_INCH, BAR_INCH = 0.34, 0.24, 0.36
RASTER = 760  # points along the equator of a small map
MAP_SHARE = 0.93  # of a cell's width


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One map of a figure.

    Attributes:
        title: stands above it.
        values: `(n_pix,)`, RING order.
        scale: numbers to colours.
        unit: of the values, as maps name it.
    """

    title: str
    values: Values
    scale: Scale
    unit: str = "uK_CMB"


@lru_cache(maxsize=4)
def mollweide_pixels(nside: int, width: int) -> NDArray[np.int64]:
    """Find the HEALPix pixel under every point of a raster in the Mollweide projection.

    With the auxiliary angle t, x = (2 sqrt(2) / pi) longitude cos t and y = sqrt(2) sin t, where
    sin latitude = (2 t + sin 2 t) / pi. As astronomers see the sky: north up, longitude 0 in the middle and growing
    to the left.

    Args:
        nside: resolution of the map.
        width: points along the equator.

    Returns:
        `(width // 2, width)`, the first row in the north; -1 outside the sky.
    """
    height = width // 2
    x = 2 * (np.arange(width) + 0.5) / width - 1
    y = 1 - 2 * (np.arange(height) + 0.5) / height
    t = np.arcsin(y)[:, None]
    sin_latitude = np.broadcast_to((2 * t + np.sin(2 * t)) / np.pi, (height, width))
    longitude = -np.pi * x / np.cos(t)
    inside = np.abs(longitude) <= np.pi
    pixels = np.full((height, width), -1)
    pixels[inside] = hp.ang2pix(nside, np.arccos(sin_latitude[inside]), longitude[inside])
    return pixels


def mollweide(values: Values, width: int) -> np.ma.MaskedArray[Any, Any]:
    """Project a map.

    Args:
        values: `(n_pix,)`, RING order.
        width: points along the equator.

    Returns:
        `(width // 2, width)`, masked outside the sky.
    """
    pixels = mollweide_pixels(hp.npix2nside(values.size), width)
    return np.ma.MaskedArray(values[pixels], mask=pixels < 0)


def observation_scale(values: Values, limit_uk: float) -> Scale:
    """Choose the scale of a temperature map: linear where the CMB shows, arcsinh where foregrounds outshine it.

    Args:
        values: `(n_pix,)`, uK_CMB.
        limit_uk: end of the linear scale.
    """
    if np.percentile(np.abs(values), 90) < limit_uk:
        return symmetric_scale(limit_uk)
    return bright_scale(values)


def maps_figure(title: str, panels: Sequence[Panel], outline: Values | None = None) -> Figure:
    """Draw maps: the first one large, the others in rows of four beside and below it.

    Args:
        title: of the whole figure.
        panels: what to draw, in reading order.
        outline: a mask `(n_pix,)`, 1 keep, whose edge is drawn on the large map; none by default.

    Returns:
        The figure.
    """
    cell_width = PAGE_WIDTH_INCH / COLUMNS
    cell_height = TITLE_INCH + MAP_SHARE * cell_width / 2 + BAR_INCH
    cells = _cells(len(panels) - 1)
    rows = max([BIG, *(row + 1 for row, _ in cells)])
    across = COLUMNS if cells else BIG  # a map alone has no column for others beside it
    figure = Figure(figsize=(across * cell_width, HEAD_INCH + rows * cell_height), facecolor="white")
    height = figure.get_figheight()
    figure.text(0.5, 1 - 0.5 * HEAD_INCH / height, title, ha="center", va="center", fontsize=TEXT_SIZE + 2)
    for panel, (row, column), span in zip(panels, [(0, 0.0), *cells], [BIG, *[1] * len(cells)], strict=True):
        top = height - HEAD_INCH - row * cell_height
        width = min(span * cell_width * MAP_SHARE, 2 * (span * cell_height - TITLE_INCH - BAR_INCH))
        left = (column + span / 2) * cell_width - width / 2
        middle = top - span * cell_height / 2 + (BAR_INCH - TITLE_INCH) / 2
        axes = figure.add_axes(_box(figure, left, middle - width / 4, width, width / 2))
        _draw(axes, panel, RASTER * span, TEXT_SIZE + span - 1)
        if outline is not None and span == BIG and outline.min() < 0.5 < outline.max():
            edge = mollweide(outline, RASTER * span)
            axes.contour(edge, [0.5], colors="0.25", linewidths=0.7, extent=(-2, 2, 1, -1))
        if panel.scale.ticks:
            _draw_bar(figure, axes, panel, (left, middle - width / 4, width))
    return figure


def _cells(number: int) -> list[tuple[int, float]]:
    """Return row and column of each small map; the last row is centred."""
    places = [(row, float(column)) for row in range(BIG) for column in range(BIG, COLUMNS)][:number]
    below = number - len(places)
    for i in range(below):
        row = i // COLUMNS
        in_row = min(COLUMNS, below - row * COLUMNS)
        places.append((BIG + row, i % COLUMNS + (COLUMNS - in_row) / 2))
    return places


def _box(figure: Figure, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Return a box given in inches as the shares of the figure that matplotlib wants."""
    across, up = figure.get_size_inches()
    return (left / across, bottom / up, width / across, height / up)


def _draw(axes: Axes, panel: Panel, width: int, text_size: float) -> None:
    extent = (-2, 2, -1, 1)
    image = axes.imshow(
        mollweide(panel.values, width), norm=panel.scale.norm, cmap=panel.scale.colours, extent=extent, aspect="auto"
    )
    border = Ellipse((0, 0), 4, 2, facecolor="none", edgecolor="black", linewidth=0.6, clip_on=False)
    axes.add_patch(border)
    image.set_clip_path(border)
    axes.set_axis_off()
    axes.set_title(panel.title, fontsize=text_size, pad=4)


def _draw_bar(figure: Figure, axes: Axes, panel: Panel, place: tuple[float, float, float]) -> None:
    """Draw the colour bar below a map that stands at (left, bottom, width), inches; the unit stands at its right."""
    left, bottom, width = place
    bar = figure.add_axes(_box(figure, left + 0.14 * width, bottom - 0.12, 0.6 * width, 0.07))
    figure.colorbar(axes.images[0], cax=bar, orientation="horizontal", ticks=panel.scale.ticks)
    bar.set_xticks(panel.scale.ticks, [tick_label(tick) for tick in panel.scale.ticks], fontsize=SMALL_TEXT_SIZE)
    bar.tick_params(length=2, pad=1.5, width=0.5)
    bar.minorticks_off()
    label = UNIT_LABELS.get(panel.unit, panel.unit)
    bar.text(1.05, 0.5, label, transform=bar.transAxes, va="center", ha="left", fontsize=SMALL_TEXT_SIZE)
