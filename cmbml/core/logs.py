"""What the program says: on the console, and in the log of a run; from worker processes, too."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cmbml.core.store import storage_errors
from cmbml.core.wording import spoken

ROOT = logging.getLogger("cmbml")


class _Spoken(logging.Formatter):
    """Messages in the words by which the user calls the programs."""

    def format(self, record: logging.LogRecord) -> str:
        return spoken(super().format(record))


class _Console(logging.StreamHandler[TextIO]):
    """Standard output; a run goes on in silence when its reader has left, as `| head` does."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.setLevel(logging.INFO)
        self.setFormatter(_Spoken("%(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())
        else:
            super().handleError(record)


class _RunLog(logging.FileHandler):
    """A log that is cut short without a word when the disk is full: the run itself says so."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.setLevel(logging.DEBUG)
        self.setFormatter(_Spoken("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Keep silent."""


def talk_on_the_console() -> None:
    """Let messages, but for details, appear on standard output."""
    ROOT.handlers = [_Console()]
    ROOT.setLevel(logging.DEBUG)
    ROOT.propagate = False


@contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """Write everything that is logged meanwhile to `run.log`."""
    with storage_errors(folder):
        handler = _RunLog(folder / "run.log")
    ROOT.addHandler(handler)
    try:
        yield
    finally:
        ROOT.removeHandler(handler)
        with suppress(OSError):
            handler.close()


@dataclass(frozen=True)
class Outputs:
    """Where a process talks, so that others can do the same.

    Attributes:
        console: whether on standard output.
        files: logs of runs.
    """

    console: bool
    files: tuple[Path, ...]

    @classmethod
    def of_this_process(cls) -> "Outputs":
        """Look where this process talks."""
        files = tuple(Path(handler.baseFilename) for handler in ROOT.handlers if isinstance(handler, _RunLog))
        return cls(any(isinstance(handler, _Console) for handler in ROOT.handlers), files)

    def share(self) -> None:
        """Talk there, too. Lines of several processes do not mix: each is appended at once."""
        if self.console:
            talk_on_the_console()
        for path in self.files:
            with suppress(OSError):
                ROOT.addHandler(_RunLog(path))
        ROOT.setLevel(logging.DEBUG)
