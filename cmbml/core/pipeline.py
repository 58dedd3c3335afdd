"""The plan of a run, and its doing."""

import logging
import traceback
from collections import deque
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path
from typing import Any, Literal

from cmbml.core.asset import Asset
from cmbml.core.errors import CmbmlError, ConfigError, MissingAssetError, UnitFailedError
from cmbml.core.executor import Executor
from cmbml.core.fingerprint import Fingerprinter
from cmbml.core.graph import Graph
from cmbml.core.namer import Namer
from cmbml.core.plan import Plan, StagePlan, Unit
from cmbml.core.record import Record
from cmbml.core.runner import Runner
from cmbml.core.space import Key, Space
from cmbml.core.store import Store
from cmbml.core.unit_io import Failure, Places, Task, run_task

log = logging.getLogger(__name__)
Resume = Literal["fresh", "restart", "refuse"]


class Pipeline:
    """Stages over a space, kept in a folder.

    Args:
        stages: name -> executor.
        space: the points over which they run.
        root: the dataset's folder.
        seed: root of all randomness.
        given: stages that an earlier program has run here: what they made is looked up in their records.

    Raises:
        GraphError: the stages do not fit together.
        ConfigError: a setting cannot be met; one message lists all of them.
    """

    def __init__(
        self,
        stages: Mapping[str, Executor],
        space: Space,
        root: Path,
        seed: int,
        given: Mapping[str, type[Executor]] | None = None,
    ) -> None:
        self.graph = Graph.of(stages, given)
        self.root, self.seed, self.space, self.namer = root, seed, space, Namer()
        self._made_by: dict[tuple[str, tuple[Key, ...]], tuple[Unit, ...]] = {}
        faults = []
        self.spaces: dict[str, Space] = {}
        for stage, executor in self.graph.stages.items():
            try:
                self.spaces[stage] = space.restricted(executor.over)
                executor.check(self.spaces[stage])
            except (ValueError, CmbmlError) as error:
                faults.append(f"{stage}: {error}")
            except OSError as error:
                faults.append(f"{stage}: {error}; check the path in the config")
        if faults:
            raise ConfigError("\n".join(faults))

    def plan(self, resume: Resume = "fresh") -> Plan:
        """Work out what is to be done. Reads records and file sizes, never data.

        Args:
            resume: `fresh` keeps what is done, `restart` does everything again, `refuse` stops if anything is done.

        Raises:
            ConfigError: something is done already and `resume` is `refuse`.
            MissingAssetError: a raw file is not there.
        """
        prints: dict[Unit, str] = {}
        needs: dict[Unit, tuple[Unit, ...]] = {}
        other: set[Unit] = set()  # whose bytes may come out otherwise than they were
        stages = []
        for stage, executor in self.graph.stages.items():
            fingerprint = Fingerprinter(executor, self.seed)
            keys, todo = self.spaces[stage].keys(executor.per), []
            for key in keys:
                needed = self._inputs(executor, key)
                for unit, required in needed.items():
                    if unit[0] in self.graph.given and unit not in prints and (found := self._found(unit, required)):
                        prints[unit] = found
                inputs = [
                    unit
                    for unit, required in needed.items()
                    if unit in prints or (required and unit[0] not in self.graph.given)
                ]
                if missing := next((unit for unit in inputs if unit not in prints), None):
                    message = f"'{stage} {key}' needs '{missing[0]} {missing[1]}', which the setting `over` leaves out"
                    raise ConfigError(message)
                prints[stage, key] = fingerprint(key, [prints[unit] for unit in inputs])
                stale = not other.isdisjoint(inputs)
                if resume == "restart" or stale or not self._is_done(stage, key, prints[stage, key]):
                    todo.append(key)
                    needs[stage, key] = tuple(unit for unit in inputs if unit in needs)
                    if stale or not executor.exact:
                        other.add((stage, key))
            stages.append(StagePlan(stage, tuple(todo), len(keys) - len(todo), len(todo) * executor.disk_bytes()))
        if resume == "refuse" and any(stage.fresh for stage in stages):
            message = (
                f"{self.root} already holds finished units and resume=refuse; use resume=fresh or another dataset="
            )
            raise ConfigError(message)
        return Plan(tuple(stages), prints, needs)

    def run(self, plan: Plan, runner: Runner) -> None:
        """Do what the plan says.

        Raises:
            UnitFailedError: a unit failed; what does not depend on it may have been done, and is recorded.
        """
        followers: dict[Unit, list[Unit]] = {}
        for unit, before in plan.needs.items():
            for earlier in before:
                followers.setdefault(earlier, []).append(unit)
        left = {unit: len(before) for unit, before in plan.needs.items()}
        ready = deque(unit for unit, count in left.items() if not count)
        failures: list[Failure] = []
        running: dict[Future[Record | Failure], Unit] = {}
        with runner.pool() as pool, runner.progress(plan.n_todo) as progress:
            while running or (ready and not failures):
                while ready and not failures and len(running) < runner.slots:
                    unit = ready.popleft()
                    running[_submit(pool, self._task(*unit, plan, runner.threads_per_worker))] = unit
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    unit = running.pop(future)
                    result = _result(future, unit)
                    if isinstance(result, Failure):
                        failures.append(result)
                        continue
                    log.debug("done %s %s in %.2f s", *unit, result.seconds)
                    progress.advance(unit[0])
                    for follower in followers.get(unit, ()):
                        left[follower] -= 1
                        if not left[follower]:
                            ready.append(follower)
        if failures:
            # A pool that breaks kills its other workers in the middle of a write.
            Store(self.root).remove_parts()
        _report(failures)

    def _inputs(self, executor: Executor, key: Key) -> dict[Unit, bool]:
        """Return the units that make what a unit reads, and whether it cannot do without."""
        units: dict[Unit, bool] = {}
        for asset in self.graph.reads_of(executor):
            required = asset in executor.reads
            places = self._seen(executor, asset, key)
            maker = self.graph.makers[asset.name]
            if (maker, places) not in self._made_by:
                per = self.graph.units_of(maker)
                self._made_by[maker, places] = tuple((maker, place.on(per)) for place in places)
            for unit in self._made_by[maker, places]:
                units[unit] = required or units.get(unit, False)
        return units

    def _found(self, unit: Unit, required: bool) -> str | None:
        """Return the fingerprint of a unit that an earlier program has finished; None where it need not have.

        Raises:
            MissingAssetError: it has not and is required, or its files are gone.
        """
        stage, key = unit
        record = Record.read(self.root / self.namer.record(stage, key))
        if record is None and not required:
            return None
        if record is None or not record.is_complete(self.root):
            message = (
                f"'{stage} {key}' is not finished in {self.root}; run the program that makes it first "
                "(main_sims.py for a dataset, main_clean.py for a method)"
            )
            raise MissingAssetError(message)
        return record.fingerprint

    def _is_done(self, stage: str, key: Key, fingerprint: str) -> bool:
        record = Record.read(self.root / self.namer.record(stage, key))
        return record is not None and record.fingerprint == fingerprint and record.is_complete(self.root)

    def _task(self, stage: str, key: Key, plan: Plan, threads: int) -> Task:
        executor = self.graph.stages[stage]
        return Task(
            stage=stage,
            executor=executor,
            key=key,
            inputs={
                asset.name: self._paths(asset, self._there(executor, asset, key, plan))
                for asset in self.graph.reads_of(executor)
            },
            outputs={
                asset.name: self._paths(asset, self.space.keys_within(key, asset.per))
                for asset in (*executor.writes, *executor.may_write)
            },
            makers={asset.name: self.graph.makers[asset.name] for asset in self.graph.reads_of(executor)},
            fingerprint=plan.fingerprints[stage, key],
            root=self.root,
            record=str(self.namer.record(stage, key)),
            seed=self.seed,
            threads=threads,
        )

    def _seen(self, executor: Executor, asset: Asset[Any], key: Key) -> tuple[Key, ...]:
        """Return every point of an asset that a unit reads."""
        kept = {axis: values for axis, values in executor.sees().items() if axis in asset.per and axis not in key}
        places = self.space.keys_within(key, asset.per)
        return tuple(at for at in places if all(at[axis] in kept[axis] for axis in kept)) if kept else places

    def _there(self, executor: Executor, asset: Asset[Any], key: Key, plan: Plan) -> tuple[Key, ...]:
        """Return every point of an asset that a unit reads, without those that it may read and nobody has made."""
        places, maker = self._seen(executor, asset, key), self.graph.makers[asset.name]
        if asset in executor.reads:
            return places
        per = self.graph.units_of(maker)
        return tuple(at for at in places if (maker, at.on(per)) in plan.fingerprints)

    def _paths(self, asset: Asset[Any], places: tuple[Key, ...]) -> Places:
        """Return points of an asset with their paths."""
        stage = self.graph.makers[asset.name]
        return tuple((at, str(self.namer.path(stage, asset, at))) for at in places)


