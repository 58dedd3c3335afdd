"""Files that are there whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from toys import SIGNAL

from cmbml.core.asset import Asset
from cmbml.core.errors import BadFileError, MissingAssetError, StorageError
from cmbml.core.handler import AssetHandler, Stamp
from cmbml.core.record import Record
from cmbml.core.store import Store, storage_errors

STAMP = Stamp("signal", "f" * 64)
PATH = "signal/train/sim0000/signal.npy"


class Text(AssetHandler[str]):
    """Writes half of the text, then fails as told."""

    suffix: ClassVar[str] = ".txt"

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def read(self, path: Path) -> str:
        return path.read_text()

    def write(self, path: Path, value: str, stamp: Stamp) -> None:  # noqa: ARG002
        path.write_text(value[: len(value) // 2] if self.error else value)
        if self.error:
            raise self.error


def test_round_trip_with_size_and_digest(tmp_path: Path, digests: Callable[[Path], dict[str, str]]) -> None:
    values = np.arange(5.0)
    output = Store(tmp_path).write(SIGNAL, PATH, values, STAMP)
    assert np.array_equal(Store(tmp_path).read(SIGNAL, PATH, "signal"), values)
    assert digests(tmp_path) == {PATH: output.sha256}
    assert output.size == (tmp_path / PATH).stat().st_size


@pytest.mark.parametrize("error", [ValueError("no"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, error: BaseException) -> None:
    store = Store(tmp_path)
    store.write(Asset("text", Text()), "text.txt", "first", STAMP)
    with pytest.raises((type(error), StorageError)):
        store.write(Asset("text", Text(error)), "text.txt", "second", STAMP)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("text.txt", "first")]


def test_missing_file_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="stage 'signal' makes it") as error:
        Store(tmp_path).read(SIGNAL, PATH, "signal")
    assert PATH in str(error.value)


@pytest.mark.parametrize("size", [0, 10, 100, 130])
def test_truncated_file_says_how_to_mend_it(tmp_path: Path, size: int) -> None:
    Store(tmp_path).write(SIGNAL, PATH, np.arange(5.0), STAMP)
    os.truncate(tmp_path / PATH, size)
    with pytest.raises(BadFileError, match="delete it and run again, stage 'signal' will remake it") as error:
        Store(tmp_path).read(SIGNAL, PATH, "signal")
    assert PATH in str(error.value)


def test_file_that_the_system_does_not_open_is_not_said_to_be_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Text, "read", refuses)
    with pytest.raises(StorageError, match=r"signal.npy cannot be read: Too many open files; the file .* may be whole"):
        Store(tmp_path).read(Asset("note", Text()), PATH, "signal")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
        (errno.ENOTDIR, "a file, not a folder"),
    ],
)
def test_refusals_of_the_system_become_messages_with_a_mend(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as error, storage_errors(Path("there/it.npy")):
        raise OSError(number, os.strerror(number))
    assert "there/it.npy" in str(error.value)
    assert "system.root" in str(error.value)


@pytest.mark.parametrize("words", ["100000 requested and 8176 written", "Not enough space on disk"])
def test_short_write_without_a_number_is_taken_for_a_full_disk(words: str) -> None:
    """NumPy's and astropy's own words, who swallow the system's number."""
    with pytest.raises(StorageError, match="the disk is full") as error, storage_errors(Path("it.npy")):
        raise OSError(words)
    assert words in str(error.value)


def test_other_errors_of_the_system_pass() -> None:
    with pytest.raises(OSError, match="Input/output"), storage_errors(Path("it.npy")):
        raise OSError(errno.EIO, "Input/output error")


def test_what_a_killed_run_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is written goes through a passing name that the next run knows."""
    kept = []

    def killed(source: Path, target: Path) -> None:
        kept.append(source)

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    Store(tmp_path).write(SIGNAL, PATH, np.arange(5.0), STAMP)
    Record("abc", (), 0.0, "here").write(tmp_path / ".records" / "signal" / "only.json")
    monkeypatch.undo()
    assert len(kept) == 2
    assert all(path.is_file() for path in kept)
    (tmp_path / ".scratch" / "signal").mkdir(parents=True)
    (tmp_path / ".scratch" / "signal" / "table.npy").write_bytes(b"")
    (tmp_path / "signal" / "whole.npy").write_bytes(b"")
    assert Store(tmp_path).remove_parts() == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["whole.npy"]
