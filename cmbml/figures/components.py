"""What the sky is made of, and what beams make of it: the same patch of sky in several maps."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import healpy as hp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from cmbml.figures.palette import COLUMN_WIDTH_INCH, LINE_INCH, legend_above, legend_rows, method_styles
from cmbml.figures.results import FigureError
from cmbml.figures.style import (
    PAGE_WIDTH_INCH,
    SEQUENTIAL,
    SMALL_TEXT_SIZE,
    TEXT_SIZE,
    UNIT_LABELS,
    Scale,
    channel_label,
    round_to,
    symmetric_scale,
    tick_label,
)
from cmbml.sky.spectra import d_ell

Values = NDArray[np.floating[Any]]
Place = tuple[float, float]

PATCH = 400  # points along a side
CIRCLED_FWHM = 1.5  # radius of the circle around a source, in beams


@lru_cache(maxsize=8)
def patch_pixels(nside: int, centre_deg: Place, size_deg: float, width: int = PATCH) -> NDArray[np.int64]:
    """Find the HEALPix pixel under every point of a square patch in the gnomonic projection.

    Args:
        nside: resolution of the map.
        centre_deg: longitude and latitude.
        size_deg: of a side, below 120.
        width: points along a side.

    Returns:
        `(width, width)`: north up, longitude growing to the left.
    """
    half = np.tan(np.radians(size_deg / 2))
    offsets = half * (2 * (np.arange(width) + 0.5) / width - 1)
    lon, lat = np.radians(centre_deg)
    forward = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.cross(forward, east)
    points = forward - offsets[None, :, None] * east - offsets[:, None, None] * north
    pixels: NDArray[np.int64] = hp.vec2pix(nside, *np.moveaxis(points, -1, 0))
    return pixels


def brightest_place(values: Values, latitude_deg: float = 20.0) -> Place:
    """Return longitude and latitude, degrees, of the highest pixel away from the Galactic plane.

    Args:
        values: `(n_pix,)`, RING order.
        latitude_deg: pixels nearer to the plane do not count.
    """
    nside = hp.npix2nside(values.size)
    lon, lat = hp.pix2ang(nside, np.arange(values.size), lonlat=True)
    best = int(np.argmax(np.where(np.abs(lat) >= latitude_deg, values, -np.inf)))
    return float(lon[best]), float(lat[best])


def components_figure(
    components: Mapping[str, Values],
    centre_deg: Place,
    size_deg: float = 40.0,
    *,
    title: str = "",
    unit: str = "uK_CMB",
) -> Figure:
    """Draw the same patch of each component, with a scale of its own, as the paper's figure 3a.

    Args:
        components: name -> `(n_pix,)`, RING order.
        centre_deg: longitude and latitude of the middle.
        size_deg: of a side.
        title: of the whole figure, such as the frequency.
        unit: of the maps.

    Returns:
        The figure, as wide as a journal's column: two patches in a row.
    """
    where = f"{size_deg:g}° × {size_deg:g}° around $l$ = {centre_deg[0]:.1f}°, $b$ = {centre_deg[1]:.1f}°"
    panels = [(name, values, _patch_scale(values, centre_deg, size_deg)) for name, values in components.items()]
    return _patches(panels, f"{title}: {where}" if title else where, 2, centre_deg, size_deg, unit)


def beams_figure(
    observed: Mapping[str, Values],
    freqs_ghz: Mapping[str, float],
    fwhm_arcmin: Mapping[str, float],
    centre_deg: Place,
    size_deg: float = 10.0,
    unit: str = "uK_CMB",
) -> Figure:
    """Draw the same bright source in every channel, each with a scale of its own, as the paper's figure 5.

    Args:
        observed: channel -> `(n_pix,)`, RING order.
        freqs_ghz: channel -> frequency.
        fwhm_arcmin: channel -> width of its beam; a circle of three times this width stands around the source.
        centre_deg: longitude and latitude of the source.
        size_deg: of a side.
        unit: of the maps.

    Returns:
        The figure, as wide as a page: at most five patches in a row.
    """
    panels = [
        (
            f"{channel_label(name, freqs_ghz[name])}, {fwhm_arcmin[name]:.3g}′",
            values,
            _patch_scale(values, centre_deg, size_deg),
        )
        for name, values in observed.items()
    ]
    where = f"One source in every channel: {size_deg:g}° around $l$ = {centre_deg[0]:.1f}°, $b$ = {centre_deg[1]:.1f}°"
    figure = _patches(panels, where, 5, centre_deg, size_deg, unit)
    maps = [axes for axes in figure.axes if axes.get_title()]
    for axes, name in zip(maps, observed, strict=True):
        radius = CIRCLED_FWHM * fwhm_arcmin[name] / 60
        axes.add_patch(Circle((0, 0), radius, facecolor="none", edgecolor="black", linewidth=1.0))
    return figure


def component_spectra_figure(spectra: Mapping[str, Values], *, title: str = "", unit: str = "uK_CMB^2") -> Figure:
    """Draw D_l of each component, as the paper's figure 3b.

    Args:
        spectra: name -> `(lmax + 1,)`: C_l.
        title: of the figure, such as the frequency.
        unit: of the spectra.

    Returns:
        The figure, as wide as a journal's column.
    """
    _require(spectra)
    styles = method_styles(list(spectra))
    head = 0.36 + LINE_INCH * legend_rows(list(spectra))[1]
    total = head + 2.6 + 0.42
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, total), facecolor="white")
    figure.text(0.5, 1 - 0.14 / total, title, ha="center", va="center", fontsize=TEXT_SIZE + 1)
    axes = figure.add_axes((0.145, 0.42 / total, 0.83, 2.6 / total))
    for name, cl in spectra.items():
        ell, values = np.arange(2, len(cl)), d_ell(cl)[2:]
        shown = values > 0
        (line,) = axes.plot(ell[shown], values[shown], color=styles[name].colour, linewidth=1.2, label=name)
        line.set_linestyle(styles[name].dashes)
        line.set(marker=styles[name].marker, markevery=0.12, markersize=3.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in", top=True, right=True)
    axes.grid(color="0.93", linewidth=0.6)
    axes.set_xlabel(r"multipole $\ell$", fontsize=TEXT_SIZE)
    axes.set_ylabel(rf"$\mathcal{{D}}_\ell$  [{UNIT_LABELS.get(unit, unit)}]", fontsize=TEXT_SIZE)
    legend_above(figure, axes.lines, list(spectra), 0.29)
    return figure


def _require(things: Mapping[str, Values]) -> None:
    if not things:
        message = "there is nothing to draw: name one component or channel at least"
        raise FigureError(message)


def _patch_scale(values: Values, centre_deg: Place, size_deg: float) -> Scale:
    """Return a linear scale for a patch: symmetric where it has both signs, else from its lowest to its highest.

    Colours that part in the middle are for what has two signs; those of the other scale grow brighter all the way.
    """
    patch = values[patch_pixels(hp.npix2nside(values.size), centre_deg, size_deg)]
    low, high = (float(x) for x in np.percentile(patch, (0.5, 99.9)))
    if low < 0 < high and -low > 0.2 * high:
        return symmetric_scale(round_to(max(-low, high), 2))
    low, high = round_to(low, 2) if abs(low) > 1e-3 * abs(high) else 0.0, round_to(high, 2)
    if high <= low:
        high = low + (abs(low) or 1.0)
    return Scale(norm=Normalize(low, high), colours=SEQUENTIAL, ticks=(low, high))


def _patches(
    panels: list[tuple[str, Values, Scale]], title: str, columns: int, centre_deg: Place, size_deg: float, unit: str
) -> Figure:
    """Draw patches in rows, each with its bar; the unit stands at every bar."""
    _require({name: values for name, values, _ in panels})
    width = COLUMN_WIDTH_INCH if columns <= 2 else PAGE_WIDTH_INCH
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    cell = width / max(columns, 2)
    side, head, step = 0.9 * cell, 0.34, 0.24 + 0.9 * cell + 0.36
    total = head + rows * step
    figure = Figure(figsize=(width, total), facecolor="white")
    figure.text(0.5, 1 - 0.16 / total, title, ha="center", va="center", fontsize=TEXT_SIZE)
    for place, (name, values, scale) in enumerate(panels):
        row, column = divmod(place, columns)
        left, bottom = (column + 0.05) * cell, total - head - row * step - 0.24 - side
        axes = figure.add_axes((left / width, bottom / total, side / width, side / total))
        _draw_patch(axes, values, scale, centre_deg, size_deg)
        axes.set_title(name, fontsize=SMALL_TEXT_SIZE, pad=3)
        bar = figure.add_axes(((left + 0.1 * side) / width, (bottom - 0.12) / total, 0.58 * side / width, 0.07 / total))
        figure.colorbar(axes.images[0], cax=bar, orientation="horizontal", ticks=scale.ticks)
        bar.set_xticks(scale.ticks, [tick_label(tick) for tick in scale.ticks], fontsize=SMALL_TEXT_SIZE)
        bar.tick_params(length=2, pad=1.5, width=0.5)
        label = UNIT_LABELS.get(unit, unit)
        bar.text(1.12, 0.5, label, transform=bar.transAxes, va="center", ha="left", fontsize=SMALL_TEXT_SIZE)
    return figure


def _draw_patch(axes: Axes, values: Values, scale: Scale, centre_deg: Place, size_deg: float) -> None:
    half = size_deg / 2
    pixels = patch_pixels(hp.npix2nside(values.size), centre_deg, size_deg)
    axes.imshow(values[pixels], norm=scale.norm, cmap=scale.colours, extent=(-half, half, -half, half))
    axes.set_xticks([])
    axes.set_yticks([])
