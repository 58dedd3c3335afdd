"""What can go wrong for a user, each with what was asked, what is allowed, and the mend."""

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches

from pydantic import ValidationError


class CmbmlError(Exception):
    """An error that is shown as one message, without a traceback."""


class ConfigError(CmbmlError):
    """A setting that cannot be: unknown, of the wrong type, or impossible."""


class GraphError(CmbmlError):
    """Executors that do not fit together."""


class UndeclaredError(CmbmlError):
    """An executor touched an asset that it did not declare."""


class MissingAssetError(CmbmlError):
    """A file that should have been made, or given, is not there."""


class BadFileError(CmbmlError):
    """A file that is there but is not what it should be."""


class DatasetLockedError(CmbmlError):
    """Another run works on the same dataset."""


class StorageError(CmbmlError):
    """The disk is full, or may not be written."""


class UnitFailedError(CmbmlError):
    """The work of one or more units failed."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Say which allowed name a misspelt one is nearest to, or list them all.

    Example:
        >>> nearest("scenaro", ["scenario", "sky"])
        "did you mean 'scenario'?"
        >>> nearest("x", ["scenario", "sky"])
        'allowed are: scenario, sky'
    """
    names = list(allowed)
    found = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{found[0]}'?" if found else f"allowed are: {', '.join(names)}"


def setting_faults(
    error: ValidationError, place: Callable[[str], str], known: Callable[[str], Iterable[str]]
) -> Iterator[str]:
    """Say which settings a class refused, and why.

    Args:
        error: what the class raised.
        place: gives for a setting of the class the key by which the user sets it.
        known: gives the names that there are below such a key.

    Yields:
        `key: what is wrong with it`.
    """
    for entry in error.errors():
        key = place(".".join(str(part) for part in entry["loc"]))
        parent, _, name = key.rpartition(".")
        if entry["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            yield f"{key}: unknown key, {nearest(name, (other for other in known(parent) if other != name))}"
        elif entry["type"] == "missing":
            yield f"{key}: must be given"
        else:
            yield f"{key}: {entry['msg'].removeprefix('Value error, ')} (got {entry['input']!r})"
