"""How the user calls the programs, so that every message says what can be run.

Messages, and the commands that a dataset's plans hold, say `python main_clean.py`; where the command `cmbml` is what
was called, they are shown as `cmbml clean`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

SCRIPT = re.compile(r"(?<![\w/.-])(?:python )?main_([a-z]+)\.py\b")
_console = [False]


@contextmanager
def as_console() -> Iterator[None]:
    """Let messages, meanwhile, name the command `cmbml`."""
    _console.append(True)
    try:
        yield
    finally:
        _console.pop()


def spoken(text: str) -> str:
    """Return a message in the words by which the user calls the programs.

    Example:
        >>> with as_console():
        ...     spoken("run: python main_clean.py dataset=demo, then: main_analysis.py")
        'run: cmbml clean dataset=demo, then: cmbml analysis'
        >>> spoken("run: python main_clean.py dataset=demo")
        'run: python main_clean.py dataset=demo'
    """
    return SCRIPT.sub(r"cmbml \1", text) if _console[-1] else text