def _result(future: Future[Record | Failure], unit: Unit) -> Record | Failure:
    try:
        return future.result()
    except Exception as error:
        # A unit's own errors come as a Failure; what is raised is the pool's, of a type of its own in each.
        message = (
            f"a worker died ({error}). If the machine ran out of memory, use fewer workers: runner.workers=1. "
            "What was finished is kept; run the same command to go on"
        )
        return Failure(f"{unit[0]} {unit[1]}".strip(), message, traceback.format_exc())


def _submit(pool: Any, task: Task) -> "Future[Record | Failure]":  # noqa: ANN401
    """Hand out a unit; a pool that has broken meanwhile shows in the result, like one that breaks later."""
    future: Future[Record | Failure]
    try:
        future = pool.submit(run_task, task)
    except BrokenExecutor as error:
        future = Future()
        future.set_exception(error)
    return future


def _report(failures: list[Failure]) -> None:
    """Log and raise what went wrong, the same message once."""
    if not failures:
        return
    for failure in failures:
        log.debug("%s failed:\n%s", failure.unit, failure.details)
    units: dict[str, list[str]] = {}
    for failure in failures:
        units.setdefault(failure.message, []).append(failure.unit)
    raise UnitFailedError("\n".join(f"{', '.join(names)}: {message}" for message, names in units.items()))
