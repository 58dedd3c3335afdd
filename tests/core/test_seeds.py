"""Randomness that hangs on what it is for."""

import subprocess
import sys

import numpy as np
import pytest
from toys import FREQ, SIM, SPLIT

from cmbml.core.seeds import generator, seed_for
from cmbml.core.space import Key

KEY = Key.of({SPLIT: "train", SIM: "sim0000"})


@pytest.mark.parametrize(
    "other",
    [
        (1, "noise", KEY),
        (0, "cmb", KEY),
        (0, "noise", Key.of({SPLIT: "train", SIM: "sim0001"})),
        (0, "noise", Key.of({SPLIT: "test", SIM: "sim0000"})),
        (0, "noise", KEY.joined(Key.of({FREQ: "a"}))),
        (0, "noise", Key()),
    ],
)
def test_another_root_purpose_or_point_gives_another_seed(other: tuple[int, str, Key]) -> None:
    assert seed_for(0, "noise", KEY) != seed_for(*other)


def test_order_of_the_axes_does_not_matter() -> None:
    assert seed_for(0, "noise", Key.of({SIM: "sim0000", SPLIT: "train"})) == seed_for(0, "noise", KEY)


def test_seed_is_the_same_in_another_process_and_stays_so_for_ever() -> None:
    # A dataset made years ago must be made again bit for bit: this number may never change.
    code = "from cmbml.core.seeds import *; from cmbml.core.space import Key; print(seed_for(2026, 'noise', Key()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(found) == seed_for(2026, "noise", Key()) == 142343447299127981755841279037040287223


def test_neighbouring_points_are_uncorrelated() -> None:
    points = [Key.of({SIM: f"sim{number:04d}"}) for number in range(64)]
    drawn = np.stack([generator(0, "noise", point).standard_normal(4096) for point in points])
    correlation = np.corrcoef(drawn)[~np.eye(64, dtype=bool)]
    # 2016 independent coefficients of scatter 1/64: the largest is below 5 of them but once in 1,000 such tests.
    assert np.abs(correlation).max() < 5 / 64
    assert np.std(correlation) == pytest.approx(1 / 64, rel=0.1)
