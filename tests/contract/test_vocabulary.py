"""What holds for every asset and every executor, found unasked."""

import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

import cmbml.stages
from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.handler import AssetHandler
from cmbml.core.space import Axis
from cmbml.stages import assets

ASSETS: dict[str, Asset[Any]] = {name: value for name, value in vars(assets).items() if isinstance(value, Asset)}
AXES: dict[str, Axis] = {name: value for name, value in vars(assets).items() if isinstance(value, Axis)}


def executors() -> Iterator[type[Executor]]:
    for module in pkgutil.walk_packages(cmbml.stages.__path__, "cmbml.stages."):
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, Executor) and value.__module__ == module.name:
                yield value


EXECUTORS = {f"{kind.__module__}.{kind.__name__}": kind for kind in executors() if not inspect.isabstract(kind)}


def test_something_was_found() -> None:
    assert len(ASSETS) >= 10
    assert len(EXECUTORS) >= 8


def test_names_of_assets_are_unique() -> None:
    """Two files of one name cannot be told apart, and the graph refuses them."""
    names = [asset.name for asset in ASSETS.values()]
    assert sorted(names) == sorted(set(names))


def test_ranks_and_names_of_axes_are_unique() -> None:
    assert len({axis.rank for axis in AXES.values()}) == len({axis.name for axis in AXES.values()}) == len(AXES)


@pytest.mark.parametrize("asset", ASSETS.values(), ids=str)
def test_asset(asset: Asset[Any]) -> None:
    assert isinstance(asset.handler, AssetHandler)
    assert asset.handler.suffix.startswith(".")
    assert set(asset.per) <= set(AXES.values())
    assert list(asset.per) == sorted(asset.per)
    assert pickle.loads(pickle.dumps(asset)).name == asset.name


@pytest.mark.parametrize("kind", EXECUTORS.values(), ids=list(EXECUTORS))
def test_executor_declares_what_there_is(kind: type[Executor]) -> None:
    touched = (*kind.reads, *kind.may_read, *kind.writes, *kind.may_write)
    assert kind.writes or kind.may_write, "a stage that writes nothing does nothing"
    assert all(any(asset is known for known in ASSETS.values()) for asset in touched)
    assert set(kind.per) <= set(AXES.values())
    assert set(kind.along) <= set(kind.__dataclass_fields__)
    assert set(kind.along.values()) <= set(kind.per)
    assert isinstance(kind.version, int)


@pytest.mark.parametrize("kind", EXECUTORS.values(), ids=list(EXECUTORS))
def test_executor_is_frozen_settings_that_say_what_they_are(kind: type[Executor]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    own = [entry.name for entry in dataclasses.fields(kind) if entry.name != "over"]
    documented = "\n".join(inspect.getdoc(part) or "" for part in kind.__mro__ if issubclass(part, Executor))
    assert all(f"{name}:" in documented for name in own), "every setting is described in the docstring"
    with pytest.raises(ValidationError, match="no_such_setting"):
        kind(no_such_setting=1)


@pytest.mark.parametrize("kind", EXECUTORS.values(), ids=list(EXECUTORS))
def test_executor_knows_no_paths_pools_or_config(kind: type[Executor]) -> None:
    source = inspect.getsource(inspect.getmodule(kind))  # type: ignore[arg-type]
    for word in ("omegaconf", "hydra", "multiprocessing", "concurrent", "np.random.seed", "default_rng", "pickle"):
        assert word not in source
