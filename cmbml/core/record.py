"""The record of a finished unit: written last, and all that counts as finished."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from cmbml.core.integrity import Integrity, sha256_of


@dataclass(frozen=True)
class Output:
    """One file that a unit wrote.

    Attributes:
        path: relative to the dataset.
        size: in bytes.
        sha256: of its bytes.
        asset: name of what it is.
        modified: when it was written, in ns; a copy may have another time.
    """

    path: str
    size: int
    sha256: str
    asset: str = ""
    modified: int = 0

    def fault(self, root: Path, integrity: Integrity = "size") -> str:
        """Say what is wrong with the file, if anything is.

        Args:
            root: the dataset's folder.
            integrity: `size` believes a file that has the size and the time of modification that it was written with,
                and looks into any other; `hash` looks into each.

        Raises:
            OSError: it cannot be read.
        """
        try:
            status = (root / self.path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return "is missing"
        if not S_ISREG(status.st_mode):
            return "is no file"
        if status.st_size != self.size:
            cut = "is cut short: it" if status.st_size < self.size else "is altered: it"
            return f"{cut} has {status.st_size} bytes, and was written with {self.size}"
        if integrity == "size" and status.st_mtime_ns == self.modified:
            return ""
        return "" if sha256_of(root / self.path) == self.sha256 else "is altered: its SHA-256 is not the recorded one"


@dataclass(frozen=True)
class Source:
    """What a unit has read of one stage.

    Attributes:
        stage: its name.
        assets: the names of what was read.
        units: name of each unit that made it -> what it had made, as `Record.shown` tells it.
    """

    stage: str
    assets: tuple[str, ...]
    units: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """What a finished unit leaves behind.

    Attributes:
        fingerprint: of the class, settings, point, seed and inputs it was made with.
        outputs: the files.
        seconds: wall time of the work.
        host: name of the machine.
        sources: what it was made from; None in records of versions that did not say.
        settings: the same for all units made with the same settings; empty where these depend on the point.
    """

    fingerprint: str
    outputs: tuple[Output, ...]
    seconds: float
    host: str
    sources: tuple[Source, ...] | None = None
    settings: str = ""

    def write(self, path: Path) -> None:
        """Write the record so that it is there whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """Read a record; None where there is none, or none that makes sense."""
        try:
            data = json.loads(path.read_bytes())
            return cls(
                data["fingerprint"],
                tuple(Output(**output) for output in data["outputs"]),
                float(data["seconds"]),
                str(data["host"]),
                _sources(data.get("sources")),
                str(data.get("settings", "")),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def shown(self, assets: Collection[str]) -> str:
        """Return what the unit shows to whoever reads some of its assets: the same only if it was made alike.

        It holds the files' bytes, for what a training gives may differ where the fingerprint does not.
        """
        seen = sorted((output.path, output.sha256) for output in self.outputs if output.asset in assets)
        text = "|".join([self.fingerprint, *(digest for _, digest in seen)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sources(found: Any) -> tuple[Source, ...] | None:  # noqa: ANN401
    if found is None:
        return None
    return tuple(Source(entry["stage"], tuple(entry["assets"]), dict(entry["units"])) for entry in found)


def write_whole(path: Path, text: str) -> None:
    """Write a text so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        part.write_text(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
