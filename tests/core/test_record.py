"""The record of a finished unit."""

from pathlib import Path

import pytest

from cmbml.core.record import Output, Record

RECORD = Record("abc", (Output("stage/a.npy", 3, "0" * 64),), 1.5, "here")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / ".records" / "stage" / "only.json"
    RECORD.write(path)
    assert Record.read(path) == RECORD
    assert [entry.name for entry in path.parent.iterdir()] == ["only.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"fingerprint": "x", "outputs": [{"path": 1}]}', b"\xff\xfe\x00"]
)
def test_what_makes_no_sense_is_no_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "only.json"
    path.write_bytes(content)
    assert Record.read(path) is None


def test_no_record(tmp_path: Path) -> None:
    assert Record.read(tmp_path / "only.json") is None


@pytest.mark.parametrize(("content", "complete"), [(b"123", True), (b"12", False), (b"1234", False), (None, False)])
def test_complete_means_every_file_at_its_size(tmp_path: Path, content: bytes | None, complete: bool) -> None:
    if content is not None:
        (tmp_path / "stage").mkdir()
        (tmp_path / "stage" / "a.npy").write_bytes(content)
    assert RECORD.is_complete(tmp_path) is complete
