"""What a unit's result depends on, and what not."""

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import pytest
from toys import FREQ, SIM, SKY, SPLIT, Draw, Emit

from cmbml.core.errors import MissingAssetError
from cmbml.core.executor import Executor
from cmbml.core.fingerprint import Fingerprinter, canonical
from cmbml.core.space import Key
from cmbml.settings import later, settings

AT_A = Key.of({SKY: "main", FREQ: "a"})
AT_B = Key.of({SKY: "main", FREQ: "b"})
SIM_0 = Key.of({SPLIT: "train", SIM: "sim0000"})


def fingerprint(executor: Executor, key: Key, inputs: tuple[str, ...] = (), seed: int = 0) -> str:
    return Fingerprinter(executor, seed)(key, inputs)


class Colour(Enum):
    RED = "red"


@settings
class Beam:
    fwhm: float
    table: Path | None = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("x", "x"),
        (Path("/somewhere/else"), "path"),
        (Colour.RED, "red"),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({1: {"x": (2,)}}, {"1": {"x": [2]}}),
    ],
)
def test_settings_become_plain_values(value: Any, expected: Any) -> None:
    assert canonical(value) == expected


def test_dataclass_is_its_name_and_its_fields() -> None:
    found = canonical(Beam(fwhm=1))
    assert found == {"": f"{__name__}.Beam", "fwhm": 1.0, "table": None}
    assert isinstance(found["fwhm"], float)


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: None, b"x", 1j])
def test_what_differs_in_every_run_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be fingerprinted"):
        canonical(value)


def test_same_settings_same_fingerprint() -> None:
    assert fingerprint(Draw(sigma=2), SIM_0) == fingerprint(Draw(sigma=2.0), SIM_0)
    forward, backward = {"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}
    assert fingerprint(Emit(levels=forward), AT_A) == fingerprint(Emit(levels=backward), AT_A)


@pytest.mark.parametrize(
    "changed",
    [
        (Draw(sigma=2), SIM_0, (), 0),
        (Draw(), Key.of({SPLIT: "train", SIM: "sim0001"}), (), 0),
        (Draw(), SIM_0, ("input",), 0),
        (Draw(), SIM_0, (), 1),
    ],
)
def test_setting_point_inputs_and_seed_count(changed: tuple[Executor, Key, tuple[str, ...], int]) -> None:
    assert fingerprint(*changed) != fingerprint(Draw(), SIM_0)


def test_a_setting_of_a_later_release_counts_once_it_is_set() -> None:
    @settings
    class Early:
        size: int = 1

    @settings
    class Late(Early):
        turn: bool = later(default=False)

    early, late, turned = (canonical(of) for of in (Early(), Late(), Late(turn=True)))
    assert set(early) == set(late) == {"", "size"}
    assert turned == late | {"turn": True}


def test_how_much_is_made_counts_for_nothing() -> None:
    assert fingerprint(Draw(over={"split": ["train"]}), SIM_0) == fingerprint(Draw(), SIM_0)


def test_order_of_the_inputs_counts_for_nothing() -> None:
    assert fingerprint(Draw(), SIM_0, ("x", "y")) == fingerprint(Draw(), SIM_0, ("y", "x"))


def test_unit_depends_on_its_own_entry_alone() -> None:
    before, after = Emit(levels={"a": 1.0, "b": 2.0}), Emit(levels={"a": 1.0, "b": 3.0, "c": 4.0})
    assert fingerprint(before, AT_A) == fingerprint(after, AT_A)
    assert fingerprint(before, AT_B) != fingerprint(after, AT_B)


def test_version_of_the_class_counts() -> None:
    class Draw(Executor):
        per: ClassVar = (SPLIT, SIM)
        version: ClassVar[int] = 1

        def process(self, io: Any) -> None:
            pass

    before = fingerprint(Draw(), SIM_0)
    Draw.version = 2
    assert fingerprint(Draw(), SIM_0) != before


def test_content_of_a_raw_file_counts_and_its_place_does_not(tmp_path: Path) -> None:
    here, there = tmp_path / "here.txt", tmp_path / "there.txt"
    here.write_text("1 2")
    there.write_text("1 2")
    levels: Mapping[str, float] = {"a": 1.0}
    before = fingerprint(Emit(levels=levels, table=here), AT_A)
    assert fingerprint(Emit(levels=levels, table=there), AT_A) == before
    here.write_text("1 3")
    os.utime(here, ns=(0, 0))  # at another time: the clock of a file system may be too coarse to tell
    assert fingerprint(Emit(levels=levels, table=here), AT_A) != before
    assert fingerprint(Emit(levels=levels), AT_A) != before


@pytest.mark.parametrize("name", ["nothing.txt", "."])
def test_missing_raw_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingAssetError, match=str(tmp_path / name)):
        fingerprint(Emit(levels={"a": 1.0}, table=tmp_path / name), AT_A)
