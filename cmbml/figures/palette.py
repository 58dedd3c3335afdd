"""One look per method, the same in every figure, that colour-blind readers can tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from cmbml.figures.style import SMALL_TEXT_SIZE

COLUMN_WIDTH_INCH = 4.9  # printed at the 3.5 inches of a journal's column, the small text is 6 points high
LINE_INCH = 0.165  # height of a legend's line

# Okabe & Ito's colours without yellow, which white paper swallows, Paul Tol's indigo, and a brown.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#8B4513")
MARKERS = "osD^vPX*"
Dashes = Literal["-", "--", ":"]
DASHES: tuple[Dashes, ...] = ("-", "--", ":")


@dataclass(frozen=True)
class MethodStyle:
    """How one method is drawn: colour, marker and dashes each tell it from its neighbours.

    Attributes:
        colour: as `#RRGGBB`.
        marker: as matplotlib names it.
        dashes: the same.
    """

    colour: str
    marker: str
    dashes: Dashes


def method_styles(methods: Sequence[str]) -> dict[str, MethodStyle]:
    """Return a look for each method, by its place in the list: give the same list to every figure.

    The first eight differ in colour and marker; further ones take the colours again with other dashes and markers.

    Example:
        >>> method_styles(["nilc", "cmbnncs"])["cmbnncs"]
        MethodStyle(colour='#D55E00', marker='s', dashes='-')
    """
    number = len(COLOURS)
    return {
        method: MethodStyle(COLOURS[i % number], MARKERS[(i + i // number) % number], DASHES[i // number % len(DASHES)])
        for i, method in enumerate(methods)
    }


def legend_rows(labels: Sequence[str]) -> tuple[int, int]:
    """Return how many columns and rows a legend across a journal's column needs."""
    longest = max((len(label) for label in labels), default=1)
    columns = max(1, min(4, len(labels), int(72 / (longest + 8))))
    return columns, -(-len(labels) // columns)


def legend_above(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], top_inch: float) -> None:
    """Draw a legend that starts so many inches below the top of the figure, outside all axes."""
    columns, _ = legend_rows(labels)
    figure.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - top_inch / figure.get_figheight()),
        ncols=columns,
        fontsize=SMALL_TEXT_SIZE,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.3,
        columnspacing=1.2,
        handlelength=2.0,
    )
