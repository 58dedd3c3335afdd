"""Who reads what of whom, point by point."""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.graph import Graph
from cmbml.core.namer import Namer
from cmbml.core.plan import Unit
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import Places


@dataclass(frozen=True)
class Wiring:
    """A graph laid over a space.

    Attributes:
        graph: who makes what.
        space: the points.
        namer: where files stand.
    """

    graph: Graph
    space: Space
    namer: Namer
    _made_by: dict[tuple[str, tuple[Key, ...]], tuple[Unit, ...]] = field(default_factory=dict, repr=False)

    def inputs(self, executor: Executor, key: Key) -> dict[Unit, bool]:
        """Return the units that make what a unit reads, and whether it cannot do without."""
        units: dict[Unit, bool] = {}
        for asset in self.graph.reads_of(executor):
            required = asset in executor.needs()
            places = self._seen(executor, asset, key)
            maker = self.graph.makers[asset.name]
            if (maker, places) not in self._made_by:
                per = self.graph.units_of(maker)
                self._made_by[maker, places] = tuple((maker, place.on(per)) for place in places)
            for unit in self._made_by[maker, places]:
                units[unit] = required or units.get(unit, False)
        return units

    def assets_by_maker(self, executor: Executor) -> dict[str, tuple[str, ...]]:
        """Return, for each stage that makes something of what an executor reads, what that is."""
        found: dict[str, tuple[str, ...]] = {}
        for asset in self.graph.reads_of(executor):
            maker = self.graph.makers[asset.name]
            found[maker] = tuple(sorted({*found.get(maker, ()), asset.name}))
        return found

    def _seen(self, executor: Executor, asset: Asset[Any], key: Key) -> tuple[Key, ...]:
        """Return every point of an asset that a unit reads."""
        kept = {axis: values for axis, values in executor.restricts().items() if axis in asset.per and axis not in key}
        places = self.space.keys_within(key, asset.per)
        return tuple(at for at in places if all(at[axis] in kept[axis] for axis in kept)) if kept else places

    def there(self, executor: Executor, asset: Asset[Any], key: Key, made: Container[Unit]) -> tuple[Key, ...]:
        """Return every point of an asset that a unit reads, without those that it may read and nobody has `made`."""
        places, maker = self._seen(executor, asset, key), self.graph.makers[asset.name]
        if asset in executor.needs():
            return places
        per = self.graph.units_of(maker)
        return tuple(at for at in places if (maker, at.on(per)) in made)

    def paths(self, asset: Asset[Any], places: tuple[Key, ...]) -> Places:
        """Return points of an asset with their paths."""
        stage = self.graph.makers[asset.name]
        return tuple((at, str(self.namer.path(stage, asset, at))) for at in places)
