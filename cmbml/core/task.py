"""One unit of work, and the doing of it."""

import socket
import time
import traceback
from dataclasses import dataclass

from cmbml.core.errors import CmbmlError, UndeclaredError
from cmbml.core.executor import Executor
from cmbml.core.record import Output, Record, Source
from cmbml.core.store import Store, storage_errors
from cmbml.core.unit_io import Access, UnitIO


@dataclass(frozen=True)
class Task:
    """One unit of work, complete in itself, so that it may travel to another process or machine.

    Attributes:
        executor: what does the work.
        access: what the work may touch.
        record: path of the unit's record, relative to the dataset's folder.
        sources: what the unit is made from, for its record.
        settings: what units made with the same settings share, for its record.
    """

    executor: Executor
    access: Access
    record: str
    sources: tuple[Source, ...] = ()
    settings: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a unit failed, in plain text, so that it can travel between processes.

    Attributes:
        unit: stage and point.
        message: for the user.
        details: the traceback, for the log.
    """

    unit: str
    message: str
    details: str


def run_task(task: Task) -> Record | Failure:
    """Do one unit and record it. Errors come back as a `Failure`."""
    started, access = time.perf_counter(), task.access
    try:
        _remove_optional(task)
        io = UnitIO(access)
        task.executor.process(io)
        _require_written(task, io.outputs)
        seconds = round(time.perf_counter() - started, 3)
        record = Record(access.fingerprint, io.outputs, seconds, socket.gethostname(), task.sources, task.settings)
        with storage_errors(access.root / task.record):
            record.write(access.root / task.record)
        Store(access.root).remove_work([(access.stage, access.key.name)])
    except Exception as error:
        plain = isinstance(error, CmbmlError | ValueError)
        message = str(error) if plain else f"{type(error).__name__}: {error}"
        return Failure(str(access), message, traceback.format_exc())
    return record


def _remove_optional(task: Task) -> None:
    """Remove what an earlier run of the unit may have written and this one may not."""
    for asset in task.executor.may_write:
        for _, path in task.access.outputs[asset.name]:
            (task.access.root / path).unlink(missing_ok=True)


def _require_written(task: Task, outputs: tuple[Output, ...]) -> None:
    """Check that every file that the unit promised is there.

    Raises:
        UndeclaredError: one was not written.
    """
    done = {output.path for output in outputs}
    promised = [asset.name for asset in task.executor.writes]
    missing = [path for name in promised for _, path in task.access.outputs[name] if path not in done]
    if missing:
        message = f"stage '{task.access.stage}' declared and did not write {', '.join(missing)}"
        raise UndeclaredError(message)
