"""A dataset that is made by jobs of a SLURM of one node, started for it, has the bytes of a serial run."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[1] / "cluster" / "one_node_slurm.sh"
JOBS = ("runner=slurm", "runner.workers=1", "runner.threads=1", "runner.cluster.memory=1GB")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue")
Start = Callable[..., subprocess.Popen[str]]
Digests = Callable[[Path], dict[str, str]]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have a SLURM of one node, of which `SLURM_CONF` tells; skip where there can be none."""
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue: pip install 'cmbml[slurm]'")
    if lacking := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"needs {', '.join(lacking)}: Debian's slurmctld slurmd slurm-client munge")
    if os.geteuid() != 0:
        pytest.skip("needs root, as whom slurmd starts jobs")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SCRIPT, "up", folder], check=True, timeout=60)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            yield
    finally:
        subprocess.run([SCRIPT, "down", folder], check=True, timeout=60)


def finish(run: subprocess.Popen[str]) -> str:
    """Wait for a run that must succeed; return what it said."""
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    return out


def wait_for_units(run: subprocess.Popen[str], dataset: Path, number: int) -> None:
    """Wait until so many units are recorded, in a run that is not through by then."""
    while len([*dataset.glob(".records/*/[!.]*.json")]) < number:
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)


def begun(program_apart: Start, root: Path) -> subprocess.Popen[str]:
    """Start to build the dataset by jobs; return the run when some units are done."""
    run = program_apart(root, "splits.train.sims=20", *JOBS)
    wait_for_units(run, root / "small", 5)
    return run


def jobs() -> list[str]:
    """Return the numbers of all jobs that wait or run."""
    return subprocess.run(
        ["squeue", "--noheader", "--format=%i"], check=True, capture_output=True, text=True
    ).stdout.split()


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, program_apart: Start) -> Path:
    """Build the dataset in one process; return its folder."""
    root = tmp_path_factory.mktemp("serial")
    finish(program_apart(root, "splits.train.sims=20"))
    return root / "small"


@pytest.mark.usefixtures("slurm")
def test_job_that_is_cancelled_is_replaced(
    tmp_path: Path, program_apart: Start, serial: Path, digests: Digests
) -> None:
    run = begun(program_apart, tmp_path)
    first = jobs()
    subprocess.run(["scancel", *first], check=True)
    out = finish(run)
    assert len(first) == 1
    assert digests(tmp_path / "small") == digests(serial)
    assert "1 of 1 workers have left; others are asked for" in out


@pytest.mark.usefixtures("slurm")
def test_run_and_jobs_that_are_killed_go_on(
    tmp_path: Path, program_apart: Start, serial: Path, digests: Digests
) -> None:
    run = begun(program_apart, tmp_path)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    subprocess.run(["scancel", *jobs()], check=True)
    out = finish(program_apart(tmp_path, "splits.train.sims=20", *JOBS))
    assert "0 were done before" not in out
    assert digests(tmp_path / "small") == digests(serial)
    assert not jobs()


@pytest.mark.usefixtures("slurm")
def test_partition_that_is_not_there(tmp_path: Path, program_apart: Start) -> None:
    run = program_apart(tmp_path, *JOBS, "runner.cluster.queue=nowhere")
    _, err = run.communicate(timeout=120)
    assert run.returncode == 1
    assert err.startswith("error: the cluster refuses what runner.cluster asks for: sbatch: error: invalid partition")
    assert "Traceback" not in err
