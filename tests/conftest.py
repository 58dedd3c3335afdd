"""What tests share: the real test data, a dataset's digests, and the main program as a function."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Threads would fight one another: the tests' maps are small, and several workers may run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "2")

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def assets_folder() -> Path:
    """Return the folder of real data that `CMBML_ASSETS` names; skip the test where there is none."""
    folder = os.environ.get("CMBML_ASSETS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set CMBML_ASSETS to the folder that holds it")
    return Path(folder)


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """Return what gives the SHA-256 of every product of a dataset, by relative path."""

    def of(root: Path) -> dict[str, str]:
        passing = {".records", ".scratch", "runs", ".lock"}
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        products = [path for path in files if path.relative_to(root).parts[0] not in passing]
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in products}

    return of


@pytest.fixture(scope="session")
def half_written() -> Callable[[Path], list[str]]:
    """Return what lists the half-written files in a folder."""
    return lambda root: [str(path) for path in root.rglob("*.part*")]
