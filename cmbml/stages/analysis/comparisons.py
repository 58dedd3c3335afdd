"""Keep the pages of all comparisons of a dataset, and list them on one page.

What a comparison ends with stands in the dataset under one name, and the next one takes its place. So page, tables and
verdict are put aside under the comparison's own name as soon as they are made. What lies there is no product: no stage
reads it, and nothing is redone for its sake. The list says of each whether its scores are still those of the dataset.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import field_validator

from cmbml.core.intent import lasting
from cmbml.core.ledger import Ledger
from cmbml.core.record import write_whole
from cmbml.core.store import storage_errors
from cmbml.figures.report.index import Entry, render_index
from cmbml.metrics.verdict import HEADLINE
from cmbml.settings import settings
from cmbml.stages.analysis.report import commands_for

log = logging.getLogger(__name__)
FOLDER = "comparisons"
LONGEST = 60  # of names that list all methods
KEPT = ("report", "summary")  # stages whose files are put aside, as far as their names are among these
FILES = ("report.html", "summary_table.md", "summary_rows.csv", "verdict.yaml")
SCORES = "gathered"  # the stage that makes SCORE_STACK


def comparison_name(methods: Sequence[str]) -> str:
    """Return what a comparison of these methods is called, in whatever order they are listed.

    Example:
        >>> comparison_name(["nilc", "ilc_pixel"])
        'ilc_pixel+nilc'
        >>> comparison_name([f"method_{i}" for i in range(9)])
        'method_0+method_1+method_2+6_more-a854ea7a'
    """
    listed = sorted(methods)
    whole = "+".join(listed)
    if len(whole) <= LONGEST:
        return whole
    # Methods first: a name of nothing but controls would say little.
    first = sorted(listed, key=lambda name: name.startswith("control_"))[:3]
    return f"{'+'.join(first)}+{len(listed) - 3}_more-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Kept:
    """What is noted of a comparison that was put aside.

    Attributes:
        name: of it.
        methods: that were compared, sorted.
        splits: on which.
        says: split -> the verdict's first sentence.
        scores: unit of the stage that gathers scores -> fingerprint of what the comparison stands on.
        command: that makes it again, with ROOT for the folder of the dataset.
    """

    name: str
    methods: tuple[str, ...]
    splits: tuple[str, ...]
    says: dict[str, str]
    scores: dict[str, str]
    command: str

    @classmethod
    def read(cls, path: Path) -> "Kept | None":
        """Read a note; None where it makes no sense."""
        try:
            found = json.loads(path.read_text())
            return cls(**found | {name: tuple(found[name]) for name in ("methods", "splits")})
        except (OSError, ValueError, TypeError, KeyError):
            return None


@settings
class KeepComparison:
    """Put aside what the newest comparison has come to, and list all that were.

    Attributes:
        name: of the comparison; made from the list of methods where None. Another one of that name is replaced.
        methods: that were compared.
        splits: on which.
        stages: names of the stages that were run: without a page among them, there is nothing to keep.
    """

    name: str | None = None
    methods: tuple[str, ...]
    splits: tuple[str, ...]
    stages: tuple[str, ...]

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(?!index\.html$)[A-Za-z0-9_][A-Za-z0-9_.+-]*", value):
            message = "a comparison's name is made of letters, digits, '_', '-', '+' and, after the first, '.'"
            raise ValueError(message)
        return value

    def __call__(self, root: Path, command: str) -> None:
        """Copy the files, note what they stand on, write the list.

        Args:
            root: the dataset's folder.
            command: that has made the comparison.
        """
        if "report" not in self.stages:
            return
        ledger, methods = Ledger(root), sorted(self.methods)
        name = self.name or comparison_name(methods)
        folder = root / FOLDER / name
        with storage_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)
            for split in self.splits:
                for path in _files_of(ledger, split):
                    target = folder / split / path.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
            says = {split: _sentence(folder / split / "verdict.yaml") for split in self.splits}
            units = [f"{method}_{split}" for method in methods for split in self.splits]
            scores = {unit: shown for unit in units if (shown := _fingerprint(ledger, unit))}
            again = commands_for(methods, [lasting(command)])[0] if command else ""
            kept = Kept(name, tuple(methods), tuple(self.splits), says, scores, again)
            write_whole(folder / "comparison.json", json.dumps(asdict(kept), indent=1) + "\n")
            write_whole(root / FOLDER / "index.html", render_index(root.name, list(_entries(ledger))))
        log.info("this comparison is kept as %s; all of this dataset: %s", name, root / FOLDER / "index.html")


def _files_of(ledger: Ledger, split: str) -> Iterator[Path]:
    """Yield the files of the newest comparison that are kept."""
    for stage in KEPT:
        record = ledger.record(stage, split)
        for output in () if record is None else record.outputs:
            path = ledger.root / output.path
            if path.name in FILES and path.is_file():
                yield path


def _sentence(path: Path) -> str:
    """Return the first sentence of a verdict; empty where there is none."""
    found: Any = yaml.safe_load(path.read_text()) if path.is_file() else {}
    return str(found.get(HEADLINE, ""))


def _fingerprint(ledger: Ledger, unit: str) -> str:
    """Return the fingerprint of the scores that there are now of a method and a split; empty where they do not hold."""
    record = ledger.record(SCORES, unit)
    return "" if record is None or ledger.fault(SCORES, unit) is not None else record.fingerprint


def _entries(ledger: Ledger) -> Iterator[Entry]:
    """Yield what the list says of each comparison that was kept, by name."""
    for path in sorted((ledger.root / FOLDER).glob("*/comparison.json")):
        kept = Kept.read(path)
        if kept is None:
            continue
        changed = sorted(unit for unit, print_ in kept.scores.items() if _fingerprint(ledger, unit) != print_)
        pages = {split: f"{path.parent.name}/{split}/report.html" for split in kept.splits}
        there = {split: page for split, page in pages.items() if (path.parent.parent / page).is_file()}
        yield Entry(kept.name, kept.methods, there, kept.says, tuple(changed), kept.command)
