"""Whether error bars are those of the errors: coverage by brightness and multipole, PITs, and what they are worth."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbml.figures.palette import MethodStyle, method_styles
from cmbml.figures.style import GREY, PAGE_WIDTH_INCH, SMALL_TEXT_SIZE, TEXT_SIZE

Row = tuple[str, str, str, Mapping[str, float]]
"""Method, footing, region, and metric -> mean over simulations."""
WANTED = {"coverage68": 68.0, "coverage95": 95.0}


def error_bars_figure(rows: Sequence[Row], methods: Sequence[str], right: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw the error bars of methods.

    Args:
        rows: of `cmbml.metrics.uncertainty.error_bar_rows`.
        methods: of the comparison, in the order of drawing; the place gives the colour.
        right: `coverage68` and `coverage95` -> between which parts coverage is called right; shaded.

    Returns:
        A page-wide figure of four panels: coverage in classes of dust brightness, the histogram of PITs of all pixels,
        coverage in bins of l (where methods tell spectra), and by how much the CRPS is below that of a constant sigma.
    """
    figure = Figure(figsize=(PAGE_WIDTH_INCH, 6.2), layout="constrained")
    (by_class, pit), (by_ell, worth) = figure.subplots(2, 2)
    styles = method_styles(methods)
    shown = [method for method in methods if any(row[0] == method for row in rows)]
    pixels = [row for row in rows if not row[2].startswith("l ") and row[2] != "all bins"]
    spectra = [row for row in rows if row[2].startswith("l ")]
    for method in shown:
        own = [row for row in pixels if row[0] == method]
        dust = [row for row in own if row[2].startswith("dust")] or own
        names = [row[2].removeprefix("dust ") for row in dust]
        _coverage(by_class, np.arange(len(dust)), dust, method, styles[method])
        by_class.set_xticks(np.arange(len(dust)), names)
        skill = [100 * (1 - row[3]["crps"] / row[3]["crps_constant"]) for row in dust]
        worth.plot(np.arange(len(dust)), skill, "-", marker=styles[method].marker, color=styles[method].colour)
        worth.set_xticks(np.arange(len(dust)), names)
        heights = [100 * own[0][3][f"pit{k}"] for k in range(10)]
        pit.stairs(heights, np.linspace(0, 1, 11), color=styles[method].colour, linewidth=1.4)
        bins = [row for row in spectra if row[0] == method]
        middle = [np.mean([float(edge) for edge in row[2].removeprefix("l ").split("-")]) for row in bins]
        _coverage(by_ell, np.array(middle), bins, "", styles[method])
    pit.axhline(10, color=GREY, linestyle="--", linewidth=1)
    pit.set(xlabel="PIT of the truth", ylabel="pixels (%)", xlim=(0, 1), ylim=(0, None))
    worth.axhline(0, color=GREY, linestyle="--", linewidth=1)
    by_brightness = any(row[2].startswith("dust") for row in pixels)
    label = "fifth of brightness, from faint to bright" if by_brightness else "region"
    worth.set(xlabel=label, ylabel="CRPS below that of a constant (%)")
    by_class.set(xlabel=label)
    by_ell.set(xlabel="multipole l")
    titles = (
        f"pixels, by {'brightness' if by_brightness else 'region'}: truths inside 68 % (filled) and 95 % (open)",
        "all pixels: where truths lie in their forecasts",
        "spectra of patches: truths inside 68 % (filled) and 95 % (open)",
        "pixels: what error bars are worth beside a constant sigma",
    )
    for axes, title in zip((by_class, pit, by_ell, worth), titles, strict=True):
        axes.set_title(title, fontsize=TEXT_SIZE)
        axes.tick_params(labelsize=SMALL_TEXT_SIZE)
    if not by_brightness:
        for axes in (by_class, worth):
            axes.tick_params(axis="x", labelrotation=30)
    for axes in (by_class, by_ell):
        for name, (low, high) in right.items():
            axes.axhspan(100 * low, 100 * high, color=GREY, alpha=0.2, linewidth=0)
            axes.axhline(WANTED[name], color=GREY, linestyle="--", linewidth=1)
        axes.set(ylabel="coverage (%)", ylim=(0, 102))
    if not spectra:
        by_ell.text(0.5, 0.5, "no method tells spectra", transform=by_ell.transAxes, ha="center", va="center")
        by_ell.set_xticks([])
    figure.legend(
        *by_class.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=4,
        fontsize=SMALL_TEXT_SIZE,
        frameon=False,
    )
    return figure


def _coverage(axes: Axes, places: np.ndarray, rows: Sequence[Row], label: str, style: MethodStyle) -> None:
    for name, face in (("coverage68", style.colour), ("coverage95", "white")):
        axes.plot(
            places,
            [100 * row[3][name] for row in rows],
            "-",
            marker=style.marker,
            color=style.colour,
            markerfacecolor=face,
            markersize=4.5,
            linewidth=1.1,
            label=label if label and name == "coverage68" else None,
        )
