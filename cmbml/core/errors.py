"""What can go wrong for a user, each with what was asked, what is allowed, and the mend."""

from collections.abc import Iterable
from difflib import get_close_matches


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
