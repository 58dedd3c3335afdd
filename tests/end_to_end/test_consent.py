"""A finished dataset is not replaced by another one unasked."""

from collections.abc import Callable
from pathlib import Path

import pytest
from outcomes import done, refused

Program = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)


@pytest.mark.parametrize(
    ("override", "told"),
    [("seed=5", "seed was 2026, and is now 5"), ("scenario.lmax=20", "scenario.lmax was 23, and is now 20")],
)
def test_another_dataset_takes_the_place_of_a_finished_one_only_if_asked(
    program: Program, tmp_path: Path, digests: Callable[[Path], dict[str, str]], override: str, told: str
) -> None:
    done(program())
    before = digests(tmp_path / "small")
    outcome = program(override)
    refused(outcome, f"error: {told}: this is another dataset", "finished units of work would be done again")
    refused(outcome, "Give it another dataset=, or replace it with resume=restart")
    assert digests(tmp_path / "small") == before
    assert "10 units of work to do" in done(program(override, "resume=restart"))
    assert digests(tmp_path / "small") != before
    # What has been said once need not be said again; what is more of the same is no other dataset.
    assert "nothing to do" in done(program(override))
    done(program(override, "splits.train.sims=3"))
