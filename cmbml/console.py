"""The command `cmbml`: every main program under one name, from any folder."""

import sys
from pathlib import Path

from cmbml import __version__
from cmbml.core.app import main as run_program
from cmbml.core.errors import nearest
from cmbml.core.own_configs import CONFIG_FOLDER
from cmbml.core.wording import as_console

ALIASES = {"fetch": ("sims", "fetch_only=true")}
"""Commands that are another program with a word more."""
FETCH = "Download the raw files that a dataset needs, and stop (sims fetch_only=true), such as cmbml fetch sky=pysm"


def programs() -> dict[str, str]:
    """Return the name of each command, and what it does: the first line of its config says it.

    Example:
        >>> programs()["verify"]
        'Read a whole dataset, and say what is missing, cut short, altered or stale'
    """
    files = [path for path in sorted(CONFIG_FOLDER.glob("*.yaml")) if path.stem != "common"]
    told = {path.stem: path.read_text().partition("\n")[0].lstrip("# ").partition(": `")[0] for path in files}
    return dict(sorted((told | {"fetch": FETCH}).items()))


def main() -> None:
    """Run the program that the first word of the command line names, with the words after it.

    Exits as the programs do: 0 when all is done, 1 after an error, 130 when interrupted.
    """
    first, *words = sys.argv[1:] or ["--help"]
    known = programs()
    if first in {"-h", "--help", "help"}:
        sys.stdout.write(_usage(known))
    elif first == "--version":
        sys.stdout.write(f"cmbml {__version__}\n")
    elif first not in known:
        sys.stderr.write(f"error: 'cmbml {first}': there is no such command; {nearest(first, known)}\n")
        sys.exit(1)
    else:
        name, *more = ALIASES.get(first, (first,))
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # where a user's own methods are; nothing installed is hidden by them
        sys.argv = [f"main_{name}.py", *more, *words]
        with as_console():
            run_program(name)


def _usage(known: dict[str, str]) -> str:
    width = max(map(len, known))
    lines = [f"  {name:<{width}}  {what}" for name, what in known.items()]
    return "\n".join(
        [
            f"cmbml {__version__}: simulate the microwave sky, clean it, and compare the methods that clean it.",
            "",
            "  cmbml COMMAND KEY=VALUE ...        cmbml COMMAND --help says what can be set",
            "",
            *lines,
            "",
            "  --config-dir FOLDER    configs of your own, laid out as those of the package: method/mine.yaml, ...",
            "  --version",
            "",
        ]
    )
