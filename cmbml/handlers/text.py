"""Plain text."""

from pathlib import Path

from cmbml.core.handler import AssetHandler, Stamp


class TextFile(AssetHandler[str]):
    """A text in UTF-8.

    Args:
        suffix: of the file, such as `.csv`.
    """

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix  # type: ignore[misc]

    def read(self, path: Path) -> str:
        """Read the text."""
        return path.read_text(encoding="utf-8")

    def write(self, path: Path, value: str, stamp: Stamp) -> None:  # noqa: ARG002
        """Write the text as it is; what it is may have no place for a stamp."""
        path.write_text(value, encoding="utf-8")
