"""Plain text."""

import gzip
from pathlib import Path

from cmbml.core.handler import AssetHandler, Stamp


class TextFile(AssetHandler[str]):
    """A text in UTF-8, compressed if its suffix ends in `.gz`.

    Args:
        suffix: of the file, such as `.csv`.
    """

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix  # type: ignore[misc]

    def read(self, path: Path) -> str:
        """Read the text."""
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")

    def write(self, path: Path, value: str, stamp: Stamp) -> None:  # noqa: ARG002
        """Write the text as it is; what it is may have no place for a stamp."""
        content = value.encode("utf-8")
        # Without a time, so that the same text gives the same bytes.
        path.write_bytes(gzip.compress(content, mtime=0) if self.suffix.endswith(".gz") else content)
