"""What a run of a program should have come to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cmbml.core.integrity import sha256_of
from cmbml.core.record import Record


def done(outcome: Any) -> str:
    """Make sure that a run went well; return what it said."""
    assert outcome.err == ""
    assert outcome.status == 0
    return str(outcome.out)


def refused(outcome: Any, *words: str) -> None:
    """Make sure that a run ended with one message that holds these words."""
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("error: ") == 1
    assert "Traceback" not in outcome.out + outcome.err
    for word in words:
        assert word in outcome.err


def as_if_written(dataset: Path, path: Path) -> None:
    """Record what stands in a file now as what its unit has written, so that it is read and not refused."""
    place, status = str(path.relative_to(dataset)), path.stat()
    for entry in (dataset / ".records").glob("*/*.json"):
        record = Record.read(entry)
        new = {"size": status.st_size, "modified": status.st_mtime_ns, "sha256": sha256_of(path)}
        outputs = tuple(replace(output, **new) if output.path == place else output for output in record.outputs)
        if outputs != record.outputs:
            replace(record, outputs=outputs).write(entry)
