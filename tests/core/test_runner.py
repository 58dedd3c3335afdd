"""The same bytes wherever units run."""

import multiprocessing
import os
import queue
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import dask
import pytest
from distributed import LocalCluster
from toys import Add, toy_space, toy_stages

from cmbml.core.errors import ConfigError, UnitFailedError
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import TELL_EVERY_S, THREAD_VARIABLES, Dask, Processes, Progress, Runner, Serial
from cmbml.settings import settings

RUNNERS = {"serial": Serial(threads=1), "processes": Processes(workers=2), "dask": Dask(workers=2)}


def run(root: Path, runner: Runner, **changed: Add) -> None:
    pipeline = Pipeline(toy_stages(**changed), toy_space(), root, 0)
    pipeline.run(pipeline.plan(), runner)


@pytest.mark.parametrize("name", ["processes", "dask"])
def test_same_bytes_as_serial(tmp_path: Path, digests: Callable[[Path], dict[str, str]], name: str) -> None:
    run(tmp_path / "serial", RUNNERS["serial"])
    run(tmp_path / name, RUNNERS[name])
    assert digests(tmp_path / name) == digests(tmp_path / "serial")


@settings
class Shuffled(Runner):
    """Holds up to six units back, and does them in random order, one whenever somebody waits."""

    seed: int
    slots: ClassVar[int] = 6
    threads_per_worker: ClassVar[int] = 1

    @contextmanager
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        choose, held = random.Random(self.seed), []

        class Pool(ThreadPoolExecutor):
            def submit(self, fn: Callable[..., object], /, *args: object) -> Future[object]:
                future: Future[object] = Future()
                held.append((fn, args, future))
                super().submit(self.do_one)
                return future

            def do_one(self) -> None:
                time.sleep(0.002)
                fn, args, future = held.pop(choose.randrange(len(held)))
                future.set_result(fn(*args))

        with Pool(1) as pool:
            yield pool


@pytest.mark.parametrize("seed", range(5))
def test_same_bytes_in_any_order(tmp_path: Path, digests: Callable[[Path], dict[str, str]], seed: int) -> None:
    run(tmp_path / "serial", RUNNERS["serial"])
    run(tmp_path / "shuffled", Shuffled(seed=seed))
    assert digests(tmp_path / "shuffled") == digests(tmp_path / "serial")


def test_dask_scheduler_that_runs_already(tmp_path: Path, digests: Callable[[Path], dict[str, str]]) -> None:
    run(tmp_path / "serial", RUNNERS["serial"])
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        run(tmp_path / "dask", Dask(address=cluster.scheduler_address))
        assert cluster.scheduler.status.name == "running", "it is not ours to close"
    assert digests(tmp_path / "dask") == digests(tmp_path / "serial")


def test_dask_cluster_that_is_made_as_told(tmp_path: Path, digests: Callable[[Path], dict[str, str]]) -> None:
    """As a class from dask-jobqueue would be: made without workers, then scaled."""
    made = []

    def cluster() -> LocalCluster:
        made.append(LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None))
        return made[-1]

    run(tmp_path / "serial", RUNNERS["serial"])
    run(tmp_path / "dask", Dask(workers=1, cluster=cluster))
    assert digests(tmp_path / "dask") == digests(tmp_path / "serial")
    assert made[0].status.name == "closed"


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


def test_worker_that_is_interrupted_while_it_starts() -> None:
    """As by Ctrl-C, which reaches all processes: the parent alone answers it."""
    others = set(multiprocessing.active_children())
    with Processes(workers=1).pool() as pool:
        future = pool.submit(os.getpid)
        (worker,) = set(multiprocessing.active_children()) - others
        os.kill(worker.pid, signal.SIGINT)
        assert future.result() == worker.pid


def test_two_dask_runs_at_once_do_not_mind_each_other(recwarn: pytest.WarningsRecorder) -> None:
    with Dask(workers=1).pool() as one, Dask(workers=1).pool() as other:
        assert [pool.submit(len, "abc").result() for pool in (one, other)] == [3, 3]
    assert not [str(found.message) for found in recwarn if "already in use" in str(found.message)]


def test_dask_scheduler_that_does_not_answer() -> None:
    with (
        pytest.raises(ConfigError, match=r"tcp://127.0.0.1:9 does not answer.*check runner.address"),
        Dask(address="tcp://127.0.0.1:9", timeout_s=1).pool(),
    ):
        pass


class Refusing(LocalCluster):
    """Asks for workers as a batch system that refuses each job."""

    async def _correct_state(self) -> None:
        if self.worker_spec:
            message = "Command exited with non-zero exit code.\nstdout:\n\nstderr:\nsbatch: error: no such account\n"
            raise RuntimeError(message)


def test_cluster_that_refuses_jobs() -> None:
    cluster = partial(Refusing, n_workers=0, dashboard_address=None)
    with (
        pytest.raises(
            ConfigError, match=r"refuses what runner.cluster asks for: sbatch: error: no such account; adapt"
        ),
        Dask(workers=1, cluster=cluster).pool(),
    ):
        pass


def test_cluster_that_cannot_be_made() -> None:
    def cluster() -> LocalCluster:
        message = "You must specify how much memory"
        raise ValueError(message)

    with (
        pytest.raises(ConfigError, match=r"runner.cluster cannot be made: You must specify"),
        Dask(cluster=cluster).pool(),
    ):
        pass


class Slow(LocalCluster):
    """Gets no workers, as while jobs wait in a queue."""

    def scale(self, n: int = 0) -> None:
        pass


def test_waiting_for_workers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = queue.Queue()
    monkeypatch.setattr("cmbml.core.runner.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("cmbml.core.runner.log.info", lambda text, *words: said.put(text % words))
    with Dask(workers=3, cluster=partial(Slow, n_workers=0, dashboard_address=None)).pool():
        line = said.get(timeout=20)
    assert line.startswith("no worker is there, of 3 wanted, since 0 s: their jobs wait")


def test_worker_that_leaves_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a job that ends in time, or is cancelled: what it was to do is done by the next."""
    said, made = queue.Queue(), []
    monkeypatch.setattr("cmbml.core.runner.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("cmbml.core.runner.log.info", lambda text, *words: said.put(text % words))

    def cluster() -> LocalCluster:
        made.append(LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None))
        return made[-1]

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        Dask(workers=1, cluster=cluster).pool() as pool,
    ):
        assert pool.submit(len, "abc").result(timeout=20) == 3
        time.sleep(0.2)
        made[0].sync(made[0].scheduler.remove_worker, next(iter(made[0].scheduler.workers)), stimulus_id="test")
        assert pool.submit(len, "abcd").result(timeout=30) == 4


@pytest.mark.parametrize(("runner", "slots"), [(Serial(), 1), (Processes(workers=3), 6), (Dask(workers=2), 8)])
def test_slots(runner: Runner, slots: int) -> None:
    assert runner.slots == slots


def test_a_line_every_so_often_tells_rate_and_time_left_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten units of 25 s each: told after the third, sixth and ninth, the first past each minute; never at the end."""
    now, told = [0.0], []
    monkeypatch.setattr("cmbml.core.runner.log.info", lambda text, *words: told.append(text % words))
    progress = Progress(10, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 25.0
        progress.advance("observe")
    assert TELL_EVERY_S == 60.0
    assert told == [
        "3 of 10 units done, 2.4 a minute, about 3 min left (now: observe)",
        "6 of 10 units done, 2.4 a minute, about 2 min left (now: observe)",
        "9 of 10 units done, 2.4 a minute, about 1 min left (now: observe)",
    ]
