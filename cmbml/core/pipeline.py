"""The plan of a run, and its doing."""

import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from cmbml.core.errors import CmbmlError, ConfigError, MissingAssetError, StaleError, UnitFailedError
from cmbml.core.executor import Executor
from cmbml.core.fingerprint import Fingerprinter
from cmbml.core.graph import Graph
from cmbml.core.integrity import Integrity
from cmbml.core.intent import DATASET_PROGRAM, NOBODY, Origin, Wish, announce, lasting
from cmbml.core.ledger import Fault, Ledger, complaint
from cmbml.core.namer import Namer
from cmbml.core.plan import Plan, StagePlan, Unit
from cmbml.core.record import Record, Source
from cmbml.core.runner import Runner
from cmbml.core.space import Key, Space
from cmbml.core.store import Store, storage_errors
from cmbml.core.task import Failure, Task, run_task
from cmbml.core.unit_io import Access
from cmbml.core.wiring import Wiring

log = logging.getLogger(__name__)
Resume = Literal["fresh", "restart", "refuse"]


class Pipeline:
    """Stages over a space, kept in a folder.

    Args:
        stages: name -> executor.
        space: the points over which they run.
        root: the dataset's folder.
        seed: root of all randomness.
        upstream: stages that an earlier program has run here: what they made is looked up in their records.
        origin: who asks for it.
        integrity: how closely files are looked at before they are read.

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
        upstream: Mapping[str, type[Executor]] | None = None,
        origin: Origin = NOBODY,
        integrity: Integrity = "hash",
    ) -> None:
        self.graph = Graph.of(stages, upstream)
        self.root, self.seed, self.space, self.namer = root, seed, space, Namer()
        self.origin, self.integrity, self.ledger = origin, integrity, Ledger(root)
        self.wiring = Wiring(self.graph, space, self.namer)
        self._announced: Plan | None = None
        self._alike = {stage: Fingerprinter(executor, seed).alike for stage, executor in self.graph.stages.items()}
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
        """Work out what is to be done. Reads records, sizes and times; of data, only files that have another time.

        Args:
            resume: `fresh` keeps what is done, `restart` does everything again, `refuse` stops if anything is done.

        Raises:
            ConfigError: something is done already and `resume` is `refuse`.
            MissingAssetError: a raw file is not there, or what an earlier program should have made.
            StaleError: what an earlier program has made is not up to date, or not what was written.
        """
        self.ledger = Ledger(self.root)
        prints: dict[Unit, str] = {}
        faults: dict[Unit, Fault] = {}
        needs: dict[Unit, tuple[Unit, ...]] = {}
        other: set[Unit] = set()  # whose bytes may come out otherwise than they were
        stages = []
        for stage, executor in self.graph.stages.items():
            fingerprint = Fingerprinter(executor, self.seed)
            keys, todo = self.spaces[stage].keys(executor.per), []
            shown = self._showing(executor)
            for key in keys:
                needed = self.wiring.inputs(executor, key)
                for unit, required in needed.items():
                    if unit[0] in self.graph.upstream and unit not in prints:
                        self._look_up(unit, required, prints, faults)
                inputs = [
                    unit
                    for unit, required in needed.items()
                    if unit in prints or (required and unit[0] not in self.graph.upstream)
                ]
                if missing := next((unit for unit in inputs if unit not in prints), None):
                    message = f"'{stage} {key}' needs '{missing[0]} {missing[1]}', which the setting `over` leaves out"
                    raise ConfigError(message)
                prints[stage, key] = fingerprint(key, [prints[unit] for unit in inputs])
                done = self._done(stage, key, prints[stage, key])
                kept = (shown(unit) for unit in inputs if unit not in needs)
                stale = not other.isdisjoint(inputs) or (done is not None and not _made_from(done, kept))
                if resume == "restart" or stale or done is None or any(self.ledger.file_faults(done)):
                    todo.append(key)
                    needs[stage, key] = tuple(unit for unit in inputs if unit in needs)
                    if stale or not executor.reproducible:
                        other.add((stage, key))
            stages.append(StagePlan(stage, tuple(todo), len(keys) - len(todo), len(todo) * executor.disk_bytes()))
        _refuse(faults or self._mixed(prints))
        if resume == "refuse" and any(stage.fresh for stage in stages):
            message = (
                f"{self.root} already holds finished units and resume=refuse; use resume=fresh or another dataset="
            )
            raise ConfigError(message)
        return Plan(tuple(stages), prints, needs)

    def redone(self, plan: Plan) -> int:
        """Count the units to be done that are finished, and were made with other settings or inputs."""
        records = (
            (self.ledger.record(stage.stage, key.name), plan.fingerprints[stage.stage, key])
            for stage in plan.stages
            for key in stage.todo
        )
        return sum(record is not None and record.fingerprint != print_ for record, print_ in records)

    def run(self, plan: Plan, runner: Runner) -> None:
        """Note what the plan says, and do it.

        Raises:
            UnitFailedError: a unit failed; what does not depend on it may have been done, and is recorded.
        """
        self.announce(plan)
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
                    self.ledger.enter(unit[0], unit[1].name, result)
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

    def announce(self, plan: Plan) -> None:
        """Note what a plan asks for, before anything is done: what is left undone can then be told.

        A run that goes through `run` alone need not call it; to call it twice does no harm.
        """
        if plan is self._announced:
            return
        wishes = {}
        for stage, executor in self.graph.stages.items():
            units = {key.name: plan.fingerprints[stage, key] for key in self.spaces[stage].keys(executor.per)}
            known = {key.name for key in self.space.keys(executor.per)} if self.origin.whole else ()
            assets = tuple(asset.name for asset in (*executor.writes, *executor.may_write))
            wishes[stage] = Wish(assets, units, known)
        with storage_errors(self.root):
            announce(self.root, wishes, self.origin)
        self._announced = plan

    def _done(self, stage: str, key: Key, fingerprint: str) -> Record | None:
        """Return the record of a unit that was made as it is planned now."""
        record = self.ledger.record(stage, key.name)
        return record if record is not None and record.fingerprint == fingerprint else None

    def _look_up(self, unit: Unit, required: bool, prints: dict[Unit, str], faults: dict[Unit, Fault]) -> None:
        """Take the fingerprint of a unit that an earlier program has finished, or note why it is not to be had."""
        stage, name = unit[0], unit[1].name
        fault, record = self.ledger.fault(stage, name), self.ledger.record(stage, name)
        if fault is not None and (required or fault.kind not in {"unfinished", "left over"}):
            faults[unit] = fault
            prints[unit] = ""
        elif fault is None and record is not None:
            prints[unit] = record.fingerprint

    def _mixed(self, prints: Iterable[Unit]) -> dict[Unit, Fault]:
        """Find units of earlier programs that were not made with the settings of their like, as `over` allows."""
        first: dict[tuple[str, Key], tuple[Unit, str]] = {}
        faults: dict[Unit, Fault] = {}
        for stage, key in prints:
            record = self.ledger.record(stage, key.name) if stage in self.graph.upstream else None
            if record is not None and record.settings:
                # Along free axes, such as methods, settings may differ.
                (_, other), settings = first.setdefault(
                    (stage, key.on(self.space.free)), ((stage, key), record.settings)
                )
                if settings != record.settings:
                    text = f"was made with other settings than '{stage} {other}': make all with the same, without over="
                    faults[stage, key] = Fault("stale", text, self.ledger.commands(stage, key.name))
        return faults

    def _showing(self, executor: Executor) -> Callable[[Unit], tuple[str, str, str]]:
        """Return what says of a unit its stage, its name, and what it shows to an executor."""
        assets = self.wiring.assets_by_maker(executor)

        @cache
        def shown(unit: Unit) -> tuple[str, str, str]:
            name = unit[1].name
            return unit[0], name, self.ledger.shown(unit[0], name, assets[unit[0]])

        return shown

    def _sources(self, executor: Executor, key: Key, plan: Plan) -> tuple[Source, ...]:
        """Say what a unit is made from: what is there when it begins."""
        units: dict[str, dict[str, str]] = {}
        assets = self.wiring.assets_by_maker(executor)
        for maker, place in self.wiring.inputs(executor, key):
            if (maker, place) in plan.fingerprints:
                units.setdefault(maker, {})[place.name] = self.ledger.shown(maker, place.name, assets[maker])
        return tuple(Source(maker, assets[maker], units[maker]) for maker in units)

    def _command(self, stage: str) -> str:
        """Return the command that makes what a stage makes."""
        intent = None if stage in self.graph.stages else self.ledger.intent(stage)
        return self.origin.command if intent is None else next((asked.command for asked in intent.units.values()), "")

    @cached_property
    def _history(self) -> tuple[str, ...]:
        """The commands that have made what earlier programs made for this space, the dataset first, and this one."""
        asked = []
        for stage, kind in self.graph.upstream.items():
            intent = self.ledger.intent(stage)
            if intent is not None and {*kind.per} <= {*self.space.axes}:
                names = sorted(key.name for key in self.space.keys(kind.per))
                asked += [intent.units[name] for name in names if name in intent.units]
        asked.sort(key=lambda one: one.program != DATASET_PROGRAM)
        commands = (*(one.command for one in asked), self.origin.command)
        return tuple(dict.fromkeys(lasting(command) for command in commands if command))

    def _task(self, stage: str, key: Key, plan: Plan, threads: int) -> Task:
        executor = self.graph.stages[stage]
        reads = self.graph.reads_of(executor)
        inputs = {
            asset.name: self.wiring.paths(asset, self.wiring.there(executor, asset, key, plan.fingerprints))
            for asset in reads
        }
        sources = self._sources(executor, key, plan)
        recorded = ((path, self.ledger.output(path)) for places in inputs.values() for _, path in places)
        access = Access(
            stage=stage,
            key=key,
            inputs=inputs,
            outputs={
                asset.name: self.wiring.paths(asset, self.space.keys_within(key, asset.per))
                for asset in (*executor.writes, *executor.may_write)
            },
            makers={asset.name: self.graph.makers[asset.name] for asset in reads},
            fingerprint=plan.fingerprints[stage, key],
            root=self.root,
            seed=self.seed,
            threads=threads,
            optional=frozenset(asset.name for asset in executor.may_need()),
            written={path: output for path, output in recorded if output is not None},
            commands={source.stage: self._command(source.stage) for source in sources},
            integrity=self.integrity,
            history=self._history if executor.tells else (),
        )
        return Task(executor, access, str(self.namer.record(stage, key)), sources, self._alike[stage])


def _refuse(faults: Mapping[Unit, Fault]) -> None:
    """Say in one message which units of earlier programs are not to be relied on, if there are any."""
    if faults:
        told = complaint((stage, str(key), fault) for (stage, key), fault in faults.items())
        kinds = {fault.kind for fault in faults.values()}
        raise (MissingAssetError if kinds == {"unfinished"} else StaleError)(told)


def _made_from(record: Record, shown: Iterable[tuple[str, str, str]]) -> bool:
    """Say whether a unit was made from what these units, told by stage, name and what they show, have made."""
    sources = {source.stage: source.units for source in record.sources or ()}
    return record.sources is not None and all(sources.get(stage, {}).get(name) == it for stage, name, it in shown)


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
