"""What tests of comparisons share."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from comparing import METHODS
from outcomes import done

Command = Callable[..., "Outcome"]  # noqa: F821 (of the conftest.py above)
Analyse = Callable[..., "Outcome"]  # noqa: F821


@pytest.fixture
def analyse(command: Command, scoring: tuple[str, ...]) -> Analyse:
    """Return what compares methods on the dataset `sky` in a folder."""

    def run(root: Path, methods: tuple[str, ...] = METHODS, *overrides: str) -> "Outcome":  # noqa: F821
        return command("analysis", root, "dataset=sky", f"methods=[{','.join(methods)}]", *scoring, *overrides)

    return run


@pytest.fixture
def take(command: Command) -> Callable[..., str]:
    """Return what imports predictions under a name."""

    def run(root: Path, name: str, folder: Path, fwhm_arcmin: float = 0.0, *overrides: str) -> str:
        words = ("method=imported", f"method.name={name}", f"predictions.folder={folder}", "runner.threads=1")
        return done(command("clean", root, "dataset=sky", *words, f"predictions.fwhm_arcmin={fwhm_arcmin}", *overrides))

    return run


@pytest.fixture
def copy(compared: Path, tmp_path: Path) -> Path:
    """Copy the compared dataset, to be changed; return the folder that holds it."""
    return Path(shutil.copytree(compared, tmp_path / "compared"))
