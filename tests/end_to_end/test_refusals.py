"""What is stale, half-made or altered is refused by every program, with the command that mends it."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from outcomes import done, refused

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821


def overwrite(path: Path) -> None:
    """Overwrite ten bytes, and set the time of modification back."""
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-4000, os.SEEK_END)
        stream.write(b"0123456789")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_predictions_of_another_sky_are_not_compared(
    sky: Path, command: Command, analyse: Analyse, whole_sky: tuple[str, ...]
) -> None:
    done(command("sims", sky, *whole_sky, "seed=7", "resume=restart"))
    mend = "run: python main_clean.py system.root="
    refused(analyse(sky, ("ilc_pixel",)), "3 units of 'clean'", "'clean ilc_pixel/test/sim0000' is stale", mend)
    refused(command("verify", sky, "dataset=sky"), "faults in", "main_clean.py", "method=ilc_pixel")
    done(command("clean", sky, "dataset=sky", "method=ilc_pixel"))
    done(analyse(sky, ("ilc_pixel",)))


def test_predictions_with_mixed_settings_are_not_compared(sky: Path, command: Command, analyse: Analyse) -> None:
    other = ("method=ilc_pixel", "method.fwhm_arcmin=60")
    done(command("clean", sky, "dataset=sky", *other, "+over.sim=[sim0001]"))
    refused(analyse(sky, ("ilc_pixel",)), "was made with other settings than 'clean ilc_pixel/test/sim000")
    done(command("clean", sky, "dataset=sky", *other))
    done(analyse(sky, ("ilc_pixel",)))


@pytest.mark.parametrize("stage", ["cmb", pytest.param("observe", marks=pytest.mark.slow)])
def test_rebuild_that_was_killed_is_seen(
    tmp_path: Path,
    simulate: Callable[..., None],
    command: Command,
    program_apart: Callable[..., subprocess.Popen[str]],
    stage: str,
) -> None:
    """After the first map of the CMB, and after the first whole simulation."""
    root, splits = tmp_path / "root", {"train": 1, "test": 8}
    simulate(root, **splits)
    method = ("dataset=small", "method=control_channel")
    done(command("clean", root, *method))
    records = {path: path.stat().st_mtime_ns for path in (root / "small" / ".records" / stage).glob("*.json")}
    counts = [f"splits.{name}={{sims: {number}, cosmology: shared}}" for name, number in splits.items()]
    run = program_apart(root, *counts, "seed=7", "resume=restart")
    while run.poll() is None and all(path.stat().st_mtime_ns == then for path, then in records.items()):
        time.sleep(0.001)
    run.kill()
    run.communicate()
    assert any(path.stat().st_mtime_ns == then for path, then in records.items()), "it was done before it was killed"
    mend = ("made with other settings or inputs than were last asked for", "run: python main_sims.py", "seed=7")
    refused(command("clean", root, *method), *mend)
    refused(command("analysis", root, "dataset=small", "methods=[control_channel]"), *mend)
    simulate(root, "seed=7", "resume=restart", **splits)
    done(command("clean", root, *method))
    done(command("verify", root, "dataset=small"))


def test_altered_map_is_neither_cleaned_nor_verified(sky: Path, command: Command) -> None:
    path = sky / "sky" / "observe" / "test" / "sim0001" / "obs_map_100.fits"
    done(command("verify", sky, "dataset=sky"))
    overwrite(path)
    words = (f"{path} is altered: its SHA-256", "delete it and run: python main_sims.py system.root=", "dataset=sky")
    refused(command("clean", sky, "dataset=sky", "method=ilc_pixel", "method.name=again"), *words)
    outcome = command("verify", sky, "dataset=sky")
    refused(outcome, "1 faults in", "run: python main_sims.py")
    assert f"{path} is altered" in outcome.out
    done(command("clean", sky, "dataset=sky", "method=ilc_pixel", "method.name=again", "integrity=size"))


def test_prediction_that_is_altered_is_not_compared(copy: Path, analyse: Analyse) -> None:
    path = copy / "sky" / "clean" / "ilc_pixel" / "test" / "sim0001" / "cleaned_map.fits"
    overwrite(path)
    refused(analyse(copy, ("ilc_pixel",), "resume=restart"), f"{path} is altered", "run: python main_clean.py")


def test_dataset_that_is_not_there_is_not_verified(tmp_path: Path, command: Command) -> None:
    refused(command("verify", tmp_path, "dataset=none"), "there is no dataset in", "python main_sims.py dataset=none")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("program", "word", "words"),
    [
        ("sims", "method=nilc", "'method' is no group of main_sims.py, but of main_clean.py"),
        ("sims", "+method=nilc", "'method' is no group of main_sims.py, but of main_clean.py"),
        (
            "cmbnncs",
            "scenario=tiny",
            "'scenario' is no group of main_cmbnncs.py, but of main_sims.py; here scenario is",
        ),
        ("clean", "footings=three", "'footings' is no group of main_clean.py, but of main_analysis.py"),
    ],
)
def test_group_of_another_program(tmp_path: Path, command: Command, program: str, word: str, words: str) -> None:
    outcome = command(program, tmp_path, word)
    refused(outcome, f"{word.lstrip('+')}: {words}")
    assert outcome.err.count("\n") == 1


def test_integrity_that_there_is_not(tmp_path: Path, command: Command) -> None:
    refused(command("sims", tmp_path, "integrity=hsah"), "integrity=hsah: did you mean 'hash'?")
