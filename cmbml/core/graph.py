"""The graph that executors form through what they read and write, checked before any work."""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from cmbml.core.asset import Asset
from cmbml.core.errors import GraphError, nearest
from cmbml.core.executor import Executor
from cmbml.core.space import Axis


@dataclass(frozen=True)
class Graph:
    """Who makes what, and in which order.

    Attributes:
        stages: name -> executor, sorted so that makers come before users.
        makers: asset name -> stage name.
        upstream: stages of an earlier program, which are looked up and not run.
    """

    stages: Mapping[str, Executor]
    makers: Mapping[str, str]
    upstream: Mapping[str, type[Executor]]

    @classmethod
    def of(cls, stages: Mapping[str, Executor], upstream: Mapping[str, type[Executor]] | None = None) -> "Graph":
        """Work out the graph.

        Args:
            stages: what may run.
            upstream: what an earlier program has run.

        Raises:
            GraphError: it does not hold together; one message lists everything that is wrong.
        """
        faults = [*_name_clashes(stages), *_misfits(stages)]
        upstream = upstream or {}
        makers = {asset.name: stage for stage, kind in upstream.items() for asset in (*kind.writes, *kind.may_write)}
        for stage, executor in stages.items():
            for asset in (*executor.writes, *executor.may_write):
                if asset.name in makers:
                    faults.append(f"'{asset}' is made twice: by '{makers[asset.name]}' and by '{stage}'; remove one")
                makers.setdefault(asset.name, stage)
        unmade: dict[str, list[str]] = {}
        for stage, executor in stages.items():
            for asset in executor.needs():
                if asset.name not in makers:
                    unmade.setdefault(asset.name, []).append(f"'{stage}'")
        for name, readers in unmade.items():
            hint = nearest(name, makers)
            meant = f" ({hint})" if hint.startswith("did you mean") else ""
            verb = "reads" if len(readers) == 1 else "read"
            faults.append(
                f"{', '.join(readers)} {verb} '{name}', which no stage makes{meant}; add the stage that makes it"
            )
        order: list[str] = []
        needs = {
            stage: [makers[asset.name] for asset in (*executor.needs(), *executor.may_need()) if asset.name in makers]
            for stage, executor in stages.items()
        }
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            faults.append(f"the stages wait for one another in a circle: {' <- '.join(error.args[1])}")
        if faults:
            raise GraphError("the stages do not fit together:\n" + "\n".join(f"  - {fault}" for fault in faults))
        return cls({stage: stages[stage] for stage in order if stage in stages}, makers, upstream)

    def reads_of(self, executor: Executor) -> tuple[Asset[Any], ...]:
        """Return what an executor reads: all that it must, and what some stage makes of what it may."""
        return (*executor.needs(), *(asset for asset in executor.may_need() if asset.name in self.makers))

    def units_of(self, stage: str) -> tuple[Axis, ...]:
        """Return the axes over which a stage, run or upstream, has its units."""
        return self.stages[stage].per if stage in self.stages else self.upstream[stage].per


def _name_clashes(stages: Mapping[str, Executor]) -> list[str]:
    assets = {
        id(asset): asset
        for executor in stages.values()
        for asset in (*executor.needs(), *executor.may_need(), *executor.writes, *executor.may_write)
    }
    names = [asset.name for asset in assets.values()]
    return [f"two different assets are called '{name}'" for name in sorted({n for n in names if names.count(n) > 1})]


def _misfits(stages: Mapping[str, Executor]) -> list[str]:
    faults = []
    for stage, executor in stages.items():
        for asset in (*executor.writes, *executor.may_write):
            if lost := [axis.name for axis in executor.per if axis not in asset.per]:
                faults.append(f"'{stage}' is finer than '{asset}': units that differ in {lost} would write one file")
            own = {*executor.per, *executor.inside}
            if wide := [axis.name for axis in asset.per if axis not in own and axis.place == "folder"]:
                faults.append(f"'{stage}' is coarser than '{asset}': give it the axes {wide}, one unit each")
    return faults
