"""The axes over which work is spread, and the points on them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from cmbml.core.errors import ConfigError, nearest


@dataclass(frozen=True, order=True)
class Axis:
    """A way in which assets are many: one per split, per simulation, per channel, ...

    Attributes:
        rank: axes of lower rank stand further up in a path.
        name: what config files and keys call it.
        place: whether a point on it shows as a folder or in the file's name.
    """

    rank: int
    name: str
    place: Literal["folder", "file"] = "folder"

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)


@dataclass(frozen=True)
class Key:
    """One point: a value on each of some axes, in the order of their rank."""

    items: tuple[tuple[Axis, str], ...] = ()

    @classmethod
    def of(cls, values: Mapping[Axis, str]) -> "Key":
        """Make a key from a mapping in any order."""
        return cls(tuple(sorted(values.items())))

    def __getitem__(self, axis: Axis) -> str:
        for mine, value in self.items:
            if mine == axis:
                return value
        message = f"this unit has no axis '{axis}': it is {self or 'the only one'}"
        raise KeyError(message)

    def __contains__(self, axis: Axis) -> bool:
        return any(mine == axis for mine, _ in self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    def __str__(self) -> str:
        return "/".join(value for _, value in self.items)

    @property
    def name(self) -> str:
        """What a file or folder of the unit at this point is called."""
        return "_".join(value for _, value in self.items) or "only"

    def on(self, axes: Iterable[Axis]) -> "Key":
        """Return the part of the key on some axes."""
        wanted = set(axes)
        return Key(tuple(item for item in self.items if item[0] in wanted))

    def joined(self, other: "Key") -> "Key":
        """Return the key that holds the values of both."""
        return Key.of(dict(self.items) | dict(other.items))


@dataclass(frozen=True)
class Space:
    """All points: a table of linked axes, times axes that are free of it.

    Attributes:
        linked: one row per simulation: its split, its number, and what follows from them (its sky, its cosmology).
        free: the values of the axes that are independent of all others, such as the channels.

    Example:
        >>> split, freq = Axis(1, "split"), Axis(2, "freq", "file")
        >>> space = Space(({split: "train"}, {split: "test"}), {freq: ("100", "143")})
        >>> [str(key) for key in space.keys((split, freq))]
        ['train/100', 'train/143', 'test/100', 'test/143']
    """

    linked: tuple[Mapping[Axis, str], ...]
    free: Mapping[Axis, tuple[str, ...]]
    _cache: dict[object, object] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {"linked": self.linked, "free": self.free}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in (*state.items(), ("_cache", {})):
            object.__setattr__(self, name, value)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every axis, by rank."""
        return tuple(sorted({axis for row in self.linked for axis in row} | set(self.free)))

    def restricted(self, over: Mapping[str, Sequence[str | int]]) -> "Space":
        """Return the part of the space where each named axis has one of the given values.

        Raises:
            ConfigError: there is no such axis, or no such value on it.
        """
        linked, free = self.linked, dict(self.free)
        by_name = {axis.name: axis for axis in self.axes}
        for name, values in over.items():
            if name not in by_name:
                message = f"over: no axis is called '{name}': {nearest(name, by_name)}"
                raise ConfigError(message)
            axis, wanted = by_name[name], {str(value) for value in values}
            known = set(free.get(axis, ())) | {row[axis] for row in linked if axis in row}
            for value in sorted(wanted - known):
                message = f"over: '{name}' has no '{value}': {nearest(value, sorted(known))}"
                raise ConfigError(message)
            if axis in free:
                free[axis] = tuple(value for value in free[axis] if value in wanted)
            else:
                linked = tuple(row for row in linked if row[axis] in wanted)
        return Space(linked, free)

    def require(self, axis: Axis, name: str, where: str) -> None:
        """Look whether a name stands on an axis, for the setting that says it.

        Raises:
            ConfigError: it does not.
        """
        names = list(dict.fromkeys(key[axis] for key in self.keys((axis,))))
        if name not in names:
            message = f"{where}: the dataset has no such {axis.name}; {nearest(name, names)}"
            raise ConfigError(message)

    def keys(self, axes: Iterable[Axis]) -> tuple[Key, ...]:
        """Return every point on the given axes, in a fixed order."""
        return self.keys_within(Key(), axes)

    def keys_within(self, key: Key, axes: Iterable[Axis]) -> tuple[Key, ...]:
        """Return the points on `axes` that a unit at `key` sees.

        An axis of `axes` that `key` fixes, or that follows from what it fixes, has one value; the others run.
        """
        wanted = tuple(sorted(axes))
        known = tuple(axis for axis, _ in key.items if axis not in self.free)
        bound = tuple(axis for axis in wanted if axis not in self.free)
        rows = self._projection(known, bound).get(key.on(known).items, ()) if bound else (Key(),)
        ranges = tuple((axis, (key[axis],) if axis in key else self.free[axis]) for axis in wanted if axis in self.free)
        if not ranges:
            return rows
        found = self._cache.get((rows, ranges))
        if found is None:
            points = list(product(*([(axis, value) for value in values] for axis, values in ranges)))
            found = tuple(row.joined(Key(point)) for row in rows for point in points)
            self._cache[rows, ranges] = found
        return found  # type: ignore[return-value]

    def _projection(self, known: tuple[Axis, ...], wanted: tuple[Axis, ...]) -> dict[object, tuple[Key, ...]]:
        """Map every value on the `known` axes to the points on the `wanted` axes that occur with it."""
        found = self._cache.get((known, wanted))
        if found is None:
            table: dict[object, dict[Key, None]] = {}
            for row in self.linked:
                at = tuple((axis, row[axis]) for axis in known)
                table.setdefault(at, {})[Key(tuple((axis, row[axis]) for axis in wanted))] = None
            found = {at: tuple(keys) for at, keys in table.items()}
            self._cache[(known, wanted)] = found
        return found  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Axis]:
        return iter(self.axes)
