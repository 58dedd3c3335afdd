"""The files of one dataset: every write whole or not at all, every read with a name to blame."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmbml.core.asset import Asset
from cmbml.core.cache import ReadCache
from cmbml.core.errors import BadFileError, MissingAssetError, StorageError
from cmbml.core.handler import Stamp
from cmbml.core.integrity import Integrity
from cmbml.core.record import Output

_cache = ReadCache()


@dataclass(frozen=True)
class Store:
    """Read and write the files below one folder.

    Attributes:
        root: the dataset's folder.
        integrity: `hash` compares what is read with what was written; `size` believes its size and time.
    """

    root: Path
    integrity: Integrity = "hash"

    def read(
        self,
        asset: Asset[Any],
        path: str,
        maker: str,
        shared: bool = False,
        written: Output | None = None,
        command: str = "",
    ) -> Any:  # noqa: ANN401
        """Read one file.

        Args:
            asset: what it is.
            path: relative to the root.
            maker: name of the stage that makes it, for the message.
            shared: whether other units will read it too, so that it is worth keeping in memory.
            written: what is recorded of it.
            command: what makes it, for the message.

        Raises:
            MissingAssetError: it is not there.
            BadFileError: it is not what was written, or not what its format promises.
            StorageError: the system refuses to read it, which says nothing of what stands in it.
        """
        full = self.root / path
        try:
            if written is not None and full.exists() and (fault := written.fault(self.root, self.integrity)):
                again = f"run: {command}" if command else f"run again, stage '{maker}' will remake it"
                message = f"{full} {fault}; delete it and {again}"
                raise BadFileError(message)
            return _cache.read(full, asset.handler.read) if shared else asset.handler.read(full)
        except FileNotFoundError:
            message = f"{full} is missing: stage '{maker}' makes it; run that stage again"
            raise MissingAssetError(message) from None
        except (ValueError, OSError, EOFError, KeyError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                message = f"{full} cannot be read: {error.strerror}; the file itself may be whole"
                raise StorageError(message) from error
            message = (
                f"{full} cannot be read as {asset}: {error}; delete it and run again, stage '{maker}' will remake it"
            )
            raise BadFileError(message) from error

    def write(self, asset: Asset[Any], path: str, value: Any, stamp: Stamp) -> Output:  # noqa: ANN401
        """Write one file under a passing name, flush it to the disk, and give it its own name.

        Raises:
            StorageError: the disk is full or may not be written; nothing is left behind.
        """
        full = self.root / path
        part = full.with_name(f".{full.stem}.{os.getpid()}.part{full.suffix}")
        with storage_errors(full):
            full.parent.mkdir(parents=True, exist_ok=True)
            try:
                asset.handler.write(part, value, stamp)
                with part.open("rb") as stream:
                    os.fsync(stream.fileno())
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                    status = os.fstat(stream.fileno())
                part.replace(full)
            finally:
                part.unlink(missing_ok=True)
        return Output(path, status.st_size, digest, asset.name, status.st_mtime_ns)

    def remove_work(self, units: Iterable[tuple[str, str]]) -> None:
        """Remove what killed units, given by stage and name, had left to go on from."""
        for stage, name in units:
            shutil.rmtree(self.root / ".work" / stage / name, ignore_errors=True)

    def remove_parts(self) -> int:
        """Remove what killed runs left: half-written files, of which the number is returned, and scratch space."""
        parts = [path for path in self.root.rglob(".*.part*") if path.is_file()]
        for path in parts:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.root / ".scratch", ignore_errors=True)
        return len(parts)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to store something into messages that say what to do.

    Raises:
        StorageError: the disk is full, or may not be written.
    """
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full: free some space, or point system.root at another disk",
            errno.EDQUOT: "your disk quota is used up: free some space, or point system.root at another disk",
            errno.EROFS: "the file system is read-only: point system.root at a folder that you may write",
            errno.EACCES: "you may not write there: point system.root at a folder that you may write",
            errno.EPERM: "you may not write there: point system.root at a folder that you may write",
            errno.ENOTDIR: "a part of the path is a file, not a folder: point system.root at a folder",
            errno.EEXIST: "a file is in the way: point system.root at a folder",
        }
        # NumPy and astropy tell of a short write in words alone, without the system's number.
        short = f"the disk is full or fails ({error}): free some space, or point system.root at another disk"
        if error.errno is not None and error.errno not in reasons:
            raise
        message = f"cannot write {path}: {short if error.errno is None else reasons[error.errno]}"
        raise StorageError(message) from error
