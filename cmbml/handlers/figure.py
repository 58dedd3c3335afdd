"""Figures as PNG."""

from pathlib import Path
from typing import ClassVar

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
        message = f"{path} is a picture; it can be looked at, not read back"
        raise TypeError(message)

    def write(self, path: Path, value: Figure, stamp: Stamp) -> None:
        """Write the figure at 150 dots per inch; the bytes depend on the figure and the stamp alone."""
        label = f"cmbml {stamp.stage} {stamp.fingerprint[:32]}"
        value.savefig(path, dpi=150, metadata={"Software": None, "Description": label})
