"""Tables as CSV, and on top of one another."""

import numpy as np
import pytest

from cmbml.core.handler import Stamp
from cmbml.handlers.rows import Rows, StackFile
from cmbml.tables import Stack

STAMP = Stamp("gathered", "f" * 64)
TABLE = {
    "region": np.array(["mask", "b0-5", 'à, "part"']),
    "value": np.array([1 / 3, np.inf, np.nan]),
    "count": np.array([1, 2, 3]),
}


def test_rows_keep_every_bit_and_any_word(tmp_path):
    Rows("region").write(tmp_path / "t.csv", TABLE, STAMP)
    found = Rows("region").read(tmp_path / "t.csv")
    assert found["region"].tolist() == TABLE["region"].tolist()
    np.testing.assert_array_equal(found["value"], TABLE["value"])
    assert found["count"].dtype == np.float64
    empty = {name: column[:0] for name, column in TABLE.items()}
    Rows("region").write(tmp_path / "e.csv", empty, STAMP)
    assert {name: len(column) for name, column in Rows("region").read(tmp_path / "e.csv").items()} == dict.fromkeys(
        TABLE, 0
    )


def test_what_is_cut_short_or_of_another_kind_is_refused(tmp_path):
    Rows("region").write(tmp_path / "t.csv", TABLE, STAMP)
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text[: text.rindex(",")])
    with pytest.raises(ValueError, match="cut short"):
        Rows("region").read(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"columns value hold numbers where words"):
        Rows("region", "value").write(tmp_path / "u.csv", TABLE, STAMP)


def test_stacks_keep_every_bit_and_what_is_common_once(tmp_path):
    rng = np.random.default_rng(1)
    tables = [(f"sim{i:04d}", TABLE | {"value": rng.normal(size=3)}) for i in range(1000)]
    stack = Stack.of(tables, {"sky": [f"test_{i}" for i in range(1000)]})
    for name in ("a.npz", "b.npz"):
        StackFile().write(tmp_path / name, stack, STAMP)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = StackFile().read(tmp_path / "a.npz")
    for part in ("words", "numbers", "facts"):
        ours, theirs = getattr(stack, part), getattr(found, part)
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    with np.load(tmp_path / "a.npz") as file:
        assert file["numbers/count"].shape == (1, 3)
        assert file["numbers/value"].shape == (1000, 3)
