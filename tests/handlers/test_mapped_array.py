"""Arrays that stay on the disk."""

import pickle
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cmbml.core.handler import Stamp
from cmbml.handlers.mapped_array import MappedArray, MappedArrays

STAMP = Stamp("stage", "0123456789abcdef" * 4)
VALUE = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.npy"
    MappedArray().write(path, VALUE, STAMP)
    return path


def test_comes_back_bit_for_bit_and_may_not_be_changed(path: Path) -> None:
    found = MappedArray().read(path)
    assert isinstance(found, np.memmap)
    assert Path(found.filename) == path
    assert (found.dtype, found.shape, found.tobytes()) == (VALUE.dtype, VALUE.shape, VALUE.tobytes())
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_same_bytes_twice(path: Path, tmp_path: Path) -> None:
    MappedArray().write(tmp_path / "b.npy", VALUE, STAMP)
    assert (tmp_path / "b.npy").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_file_that_is_cut_short_is_refused(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="it is no whole file of one array of numbers"):
        MappedArray().read(path)


@pytest.mark.parametrize("foreign", ["pickle", "objects", "zip", "text"])
def test_what_is_no_array_of_numbers_is_refused(path: Path, foreign: str) -> None:
    if foreign == "pickle":
        path.write_bytes(pickle.dumps(VALUE))
    elif foreign == "objects":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif foreign == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("arr_0.npy", b"")
    else:
        path.write_text("not an array")
    with pytest.raises(ValueError, match="it is no whole file of one array of numbers"):
        MappedArray().read(path)


def test_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MappedArray().read(tmp_path / "none.npy")


def test_objects_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        MappedArray().write(tmp_path / "a.npy", np.array([{}], dtype=object), STAMP)


def test_more_arrays_than_files_may_be_open(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.npy" for number in range(60)]
    for number, path in enumerate(paths):
        np.save(path, np.stack([VALUE + number, VALUE - number]))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, before[1]))
    try:
        found = pickle.loads(pickle.dumps(MappedArrays(paths, [2] * 60)))
        assert len(found) == 120
        expected = [VALUE + sign * number for number in range(60) for sign in (1, -1)]
        assert all(map(np.array_equal, found, expected))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_first_rows_of_many_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for number, path in enumerate(paths):
        np.save(path, np.arange(4.0).reshape(2, 2) + 10 * number)
    rows = MappedArrays(paths, [2, 2, 2])
    for number in (1, 2, 3, 6, 9):
        first = rows[:number]
        assert len(first) == min(number, 6)
        assert len(first.paths) == min((number + 1) // 2, 3)
        np.testing.assert_array_equal(first[len(first) - 1], rows[len(first) - 1])
        with pytest.raises(IndexError):
            first[len(first)]
    with pytest.raises(IndexError, match="from the first on"):
        rows[1:3]
