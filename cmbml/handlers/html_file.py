"""Pages for browsers."""

from pathlib import Path
from typing import ClassVar

from cmbml.core.handler import AssetHandler, Stamp

START = "<!DOCTYPE html>\n"
STAMPED = "<!-- cmbml "


class HtmlFile(AssetHandler[str]):
    """HTML in UTF-8; the second line is a comment that says which stage made it."""

    suffix: ClassVar[str] = ".html"

    def read(self, path: Path) -> str:
        """Read the page as it was before it was stamped.

        Raises:
            ValueError: it is not UTF-8, or does not start as HTML does.
        """
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"{path} is not UTF-8 text: {error}"
            raise ValueError(message) from error
        if not text.startswith(START):
            message = f"{path} does not start with {START.strip()!r}, so it is no HTML page of this project"
            raise ValueError(message)
        body = text.removeprefix(START)
        return START + (body.partition("\n")[2] if body.startswith(STAMPED) else body)

    def write(self, path: Path, value: str, stamp: Stamp) -> None:
        """Write the page with its stamp; the bytes depend on both alone.

        Raises:
            ValueError: the page does not start as HTML does.
        """
        if not value.startswith(START):
            message = f"a page must start with {START.strip()!r} and a new line, not with {value[:30]!r}"
            raise ValueError(message)
        mark = f"{STAMPED}{stamp.stage} {stamp.fingerprint[:32]} -->\n"
        path.write_bytes((START + mark + value.removeprefix(START)).encode("utf-8"))
