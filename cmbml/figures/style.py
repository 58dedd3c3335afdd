"""What all figures share: sizes, units in words, colours and colour scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.colors import AsinhNorm, Colormap, ListedColormap, LogNorm, Normalize
from numpy.typing import NDArray

PAGE_WIDTH_INCH = 10.0  # printed at the 7.1 inches of a journal's page, the small text is 6 points high
TEXT_SIZE = 9.0
SMALL_TEXT_SIZE = 8.0
GREY = "0.55"
LINEAR_RANGE_UK = 100.0
"""The CMB's own fluctuations: below them, an arcsinh scale is about linear."""
PLANCK_ZERO = 0.3
"""Where Planck's colours for frequency maps have zero: a third of the way up, as -10^3 ... 10^7 uK has it there."""
WIDE = 20.0
"""Ratio of highest to lowest from which a logarithmic scale shows more than a linear one."""
SEQUENTIAL = mpl.colormaps["viridis"]
"""Colours for what is never negative."""
UNIT_LABELS: Mapping[str, str] = {"uK_CMB": r"$\mu\mathrm{K_{CMB}}$", "uK_CMB^2": r"$\mu\mathrm{K}^2_{\mathrm{CMB}}$"}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How numbers become colours.

    Attributes:
        norm: number to 0 ... 1.
        colours: 0 ... 1 to colour.
        ticks: numbers that the colour bar names; none for no bar.
    """

    norm: Normalize
    colours: Colormap
    ticks: tuple[float, ...] = ()


@lru_cache(maxsize=2)
def planck_colours(kind: Literal["planck", "planck_log"] = "planck") -> ListedColormap:
    """Return the colours of Planck's maps, of the CMB or (`planck_log`) of single frequencies, as healpy ships them."""
    with as_file(files("healpy") / "data" / f"{kind}_cmap.dat") as path:
        return ListedColormap(np.loadtxt(path) / 255, name=kind)


def symmetric_scale(limit: float) -> Scale:
    """Return a linear scale from -limit to limit."""
    return Scale(norm=Normalize(-limit, limit), colours=planck_colours(), ticks=(-limit, 0.0, limit))


def bright_scale(values: NDArray[np.floating[Any]]) -> Scale:
    """Return a scale that is linear near zero and logarithmic far above it, like Planck's for single frequencies.

    Args:
        values: what is to be shown, uK_CMB. The linear part ends a decade or less below the typical value, and not
            below the CMB's own fluctuations; the scale ends at the power of ten above all but the highest thousandth.
    """
    typical, top = (float(value) for value in np.percentile(np.abs(values), (50, 99.9)))
    first = int(np.floor(np.log10(max(typical, 10 * LINEAR_RANGE_UK)))) - 1
    last = max(int(np.ceil(np.log10(max(top, 1.0)))), first + 1)
    linear, share = 10.0**first, PLANCK_ZERO / (1 - PLANCK_ZERO)
    norm = AsinhNorm(linear, -linear * np.sinh(share * np.arcsinh(10.0 ** (last - first))), 10.0**last)
    step = 1 + (last - first - 1) // 3
    ticks = (0.0, *(10.0**n for n in range(last, first, -step)[::-1]))
    return Scale(norm=norm, colours=planck_colours("planck_log"), ticks=ticks)


def amplitude_scale(values: NDArray[np.floating[Any]]) -> Scale:
    """Return a scale for numbers that are never negative: logarithmic where they span more than an order or so.

    Args:
        values: what is to be shown; the lowest and the highest hundredth share a colour with their neighbours.
    """
    low, high = (round_to(float(value), 2) for value in np.percentile(values, (1, 99)))
    colours = SEQUENTIAL
    if 0 < WIDE * low < high:
        decades = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
        return Scale(norm=LogNorm(low, high), colours=colours, ticks=tuple(10.0**n for n in decades))
    if high <= low:
        low, high = 0.0, 2 * low or 1.0
    return Scale(norm=Normalize(low, high), colours=colours, ticks=(low, high))


def mask_scale() -> Scale:
    """Return grey for what a mask leaves out, and a pale tone for what it keeps."""
    return Scale(norm=Normalize(0, 1), colours=ListedColormap([GREY, "lightsteelblue"]))


def round_to(value: float, digits: int) -> float:
    """Round to a number of significant digits.

    Example:
        >>> round_to(123.4, 2), round_to(0.0, 2)
        (120.0, 0.0)
    """
    return float(f"{value:.{digits - 1}e}")


def tick_label(value: float) -> str:
    """Write a number briefly.

    Example:
        >>> tick_label(-300.0), tick_label(1e5), tick_label(0.25)
        ('−300', '$10^{5}$', '0.25')
    """
    exponent = np.log10(abs(value)) if value else 0.0
    if exponent >= 3 and exponent == round(exponent):
        return f"$10^{{{exponent:.0f}}}$" if value > 0 else f"$-10^{{{exponent:.0f}}}$"
    return (f"{value:.1e}" if exponent >= 5 else f"{value:.4g}").replace("-", "−")


def frequency_colours(freqs_ghz: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """Return a colour for each frequency, from dark blue (low) to orange (high), in the order of frequency."""
    ranks = np.argsort(np.argsort(freqs_ghz)) / max(len(freqs_ghz) - 1, 1)
    return [mpl.colormaps["plasma"](0.85 * rank) for rank in ranks]


def channel_label(name: str, freq_ghz: float) -> str:
    """Say which channel it is, and its frequency where the name does not give it.

    Example:
        >>> channel_label("30", 28.4), channel_label("40", 40.0)
        ('30 (28.4 GHz)', '40 GHz')
    """
    return f"{name} GHz" if name == f"{freq_ghz:g}" else f"{name} ({freq_ghz:.4g} GHz)"
