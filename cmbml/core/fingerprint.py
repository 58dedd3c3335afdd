"""What a unit's result depends on, as one number."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from cmbml.core.errors import MissingAssetError
from cmbml.core.executor import Executor
from cmbml.core.integrity import sha256_of
from cmbml.core.space import Key
from cmbml.settings import meaningful


def canonical(value: Any) -> Any:  # noqa: ANN401
    """Turn settings into plain JSON values that are equal if and only if the settings mean the same.

    A path counts for nothing: what stands in the file counts, through `file_digest`. So does a setting
    of a later release (`cmbml.settings.later`) at its default.

    Raises:
        TypeError: a setting is neither a plain value nor a dataclass, so it would be different in every run.
    """
    if isinstance(value, Path):
        return "path"
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        found = {name: canonical(entry) for name, entry in meaningful(value).items()}
        return {"": f"{kind.__module__}.{kind.__qualname__}"} | found
    if isinstance(value, Mapping):
        return {str(name): canonical(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(entry) for entry in value]
    message = f"a setting of type {type(value).__name__} cannot be fingerprinted; use a plain value or a dataclass"
    raise TypeError(message)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a raw file.

    Raises:
        MissingAssetError: the file is not there.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        message = f"raw file {path} cannot be read ({error.strerror}); check the path in the config"
        raise MissingAssetError(message) from error


class Fingerprinter:
    """Fingerprint the units of one stage.

    Args:
        executor: the stage's executor.
        seed: the root seed of the dataset.
    """

    def __init__(self, executor: Executor, seed: int) -> None:
        kind = type(executor)
        self.executor = executor
        self.head = f"{kind.__module__}.{kind.__qualname__}|{executor.version}|{seed}"
        per_key = bool(executor.along) or kind.settings_at is not Executor.settings_at
        self.common = None if per_key else self._settings(Key())

    @property
    def alike(self) -> str:
        """What units made with the same settings share; empty where settings depend on the unit's point."""
        return "" if self.common is None else hashlib.sha256(f"{self.head}|{self.common}".encode()).hexdigest()[:16]

    def _settings(self, key: Key) -> str:
        return json.dumps(canonical(self.executor.settings_at(key)), sort_keys=True)

    def __call__(self, key: Key, inputs: Iterable[str]) -> str:
        """Return the fingerprint of one unit.

        Args:
            key: its point.
            inputs: the fingerprints of the units that make what it reads.
        """
        chosen = self.common if self.common is not None else self._settings(key)
        raw = [file_digest(path) for path in self.executor.files(key)]
        place = ";".join(f"{axis.name}={value}" for axis, value in key.items)
        text = "|".join([self.head, chosen, place, ",".join(raw), ",".join(sorted(inputs))])
        return hashlib.sha256(text.encode()).hexdigest()
