"""What a network has learnt, as a file that runs nothing when it is opened."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cmbml.core.handler import Stamp
from cmbml.handlers.tensors import TensorFile

STAMP = Stamp("train", "0123456789abcdef" * 4)
RNG = np.random.default_rng(0)
ARRAYS = {
    "level.weight": RNG.normal(size=(2, 3, 4, 4)).astype(np.float32),
    "level.bias": RNG.normal(size=5).astype(np.float32).reshape(1, 5).T,
    "seen": np.array(7),
    "half": RNG.normal(size=3).astype(np.float16),
}
ABOUT = {"nside": 64, "rate": 1 / 3, "name": "µK", "none": None, "list": [1, "two"], "deep": {"b": True, "a": 1e-300}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    TensorFile().write(path, (ARRAYS, ABOUT), STAMP)
    return path


def test_comes_back_bit_for_bit(path: Path) -> None:
    arrays, about = TensorFile().read(path)
    assert about == ABOUT
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


def test_others_may_read_what_the_user_lets_them(path: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_same_bytes_in_any_order(path: Path, tmp_path: Path) -> None:
    shuffled = [dict(reversed(entries.items())) for entries in (ARRAYS, ABOUT)]
    for number in range(3):
        TensorFile().write(tmp_path / f"{number}.safetensors", tuple(shuffled), STAMP)
        assert (tmp_path / f"{number}.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_file_that_is_cut_short_is_refused(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="it is no whole safetensors file"):
        TensorFile().read(path)


def test_file_of_others_is_refused(path: Path) -> None:
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="it was not written by cmbml"):
        TensorFile().read(path)
    for entry in ("no json", "{}", "[]", "7", '{"value": 7}'):
        save_file({"weight": np.zeros(3)}, path, metadata={"cmbml": entry})
        with pytest.raises(ValueError, match="it was not written by cmbml"):
            TensorFile().read(path)


class Bomb:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("a pickle was opened",)


def test_pickle_is_never_opened(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="it is no whole safetensors file"):
        TensorFile().read(path)


def test_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TensorFile().read(tmp_path / "none.safetensors")
