"""Plans, and what runs make of them."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toys import Add, Draw, Emit, Summarise, toy_space, toy_stages

from cmbml.core.errors import ConfigError, GraphError, UnitFailedError
from cmbml.core.executor import Executor
from cmbml.core.pipeline import Pipeline
from cmbml.core.plan import Plan
from cmbml.core.runner import Processes, Runner, Serial
from cmbml.core.space import Space

SERIAL = Serial(threads=1)
ALL = {"emission": 4, "signal": 5, "total": 5, "summary": 2}
NOTHING = dict.fromkeys(ALL, 0)
Digests = Callable[[Path], dict[str, str]]


def todo(plan: Plan) -> dict[str, int]:
    return {stage.stage: len(stage.todo) for stage in plan.stages}


def run(root: Path, space: Space | None = None, runner: Runner = SERIAL, **changed: Executor) -> dict[str, int]:
    """Plan and run the toy pipeline; return how many units of each stage were done."""
    pipeline = Pipeline(toy_stages(**changed), space or toy_space(), root, 0)
    plan = pipeline.plan()
    pipeline.run(plan, runner)
    return todo(plan)


def test_everything_once_then_nothing(tmp_path: Path, digests: Digests) -> None:
    assert run(tmp_path) == ALL
    before = digests(tmp_path)
    assert len(before) == 4 + 5 + 10 + 2
    assert run(tmp_path) == NOTHING
    assert digests(tmp_path) == before


def test_restart_does_all_again_to_the_same_bytes(tmp_path: Path, digests: Digests) -> None:
    run(tmp_path)
    before = digests(tmp_path)
    pipeline = Pipeline(toy_stages(), toy_space(), tmp_path, 0)
    plan = pipeline.plan("restart")
    assert todo(plan) == ALL
    pipeline.run(plan, SERIAL)
    assert digests(tmp_path) == before


def test_refuse_stops_where_something_is_done(tmp_path: Path) -> None:
    pipeline = Pipeline(toy_stages(), toy_space(), tmp_path, 0)
    assert todo(pipeline.plan("refuse")) == ALL
    pipeline.run(pipeline.plan("refuse"), SERIAL)
    with pytest.raises(ConfigError, match="already holds finished units and resume=refuse"):
        pipeline.plan("refuse")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"signal": Draw(sigma=2)}, {"signal": 5, "total": 5, "summary": 2}),
        ({"emission": Emit(levels={"a": 1.0, "b": 3.0})}, {"emission": 2, "total": 5, "summary": 2}),
        ({"summary": Summarise(over={"split": ["test"]})}, {}),
    ],
)
def test_changed_setting_redoes_only_what_follows(
    tmp_path: Path, changed: dict[str, Executor], expected: dict[str, int]
) -> None:
    run(tmp_path)
    assert run(tmp_path, **changed) == NOTHING | expected


def test_setting_changed_back_and_forth_ends_at_the_same_bytes(tmp_path: Path, digests: Digests) -> None:
    run(tmp_path)
    before = digests(tmp_path)
    run(tmp_path, signal=Draw(sigma=2))
    assert digests(tmp_path) != before
    run(tmp_path)
    assert digests(tmp_path) == before


@pytest.mark.parametrize("harm", ["lose", "truncate", "lose record", "corrupt record"])
def test_harmed_unit_is_remade_and_nothing_else(tmp_path: Path, digests: Digests, harm: str) -> None:
    run(tmp_path)
    before = digests(tmp_path)
    output = tmp_path / "total" / "test" / "sim0001" / "total_b.npy"
    record = tmp_path / ".records" / "total" / "test_sim0001.json"
    if harm == "truncate":
        output.write_bytes(output.read_bytes()[:-1])
    elif harm == "corrupt record":
        record.write_text('{"fingerprint": ')
    else:
        (output if harm == "lose" else record).unlink()
    assert run(tmp_path) == NOTHING | {"total": 1}
    assert digests(tmp_path) == before


def test_what_follows_a_unit_that_may_come_out_otherwise_is_remade_with_it(tmp_path: Path) -> None:
    class Inexact(Draw):
        reproducible = False

    run(tmp_path, signal=Inexact())
    (tmp_path / "signal" / "test" / "sim0001" / "signal.npy").unlink()
    assert run(tmp_path, signal=Inexact()) == NOTHING | {"signal": 1, "total": 1, "summary": 1}


def test_more_simulations_do_only_those(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, toy_space(train=6)) == NOTHING | {"signal": 3, "total": 3, "summary": 1}


def test_fewer_simulations_and_over_do_nothing_new(tmp_path: Path) -> None:
    run(tmp_path)
    only = {"split": ["train"]}
    assert run(tmp_path, signal=Draw(over=only), total=Add(over=only), summary=Summarise(over=only)) == NOTHING


def test_over_that_leaves_out_what_is_needed(tmp_path: Path) -> None:
    pipeline = Pipeline(toy_stages(signal=Draw(over={"split": ["train"]})), toy_space(), tmp_path, 0)
    with pytest.raises(ConfigError, match=r"'total test/sim0000' needs 'signal test/sim0000', which .* leaves out"):
        pipeline.plan()


def test_faults_of_all_stages_in_one_message(tmp_path: Path) -> None:
    stages = toy_stages(signal=Draw(over={"spilt": ["train"]}), total=Add(over={"split": ["tset"]}))
    with pytest.raises(ConfigError) as error:
        Pipeline(stages, toy_space(), tmp_path, 0)
    assert "signal: over: no axis is called 'spilt': did you mean 'split'?" in str(error.value)
    assert "total: over: 'split' has no 'tset': did you mean 'test'?" in str(error.value)


def test_misfits_are_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with pytest.raises(GraphError):
        Pipeline({"summary": Summarise()}, toy_space(), tmp_path / "data", 0)
    assert not (tmp_path / "data").exists()


def test_another_seed_is_another_dataset(tmp_path: Path, digests: Digests) -> None:
    run(tmp_path)
    before = digests(tmp_path)
    other = Pipeline(toy_stages(), toy_space(), tmp_path, 1)
    assert todo(other.plan()) == ALL
    other.run(other.plan(), SERIAL)
    changed = {name for name, digest in digests(tmp_path).items() if digest != before[name]}
    assert {name.split("/")[0] for name in changed} == {"signal", "total", "summary"}


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("value", "total test/sim0000: the signal is too loud; turn it down"),
        ("bug", "total test/sim0000: KeyError: 'key'"),
        ("full disk", "total test/sim0000: OSError: .*No space left"),
    ],
)
def test_failed_unit_is_named_and_the_others_are_kept(
    tmp_path: Path, digests: Digests, caplog: pytest.LogCaptureFixture, trouble: str, message: str
) -> None:
    with (
        caplog.at_level(logging.DEBUG, "cmbml"),
        pytest.raises(UnitFailedError, match=message),
    ):
        run(tmp_path, total=Add(at="test/sim0000", trouble=trouble))
    kept = digests(tmp_path)
    assert "signal/train/sim0000/signal.npy" in kept
    assert "total/test/sim0000/total_a.npy" not in kept
    # The same run without the trouble does what is left, and no more.
    done = run(tmp_path)
    assert done["emission"] == done["signal"] == 0
    assert 1 <= done["total"] <= 5


def test_many_units_that_fail_alike_give_one_message(tmp_path: Path) -> None:
    class Broken(Draw):
        def process(self, io: object) -> None:  # noqa: ARG002
            message = "nothing works"
            raise ValueError(message)

    with pytest.raises(UnitFailedError) as error:
        run(tmp_path, signal=Broken())
    assert str(error.value).count("nothing works") == 1


@pytest.mark.parametrize("trouble", ["exit", "kill"])
def test_worker_that_dies_is_said_clearly_and_the_rest_is_kept(tmp_path: Path, digests: Digests, trouble: str) -> None:
    with pytest.raises(UnitFailedError, match="a worker died") as error:
        run(tmp_path, runner=Processes(workers=2), total=Add(at="test/sim0001", trouble=trouble))
    assert "runner.workers=1" in str(error.value)
    assert "run the same command to go on" in str(error.value)
    finished = {stage: len(list((tmp_path / ".records" / stage).glob("*.json"))) for stage in ALL}
    # What the unit waited for was finished; what the other worker had in hand may be lost with it.
    assert finished["emission"] >= 2
    assert finished["signal"] >= 1
    assert run(tmp_path) == {stage: count - finished[stage] for stage, count in ALL.items()}
    whole = tmp_path / "whole"
    run(whole)
    assert digests(whole) == {name: d for name, d in digests(tmp_path).items() if not name.startswith("whole")}


def test_work_of_a_plan_grows_in_proportion(tmp_path: Path) -> None:
    """Twice the simulations cost twice the calls, or planning the paper's 1,450 would take minutes."""

    def calls(train: int) -> int:
        count = [0]
        pipeline = Pipeline(toy_stages(), toy_space(train=train, test=0), tmp_path, 0)
        sys.setprofile(lambda _frame, event, _arg: count.__setitem__(0, count[0] + event.endswith("call")))
        try:
            plan = pipeline.plan()
        finally:
            sys.setprofile(None)
        assert plan.n_todo == 2 * train + 3
        return count[0]

    assert calls(400) < 2.2 * calls(200)


def test_table_says_what_is_to_do_and_what_is_there(tmp_path: Path) -> None:
    run(tmp_path)
    lines = Pipeline(toy_stages(), toy_space(train=4), tmp_path, 0).plan().table().split("\n")
    table = {line.split()[0]: line.split()[1:3] for line in lines[1:]}
    assert lines[0].split() == ["stage", "to", "do", "fresh", "disk"]
    assert table["signal"] == ["1", "5"]
    assert table["emission"] == ["0", "4"]
    assert table["total"] in (["1", "5"], ["3", "15"])
