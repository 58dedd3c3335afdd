"""Executors that fit together, and all the ways in which they may not."""

from typing import Any, ClassVar

import pytest
from toys import EMISSION, FREQ, SIGNAL, SIM, SKY, SPLIT, TOTAL, Draw, Emit, toy_stages

from cmbml.core.asset import Asset
from cmbml.core.errors import GraphError
from cmbml.core.executor import Executor
from cmbml.core.graph import Graph
from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.array import Array
from cmbml.settings import settings


def stage(
    reads: tuple[Asset[Any], ...] = (), writes: tuple[Asset[Any], ...] = (), per: tuple[Axis, ...] = ()
) -> Executor:
    """Make an executor that declares this and does nothing."""
    declared = (reads, writes, per)

    @settings
    class Stage(Executor):
        reads: ClassVar = declared[0]
        writes: ClassVar = declared[1]
        per: ClassVar = declared[2]

        def process(self, io: UnitIO) -> None:
            pass

    return Stage()


def faults(stages: dict[str, Executor]) -> str:
    with pytest.raises(GraphError) as error:
        Graph.of(stages)
    return str(error.value)


def test_makers_come_before_users() -> None:
    graph = Graph.of(toy_stages())
    order = list(graph.stages)
    assert set(order) == {"summary", "total", "signal", "emission"}
    assert order.index("total") > max(order.index("signal"), order.index("emission"))
    assert order.index("summary") > order.index("total")
    assert graph.makers == {"summary": "summary", "total": "total", "signal": "signal", "emission": "emission"}


def test_two_makers_are_both_named() -> None:
    text = faults(toy_stages() | {"again": Draw()})
    assert "'signal' is made twice: by 'signal' and by 'again'" in text


def test_nobody_makes_it_names_the_nearest() -> None:
    misspelt = Asset("signel", Array(), per=(SPLIT, SIM))
    text = faults({"signal": Draw(), "user": stage(reads=(misspelt,), per=(SPLIT, SIM))})
    assert "'user' reads 'signel', which no stage makes" in text
    assert "did you mean 'signal'?" in text


def test_circle_names_its_stages() -> None:
    first, second = Asset("first", Array()), Asset("second", Array())
    text = faults({"one": stage((first,), (second,)), "two": stage((second,), (first,))})
    assert "circle" in text
    assert "one" in text
    assert "two" in text


def test_stage_finer_than_its_file() -> None:
    text = faults({"draw": stage(writes=(SIGNAL,), per=(SPLIT, SIM, FREQ))})
    assert "'draw' is finer than 'signal'" in text
    assert "freq" in text


def test_stage_coarser_than_its_file() -> None:
    text = faults({"draw": stage(writes=(SIGNAL,), per=(SPLIT,))})
    assert "'draw' is coarser than 'signal'" in text
    assert "sim" in text


def test_several_channels_from_one_unit_are_allowed() -> None:
    assert Graph.of({"add": stage(writes=(TOTAL,), per=(SPLIT, SIM))}).makers == {"total": "add"}


def test_two_assets_of_one_name() -> None:
    twin = Asset("signal", Array(), per=(SKY,))
    assert "two different assets are called 'signal'" in faults(
        {"signal": Draw(), "twin": stage(writes=(twin,), per=(SKY,))}
    )


def test_all_faults_in_one_message() -> None:
    unmade = Asset("unmade", Array())
    text = faults(
        {
            "emission": Emit(levels={"a": 1.0}),
            "signal": Draw(),
            "again": Draw(),
            "user": stage(reads=(unmade,)),
            "fine": stage(writes=(Asset("mean", Array()),), per=(SIM,)),
            "me": stage((Asset("me", Array()),), (Asset("me", Array()),)),
        }
    )
    assert text.count("\n  - ") >= 5
    for word in ("made twice", "no stage makes", "finer", "two different assets", "circle"):
        assert word in text
    assert EMISSION.name not in text.replace("allowed are", "")[: text.index("made twice")]
