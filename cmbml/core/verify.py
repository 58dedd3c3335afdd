"""Go through a whole dataset: every file against its record, every record against what was asked for."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cmbml.core.errors import StaleError
from cmbml.core.intent import DATASET_PROGRAM
from cmbml.core.ledger import ANY_PROGRAM, Ledger
from cmbml.core.record import Output
from cmbml.core.runner import Progress
from cmbml.cores import n_cores

log = logging.getLogger(__name__)
Found = tuple[tuple[str, ...], str]
"""What mends a fault, and what is wrong."""


def verify(root: Path) -> None:
    """Read every file of a dataset, and say which are missing, cut short, altered or stale, and what mends them.

    Only the dataset itself is looked at, none of the raw files that it was made from.

    Args:
        root: the dataset's folder.

    Raises:
        StaleError: something is not as it should be; what it is has been logged.
    """
    ledger = Ledger(root)
    units = [(stage, name) for stage in ledger.stages() for name in ledger.names(stage)]
    found: list[Found] = []
    whole: list[tuple[str, str, Output]] = []
    n_left = n_undone = 0
    for stage, name in units:
        fault, record = ledger.staleness(stage, name), ledger.record(stage, name)
        if fault is not None and fault.left_over:
            n_left += 1
        elif record is None and fault is not None and _may_be_left(ledger, stage, name):
            n_undone += 1
        elif record is None and fault is not None:
            found.append((fault.commands, f"'{stage} {name}' {fault.text}"))
        elif record is not None:
            found += [(fault.commands, f"{root / out.path} {fault.text}") for out in record.outputs if fault]
            whole += [(stage, name, out) for out in record.outputs]
    found += _read_all(ledger, whole)
    if n_left:
        log.info("%d units are no part of the dataset as it was last asked for; nothing reads them", n_left)
    if n_undone:
        log.info("%d units beyond the simulations were asked for and not finished; nothing reads them", n_undone)
    if found:
        _report(root, found, len(whole))
    log.info("%s: %d files of %d units are as they were written", root, len(whole), len(units) - n_left - n_undone)


def _may_be_left(ledger: Ledger, stage: str, name: str) -> bool:
    """Say whether a unit may stay unfinished: a method that somebody gave up does not make a dataset less whole."""
    intent = ledger.intent(stage)
    return intent is not None and intent.units[name].program != DATASET_PROGRAM


def _read_all(ledger: Ledger, files: list[tuple[str, str, Output]]) -> Iterator[Found]:
    """Read files on all cores, for hashing holds no lock, and yield what is wrong with them."""
    progress = Progress(len(files))

    def look(entry: tuple[str, str, Output]) -> Found | None:
        stage, name, output = entry
        problem = ledger.file_fault(output, "hash")
        return (ledger.commands(stage, name), problem + "; delete it" * ("altered" in problem)) if problem else None

    try:
        with ThreadPoolExecutor(n_cores()) as pool:
            for (stage, _, _), found in zip(files, pool.map(look, files), strict=True):
                progress.advance(stage)
                if found is not None:
                    yield found
    finally:
        progress.bar.close()


def _report(root: Path, found: list[Found], n_files: int) -> None:
    """Log what is wrong, those together that one command mends.

    Raises:
        StaleError: always; it says how much there is, and what to run.
    """
    by_mend: dict[tuple[str, ...], list[str]] = {}
    for commands, text in found:
        by_mend.setdefault(commands, []).append(text)
    for commands, texts in by_mend.items():
        log.info("%s\n  to mend it: %s", "\n".join(texts), ", then: ".join(commands) or f"run {ANY_PROGRAM} again")
    mends = dict.fromkeys(command for commands in by_mend for command in commands)
    message = f"{len(found)} faults in {root}, which has {n_files} files; see above for each"
    raise StaleError("\n".join([message, *(f"run: {command}" for command in mends)]))
