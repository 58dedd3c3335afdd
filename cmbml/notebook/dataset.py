"""A dataset as a notebook wants it: its maps and scores, read when they are asked for, and checked as programs do."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table, vstack

from cmbml.core.app import made_of
from cmbml.core.asset import Asset
from cmbml.core.errors import ConfigError, MissingAssetError, StaleError, nearest
from cmbml.core.integrity import INTEGRITY, Integrity
from cmbml.core.ledger import Ledger, complaint
from cmbml.core.manifest import newest_config
from cmbml.core.namer import Namer
from cmbml.core.space import Axis, Key, Space
from cmbml.core.store import Store
from cmbml.notebook.skymap import SkyMap, shown
from cmbml.sky.case import Case, Observation
from cmbml.stages import assets
from cmbml.stages.assets import CMB_MAP, FREQ, METHOD, OBS_MAP, REPORT, SCORE_STACK, SIM, SPECTRA_STACK, SPLIT
from cmbml.stages.space import sim_name
from cmbml.stages.tasks.observations import Observations
from cmbml.tables import Stack

ASSETS: dict[str, Asset[Any]] = {found.name: found for found in vars(assets).values() if isinstance(found, Asset)}
AXES = {axis.name: axis for axis in vars(assets).values() if isinstance(axis, Axis)}
CLEANING = "clean"
"""The stage that gives cleaned maps, whatever the method."""


def open_dataset(folder: str | Path, integrity: Integrity = "hash") -> "Dataset":
    """Open a dataset that the programs have made. Nothing is read yet.

    Args:
        folder: of the dataset, such as `datasets/demo`.
        integrity: `hash` compares each file that is read with what was written; `size` believes its size and time.

    Raises:
        ConfigError: there is no such integrity.
        MissingAssetError: there is no dataset; the message names those beside it.
    """
    _require(integrity, INTEGRITY, "integrity is not")
    return Dataset(Path(folder).expanduser().resolve(), integrity)


class Dataset:
    """What the programs have made of a dataset.

    What is read is compared with its record: a file that is missing, cut short, altered or stale is refused with the
    command that mends it. A run may go on meanwhile.

    Attributes:
        root: its folder.
        integrity: how closely files are looked at.
    """

    def __init__(self, root: Path, integrity: Integrity = "hash") -> None:
        self.root, self.integrity = root, integrity
        if not (root / ".records").is_dir():
            beside = sorted(path.parent.name for path in root.parent.glob("*/.records"))
            there = f"{root.parent} has {', '.join(beside)}" if beside else "build one with: cmbml sims"
            message = f"there is no dataset in {root}; {there}"
            raise MissingAssetError(message)
        config = newest_config(root, "sims") or newest_config(root, CLEANING)
        if config is None:
            message = f"{root} has no manifest of the run that made it: its folder runs/ is lost"
            raise MissingAssetError(message)
        self.config: Mapping[str, Any] = config
        self._space: Space = made_of(config, "space")
        self._known: tuple[tuple[tuple[str, int], ...], Ledger] | None = None

    def __repr__(self) -> str:
        numbers = ", ".join(f"{split} ({len(self.simulations(split))})" for split in self.splits)
        return f"<Dataset {self.root.name}: splits {numbers}; methods {', '.join(self.methods) or 'none'}>"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have simulations."""
        return tuple(dict.fromkeys(row[SPLIT] for row in self._space.linked))

    @property
    def channels(self) -> tuple[str, ...]:
        """The frequency channels that the dataset has."""
        return self._space.free[FREQ]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that have cleaned at least one simulation."""
        ends = [f"_{row[SPLIT]}_{row[SIM]}" for row in self._space.linked]
        records = (self.root / ".records" / CLEANING).glob("[!.]*.json")
        names = (path.stem for path in records)
        return tuple(sorted({name.removesuffix(end) for name in names for end in _ending(name, ends)}))

    @property
    def assets(self) -> tuple[str, ...]:
        """The names of all that some stage has been asked for: what `read` and `path` take."""
        return tuple(sorted({name for stage in self._ledger().stages() for name in self._made_by(stage)} & set(ASSETS)))

    def simulations(self, split: str) -> tuple[str, ...]:
        """Return the names of the simulations of a split.

        Raises:
            ConfigError: there is no such split.
        """
        _require(split, self.splits, f"{self.root.name} has no split")
        return tuple(row[SIM] for row in self._space.linked if row[SPLIT] == split)

    def map(
        self,
        name: str,
        split: str | None = None,
        sim: int | str | None = None,
        *,
        freq: int | str | None = None,
        method: str | None = None,
    ) -> SkyMap:
        """Return a map: `values` `(n_field, n_pix)`, float32, RING order, in `spec.unit` (uK_CMB).

        Args:
            name: such as `cmb_map` (the truth, no beam), `obs_map` (a channel), `cleaned_map`, `mask`.
            split: one of `splits`, of maps that differ along it.
            sim: the number or the name of the simulation.
            freq: the channel.
            method: what cleaned it.

        Raises:
            ConfigError: there is no such map, split, simulation, channel or method; the message names those that are.
            MissingAssetError: it is not made yet, or stale; the message says what to run.
            BadFileError: the file is not what was written.
        """
        found = self.read(name, split, sim, freq=freq, method=method)
        if not isinstance(found, SkyMap):
            message = f"'{name}' is no map of the whole sky: take read('{name}', ...)"
            raise ConfigError(message)
        return found

    def read(self, name: str, split: str | None = None, sim: int | str | None = None, **axes: int | str | None) -> Any:  # noqa: ANN401
        """Return any product of the pipeline, as its handler reads it; the arguments are those of `map`.

        Args:
            name: one of `assets`.
            split: as of `map`.
            sim: as of `map`.
            **axes: `freq`, `method`, `arrays` or `holes`: the product's point on these axes.
        """
        asset = self._asset(name)
        stage, path, ledger = self._find(asset, self._point(asset, split, sim, axes))
        return shown(Store(self.root, self.integrity).read(asset, path, stage, written=ledger.output(path)))

    def path(self, name: str, split: str | None = None, sim: int | str | None = None, **axes: int | str | None) -> Path:
        """Return where a product stands, once it has been compared with its record; arguments as of `read`."""
        asset = self._asset(name)
        _, path, ledger = self._find(asset, self._point(asset, split, sim, axes))
        output = ledger.output(path)
        if output is not None and (fault := ledger.file_fault(output, self.integrity)):
            raise StaleError(fault)
        return self.root / path

    def observation(self, split: str, sim: int | str) -> Observation:
        """Return what a method is shown of a simulation, for `load_method(...).clean`: the maps of all channels.

        The truth is in it, too, where it is there; methods that clean are not shown it.
        """
        cases = Observations(
            maps=made_of(self.config, "maps"),
            channels=made_of(self.config, "instrument.channels"),
            observed=self.channels,
        )
        maps = {freq: self.map(OBS_MAP.name, split, sim, freq=freq) for freq in self.channels}
        return Case(cases.spec(), maps, self.map(CMB_MAP.name, split, sim))

    def scores(self, split: str | None = None) -> Table:
        """Return the scores of all methods, long form: a row for each method, simulation, place and metric.

        Args:
            split: of this split alone.

        Returns:
            Columns method, split, sim, sky, footing, field, region, metric, label, unit, value, floor (what a perfect
            map would score there), noise_floor (what noise alone allows), count (pixels), best (the value that a method
            should have: -inf or inf where smaller or larger is always better).

        Raises:
            MissingAssetError: nothing has been compared yet.
        """
        return self._long(SCORE_STACK, split)

    def spectra(self, split: str | None = None) -> Table:
        """Return the binned spectra of all methods, long form: a row for each method, simulation, kind, field and bin.

        Args:
            split: of this split alone.

        Returns:
            Columns method, split, sim, kind (`master`: decoupled from the mask; `pseudo`: as quoted), field, l_low,
            l_high (included), l_eff, n_modes, d_truth, d_prediction, d_cross, d_residual, d_theory and cosmic_variance
            (D_l = l (l + 1) C_l / 2 pi, uK^2), transfer, correlation and bias_sigma (pure numbers).

        Raises:
            MissingAssetError: nothing has been compared yet.
        """
        table = self._long(SPECTRA_STACK, split)
        for name in table.colnames:
            if name.startswith("d_") or name == "cosmic_variance":
                table[name].unit = units.uK**2
        return table

    def report(self, split: str | None = None) -> Path:
        """Return the page of the newest comparison, to be opened in a browser.

        Raises:
            MissingAssetError: there is none.
        """
        made = [name for name in self.splits if self._ledger().record(REPORT.name, name) is not None]
        if split is None and not made:
            raise MissingAssetError(self._compare_first())
        return self.path(REPORT.name, split or made[-1])

    def _long(self, asset: Asset[Stack], split: str | None) -> Table:
        splits = self.splits if split is None else (split,)
        _require(splits[0], self.splits, f"{self.root.name} has no split")
        tables = []
        for method in self.methods:
            for name in splits:
                try:
                    stack = self.read(asset.name, name, method=method)
                except StaleError:
                    raise
                except MissingAssetError:
                    continue
                columns = stack.long()
                fixed = {"method": method, "split": name}
                given = {key: np.full(len(columns["sim"]), word) for key, word in fixed.items()}
                tables.append(Table({**given, **columns}))
        if not tables:
            raise MissingAssetError(self._compare_first())
        return vstack(tables, metadata_conflicts="silent")

    def _compare_first(self) -> str:
        methods = ",".join(self.methods) or "control_channel"
        return (
            f"nothing has been compared in {self.root}; run: cmbml analysis system.root={self.root.parent} "
            f"dataset={self.root.name} methods=[{methods}]"
        )

    def _ledger(self) -> Ledger:
        """Return the records; new ones as soon as a run has asked for something else."""
        plans = (self.root / ".records").glob("*.json")
        state = tuple(sorted((path.name, path.stat().st_mtime_ns) for path in plans))
        if self._known is None or self._known[0] != state:
            self._known = state, Ledger(self.root)
        return self._known[1]

    def _made_by(self, stage: str) -> tuple[str, ...]:
        intent = self._ledger().intent(stage)
        return () if intent is None else intent.assets

    def _asset(self, name: str) -> Asset[Any]:
        if name not in ASSETS:
            _require(name, self.assets, f"{self.root.name} has no")
        return ASSETS[name]

    def _point(
        self, asset: Asset[Any], split: str | None, sim: int | str | None, axes: Mapping[str, int | str | None]
    ) -> Key:
        """Return the point at which a file is asked for.

        Raises:
            ConfigError: a value is missing, or there is none such.
        """
        for name in axes:
            _require(name, ("freq", "method", "arrays", "holes"), "there is no axis")
        linked = set(self._space.linked[0])
        per = set(asset.per)
        known: dict[Axis, str] = {}
        if per & linked:
            row = self._row(asset, split, sim, only_split=per & linked == {SPLIT})
            known = {axis: row[axis] for axis in per & linked}
        values = {FREQ: self.channels, METHOD: self.methods}
        for axis in per - linked:
            value = axes.get(axis.name)
            if value is None:
                there = f": {', '.join(values[axis])}" if axis in values else ""
                message = f"'{asset}' differs by {axis}: say which, {axis}=NAME{there}"
                raise ConfigError(message)
            if axis in values:
                _require(str(value), values[axis], f"{self.root.name} has no {axis}")
            known[axis] = str(value)
        return Key.of(known)

    def _row(self, asset: Asset[Any], split: str | None, sim: int | str | None, only_split: bool) -> Mapping[Axis, str]:
        if split is None or (sim is None and not only_split):
            axes, there = "split" if only_split else "split and simulation", ", ".join(self.splits)
            message = f"'{asset}' differs by {axes}: say which; the splits are {there}"
            raise ConfigError(message)
        sims = self.simulations(split)
        name = sims[0] if only_split else sim_name(sim) if isinstance(sim, int) else str(sim)
        if name not in sims:
            message = f"{self.root.name} has no simulation '{name}' in {split}: it has {sims[0]} to {sims[-1]}"
            raise ConfigError(message)
        return next(row for row in self._space.linked if row[SPLIT] == split and row[SIM] == name)

    def _find(self, asset: Asset[Any], key: Key) -> tuple[str, str, Ledger]:
        """Return the stage that made a file, the file's path, and the records that tell of it.

        Raises:
            MissingAssetError: it is not made yet, or stale.
        """
        ledger = self._ledger()
        makers = [stage for stage in ledger.stages() if asset.name in self._made_by(stage)]
        for stage in makers:
            path = str(Namer().path(stage, asset, key))
            for unit in _units(key):
                record = ledger.record(stage, unit)
                if record is None or all(output.path != path for output in record.outputs):
                    continue
                if (fault := ledger.staleness(stage, unit)) is not None:
                    raise StaleError(complaint([(stage, unit, fault)]))
                return stage, path, ledger
        self._known = None  # a run may be about to make it
        commands = dict.fromkeys(
            command for stage in makers for unit in _units(key) for command in ledger.commands(stage, unit)
        )
        mend = f"; run: {next(iter(commands))}" if commands else "; no stage that makes it has been run here"
        message = f"{self.root.name} has no {asset} {key}".rstrip() + mend
        raise MissingAssetError(message)


def _units(key: Key) -> Iterator[str]:
    """Yield what the unit may be called that made a file: it stands at the file's point, on some of its axes."""
    for number in range(len(key.items), -1, -1):
        for items in combinations(key.items, number):
            yield Key(items).name


def _ending(name: str, ends: Iterable[str]) -> Iterator[str]:
    found = next((end for end in ends if name.endswith(end)), None)
    if found is not None:
        yield found


def _require(name: str, there: Iterable[str], lacking: str) -> None:
    """Check that a name is one of those that there are.

    Raises:
        ConfigError: it is not; the message names those.
    """
    names = list(there)
    if name not in names:
        hint = nearest(name, names)
        listed = "" if hint.startswith("allowed") else f" ({', '.join(names)})"
        message = f"{lacking} '{name}': {hint}{listed}"
        raise ConfigError(message)
