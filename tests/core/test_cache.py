"""Files kept in memory."""

import os
from pathlib import Path

from cmbml.core.cache import ReadCache


def put(path: Path, text: str, when: int) -> Path:
    path.write_text(text)
    os.utime(path, (when, when))
    return path


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    reads: list[Path] = []

    def reader(path: Path) -> str:
        reads.append(path)
        return path.read_text()

    cache, path = ReadCache(), put(tmp_path / "a", "one", 1)
    assert [cache.read(path, reader) for _ in range(3)] == ["one"] * 3
    assert len(reads) == 1
    put(path, "two", 2)
    assert cache.read(path, reader) == "two"
    assert len(reads) == 2


def test_the_least_used_go_first_and_memory_stays_bounded(tmp_path: Path) -> None:
    cache = ReadCache(limit_bytes=10)
    paths = [put(tmp_path / name, "1234", 1) for name in "abc"]
    for path in (paths[0], paths[1], paths[0], paths[2]):
        cache.read(path, Path.read_text)
    assert list(cache.kept) == [paths[0], paths[2]]
    assert cache.read(put(tmp_path / "large", "x" * 11, 1), Path.read_text) == "x" * 11
    assert not cache.kept
    assert cache.size == 0


def test_files_that_are_read_once_do_not_pile_up(tmp_path: Path) -> None:
    cache = ReadCache(limit_files=3)
    for number in range(10):
        cache.read(put(tmp_path / str(number), "1234", 1), Path.read_text)
    assert [path.name for path in cache.kept] == ["7", "8", "9"]
    assert cache.size == 12
    put(tmp_path / "8", "12", 2)
    assert cache.read(tmp_path / "8", Path.read_text) == "12"
    assert cache.size == 10
