"""The same bytes wherever units run."""

import os
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import pytest
from toys import Add, toy_space, toy_stages

from cmbml.core.errors import ConfigError, UnitFailedError
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import THREAD_VARIABLES, Dask, Processes, Runner, Serial

RUNNERS = {"serial": Serial(threads=1), "processes": Processes(workers=2), "dask": Dask(workers=2)}


def run(root: Path, runner: Runner, **changed: Add) -> None:
    pipeline = Pipeline(toy_stages(**changed), toy_space(), root, 0)
    pipeline.run(pipeline.plan(), runner)


@pytest.mark.parametrize("name", ["processes", "dask"])
def test_same_bytes_as_serial(tmp_path: Path, digests: Callable[[Path], dict[str, str]], name: str) -> None:
    run(tmp_path / "serial", RUNNERS["serial"])
    run(tmp_path / name, RUNNERS[name])
    assert digests(tmp_path / name) == digests(tmp_path / "serial")


@pytest.mark.parametrize("name", list(RUNNERS))
def test_failure_comes_back_as_a_message(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnitFailedError, match="total test/sim0000: the signal is too loud"):
        run(tmp_path, RUNNERS[name], total=Add(at="test/sim0000", trouble="value"))


def test_dask_worker_that_dies(tmp_path: Path) -> None:
    with pytest.raises(UnitFailedError, match="a worker died") as error:
        run(tmp_path, RUNNERS["dask"], total=Add(at="test/sim0000", trouble="kill"))
    assert "run the same command to go on" in str(error.value)


def test_workers_have_the_threads_they_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with Processes(workers=1, threads=3).pool() as pool:
        futures = [pool.submit(os.getenv, name) for name in THREAD_VARIABLES]
        wait(futures)
    assert {future.result() for future in futures} == {"3"}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_dask_scheduler_that_does_not_answer() -> None:
    with (
        pytest.raises(ConfigError, match=r"tcp://127.0.0.1:9 does not answer.*check runner.address"),
        Dask(address="tcp://127.0.0.1:9", timeout_s=1).pool(),
    ):
        pass


@pytest.mark.parametrize(("runner", "slots"), [(Serial(), 1), (Processes(workers=3), 6), (Dask(workers=2), 8)])
def test_slots(runner: Runner, slots: int) -> None:
    assert runner.slots == slots
