"""What a run leaves beside its data, and that it has the data for itself."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cmbml.core.errors import ConfigError, DatasetLockedError
from cmbml.core.manifest import lock, newest_config, run_folder, write_manifest

HOLD = "import sys, pathlib, time; from cmbml.core.manifest import lock\n"
HOLD += "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_second_run_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DatasetLockedError, match=f"in use by process {holder.pid} on") as error, lock(tmp_path):
            pass
        assert "choose another dataset=" in str(error.value)
        # However the holder ends, the lock ends with it.
        holder.kill()
    with lock(tmp_path):
        pass


def test_lock_ends_with_its_process_and_not_with_what_that_has_started(tmp_path: Path) -> None:
    """As when a training is killed whose readers live on for a while."""
    forks = "import os, sys, pathlib, time; from cmbml.core.manifest import lock\n"
    forks += "with lock(pathlib.Path(sys.argv[1])):\n    if child := os.fork(): print(child, flush=True)\n"
    forks += "    time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", forks, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        holder.kill()
        holder.wait()
        with lock(tmp_path):
            os.kill(child, signal.SIGKILL)


def test_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with lock(tmp_path / "data"):
            assert "process" in (tmp_path / "data" / ".lock").read_text()


def test_every_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path, "sims") for _ in range(3)]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() and folder.parent == tmp_path / "runs" for folder in folders)


def test_manifest_says_what_was_run(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"seed": 1}, {"cmb": {"todo": 3, "fresh": 0}})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["config"] == {"seed": 1}
    assert manifest["plan"]["cmb"]["todo"] == 3
    assert {"numpy", "healpy", "ducc0", "pydantic"} <= manifest["versions"].keys()
    assert {"command", "host", "git"} <= manifest.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("text", ["", '{"a": ', "{}", "[]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runs/20260101T000000_sims/manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"manifest.json is damaged .* restore it, or remove the folder"):
        newest_config(tmp_path, "sims")
