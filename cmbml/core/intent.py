"""What was last asked for, stage by stage: written before any work, so that work left undone can be told."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cmbml.core.record import write_whole

SUFFIX = ".plan.json"


@dataclass(frozen=True)
class Origin:
    """Who asks for a run.

    Attributes:
        program: name of the main program.
        command: the command line that would do the same.
        whole: whether the program lays out the dataset itself: what it does not ask for is then no part of it.
    """

    program: str = ""
    command: str = ""
    whole: bool = False


NOBODY = Origin()


@dataclass(frozen=True)
class Wish:
    """What a run asks for of one stage.

    Attributes:
        assets: names of what the stage makes.
        units: name of each unit that is planned -> its fingerprint.
        known: the names of all units that there could be, with those that the run leaves out.
    """

    assets: tuple[str, ...]
    units: Mapping[str, str]
    known: Collection[str]


@dataclass(frozen=True)
class Intent:
    """What was last asked for of the units of one stage.

    Attributes:
        program: that asked last.
        assets: names of what the stage makes.
        units: name of each unit -> its fingerprint, and the command that makes it.
    """

    program: str
    assets: tuple[str, ...]
    units: Mapping[str, tuple[str, str]]

    @classmethod
    def read(cls, root: Path, stage: str) -> "Intent | None":
        """Read what was asked for; None where nothing was, or nothing that makes sense."""
        try:
            data = json.loads(_path(root, stage).read_bytes())
            commands = data["commands"]
            units = {name: (str(fingerprint), commands[at]) for name, (fingerprint, at) in data["units"].items()}
            return cls(str(data["program"]), tuple(data["assets"]), units)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None

    def write(self, root: Path, stage: str) -> None:
        """Write it, whole or not at all, each command once."""
        places: dict[str, int] = {}
        units = {name: [print_, places.setdefault(word, len(places))] for name, (print_, word) in self.units.items()}
        data = {"program": self.program, "assets": self.assets, "commands": list(places), "units": units}
        write_whole(_path(root, stage), json.dumps(data, indent=0))


def announce(root: Path, wishes: Mapping[str, Wish], origin: Origin) -> None:
    """Note what a run is about to do. The newest wish for a unit counts; others stay as they are.

    Args:
        root: the dataset's folder.
        wishes: for each stage, makers before users: a run that is killed here leaves no user that looks up to date.
        origin: who asks.
    """
    for stage, wish in wishes.items():
        old = Intent.read(root, stage)
        units = {} if old is None else dict(old.units)
        if origin.whole:
            units = {name: unit for name, unit in units.items() if name in wish.known}
        units |= {name: (fingerprint, origin.command) for name, fingerprint in wish.units.items()}
        Intent(origin.program, wish.assets, units).write(root, stage)
    for stage in stages_asked_for(root):
        if stage not in wishes and (old := Intent.read(root, stage)) is not None:
            _withdraw(root, stage, old, wishes, origin)


def _withdraw(root: Path, stage: str, old: Intent, wishes: Mapping[str, Wish], origin: Origin) -> None:
    """Take back what was asked of a stage where the run has others make the same, or lays out a dataset without it."""
    gone = {name for wish in wishes.values() if {*wish.assets} & {*old.assets} for name in wish.units}
    if origin.whole and old.program == origin.program:
        gone = set(old.units)
    if not gone.isdisjoint(old.units):
        kept = {name: unit for name, unit in old.units.items() if name not in gone}
        Intent(old.program, old.assets, kept).write(root, stage)


def stages_asked_for(root: Path) -> list[str]:
    """Return the names of the stages of which something was asked."""
    return sorted(path.name.removesuffix(SUFFIX) for path in (root / ".records").glob(f"[!.]*{SUFFIX}"))


def is_part(root: Path, stage: str) -> bool:
    """Say whether a stage has, or should have, made something for the dataset as it was last asked for."""
    intent = Intent.read(root, stage)
    return bool(intent.units) if intent is not None else (root / ".records" / stage).is_dir()


def _path(root: Path, stage: str) -> Path:
    return root / ".records" / f"{stage}{SUFFIX}"
