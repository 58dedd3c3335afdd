"""What the work of one unit may touch."""

import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toys import EMISSION, FREQ, SIGNAL, SUMMARY, TOTAL, toy_space, toy_stages

from cmbml.core.asset import Asset
from cmbml.core.errors import UndeclaredError
from cmbml.core.handler import AssetHandler
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.unit_io import Access, UnitIO
from cmbml.handlers.array import Array
from cmbml.handlers.mapped_array import MappedArray


@pytest.fixture
def access(tmp_path: Path) -> Callable[[str, int], Access]:
    """Return what gives the access of a unit of the toy pipeline, whose earlier stages have been run."""
    pipeline = Pipeline(toy_stages(), toy_space(), tmp_path, 0)
    plan = pipeline.plan()
    pipeline.run(plan, Serial(threads=1))
    todo = {stage.stage: stage.todo for stage in plan.stages}
    return lambda stage, number=0: pipeline._task(stage, todo[stage][number], plan, 1).access


def test_reading_what_is_not_declared_names_stage_and_asset(access: Callable[..., Access]) -> None:
    io = UnitIO(access("total"))
    with pytest.raises(UndeclaredError, match="'total' may not read summary: it declares signal, emission"):
        io.read(SUMMARY)
    with pytest.raises(UndeclaredError, match="may not read total"):
        io.read(TOTAL)


def test_writing_what_is_not_declared_or_not_its_own(access: Callable[..., Access]) -> None:
    io = UnitIO(access("total"))
    with pytest.raises(UndeclaredError, match="'total' may not write signal"):
        io.write(SIGNAL, np.zeros(4))
    with pytest.raises(UndeclaredError, match="may not write total at 'train/sim0000/c'"):
        io.write(TOTAL, np.zeros(4), {FREQ: "c"})
    with pytest.raises(UndeclaredError, match="may not write total"):
        io.write(TOTAL, np.zeros(4))


def test_read_is_for_one_file_and_read_each_for_many(access: Callable[..., Access]) -> None:
    io = UnitIO(access("total"))
    assert io.read(SIGNAL).shape == (4,)
    with pytest.raises(UndeclaredError, match="sees 2 files of emission: use read_each"):
        io.read(EMISSION)
    assert {freq: values[0] for freq, values in io.read_each(EMISSION, FREQ)} == {"a": 1.0, "b": 2.0}
    assert io.along(TOTAL, FREQ) == ["a", "b"]


@pytest.mark.parametrize(("handler", "kept"), [(Array(), True), (MappedArray(), False)])
def test_what_others_read_too_is_kept_in_memory_but_no_file_is_kept_open(
    access: Callable[..., Access], handler: AssetHandler[np.ndarray], kept: bool
) -> None:
    asset = Asset(EMISSION.name, handler, EMISSION.per)
    found = [weakref.ref(values) for _, values in UnitIO(access("total")).read_each(asset, FREQ)]
    assert [values() is not None for values in found] == [kept, kept]


def test_random_numbers_are_the_same_in_any_order_and_stage(access: Callable[..., Access]) -> None:
    first, second = UnitIO(access("total")), UnitIO(access("signal"))
    cmb = first.rng("cmb").standard_normal(3)
    noise = {freq: first.rng("noise", {FREQ: freq}).standard_normal(3) for freq in ("a", "b")}
    for freq in ("b", "a"):
        assert np.array_equal(second.rng("noise", {FREQ: freq}).standard_normal(3), noise[freq])
    assert np.array_equal(second.rng("cmb").standard_normal(3), cmb)
    assert not np.array_equal(noise["a"], noise["b"])
    assert not np.array_equal(UnitIO(access("signal", 1)).rng("cmb").standard_normal(3), cmb)


def test_seed_of_a_purpose_is_one_for_the_dataset(access: Callable[..., Access]) -> None:
    assert UnitIO(access("signal", 0)).seed("sky") == UnitIO(access("signal", 1)).seed("sky")
    assert UnitIO(access("signal", 0)).seed("sky") != UnitIO(access("signal", 0)).seed("cosmology")


def test_scratch_is_empty_and_goes_away(access: Callable[..., Access]) -> None:
    io = UnitIO(access("total"))
    with io.scratch() as folder:
        assert not list(folder.iterdir())
        (folder / "left").write_text("x")
    assert not folder.exists()
