"""The wheel and the sdist: what they hold, and that the programs run from them, away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cmbml

PROJECT = Path(__file__).resolve().parents[2]
METHODS = ("control_truth", "control_channel", "ilc_pixel")

pytestmark = pytest.mark.slow


def ran(*words: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    outcome = subprocess.run([*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it; return the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    outcome = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, PROJECT], capture_output=True, text=True, check=False
    )
    if outcome.returncode and "No matching distribution" in outcome.stdout + outcome.stderr:
        pytest.skip("needs a package index: the build gets setuptools from there")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert [path.name for path in folder.glob("*.tar.gz")] == [f"cmbml-{cmbml.__version__}.tar.gz"]
    return next(folder.glob("*.whl"))


def tried(program: list[str], folder: Path, env: dict[str, str]) -> None:
    """Simulate, clean and compare a small dataset, and look at it, all in one folder."""
    words = ("scenario=tiny", "splits.train=0", "splits.valid=0", "splits.test=2", "runner.threads=1")
    smaller = ("lensing=none", "cosmology=fixed", "~stages.figures", "~stages.sky_figures")
    assert f"cmbml {cmbml.__version__}" in ran(*program, "--version", cwd=folder, env=env)
    ran(*program, "sims", *words, *smaller, cwd=folder, env=env)
    for method in METHODS:
        ran(*program, "clean", f"method={method}", "runner.threads=1", cwd=folder, env=env)
    ran(*program, "analysis", f"methods=[{','.join(METHODS)}]", "runner.threads=1", cwd=folder, env=env)
    assert "files of" in ran(*program, "verify", cwd=folder, env=env)
    assert "all that was asked for is made" in ran(*program, "status", cwd=folder, env=env)
    assert (folder / "datasets" / "demo" / "report" / "test" / "report.html").stat().st_size > 1e6


def test_wheel_holds_all_that_the_package_has_and_runs_away_from_it(wheel: Path, tmp_path: Path) -> None:
    """With the packages that are here, but none of the checkout's own files."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = [path for path in (PROJECT / "cmbml").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert [str(path) for path in ours if str(path.relative_to(PROJECT)) not in inside] == []
    target = tmp_path / "installed"
    ran(sys.executable, "-m", "pip", "install", "--no-deps", "--target", target, wheel, cwd=tmp_path)
    env = os.environ | {"PYTHONPATH": str(target)}
    where = ran(sys.executable, "-c", "import cmbml; print(cmbml.__file__)", cwd=tmp_path, env=env)
    assert Path(where.strip()).is_relative_to(target)
    tried([sys.executable, "-m", "cmbml"], tmp_path, env)


def test_wheel_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With what it says that it needs, from a package index, and nothing else."""
    ran(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    pip = [tmp_path / "env" / "bin" / "pip", "install", "--quiet", "-c", PROJECT / "constraints.txt"]
    outcome = subprocess.run([*map(str, pip), str(wheel)], capture_output=True, text=True, check=False)
    if outcome.returncode and "No matching distribution" in outcome.stderr:
        pytest.skip("needs a package index")
    assert outcome.returncode == 0, outcome.stderr
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    tried([str(tmp_path / "env" / "bin" / "cmbml")], tmp_path, env)
