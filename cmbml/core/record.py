"""The record of a finished unit: written last, and all that counts as finished."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Output:
    """One file that a unit wrote: its path relative to the dataset, its size in bytes, its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """What a finished unit leaves behind.

    Attributes:
        fingerprint: of the class, settings, point, seed and inputs it was made with.
        outputs: the files.
        seconds: wall time of the work.
        host: name of the machine.
    """

    fingerprint: str
    outputs: tuple[Output, ...]
    seconds: float
    host: str

    def write(self, path: Path) -> None:
        """Write the record so that it is there whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        try:
            part.write_text(json.dumps(asdict(self), indent=1))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """Read a record; None where there is none, or none that makes sense."""
        try:
            data = json.loads(path.read_bytes())
            outputs = tuple(Output(**output) for output in data["outputs"])
            return cls(data["fingerprint"], outputs, float(data["seconds"]), str(data["host"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_complete(self, root: Path, sizes: Mapping[str, int] | None = None) -> bool:
        """Say whether every file is still there with the size that it had.

        Args:
            root: the dataset's folder.
            sizes: sizes of files already looked up, by relative path; missing ones are looked up on disk.
        """
        return all(self._size(root, output.path, sizes) == output.size for output in self.outputs)

    @staticmethod
    def _size(root: Path, path: str, sizes: Mapping[str, int] | None) -> int:
        if sizes is not None and path in sizes:
            return sizes[path]
        try:
            return (root / path).stat().st_size
        except OSError:
            return -1
