"""Laws of the framework, for any input that hypothesis finds."""

import json
import tempfile
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cmbml.core.asset import Asset
from cmbml.core.fingerprint import canonical
from cmbml.core.namer import Namer
from cmbml.core.space import Key
from cmbml.handlers.rows import Rows
from cmbml.handlers.yaml_file import YamlFile
from cmbml.stages.assets import ARRAYS, COSMOLOGY, FREQ, METHOD, SIM, SKY, SPLIT
from cmbml.tables import Stack

# What `make_space` lets an axis hold: methods, arrays and skies may have an underscore, the others may not.
LOOSE, TIGHT = st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True), st.from_regex(r"[A-Za-z][A-Za-z0-9]*", fullmatch=True)
KEYS = st.fixed_dictionaries({METHOD: LOOSE, SPLIT: TIGHT, SIM: TIGHT, FREQ: TIGHT})
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(KEYS, KEYS)
def test_files_and_records_of_different_units_have_different_names(one, other):
    asset = Asset("map", YamlFile(), per=(METHOD, SPLIT, SIM, FREQ))
    first, second = Key.of(one), Key.of(other)
    assert (Namer().path("clean", asset, first) == Namer().path("clean", asset, second)) == (first == second)
    assert (Namer().record("clean", first) == Namer().record("clean", second)) == (first == second)


@given(KEYS)
def test_a_path_names_its_point(values):
    """What stands in a path are the values, in the order of the axes' ranks, wherever the key came from."""
    asset = Asset("map", YamlFile(), per=(METHOD, SPLIT, SIM, FREQ))
    path = Namer().path("clean", asset, Key.of(dict(reversed(values.items()))))
    expected = PurePosixPath("clean", values[METHOD], values[SPLIT], values[SIM], f"map_{values[FREQ]}.yaml")
    assert path == expected


@given(st.permutations([ARRAYS, COSMOLOGY, FREQ, METHOD, SIM, SKY, SPLIT]), st.integers(0, 7))
def test_keys_join_and_part_again(axes, n):
    whole = Key.of({axis: axis.name for axis in axes})
    left, right = whole.on(axes[:n]), whole.on(axes[n:])
    assert left.joined(right) == right.joined(left) == whole


@given(st.dictionaries(st.text(), PLAIN, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_settings_does_not_enter_a_fingerprint(settings, random):
    """Nor do tuples differ from lists; any other difference counts."""
    names = list(settings)
    random.shuffle(names)
    shuffled = {name: settings[name] for name in names}

    def written(value):
        return json.dumps(canonical(value), sort_keys=True)

    assert written(settings) == written(shuffled)
    assert written(list(settings.values())) == written(tuple(settings.values()))
    assert written(settings | {"one more": 1}) != written(settings | {"one more": 2})


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=5)


@given(st.lists(st.tuples(CELLS, NUMBERS), min_size=1, max_size=6))
def test_rows_are_read_as_they_were_written(rows):
    table = {"word": np.array([word for word, _ in rows], dtype=str), "value": np.array([x for _, x in rows])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        Rows("word").write(path, table, SimpleNamespace())
        found = Rows("word").read(path)
    assert found["word"].tolist() == table["word"].tolist()
    np.testing.assert_array_equal(found["value"], table["value"])


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=5), min_size=1, max_size=5), st.randoms(use_true_random=False)
)
def test_a_stack_holds_every_row_of_every_table(tables, random):
    """Whatever rows simulations have, and in whatever order simulations come."""
    given_tables = {
        f"sim{i}": {"kind": np.array(kinds, dtype=str), "value": np.array([random.random() for _ in kinds])}
        for i, kinds in enumerate(tables)
    }
    stack = Stack.of(given_tables.items())
    for sim, table in given_tables.items():
        row = stack.sims.tolist().index(sim)
        for kind in "abc":
            mine = table["value"][table["kind"] == kind]
            found = stack.where(kind=kind).numbers["value"][row] if stack.words else np.zeros(0)
            assert found[~np.isnan(found)].tolist() == mine.tolist()
