"""What can go wrong for a user, each with what was asked, what is allowed, and the mend."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from importlib import metadata
from importlib.util import find_spec
from traceback import extract_tb
from typing import Any

from pydantic import ValidationError

RENAMED = {"stages": "cmbml.stages"}
"""Packages that have moved: how they were called in configs, and how they are called now."""


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


class StaleError(MissingAssetError):
    """What an earlier program has left is not up to date, or not what was written."""


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
        >>> nearest("fwhm", ["fwhm_arcmin", "freq_ghz"])
        "did you mean 'fwhm_arcmin'?"
    """
    names = list(allowed)
    found = get_close_matches(name, names, n=1, cutoff=0.6) or [
        other for other in names if other.startswith(f"{name}_")
    ]
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
        if not entry["loc"]:
            # What does not fit together: no setting of its own is at fault.
            yield f"{place('').rstrip('.')}: {entry['msg'].removeprefix('Value error, ')}"
            continue
        *above, name = map(str, entry["loc"])
        key = place(".".join((*above, name)))
        if entry["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            # The key itself is at fault, not what it may refer to.
            parent = place(".".join(above)).rstrip(".")
            yield f"{parent}.{name}: unknown key, {nearest(name, (other for other in known(parent) if other != name))}"
        elif entry["type"] == "missing":
            yield f"{key}: must be given"
        elif entry["type"] == "dataclass_type" and hasattr(entry["input"], "__dataclass_fields__"):
            yield f"{key}: a {entry['ctx']['class_name']} is needed here, and {type(entry['input']).__name__} is none"
        else:
            yield f"{key}: {entry['msg'].removeprefix('Value error, ')} (got {entry['input']!r})"


def import_fault(target: str) -> str:
    """Say why what a dotted name stands for cannot be had.

    Args:
        target: name of a class or function, which cannot be imported.

    Example:
        >>> import_fault("cmbml.core.runner.Serail")
        "'cmbml.core.runner' has no 'Serail', did you mean 'Serial'?"
        >>> import_fault("stages.sims.cmb.RealiseCmb")
        "it is called 'cmbml.stages.sims.cmb.RealiseCmb' now"
    """
    for old, new in RENAMED.items():
        if target.startswith(f"{old}."):
            return f"it is called '{new}{target.removeprefix(old)}' now"
    found: Any = None
    above = ""
    for part in target.split("."):
        name = f"{above}.{part}".lstrip(".")
        if not hasattr(found, part):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                return _not_there(found, above, part) if error.name == name else _not_there_for(name, error)
            # A module may raise anything while it is imported.
            except Exception as error:
                last = extract_tb(error.__traceback__)[-1]
                where = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"
                return f"'{name}' cannot be imported: {type(error).__name__}: {error}{where}"
        found = getattr(found, part, None) or importlib.import_module(name)
        above = name
    return f"'{target}' is there now"


def _by_extra(module: str) -> str:
    """Say how to install a module that an extra of this package brings; "" for any other."""
    with suppress(metadata.PackageNotFoundError):
        for line in metadata.requires("cmbml") or ():
            name, extra = re.match(r"[\w.-]*", line), re.search(r"extra == ['\"](\w+)['\"]", line)
            if name and extra and name[0].replace("-", "_") == module:
                return f": pip install 'cmbml[{extra[1]}]'"
    return ""


def _not_there(holder: Any, above: str, part: str) -> str:  # noqa: ANN401
    if holder is None:
        return (
            f"there is no module '{part}'; it must lie beside the main program, on PYTHONPATH, or be installed"
            f"{_by_extra(part)}"
        )
    modules = [module.name for module in pkgutil.iter_modules(getattr(holder, "__path__", ()))]
    classes = [name for name, value in vars(holder).items() if isinstance(value, type) and not name.startswith("_")]
    return f"'{above}' has no '{part}', {nearest(part, modules + classes)}"


def _not_there_for(name: str, error: ModuleNotFoundError) -> str:
    told = f"'{name}' cannot be imported: {error}"
    known = find_spec(str(error.name).partition(".")[0])
    return told if known or "No module named" not in str(error) else f"{told}; install the package that it comes from"
