"""What was last asked for, stage by stage: written before any work, so that work left undone can be told."""

import json
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmbml.core.record import write_whole

DATASET_PROGRAM = "sims"
"""The main program that lays a dataset out."""
SUFFIX = ".plan.json"


@dataclass(frozen=True)
class Origin:
    """Who asks for a run.

    Attributes:
        program: name of the main program.
        command: the command line that would do the same.
    """

    program: str = ""
    command: str = ""

    @property
    def whole(self) -> bool:
        """Whether the program lays out the dataset itself: what it does not ask for is then no part of it."""
        return self.program == DATASET_PROGRAM


NOBODY = Origin()


PASSING = ("system.", "runner", "hardware", "integrity", "resume", "plan_only", "fetch_only", "hydra.")
"""Beginnings of words on a command line that change no byte of what it makes."""


def lasting(command: str) -> str:
    """Return a command without the words that change no byte of what it makes, and with the root left open.

    Example:
        >>> lasting("python main_sims.py system.root=/data dataset=demo runner.threads=1 'splits.test={sims: 4}'")
        "python main_sims.py system.root=ROOT dataset=demo 'splits.test={sims: 4}'"
    """
    python, script, *words = shlex.split(command)
    kept = [word for word in words if not word.lstrip("+~").startswith(PASSING)]
    return shlex.join([python, script, "system.root=ROOT", *kept])


def script_of(program: str) -> str:
    """Return what a main program's file is called, for commands in messages."""
    return f"main_{program}.py"


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
class Asked:
    """What was last asked for of one unit.

    Attributes:
        fingerprint: that it should have.
        program: that asked.
        command: that makes it.
    """

    fingerprint: str
    program: str
    command: str


@dataclass(frozen=True)
class Intent:
    """What was last asked for of the units of one stage.

    Attributes:
        assets: names of what the stage makes.
        units: name of each unit -> what was asked.
    """

    assets: tuple[str, ...] = ()
    units: Mapping[str, Asked] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, stage: str) -> "Intent | None":
        """Read what was asked for; None where nothing was, or nothing that makes sense."""
        try:
            data = json.loads(_path(root, stage).read_bytes())
            origins = [(str(program), str(command)) for program, command in data["origins"]]
            units = {name: Asked(fingerprint, *origins[at]) for name, (fingerprint, at) in data["units"].items()}
            return cls(tuple(data["assets"]), units)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None

    def write(self, root: Path, stage: str) -> None:
        """Write it, whole or not at all, each command once."""
        places: dict[tuple[str, str], int] = {}
        units = {
            name: (asked.fingerprint, places.setdefault((asked.program, asked.command), len(places)))
            for name, asked in self.units.items()
        }
        write_whole(_path(root, stage), json.dumps({"assets": self.assets, "origins": list(places), "units": units}))


def announce(root: Path, wishes: Mapping[str, Wish], origin: Origin) -> None:
    """Note what a run is about to do. The newest wish for a unit counts; others stay as they are.

    Args:
        root: the dataset's folder.
        wishes: for each stage, makers before users: a run that is killed here leaves no user that looks up to date.
        origin: who asks.
    """
    for stage, wish in wishes.items():
        old = Intent.read(root, stage) or Intent()
        lost = origin.program if origin.whole else None
        kept = {name: asked for name, asked in old.units.items() if asked.program != lost or name in wish.known}
        new = {name: Asked(print_, origin.program, origin.command) for name, print_ in wish.units.items()}
        Intent(tuple(sorted({*old.assets, *wish.assets})), kept | new).write(root, stage)
    for stage in stages_asked_for(root):
        if stage not in wishes and (old := Intent.read(root, stage) or Intent()).units:
            _withdraw(root, stage, old, wishes, origin)


def _withdraw(root: Path, stage: str, old: Intent, wishes: Mapping[str, Wish], origin: Origin) -> None:
    """Take back what was asked of a stage where the run has others make the same, or lays out a dataset without it."""
    gone = {name for wish in wishes.values() if {*wish.assets} & {*old.assets} for name in wish.units}
    if origin.whole:
        gone |= {name for name, asked in old.units.items() if asked.program == origin.program}
    if not gone.isdisjoint(old.units):
        kept = {name: asked for name, asked in old.units.items() if name not in gone}
        Intent(old.assets, kept).write(root, stage)


def stages_asked_for(root: Path) -> list[str]:
    """Return the names of the stages of which something was asked."""
    return sorted(path.name.removesuffix(SUFFIX) for path in (root / ".records").glob(f"[!.]*{SUFFIX}"))


def is_part(root: Path, stage: str) -> bool:
    """Say whether a stage has, or should have, made something for the dataset as it was last asked for."""
    intent = Intent.read(root, stage)
    return bool(intent.units) if intent is not None else (root / ".records" / stage).is_dir()


def _path(root: Path, stage: str) -> Path:
    return root / ".records" / f"{stage}{SUFFIX}"
