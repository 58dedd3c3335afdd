"""The points of a dataset."""

import pickle

import pytest
from toys import FREQ, SIM, SKY, SPLIT, toy_space

from cmbml.core.errors import ConfigError
from cmbml.core.space import Axis, Key


def names(keys: tuple[Key, ...]) -> list[str]:
    return [str(key) for key in keys]


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ((), [""]),
        ((FREQ,), ["a", "b"]),
        ((SPLIT,), ["train", "test"]),
        ((SKY,), ["main", "other"]),
        ((SPLIT, SIM), ["train/sim0000", "train/sim0001", "train/sim0002", "test/sim0000", "test/sim0001"]),
        ((FREQ, SKY), ["main/a", "main/b", "other/a", "other/b"]),
        ((SIM, SKY), ["main/sim0000", "main/sim0001", "main/sim0002", "other/sim0000", "other/sim0001"]),
    ],
)
def test_every_point_once_in_the_order_of_the_axes(axes: tuple[Axis, ...], expected: list[str]) -> None:
    assert names(toy_space().keys(axes)) == expected


@pytest.mark.parametrize(
    ("at", "axes", "expected"),
    [
        ({SPLIT: "train", SIM: "sim0001"}, (SPLIT, SIM), ["train/sim0001"]),
        ({SPLIT: "test", SIM: "sim0001"}, (SKY,), ["other"]),
        ({SPLIT: "test", SIM: "sim0001"}, (SKY, FREQ), ["other/a", "other/b"]),
        ({SPLIT: "test", SIM: "sim0001", FREQ: "b"}, (SKY, FREQ), ["other/b"]),
        ({SPLIT: "test"}, (SPLIT, SIM), ["test/sim0000", "test/sim0001"]),
        ({SKY: "other"}, (SPLIT,), ["test"]),
        ({FREQ: "a"}, (SPLIT, FREQ), ["train/a", "test/a"]),
    ],
)
def test_a_unit_sees_what_follows_from_its_point(
    at: dict[Axis, str], axes: tuple[Axis, ...], expected: list[str]
) -> None:
    assert names(toy_space().keys_within(Key.of(at), axes)) == expected


def test_restriction_drops_points_and_what_only_they_had() -> None:
    part = toy_space().restricted({"split": ["test"], "freq": ["b"]})
    assert names(part.keys((SKY, FREQ))) == ["other/b"]
    assert names(part.keys((SPLIT, SIM))) == ["test/sim0000", "test/sim0001"]


def test_restriction_to_nothing_said_is_everything() -> None:
    assert toy_space().restricted({}) == toy_space()


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"spilt": ["test"]}, ["spilt", "did you mean 'split'"]),
        ({"split": ["tset"]}, ["tset", "did you mean 'test'"]),
        ({"freq": ["100"]}, ["freq", "100", "allowed are: a, b"]),
    ],
)
def test_restriction_to_what_is_not_there_names_the_nearest(over: dict[str, list[str]], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        toy_space().restricted(over)
    assert all(word in str(error.value) for word in words)


def test_key_knows_its_axes_only() -> None:
    key = Key.of({SIM: "sim0000", SPLIT: "train"})
    assert str(key) == "train/sim0000"
    assert SIM in key
    assert FREQ not in key
    with pytest.raises(KeyError, match="no axis 'freq'"):
        key[FREQ]


def test_space_travels_without_its_cache() -> None:
    space = toy_space()
    space.keys((SPLIT, SIM))
    copy = pickle.loads(pickle.dumps(space))
    assert copy == space
    assert copy.keys((SPLIT, SIM)) == space.keys((SPLIT, SIM))


def test_many_points_are_found_quickly() -> None:
    # Filtering the table for each of 1,450 units would take 2 million steps per asset; this must stay linear.
    space = toy_space(train=1200, test=250)
    found = [space.keys_within(key, (SPLIT, SIM, FREQ)) for key in space.keys((SPLIT, SIM))]
    assert len(found) == 1450
    assert all(len(keys) == 2 for keys in found)
