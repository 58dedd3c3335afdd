"""Where units run: here, in other processes, or on a cluster. The one module that knows of processes."""

import logging
import os
import signal
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import connection, get_context, parent_process
from typing import Any, ParamSpec, TypeVar

from pydantic import PositiveInt
from tqdm import tqdm

from cmbml.core.errors import ConfigError
from cmbml.core.logs import ROOT, Outputs
from cmbml.cores import n_cores
from cmbml.settings import PositiveFloat, settings

log = logging.getLogger(__name__)
TELL_EVERY_S = 60.0
"""How long a run without a terminal is silent at most, once units are done, and one that waits for workers."""
LOOK_EVERY_S = 5.0
"""How often a run looks whether its Dask workers are there."""
P = ParamSpec("P")
T = TypeVar("T")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "DUCC0_NUM_THREADS",
)


class Progress:
    """How far a run has come: units done, rate and time left; a line every so often where the output is no terminal.

    Args:
        total: how many units there are.
        clock: tells the time, s.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.bar = tqdm(total=total, unit="unit", disable=None if total else True, dynamic_ncols=True, smoothing=0.1)
        self.total, self.done, self.clock = total, 0, clock
        self.started = self.told = clock()

    def advance(self, stage: str) -> None:
        """Count one more unit, of the named stage."""
        self.bar.set_description(stage, refresh=False)
        self.bar.update()
        self.done += 1
        now = self.clock()
        if self.bar.disable and now - self.told >= TELL_EVERY_S and self.done < self.total:
            self.told = now
            per_minute = 60 * self.done / (now - self.started)
            left = (self.total - self.done) / per_minute
            log.info(
                "%d of %d units done, %.3g a minute, about %s left (now: %s)",
                *(self.done, self.total, per_minute, _duration(left), stage),
            )


def _duration(minutes: float) -> str:
    """Write a time as a person would.

    Example:
        >>> _duration(0.4), _duration(12.2), _duration(200.0)
        ('1 min', '12 min', '3 h 20 min')
    """
    whole = max(1, round(minutes))
    return f"{whole} min" if whole < 60 else f"{whole // 60} h {whole % 60} min"


@settings
class Runner(ABC):
    """What runs units."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many units may be handed out at once."""

    @property
    @abstractmethod
    def threads_per_worker(self) -> int:
        """How many CPU threads one unit may use."""

    @abstractmethod
    def pool(self) -> Any:  # noqa: ANN401
        """Give, as a context, something with `submit` that returns `concurrent.futures` futures."""

    @contextmanager
    def progress(self, total: int) -> Iterator[Progress]:
        """Show the progress of `total` units."""
        progress = Progress(total)
        try:
            yield progress
        finally:
            progress.bar.close()


class _Inline(Executor):
    """Run each call at once, in this thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@settings
class Serial(Runner):
    """One unit after the other, in this process.

    Attributes:
        threads: CPU threads of each transform; all cores by default.
    """

    threads: PositiveInt | None = None

    @property
    def slots(self) -> int:
        """One at a time."""
        return 1

    @property
    def threads_per_worker(self) -> int:
        """All that were asked for."""
        return self.threads or n_cores()

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Give an executor that runs each call at once."""
        yield _Inline()


class _Spawned(ProcessPoolExecutor):
    """Processes that an interrupt does not kill while they start, before `_start_worker` has been called there."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        # A call may start a process, which inherits what is blocked; an interrupt reaches this one right afterwards.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@settings
class Processes(Runner):
    """Several processes on this machine.

    Attributes:
        workers: how many; one per core by default.
        threads: CPU threads of each.
    """

    workers: PositiveInt | None = None
    threads: PositiveInt = 1

    @property
    def slots(self) -> int:
        """One unit per worker, and one waiting for each."""
        return 2 * (self.workers or n_cores())

    @property
    def threads_per_worker(self) -> int:
        """As set."""
        return self.threads

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Give a pool of spawned processes that die with this one."""
        with _thread_environment(self.threads):
            talk = (Outputs.of_this_process(),)
            pool = _Spawned(self.workers or n_cores(), get_context("spawn"), _start_worker, talk)
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)


