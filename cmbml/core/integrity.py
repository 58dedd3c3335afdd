"""Whether files still hold what was written into them."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Integrity = Literal["hash", "size"]
INTEGRITY = get_args(Integrity)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read once per process as long as its size and its time of modification stay.

    Raises:
        OSError: it cannot be read.
    """
    status = path.stat()
    return _digest(str(path), status.st_size, status.st_mtime_ns)


@cache
def _digest(path: str, size: int, modified: int) -> str:  # noqa: ARG001
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
