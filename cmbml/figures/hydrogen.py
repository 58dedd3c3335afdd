"""Figures of hydrogen in velocity channels, and of the dust that it foretells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.figures.maps import mollweide
from cmbml.figures.palette import MethodStyle, method_styles
from cmbml.figures.style import GREY, SMALL_TEXT_SIZE, round_to

Float = NDArray[np.float64]
RASTER = 600


def channel_figure(
    velocities: Float, spectrum: Float, halves: Mapping[str, Float], maps: Mapping[str, Float], mask: Float
) -> Figure:
    """Draw the summed spectrum of many pointings, and maps below it (the paper's figure 1).

    Args:
        velocities: `(n_channel,)`, km/s.
        spectrum: `(n_channel,)`, summed over pointings outside the mask, K.
        halves: name -> the same of a part of the sky, brought to as many pointings.
        maps: title -> `(n_pix,)`, above zero where they are seen.
        mask: `(n_pix,)`, 1 keep.
    """
    figure = plt.figure(figsize=(8, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, len(maps), height_ratios=(1.1, 1))
    top = figure.add_subplot(grid[0, :])
    top.plot(velocities, spectrum, color="black", lw=1.8, label="all pointings")
    for number, (name, values) in enumerate(halves.items()):
        top.plot(velocities, values, color=f"C{number}", lw=1.0, label=name)
    half = (velocities[1] - velocities[0]) / 2 if len(velocities) > 1 else 0.0
    for edge in (velocities[0] - half, velocities[-1] + half):
        top.axvline(edge, color=GREY, ls=":")
    top.set_xlabel("velocity [km/s], local standard of rest")
    top.set_ylabel("summed brightness [K]")
    top.legend(fontsize=SMALL_TEXT_SIZE, frameon=False)
    for column, (title, values) in enumerate(maps.items()):
        panel = figure.add_subplot(grid[1, column])
        seen = values[(mask > 0) & (values > 0)]
        low, high = np.percentile(seen, (1, 99.5))
        raster = mollweide(np.where(mask > 0, values, np.nan), RASTER)
        colours = plt.get_cmap("viridis").with_extremes(bad="0.85")
        image = panel.imshow(np.ma.masked_invalid(raster), norm=LogNorm(low, high), cmap=colours)
        panel.set_axis_off()
        panel.set_title(title, fontsize=SMALL_TEXT_SIZE)
        bar = figure.colorbar(image, ax=panel, orientation="horizontal", shrink=0.7, pad=0.02)
        ticks = [round_to(value, 2) for value in np.geomspace(low * 1.1, high / 1.1, 3)]
        bar.set_ticks(ticks, labels=[f"{value:g}" for value in ticks], minor=False)
        bar.ax.minorticks_off()
    return figure


@dataclass(frozen=True)
class Band:
    """A curve with its error.

    Attributes:
        mean: `(n_bin,)`.
        sigma: `(n_bin,)`, standard deviation of that.
    """

    mean: Float
    sigma: Float


def correlation_figure(ell: Float, panels: Mapping[str, Mapping[str, Band]], reference: str) -> Figure:
    """Draw the mean correlation by multipole, a panel for each half of the sky (figures 5 and 7).

    Args:
        ell: `(n_bin,)`.
        panels: title -> method -> curve; bands are one standard deviation of the mean.
        reference: of these, what is drawn on top of all, in black.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.6 * len(panels), 3.9), sharey=True, squeeze=False, layout="constrained"
    )
    styles = method_styles(sorted({method for methods in panels.values() for method in methods} - {reference}))
    styles[reference] = MethodStyle("black", "", ":")
    lowest = 1.0
    for panel, (title, methods) in zip(axes[0], panels.items(), strict=True):
        for method, band in methods.items():
            style = styles[method]
            panel.plot(
                ell,
                band.mean,
                color=style.colour,
                ls=style.dashes,
                label=method,
                zorder=3 if method == reference else 2,
            )
            panel.fill_between(
                ell, band.mean - band.sigma, band.mean + band.sigma, color=style.colour, alpha=0.18, lw=0
            )
            lowest = min(lowest, float((band.mean - band.sigma).min()))
        panel.set_title(title, fontsize=10)
        panel.set_xlabel(r"multipole $\ell$")
    axes[0, 0].set_ylabel(r"mean $r(\ell)$ of Fourier modes")
    axes[0, 0].set_ylim(max(lowest - 0.03, -0.2), 1)
    axes[0, -1].legend(fontsize=SMALL_TEXT_SIZE, frameon=False)
    return figure


def wins_figure(
    reference: Float, methods: Mapping[str, Float], wins: Mapping[str, Sequence[int]], bins: Sequence[str], name: str
) -> Figure:
    """Draw the correlation of each cutout against that of the reference (figure 4).

    Args:
        reference: `(n_cutout, n_bin)`.
        methods: method -> the same.
        wins: method -> in how many cutouts it is higher, of each bin.
        bins: what each bin is called.
        name: of the reference.
    """
    figure, axes = plt.subplots(1, len(bins), figsize=(4.6 * len(bins), 4.6), squeeze=False, layout="constrained")
    styles = method_styles(sorted(methods))
    for number, (panel, label) in enumerate(zip(axes[0], bins, strict=True)):
        every = [reference[:, number], *(found[:, number] for found in methods.values())]
        low = min(float(values.min()) for values in every)
        panel.plot((low, 1), (low, 1), color=GREY, ls="--", lw=1)
        for method, found in methods.items():
            panel.scatter(
                reference[:, number],
                found[:, number],
                s=9,
                color=styles[method].colour,
                marker=styles[method].marker,
                alpha=0.5,
                lw=0,
                label=f"{method}: higher in {wins[method][number]} of {len(found)}",
            )
        panel.set_xlabel(f"{label}, {name}")
        panel.set_ylabel(f"{label}, other methods")
        panel.set_aspect("equal")
        panel.legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="lower right")
    return figure


def cutouts_figure(rows: Mapping[str, Mapping[str, NDArray[np.floating]]], side_deg: float) -> Figure:
    """Draw the same cutouts of the target and of every method's answer, each over its highest value (figure 3).

    Args:
        rows: title of a cutout -> title of an image -> `(height, width)`, masked pixels zero.
        side_deg: side of the cutouts, degrees.
    """
    columns = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.2 * columns, 2.35 * len(rows)), squeeze=False, layout="constrained"
    )
    extent = (side_deg / 2, -side_deg / 2, -side_deg / 2, side_deg / 2)
    image = None
    for line, (title, images) in zip(axes, rows.items(), strict=True):
        for panel, (name, values) in zip(line, images.items(), strict=False):
            image = panel.imshow(
                values / (np.abs(values).max() or 1.0), origin="lower", extent=extent, cmap="viridis", vmin=0, vmax=1
            )
            panel.set_title(name, fontsize=SMALL_TEXT_SIZE)
            panel.tick_params(labelsize=6)
        line[0].set_ylabel(f"{title}\n[deg]", fontsize=SMALL_TEXT_SIZE)
    if image is not None:
        figure.colorbar(image, ax=axes, shrink=0.6, label="over the highest value")
    return figure
