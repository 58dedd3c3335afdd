"""Tables on top of one another."""

import numpy as np

from cmbml.tables import Stack, different


def table(rows, values, **more):
    return {"kind": np.array(rows), "value": np.array(values)} | more


def test_rows_are_the_same_where_their_words_are():
    """In any order, and where a simulation lacks some: there, numbers are NaN."""
    stack = Stack.of({"a": table(["x", "y"], [1.0, 2.0]), "b": table(["y", "x"], [3.0, 4.0])}.items())
    assert stack.words["kind"].tolist() == ["x", "y"]
    assert stack.numbers["value"].tolist() == [[1.0, 2.0], [4.0, 3.0]]
    more = Stack.of({"a": table(["x"], [1.0]), "b": table(["y"], [2.0], error=np.array([0.1]))}.items())
    np.testing.assert_array_equal(more.numbers["value"], [[1.0, np.nan], [np.nan, 2.0]])
    np.testing.assert_array_equal(more.numbers["error"], [[np.nan, np.nan], [np.nan, 0.1]])


def test_rows_of_the_same_words_keep_their_order():
    """As the bins of a spectrum."""
    stack = Stack.of({s: table(["x", "y", "x"], [1.0, 2.0, 3.0]) for s in "ab"}.items())
    assert stack.where(kind="x").numbers["value"].tolist() == [[1.0, 3.0]] * 2


def test_parts_of_a_stack():
    stack = Stack.of({s: table(["x", "y"], [1.0, 2.0]) for s in "abc"}.items(), {"sky": ["k", "l", "m"]})
    some = stack.of_sims(["c", "a"])
    assert (some.sims.tolist(), some.facts["sky"].tolist()) == (["a", "c"], ["k", "m"])
    assert some.numbers["value"].shape == (2, 2)
    assert stack.where(kind="z").n_rows == 0
    assert different([stack, some], "kind") == ["x", "y"]
    assert Stack.of([]).n_rows == 0
