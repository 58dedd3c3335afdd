"""What was run, with what, where: the manifest of each run, and the lock on a dataset."""

import fcntl
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from cmbml.core.errors import ConfigError, DatasetLockedError
from cmbml.core.intent import script_of
from cmbml.core.store import storage_errors
from cmbml.core.wording import spoken

PACKAGES = {"astropy", "camb", "cmbml", "dask", "ducc0", "getdist", "healpy", "hydra-core", "lenspyx", "numpy"} | {
    "omegaconf",
    "pydantic",
    "pysm3",
    "scipy",
    "torch",
}


@contextmanager
def lock(root: Path) -> Iterator[None]:
    """Keep a dataset for this run alone. The lock ends with the process, however it ends; its children do not hold it.

    Raises:
        DatasetLockedError: another run holds it.
        StorageError: the folder may not be written.
    """
    path = root / ".lock"
    with storage_errors(path):
        root.mkdir(parents=True, exist_ok=True)
        # Unbuffered, so that a full disk shows at the write and not once more when the file is closed.
        stream = path.open("ab+", buffering=0)
    with stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            holder = stream.read().decode().strip() or "another process"
            message = f"{root} is in use by {holder}; wait for it, or choose another dataset="
            raise DatasetLockedError(message) from None
        holder = f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n"
        with storage_errors(path):
            stream.truncate(0)
            stream.write(holder.encode())
        yield


def run_folder(root: Path, name: str) -> Path:
    """Make the folder that holds the manifest and the log of one run, `runs/{time}_{name}`."""
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S}_{name}"
    with storage_errors(root):
        for number in range(1000):
            folder = root / "runs" / (stem if not number else f"{stem}_{number}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
    message = f"cannot make a run folder below {root / 'runs'}"
    raise DatasetLockedError(message)


def versions() -> dict[str, str]:
    """Return the versions of the packages that results may depend on, of those that are installed."""
    return dict(_versions())


@cache
def _versions() -> Mapping[str, str]:
    """Look through what is installed, once in a process."""
    found = {dist.metadata["Name"]: dist.version for dist in distributions()}
    return {name: found[name] for name in sorted(PACKAGES & found.keys())}


def write_manifest(folder: Path, config: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Write `manifest.json`: the composed config, the plan, versions, git state, command and host."""
    manifest = {
        "command": spoken(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "host": {"name": socket.gethostname(), "system": platform.platform(), "python": platform.python_version()},
        "versions": versions(),
        "git": _git_state(),
        "plan": plan,
        "config": config,
    }
    part = folder / ".manifest.part.json"
    with storage_errors(folder):
        try:
            part.write_text(json.dumps(manifest, indent=1))
            part.replace(folder / "manifest.json")
        finally:
            part.unlink(missing_ok=True)


def newest_config(root: Path, name: str) -> dict[str, Any] | None:
    """Return the config of the newest run of a program on a dataset; None where there was none.

    Raises:
        ConfigError: its manifest is damaged.
    """
    found = sorted((root / "runs").glob(f"*_{name}*/manifest.json"))
    if not found:
        return None
    try:
        return dict(json.loads(found[-1].read_text())["config"])
    except (ValueError, KeyError, TypeError) as error:
        message = (
            f"{found[-1]} is damaged ({error}): restore it, or remove the folder that it is in, and the run before "
            f"counts; where there is none, run {script_of(name)} again as the dataset was made"
        )
        raise ConfigError(message) from error


def _git_state() -> dict[str, Any]:
    def git(*words: str) -> str:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
        return found.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {}
