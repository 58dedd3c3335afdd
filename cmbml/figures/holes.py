"""Figures of holes that were filled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.figures.results import FigureError
from cmbml.figures.style import GREY, planck_colours, round_to

Float = NDArray[np.float64]


@dataclass(frozen=True)
class FilledHole:
    """A hole, as it is and as it was filled.

    Attributes:
        title: which it is.
        truth: `(height, width)`, uK_CMB.
        known: the same shape, False in holes.
        filled: method -> what it made of the patch.
        sigmas: method -> standard deviation that it gives its error, of those that do.
    """

    title: str
    truth: Float
    known: NDArray[np.bool_]
    filled: Mapping[str, Float]
    sigmas: Mapping[str, Float] = field(default_factory=dict)


def filled_holes_figure(holes: Sequence[FilledHole], side_deg: float) -> Figure:
    """Draw, for each hole, a row of the truth, what is known and what every method made of it, and a row of errors.

    Where a method says how large its error is, a third row has that (the paper's figures 4, 5 and 6).

    Args:
        holes: one at least, filled by the same methods.
        side_deg: side of the patches, degrees.

    Raises:
        FigureError: there is no hole.
    """
    if not holes:
        message = "there is no hole to draw"
        raise FigureError(message)
    methods, half = list(holes[0].filled), side_deg / 2
    rows = 3 if any(hole.sigmas for hole in holes) else 2
    columns = len(methods) + 2
    width = 1.5 * columns + 1.2
    figure = Figure(figsize=(width, 1.6 * rows * len(holes) + 0.3), facecolor="white")
    grid = figure.add_gridspec(
        rows * len(holes),
        columns + 1,
        width_ratios=[1.0] * columns + [0.06],
        # Room for labels does not grow with the number of methods.
        left=0.5 / width,
        right=1 - 0.7 / width,
        top=0.97,
        bottom=0.03,
        wspace=0.08,
        hspace=0.22,
    )
    colours, shades = (of.with_extremes(bad=GREY) for of in (planck_colours(), mpl.colormaps["viridis"]))

    def show(row: int, images: Mapping[int, tuple[str, Float]], limits: tuple[float, float], scale: Colormap) -> None:
        """Draw the images of a row, by column, and one colour bar for all of them."""
        for column, (title, image) in images.items():
            panel = figure.add_subplot(grid[row, column])
            extent = (half, -half, -half, half)
            shown = panel.imshow(image, origin="lower", cmap=scale, vmin=limits[0], vmax=limits[1], extent=extent)
            panel.set_title(title, fontsize=7, pad=2)
            panel.tick_params(labelsize=6, labelbottom=False, labelleft=column == 0)
            if column == 0:
                panel.set_ylabel("degrees", fontsize=7)
        bar = figure.colorbar(shown, cax=figure.add_subplot(grid[row, columns]))
        bar.set_label("µK", fontsize=7)
        bar.ax.tick_params(labelsize=6)

    for number, hole in enumerate(holes):
        row = rows * number
        limit = round_to(float(np.abs(hole.truth).max()), 2)
        errors = {method: np.where(hole.known, np.nan, hole.filled[method] - hole.truth) for method in methods}
        worst = round_to(max(float(np.nanpercentile(np.abs(error), 99)) for error in errors.values()), 2) or 1.0
        images = {"truth": hole.truth, "known": np.where(hole.known, hole.truth, np.nan), **hole.filled}
        show(row, dict(enumerate(images.items())), (-limit, limit), colours)
        wrong = {
            column: (f"error, rms {np.sqrt(np.nanmean(error**2)):.0f} µK", error)
            for column, error in enumerate(errors.values(), 2)
        }
        show(row + 1, wrong, (-worst, worst), colours)
        told = {
            column: ("its sigma", np.where(hole.known, np.nan, hole.sigmas[method]))
            for column, method in enumerate(methods, 2)
            if method in hole.sigmas
        }
        if told:
            show(row + 2, told, (0.0, worst), shades)
        words = figure.add_subplot(grid[row + 1, :2])
        words.axis("off")
        words.text(0, 0.5, hole.title, fontsize=8, transform=words.transAxes)
    return figure
