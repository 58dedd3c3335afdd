"""The record of a finished unit."""

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cmbml.core.record import Output, Record, Source

OUTPUT = Output("stage/a.npy", 3, hashlib.sha256(b"123").hexdigest(), "a", 5)
RECORD = Record("abc", (OUTPUT,), 1.5, "here", (Source("other", ("b",), {"sim0": "0f"}),))


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


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"123", ""), (b"12", "is cut short: it has 2 bytes"), (b"1234", "is altered: it has 4"), (None, "is missing")],
)
@pytest.mark.parametrize("integrity", ["hash", "size"])
def test_file_is_held_against_what_was_written(
    tmp_path: Path, content: bytes | None, words: str, integrity: str
) -> None:
    if content is not None:
        (tmp_path / "stage").mkdir()
        (tmp_path / "stage" / "a.npy").write_bytes(content)
    fault = OUTPUT.fault(tmp_path, integrity)
    assert fault.startswith(words)
    assert bool(fault) is bool(words)


def test_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "stage" / "a.npy").mkdir(parents=True)
    assert OUTPUT.fault(tmp_path, "size") == "is no file"


@pytest.mark.parametrize(
    ("integrity", "modified", "believed"), [("size", 5, True), ("size", 6, False), ("hash", 5, False)]
)
def test_other_bytes_of_the_same_size(tmp_path: Path, integrity: str, modified: int, believed: bool) -> None:
    """A file that has its time, too, is believed where that was asked for; nothing else is."""
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "a.npy").write_bytes(b"124")
    os.utime(tmp_path / "stage" / "a.npy", ns=(modified, modified))
    assert OUTPUT.fault(tmp_path, integrity) == ("" if believed else "is altered: its SHA-256 is not the recorded one")


def test_what_is_shown_depends_on_what_is_looked_at_and_on_its_bytes() -> None:
    other = replace(OUTPUT, path="stage/b.npy", asset="b")
    record = replace(RECORD, outputs=(OUTPUT, other))
    assert record.shown(["a"]) == RECORD.shown(["a"]) != record.shown(["a", "b"])
    assert replace(RECORD, outputs=(replace(OUTPUT, sha256="1" * 64),)).shown(["a"]) != RECORD.shown(["a"])
    assert replace(RECORD, fingerprint="abd").shown(["a"]) != RECORD.shown(["a"])


def test_record_of_a_version_that_did_not_note_sources_can_be_told(tmp_path: Path) -> None:
    old = {"outputs": [{"path": "a", "size": 1, "sha256": "0"}]}
    (tmp_path / "only.json").write_text(json.dumps(asdict(RECORD) | old | {"sources": None}))
    assert Record.read(tmp_path / "only.json").sources is None
