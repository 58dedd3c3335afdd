"""A folder of downloaded files that can be trusted: fetched once, whole, and the same ever after.

Every file's SHA-256 is recorded in `SHA256SUMS` (which `sha256sum -c` reads) when it first arrives and verified at the
first use in every later process. A download goes to a `.part` name, is resumed where the server allows it, and is
renamed when it is complete. A lock per file lets several processes ask at once.
"""

import fcntl
import logging
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

import pooch
from tqdm import tqdm

PYSM_URL = "https://portal.nersc.gov/project/cmb/pysm-data/"
BLOCK = 1 << 20
_verified: dict[Path, tuple[int, int]] = {}
log = logging.getLogger(__name__)


class DownloadError(OSError):
    """A file that cannot be had, or that is not what it was."""


@dataclass(frozen=True)
class Library:
    """Files of one site, kept in a local folder.

    Attributes:
        folder: where the files and their checksums are kept.
        url: the address of the site; a file's name is appended to it.
        mirror: a local folder of the same layout that is asked before the site.
        download: whether the site may be asked.
        timeout_s: seconds without an answer after which the site is given up.
        retries: how often an interrupted download is taken up again.
    """

    folder: Path
    url: str = PYSM_URL
    mirror: Path | None = None
    download: bool = True
    timeout_s: float = 30.0
    retries: int = 3

    def has(self, name: str) -> bool:
        """Say whether a file is here or in the mirror, so that nothing need be downloaded."""
        return (self.folder / name).is_file() or (self.mirror is not None and (self.mirror / name).is_file())

    def get(self, name: str) -> Path:
        """Return a file, fetched if need be and verified.

        Args:
            name: path relative to the folder and to the site.

        Raises:
            DownloadError: the file cannot be had, or its checksum is not the one recorded.
        """
        path = self.folder / name
        try:
            with self._locked(name):
                if not path.is_file():
                    self._bring(name, path)
                self._verify(name, path)
        except DownloadError:
            raise
        except OSError as error:
            message = (
                f"cannot keep {name} in {self.folder}: {error}. Set cache_folder to a folder with room to write in"
            )
            raise DownloadError(message) from error
        return path

    def recorded(self) -> dict[str, str]:
        """Return the recorded checksums: name -> SHA-256."""
        sums = self.folder / "SHA256SUMS"
        if not sums.is_file():
            return {}
        pairs = (line.split(maxsplit=1) for line in sums.read_text().splitlines() if line.strip())
        return {name: digest for digest, name in pairs}

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = self.folder / ".locks" / (name.replace("/", "_") + ".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _bring(self, name: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        if self.mirror is not None and (self.mirror / name).is_file():
            shutil.copyfile(self.mirror / name, part)
        elif self.download:
            self._download(name, part)
        else:
            self._fail(name, "downloads are switched off")
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(path)

    def _download(self, name: str, part: Path) -> None:
        for attempt in range(self.retries + 1):
            try:
                fetch(self.url + name, part, self.timeout_s)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    self._fail(name, f"the site answers {error.code} {error.reason}", error)
                part.unlink()
            except (OSError, HTTPException) as error:
                if attempt == self.retries:
                    self._fail(name, str(error), error)
                log.warning("%s: %s; trying again", name, error)
            else:
                return

    def _fail(self, name: str, reason: str, cause: Exception | None = None) -> None:
        looked = [str(folder) for folder in (self.folder, self.mirror) if folder is not None]
        message = (
            f"cannot get {name} from {self.url}{name}: {reason}. It is not in {' or '.join(looked)}. Mends: "
            "mirror=FOLDER that holds it under this name; data_folder=FOLDER of PySM's templates (as PYSM_LOCAL_DATA); "
            "fetch it on a machine with a network and copy the cache folder; or sky=embedded, which needs no files"
        )
        raise DownloadError(message) from cause

    def _verify(self, name: str, path: Path) -> None:
        stat = path.stat()
        state = (stat.st_size, stat.st_mtime_ns)
        if _verified.get(path) == state:
            return
        digest = pooch.file_hash(str(path), alg="sha256")
        with self._locked("SHA256SUMS"):
            known = self.recorded()
            if known.setdefault(name, digest) != digest:
                message = (
                    f"{path} has changed: its SHA-256 is {digest}, and {known[name]} was recorded at first use. Delete "
                    f"the file to fetch it again; if the change is meant, delete its line in {self.folder}/SHA256SUMS"
                )
                raise DownloadError(message)
            new = self.folder / "SHA256SUMS.part"
            new.write_text("".join(f"{value}  {key}\n" for key, value in sorted(known.items())))
            new.replace(self.folder / "SHA256SUMS")
        _verified[path] = state


def fetch(url: str, part: Path, timeout_s: float) -> None:
    """Download a file, taking up an earlier attempt where the server can tell that the file is still the same.

    Args:
        url: the address.
        part: where to write; what is there already is the beginning of the file.
        timeout_s: seconds without an answer after which to give up.

    Raises:
        OSError: the site cannot be reached, or the connection broke; `part` then holds what came.
    """
    tag = part.with_name(part.name + ".tag")
    request = urllib.request.Request(url)
    if part.is_file() and tag.is_file() and tag.read_text():
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", tag.read_text())
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        begin = part.stat().st_size if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else begin + int(length)
        if begin == 0:
            tag.write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
        bar = tqdm(
            total=total, initial=begin, unit="B", unit_scale=True, desc=part.stem, disable=not sys.stderr.isatty()
        )
        with bar, part.open("ab" if begin else "wb") as out:
            while block := answer.read(BLOCK):
                out.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size != total:
        message = f"the connection broke after {part.stat().st_size} of {total} bytes"
        raise OSError(message)
    tag.unlink()