@settings
class Dask(Runner):
    """Dask workers: a local cluster, a running scheduler, or any cluster class.

    Attributes:
        workers: how many.
        threads: CPU threads of each; one unit runs in a worker at a time.
        address: of a running scheduler, such as `tcp://host:8786`; its workers must see the dataset's folder.
        cluster: what makes a cluster when called, such as `dask_jobqueue.SLURMCluster` as a Hydra partial.
        timeout_s: how long to wait for the scheduler's answer.
    """

    workers: PositiveInt = 2
    threads: PositiveInt = 1
    address: str | None = None
    cluster: Callable[..., Any] | None = None
    timeout_s: PositiveFloat = 10.0

    @property
    def slots(self) -> int:
        """A few units per worker, so that none waits for the scheduler."""
        return 4 * self.workers

    @property
    def threads_per_worker(self) -> int:
        """As set."""
        return self.threads

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Give the executor of a Dask client.

        Raises:
            ConfigError: Dask is not installed, the scheduler does not answer, or the cluster cannot be had.
        """
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            message = "runner=dask needs dask.distributed: pip install 'cmbml[dask]'"
            raise ConfigError(message) from error
        with _thread_environment(self.threads), tempfile.TemporaryDirectory() as folder:
            dask.config.set({"temporary-directory": folder, "distributed.worker.daemon": True})
            nanny = logging.getLogger("distributed.nanny")
            level = nanny.level
            with self._cluster(LocalCluster) as cluster, self._client(Client, cluster) as client:
                client.register_worker_callbacks(Outputs(console=False, files=()).share)
                client.forward_logging(ROOT.name)
                with self._watch(client, cluster):
                    yield client.get_executor(pure=False, retries=0)
                # All is done. A worker that is slow to leave is killed, one that reports to a scheduler that has left
                # before it complains: nobody need be told. Workers that stay are left as they are.
                nanny.setLevel(logging.ERROR)
                if not self.address:
                    client.run(_hush, on_error="ignore")
            nanny.setLevel(level)

    def _cluster(self, local: Any) -> Any:  # noqa: ANN401
        """Return, as a context, what a client connects to."""
        if self.address:
            return nullcontext(self.address)
        if self.cluster is None:
            # Without a dashboard there is a server all the same: on any port, for another run may have the usual one.
            port = {"dashboard_address": ":0"}
            fixed = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
            return local(n_workers=self.workers, **fixed, scheduler_kwargs=port)
        try:
            made = self.cluster()
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            message = f"runner.cluster cannot be made: {error}"
            raise ConfigError(message) from error
        try:
            # An error while jobs are asked for is lost in `scale` itself, and then no worker ever comes.
            with _silent("tornado.application"):
                made.sync(_ask_for, made, self.workers)
        except (OSError, RuntimeError) as error:
            made.close()
            message = f"the cluster refuses what runner.cluster asks for: {_essence(error)}; adapt runner.cluster.*"
            raise ConfigError(message) from error
        return made

    @contextmanager
    def _watch(self, client: Any, cluster: Any) -> Iterator[None]:  # noqa: ANN401
        """Meanwhile say so when no worker is there, and ask anew for those that have left, as jobs do in time.

        A unit whose workers die again and again fails all the same: Dask gives it up (`allowed-failures`).
        """
        over = threading.Event()

        def watch() -> None:
            absent_s, told_s, most = 0.0, 0.0, 0
            while not over.wait(LOOK_EVERY_S):
                there = len(client.nthreads())
                if there < most:
                    again = "" if self.cluster is None else "; others are asked for"
                    log.info("%d of %d workers have left%s", most - there, most, again)
                most = there
                if self.cluster is not None:
                    cluster.scale(self.workers)
                absent_s = 0.0 if there else absent_s + LOOK_EVERY_S
                told_s = min(told_s, absent_s)
                if absent_s - told_s >= TELL_EVERY_S or absent_s == LOOK_EVERY_S:
                    told_s = absent_s
                    log.info("%s", _waiting(self.workers, absent_s, jobs=self.cluster is not None))

        watching = threading.Thread(target=_until_closed, args=(watch,), daemon=True)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join(self.timeout_s)

    def _client(self, client: Any, cluster: Any) -> Any:  # noqa: ANN401
        try:
            return client(cluster, timeout=self.timeout_s, set_as_default=False)
        except OSError as error:
            message = f"the Dask scheduler {self.address or ''} does not answer: {error}; check runner.address"
            raise ConfigError(message) from error


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Let a library's logger say nothing meanwhile."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _ask_for(cluster: Any, workers: int) -> None:  # noqa: ANN401
    """Scale a cluster, and wait until the workers are asked for."""
    from distributed.core import Status

    cluster.scale(workers)
    if not hasattr(cluster, "_correct_state"):
        return
    try:
        await cluster._correct_state()
    except (OSError, RuntimeError):
        # A cluster does not close while it believes that a worker of its may still start.
        for worker in cluster.workers.values():
            if worker.status == Status.created:
                worker.status = Status.failed
        raise


def _essence(error: Exception) -> str:
    r"""Return what a command that failed had to say, if that is what an error is about.

    Example:
        >>> _essence(RuntimeError("Command exited with non-zero exit code.\nstderr:\nsbatch: error: no such account\n"))
        'sbatch: error: no such account'
    """
    said = str(error).rpartition("stderr:")[2].strip() or str(error)
    return " ".join(said.split())


def _until_closed(watch: Callable[[], None]) -> None:
    """Watch until the client has left, which shows in many ways; a run that goes on shows them, too."""
    with suppress(Exception):
        watch()


def _waiting(workers: int, seconds: float, jobs: bool) -> str:
    """Say that a run waits for workers."""
    why = "their jobs wait for their turn, or cannot be met (with SLURM, `squeue --me` says why)"
    hint = why if jobs else "start some that can reach the scheduler"
    return f"no worker is there, of {workers} wanted, since {seconds:.0f} s: {hint}"


@contextmanager
def _thread_environment(threads: int) -> Iterator[None]:
    """Let processes started meanwhile load their libraries with this many threads."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _hush() -> None:
    """Let Dask say no more in this process."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    for name in [*logging.Logger.manager.loggerDict]:
        if name.startswith("distributed."):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _start_worker(outputs: Outputs) -> None:
    """Talk where the parent does, leave interrupts to it, and end when it ends, however it ends."""
    outputs.share()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
