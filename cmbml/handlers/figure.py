"""Figures as PNG and PDF."""

from pathlib import Path
from typing import ClassVar, Never

from matplotlib.figure import Figure

from cmbml.core.handler import AssetHandler, Stamp


class PngFigure(AssetHandler[Figure]):
    """A matplotlib figure; it is written, and read by people."""

    suffix: ClassVar[str] = ".png"

    def read(self, path: Path) -> Figure:
        """Refuse: a picture cannot become a figure again.

        Raises:
            TypeError: always.
        """
        _refuse(path)

    def write(self, path: Path, value: Figure, stamp: Stamp) -> None:
        """Write the figure at 150 dots per inch; the bytes depend on the figure and the stamp alone."""
        value.savefig(path, dpi=150, format="png", metadata={"Software": None, "Description": _label(stamp)})


class PdfFigure(AssetHandler[Figure]):
    """A matplotlib figure for print; it is written, and read by people."""

    suffix: ClassVar[str] = ".pdf"

    def read(self, path: Path) -> Figure:
        """Refuse: a picture cannot become a figure again.

        Raises:
            TypeError: always.
        """
        _refuse(path)

    def write(self, path: Path, value: Figure, stamp: Stamp) -> None:
        """Write lines and text as such, pictures at 300 dots per inch, without a date.

        The bytes depend on the figure and the stamp alone.
        """
        metadata = {"Creator": None, "Producer": None, "CreationDate": None, "Subject": _label(stamp)}
        value.savefig(path, dpi=300, format="pdf", metadata=metadata)


def _label(stamp: Stamp) -> str:
    return f"cmbml {stamp.stage} {stamp.fingerprint[:32]}"


def _refuse(path: Path) -> Never:
    message = f"{path} is a picture; it can be looked at, not read back"
    raise TypeError(message)
