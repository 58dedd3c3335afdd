"""Arrays come back bit for bit, and are never pickles."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from cmbml.core.handler import Stamp
from cmbml.handlers.array import Array

STAMP = Stamp("stage", "0123456789abcdef" * 4)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("value", [RNG.normal(size=(2, 3)), (RNG.normal(size=5) + 1j).astype(np.complex64)])
def test_array_bit_for_bit(tmp_path: Path, value: np.ndarray) -> None:
    Array().write(tmp_path / "a.npy", value, STAMP)
    found = Array().read(tmp_path / "a.npy")
    assert found.dtype == value.dtype
    assert found.tobytes() == value.tobytes()


def test_array_is_never_a_pickle(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        Array().write(tmp_path / "a.npy", np.array([{}], dtype=object), STAMP)
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps([1, 2]))
    for name in ("b.npy", "c.npy"):
        with pytest.raises(ValueError, match="pickle"):
            Array().read(tmp_path / name)
