"""Whether files still hold what was written into them."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Integrity = Literal["hash", "size"]
INTEGRITY = get_args(Integrity)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read once per process as long as the system tells of no change.

    Raises:
        OSError: it cannot be read.
    """
    status = path.stat()
    # The time of change cannot be set back, as that of modification can.
    return _digest(str(path), (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@cache
def _digest(path: str, state: tuple[int, ...]) -> str:  # noqa: ARG001
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
