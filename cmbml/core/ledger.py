"""What the records of a dataset say, taken together: which units hold, and what mends those that do not."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cmbml.core.integrity import Integrity
from cmbml.core.intent import DATASET_PROGRAM, Intent, script_of, stages_asked_for
from cmbml.core.record import Output, Record, Source

OLD = "was made by a version of cmbml that did not note what it was made from"
ANY_PROGRAM = f"the program that makes it ({script_of(DATASET_PROGRAM)} for a dataset, main_clean.py for a method)"


@dataclass(frozen=True)
class Fault:
    """Why a unit is not to be relied on.

    Attributes:
        kind: `unfinished`, `file`, `stale`, or `left over` where it is no part of the dataset as last asked for.
        text: what is wrong with it, to be read after its name.
        commands: what mends it, in this order; none where that is not known.
        left_over: whether it, or what it was made from, is no part of the dataset as last asked for.
    """

    kind: Literal["unfinished", "file", "stale", "left over"]
    text: str
    commands: tuple[str, ...] = ()
    left_over: bool = False


class Ledger:
    """The records of a dataset, each read once.

    Args:
        root: the dataset's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._records: dict[tuple[str, str], Record | None] = {}
        self._intents: dict[str, Intent | None] = {}
        self._shown: dict[tuple[str, str], dict[Collection[str], str]] = {}
        self._stale: dict[tuple[str, str], Fault | None] = {}
        self._outputs: dict[str, Output] = {}

    def stages(self) -> list[str]:
        """Return the names of all stages that have made something, or of which something was asked."""
        folders = (self.root / ".records").glob("*")
        return sorted({*stages_asked_for(self.root), *(path.name for path in folders if path.is_dir())})

    def names(self, stage: str) -> list[str]:
        """Return the names of all units of a stage that are recorded or were asked for."""
        intent = self.intent(stage)
        records = (self.root / ".records" / stage).glob("[!.]*.json")
        return sorted({path.stem for path in records} | set(intent.units if intent else ()))

    def record(self, stage: str, name: str) -> Record | None:
        """Return the record of a unit; None where there is none that makes sense."""
        if (stage, name) not in self._records:
            self.enter(stage, name, Record.read(self.root / ".records" / stage / f"{name}.json"))
        return self._records[stage, name]

    def enter(self, stage: str, name: str, record: Record | None) -> None:
        """Take note of the newest record of a unit."""
        self._records[stage, name] = record
        self._shown.pop((stage, name), None)
        if record is not None:
            self._outputs.update((output.path, output) for output in record.outputs)

    def output(self, path: str) -> Output | None:
        """Return what is recorded of a file of a unit that was looked up."""
        return self._outputs.get(path)

    def intent(self, stage: str) -> Intent | None:
        """Return what was last asked for of a stage."""
        if stage not in self._intents:
            self._intents[stage] = Intent.read(self.root, stage)
        return self._intents[stage]

    def commands(self, stage: str, name: str) -> tuple[str, ...]:
        """Return the command that makes a unit, if it is known."""
        intent = self.intent(stage)
        asked = None if intent is None else intent.units.get(name)
        return (asked.command,) if asked is not None and asked.command else ()

    def shown(self, stage: str, name: str, assets: tuple[str, ...]) -> str:
        """Return what a unit shows to whoever reads some of its assets; empty where it is not finished."""
        found = self._shown.setdefault((stage, name), {})
        if assets not in found:
            record = self.record(stage, name)
            found[assets] = "" if record is None else record.shown(assets)
        return found[assets]

    def fault(self, stage: str, name: str) -> Fault | None:
        """Say why a unit is not to be relied on: stale, or with files that are not what was written."""
        fault = self.staleness(stage, name)
        record = self.record(stage, name)
        if fault is not None or record is None:
            return fault
        text = next(self.file_faults(record), "")
        told = f"is not as it was written: {text}"
        return Fault("file", told, self.commands(stage, name)) if text else None

    def file_faults(self, record: Record) -> Iterator[str]:
        """Yield what is wrong with the files of a unit, as far as their sizes and times tell."""
        return filter(None, (self.file_fault(output, "size") for output in record.outputs))

    def file_fault(self, output: Output, integrity: Integrity) -> str:
        """Say what is wrong with a file, if anything is."""
        try:
            problem = output.fault(self.root, integrity)
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        return f"{self.root / output.path} {problem}" if problem else ""

    def staleness(self, stage: str, name: str) -> Fault | None:
        """Say why a unit is not what was last asked for, by records alone.

        A unit holds if it was made as it was last asked for, from what is there now, which holds itself.
        """
        if (stage, name) not in self._stale:
            self._stale[stage, name] = self._staleness(stage, name)
        return self._stale[stage, name]

    def _staleness(self, stage: str, name: str) -> Fault | None:
        record, intent = self.record(stage, name), self.intent(stage)
        commands = self.commands(stage, name)
        if record is None:
            return Fault("unfinished", f"is not finished in {self.root}", commands)
        if record.sources is None or intent is None:
            return Fault("stale", OLD, commands)
        if name not in intent.units:
            return Fault("left over", "is no part of the dataset as it was last asked for", left_over=True)
        if record.fingerprint != intent.units[name].fingerprint:
            text = "is stale: it was made with other settings or inputs than were last asked for"
            return Fault("stale", text, commands)
        return next(filter(None, (self._fault_of(source, commands) for source in record.sources)), None)

    def _fault_of(self, source: Source, commands: tuple[str, ...]) -> Fault | None:
        """Say what is wrong with a part of what a unit was made from."""
        for name, shown in source.units.items():
            above = self.staleness(source.stage, name)
            if above is not None:
                text = f"is stale: it was made from '{source.stage} {name}', which {above.text}"
                return Fault("stale", text, tuple(dict.fromkeys((*above.commands, *commands))), above.left_over)
            if self.shown(source.stage, name, source.assets) != shown:
                return Fault("stale", f"is stale: '{source.stage} {name}' has been made anew since", commands)
        return None


def complaint(faults: Iterable[tuple[str, str, Fault]]) -> str:
    """Say what is wrong with some units, alike ones together, and what mends them.

    Args:
        faults: stage, point as text, and what is wrong.
    """
    alike: dict[tuple[str, ...], dict[tuple[str, str], list[str]]] = {}
    for stage, point, fault in faults:
        # The first of its kind stands for all: what others were made from has other names.
        kind = fault.kind + fault.text.partition(":")[0] * (fault.kind != "file")
        alike.setdefault(fault.commands, {}).setdefault((stage, kind), []).append(f"'{stage} {point}' {fault.text}")
    lines = []
    for commands, kinds in alike.items():
        told = [_first_of(stage, texts) for (stage, _), texts in kinds.items()]
        mend = ", then: ".join(commands) if commands else f"{ANY_PROGRAM} first"
        lines.append("\n".join(told) + f"; run{':' if commands else ''} {mend}")
    return "\n".join(lines)


def _first_of(stage: str, texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{len(texts)} units of '{stage}' are not up to date; first: {texts[0]}"
