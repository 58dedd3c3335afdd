"""What was last asked for is what a dataset is."""

from pathlib import Path

import pytest
from test_upstream import UPSTREAM, Count, Learn, make, of_methods
from toys import SIMS, Draw, build, toy_space

from cmbml.core.errors import StaleError
from cmbml.core.intent import Intent, is_part
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.verify import verify

SERIAL = Serial(threads=1)


def test_what_a_smaller_dataset_leaves_over_is_no_part_of_it(tmp_path: Path) -> None:
    build(tmp_path)
    build(tmp_path, toy_space(train=1), signal=Draw(sigma=2))
    verify(tmp_path)
    with pytest.raises(
        StaleError, match=r"units of 'total' are not .* no part of the dataset as it was last asked for"
    ):
        make(tmp_path, {"count": Count()}, UPSTREAM)


def test_stage_that_the_dataset_was_last_made_without_is_no_part_of_it(tmp_path: Path) -> None:
    build(tmp_path)
    stages = {"signal": Draw()}
    pipeline = Pipeline(stages, toy_space(), tmp_path, 0, origin=SIMS)
    pipeline.run(pipeline.plan(), SERIAL)
    assert is_part(tmp_path, "signal")
    assert not is_part(tmp_path, "total")
    build(tmp_path)
    assert is_part(tmp_path, "total")


def test_what_another_stage_makes_now_is_taken_back_from_the_first(tmp_path: Path) -> None:
    of_methods(tmp_path, {"learn": Learn()}, "a", "b")
    of_methods(tmp_path, {"take": Learn()}, "a")
    assert list(Intent.read(tmp_path, "learn").units) == ["b"]
    assert list(Intent.read(tmp_path, "take").units) == ["a"]
