"""What of a dataset is made, what is stale, and what would make the rest: by records, sizes and times alone."""

import logging
from collections import Counter
from pathlib import Path

from cmbml.core.ledger import Ledger

log = logging.getLogger(__name__)
HEADS = ("stage", "program", "made", "stale", "missing", "left over")


def status(root: Path) -> None:
    """Log a line per stage, and the commands that would make what is stale or missing.

    Args:
        root: the dataset's folder.
    """
    ledger = Ledger(root)
    rows: list[tuple[str, ...]] = [HEADS]
    mends: dict[str, None] = {}
    for stage in ledger.stages():
        counts: Counter[str] = Counter()
        intent, names = ledger.intent(stage), ledger.names(stage)
        if not names:
            continue
        for name in names:
            fault = ledger.fault(stage, name)
            left = fault is not None and fault.left_over
            counts["left" if left else fault.kind if fault is not None else "made"] += 1
            if fault is not None and not left:
                mends |= dict.fromkeys(fault.commands)
        askers = sorted({asked.program for asked in intent.units.values()}) if intent is not None else []
        stale = counts["stale"] + counts["file"]
        numbers = (counts["made"], stale, counts["unfinished"], counts["left"])
        rows.append((stage, ",".join(askers), *map(str, numbers)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    form = "  ".join(f"{{:{'<' if i < 2 else '>'}{width}}}" for i, width in enumerate(widths))
    log.info("%s\n%s", root, "\n".join(form.format(*row) for row in rows))
    if mends:
        log.info("to make what is stale or missing, run:\n%s", "\n".join(f"  {command}" for command in mends))
    else:
        log.info("all that was asked for is made and up to date; main_verify.py reads every file")
