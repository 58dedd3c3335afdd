"""The tutorials run, and no command in them fails but those that are to show a refusal."""

import importlib.util
import os
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("myst_nb")
pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
REFUSALS = {"own_blind_method": 2}
"""How many commands of a tutorial are to be refused."""


def notebooks_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_notebooks", PROJECT / "docs" / "_make" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = notebooks_module()
PAGES = made.notebooks(PROJECT / "docs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all tutorials work in, as they do where the site is built."""
    return tmp_path_factory.mktemp("tutorials")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let `cmbml` be the command of this checkout."""
    script = tmp_path / "cmbml"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cmbml "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("CMBML_TUTORIALS", str(folder))


def test_there_are_tutorials_that_are_run() -> None:
    assert len(PAGES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_tutorial_runs(page: Path, folder: Path, command: None) -> None:
    printed = made.printed(made.run(page, folder))
    assert printed.count("error:") == REFUSALS.get(page.stem, 0), printed
    assert "Traceback" not in printed
