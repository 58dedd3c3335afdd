"""Angular power spectra of one simulation, and of what it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from cmbml.figures.style import PAGE_WIDTH_INCH, SMALL_TEXT_SIZE, TEXT_SIZE, UNIT_LABELS
from cmbml.sky.harmonics import analyse, power
from cmbml.sky.spectra import bin_spectrum, d_ell

Values = NDArray[np.floating[Any]]
Colour = str | tuple[float, float, float, float]

ACCURACY, ITERATIONS = 1e-3, 1  # spectra are then right to some 0.3 % at every multipole: less than a line is wide
FAINTEST = 1e-5  # of the theory; what lies below is not drawn
MULTIPOLE_MARKS = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a figure.

    Attributes:
        label: in the legend.
        cl: `(n_comp, lmax + 1)`, uK_CMB^2: C_l of T; or of T, E, B.
        colour: of the line.
        dashes: `-`, `--` or `:`.
    """

    label: str
    cl: Values
    colour: Colour
    dashes: str = "-"


def pseudo_spectra(maps: Values, weight: Values, lmax: int, threads: int = 1) -> NDArray[np.float64]:
    """Return spectra of maps times a mask, over the mean squared mask: right on average where spectra are smooth.

    The mean of I inside the mask is taken off first, so that it leaks nowhere. Neither the beam nor the mixing of
    multipoles, and of E and B, is corrected for (Hivon et al. 2002, astro-ph/0105302).

    Args:
        maps: `(n_map, n_field, n_pix)`, in any unit: I, or I, Q, U.
        weight: `(n_pix,)`, between 0 and 1.
        lmax: highest multipole.
        threads: CPU threads.

    Returns:
        `(n_map, n_comp, lmax + 1)`: C_l of T; or of T, E, B.
    """
    out = []
    for fields in maps:
        masked = np.array(fields, dtype=np.float32)
        masked[0] -= np.average(fields[0], weights=weight)
        masked *= weight
        out.append(power(analyse(masked, lmax, threads, accuracy=ACCURACY, max_iterations=ITERATIONS)))
    return np.stack(out) / np.mean(np.square(weight, dtype=np.float64))


def log_bins(lmax: int, per_decade: int = 24) -> NDArray[np.int64]:
    """Return the edges of bins that grow with the multipole, from l = 2 to `lmax`.

    Example:
        >>> log_bins(12, per_decade=8).tolist()
        [2, 3, 4, 6, 8, 10, 13]
    """
    number = max(round(per_decade * np.log10((lmax + 1) / 2)), 1)
    edges: NDArray[np.int64] = np.unique(np.round(np.geomspace(2, lmax + 1, number + 1)).astype(np.int64))
    return edges


def spectra_figure(title: str, theory: Mapping[str, Values], truth: Curve, curves: Sequence[Curve]) -> Figure:
    """Draw D_l = l (l + 1) C_l / 2 pi of everything, and below it how far the realised CMB is from the theory.

    Args:
        title: of the whole figure.
        theory: `TT`, and `EE` for a second column: `(lmax + 1,)`, uK_CMB^2.
        truth: the realised CMB of the full sky.
        curves: whatever else is to be seen.

    Returns:
        The figure.
    """
    edges = log_bins(truth.cl.shape[-1] - 1)
    columns = len(theory)
    width = PAGE_WIDTH_INCH if columns > 1 else 0.75 * PAGE_WIDTH_INCH
    figure = Figure(figsize=(width, 0.56 * PAGE_WIDTH_INCH), facecolor="white")
    figure.suptitle(title, fontsize=TEXT_SIZE + 1, x=0.5, y=0.975)
    margin = 1.75 / width
    grid = figure.add_gridspec(
        2, columns, height_ratios=(4, 1), left=0.72 / width, right=1 - margin, bottom=0.1, top=0.87, hspace=0.06
    )
    for column, (name, values) in enumerate(theory.items()):
        upper, lower = figure.add_subplot(grid[0, column]), figure.add_subplot(grid[1, column])
        _draw_spectra(upper, name, values, [truth, *curves], edges, column)
        _draw_ratio(lower, values, truth.cl[column], edges)
        if column == 0:
            unit = UNIT_LABELS["uK_CMB^2"]
            upper.set_ylabel(rf"$\mathcal{{D}}_\ell = \ell(\ell+1)\,C_\ell/2\pi$  [{unit}]", fontsize=TEXT_SIZE)
            lower.set_ylabel("CMB /\ntheory", fontsize=SMALL_TEXT_SIZE)
    lines, labels = figure.axes[0].get_legend_handles_labels()
    anchor = (1 - margin + 0.1 / width, 0.87)
    figure.legend(lines, labels, loc="upper left", bbox_to_anchor=anchor, fontsize=SMALL_TEXT_SIZE, frameon=False)
    return figure


def _draw_spectra(
    axes: Axes, name: str, theory: Values, curves: Sequence[Curve], edges: NDArray[np.int64], column: int
) -> None:
    lmax = edges[-1] - 1
    ell = np.arange(lmax + 1)
    centres = bin_spectrum(ell, edges)
    axes.loglog(ell[2:], d_ell(theory)[2 : lmax + 1], color="0.7", linewidth=4, label="theory", zorder=1)
    for i, curve in enumerate(curves):
        values = bin_spectrum(d_ell(curve.cl[column][: lmax + 1]), edges)
        shown = values > 0
        if i == 0:
            axes.plot(centres, values, "o", color=curve.colour, markersize=3, label=curve.label, zorder=4)
        elif shown.any():
            (line,) = axes.plot(centres[shown], values[shown], linestyle=curve.dashes, linewidth=1.2, zorder=3)
            line.set(color=curve.colour, label=curve.label)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], FAINTEST * d_ell(theory)[2 : lmax + 1].min()))
    axes.set_title(name, loc="left", fontsize=TEXT_SIZE + 1, pad=4)
    _mark_multipoles(axes, lmax)
    axes.tick_params(which="both", labelbottom=False)
    axes.grid(color="0.93", linewidth=0.6)


def _draw_ratio(axes: Axes, theory: Values, truth: Values, edges: NDArray[np.int64]) -> None:
    """Draw realised over theory with the scatter that 2 l + 1 modes per multipole leave."""
    ell = np.arange(edges[-1])
    centres, expected = bin_spectrum(ell, edges), bin_spectrum(d_ell(theory)[: edges[-1]], edges)
    modes = edges[1:] ** 2 - edges[:-1] ** 2
    scatter = np.sqrt(2 / modes)
    axes.fill_between(centres, 1 - scatter, 1 + scatter, color="0.88", linewidth=0, label="cosmic variance")
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.plot(centres, bin_spectrum(d_ell(truth)[: edges[-1]], edges) / expected, "o", color="black", markersize=2.5)
    _mark_multipoles(axes, edges[-1] - 1)
    axes.set_ylim(0, 2)
    axes.set_xlabel(r"multipole $\ell$", fontsize=TEXT_SIZE)


def _mark_multipoles(axes: Axes, lmax: int) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1.8, lmax * 1.06)
    marks = [mark for mark in MULTIPOLE_MARKS if mark <= lmax]
    axes.set_xticks(marks, [str(mark) for mark in marks])
    axes.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in", top=True, right=True)
    axes.xaxis.set_minor_formatter(NullFormatter())
