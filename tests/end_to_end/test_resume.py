"""The same bytes from any machine layout, after any interruption, and no more work than needed."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Digests = Callable[[Path], dict[str, str]]
Start = Callable[..., subprocess.Popen[str]]
PROCESSES = ("runner=processes", "runner.workers=2")
DASK = ("runner=dask", "runner.workers=2")


def finish(run: subprocess.Popen[str]) -> str:
    """Wait for a run that must succeed, without a word of complaint; return what it said."""
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    assert not err
    return out


def units_done(dataset: Path) -> dict[str, int]:
    """Count the finished units of each stage."""
    folders = (dataset / ".records").glob("*")
    return {folder.name: len([*folder.glob("[!.]*.json")]) for folder in folders}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, program_apart: Start) -> Path:
    """Build the dataset without a break, one unit after the other; return its folder."""
    root = tmp_path_factory.mktemp("serial")
    finish(program_apart(root))
    return root / "small"


@pytest.mark.parametrize(
    "runner",
    [
        pytest.param(("runner.threads=2",), id="two threads", marks=pytest.mark.slow),
        pytest.param(PROCESSES, id="processes"),
        pytest.param(DASK, id="dask"),
    ],
)
def test_same_bytes_on_every_runner(
    tmp_path: Path, program_apart: Start, digests: Digests, serial: Path, runner: tuple[str, ...]
) -> None:
    finish(program_apart(tmp_path, *runner))
    assert digests(tmp_path / "small") == digests(serial)


# Killed runs


def group_is_alive(group: int) -> bool:
    """Say whether a process of the group still runs; one that waits to be buried does not."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def kill(run: subprocess.Popen[str], whole_group: bool) -> None:
    """Kill a run so that it can clean nothing up: all its processes, or the parent alone."""
    if whole_group:
        os.killpg(run.pid, signal.SIGKILL)
    else:
        run.kill()
    run.communicate()
    patience = time.monotonic() + 20
    while group_is_alive(run.pid):
        assert time.monotonic() < patience, "the workers outlive their parent"
        time.sleep(0.02)


def interrupt_often(
    root: Path, start: Start, runner: tuple[str, ...], n_kills: int, n_units: int, moments: random.Random
) -> None:
    """Start the run again and again, and kill it each time a little later, unless it is done by then."""
    for number in range(n_kills):
        run = start(root, *runner)
        wanted = number * n_units // (n_kills + 1)
        while run.poll() is None and sum(units_done(root / "small").values()) <= wanted:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))
        if run.poll() is not None:
            finish(run)
            return
        kill(run, whole_group=number % 2 == 0)


@pytest.mark.parametrize(
    ("n_kills", "runner"),
    [
        pytest.param(2, PROCESSES, id="2 kills, processes", marks=pytest.mark.slow),
        pytest.param(10, PROCESSES, id="10 kills, processes", marks=pytest.mark.slow),
        pytest.param(10, (), id="10 kills, serial", marks=pytest.mark.slow),
        pytest.param(4, DASK, id="4 kills, dask", marks=pytest.mark.slow),
    ],
)
def test_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path,
    program_apart: Start,
    digests: Digests,
    half_written: Callable[[Path], list[str]],
    serial: Path,
    n_kills: int,
    runner: tuple[str, ...],
) -> None:
    n_units = sum(units_done(serial).values())
    interrupt_often(tmp_path, program_apart, runner, n_kills, n_units, random.Random(0))
    done = sum(units_done(tmp_path / "small").values())
    out = finish(program_apart(tmp_path, *runner))
    fresh = int(re.search(r"(\d+) fresh", out).group(1))
    assert fresh == done
    assert digests(tmp_path / "small") == digests(serial)
    assert units_done(tmp_path / "small") == units_done(serial)
    assert not half_written(tmp_path)


def test_interrupted_run_says_how_to_go_on(tmp_path: Path, program_apart: Start) -> None:
    # Far more simulations than will be done, so that the run is in the midst of them however late it is interrupted.
    run = program_apart(tmp_path, *PROCESSES, "splits.train.sims=500")
    while run.poll() is None and not units_done(tmp_path / "small"):
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=300)
    assert run.returncode == 130
    assert "what was finished is kept, and the same command goes on from here" in err
    assert "Traceback" not in err


# No more work than needed: in one process, for there is little to do


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, program_apart: Start) -> Path:
    """Build a dataset to change, with the parts; return its root."""
    root = tmp_path_factory.mktemp("made")
    finish(program_apart(root, "stages=sims_with_parts"))
    return root


def planned(out: str) -> dict[str, int]:
    """Read the plan that the program printed: units to be done of each stage that has any."""
    rows = [line.split() for line in out.splitlines() if re.match(r"\w+ +\d+ +\d+ ", line)]
    return {row[0]: int(row[1]) for row in rows if row[0] != "total" and row[1] != "0"}


ALL = {"cosmology": 1, "spectrum": 1, "cmb": 2, "sky": 1, "noise": 2, "mask": 1, "observe": 2, "parts": 2}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {}),
        (["runner=processes", "runner.workers=1", "assets.folder=/elsewhere"], {}),
        (["noise.level_scatter=0.02"], {"noise": 2, "observe": 2, "parts": 2}),
        pytest.param(
            ["instrument.channels.100.depth_uk_arcmin=9"],
            {"noise": 1, "observe": 2, "parts": 2},
        ),
        pytest.param(
            ["instrument.channels.217.depth_uk_arcmin=9"],
            {},
        ),
        (["mask.apodisation_arcmin=30"], {"mask": 1}),
        (["splits.train.sims=12"], {"cmb": 10, "observe": 10, "parts": 10}),
        (["splits.valid=3"], {"cmb": 3, "observe": 3, "parts": 3}),
        (["splits.train.sims=1"], {}),
        (["vary=each"], {"sky": 2, "mask": 1, "observe": 2}),
        (["vary=1"], {"sky": 1, "mask": 1, "observe": 2}),
        (["resume=restart"], ALL),
        (["dataset=other"], ALL),
    ],
)
def test_change_redoes_only_what_follows(
    program: Callable[..., object], made: Path, overrides: list[str], expected: dict[str, int]
) -> None:
    outcome = program("stages=sims_with_parts", "plan_only=true", *overrides, root=made)
    assert outcome.status == 0
    assert planned(outcome.out) == expected


def test_change_there_and_back_and_a_lost_file(program: Callable[..., object], made: Path, digests: Digests) -> None:
    """Redone units are not only planned: their bytes change where they should, and come back."""
    dataset = made / "small"
    before = digests(dataset)

    def run(*overrides: str) -> tuple[str, set[str]]:
        outcome = program("stages=sims_with_parts", *overrides, root=made)
        assert outcome.status == 0
        now = digests(dataset)
        return outcome.out, {path.split("/")[0] for path in now if now[path] != before.get(path)}

    out, changed = run("noise.level_scatter=0.02")
    assert "6 units of work to do" in out
    assert changed == {"noise", "observe", "parts"}
    out, changed = run()
    assert "6 units of work to do" in out
    assert not changed
    (dataset / "observe" / "train" / "sim0001" / "obs_map_143.fits").unlink()
    out, changed = run()
    assert "1 unit of work to do" in out
    assert not changed
    out, changed = run("splits.train.sims=12")
    assert "30 units of work to do" in out
    assert changed == {"cmb", "observe", "parts"}
    kept = digests(dataset)
    assert all(kept[path] == digest for path, digest in before.items())
