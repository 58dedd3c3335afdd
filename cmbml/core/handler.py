"""What a file format must be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Stamp:
    """Who made a file, for formats that can carry it in a header.

    Attributes:
        stage: name of the stage.
        fingerprint: of the unit that made it.
        notes: keyword of a header, eight letters at most -> what else it is to say of how the file was made.
    """

    stage: str
    fingerprint: str
    notes: Mapping[str, str] = field(default_factory=dict)


class AssetHandler(ABC, Generic[T]):
    """One file format. It knows no stage and no path rule."""

    suffix: ClassVar[str]
    mapped: ClassVar[bool] = False
    """Whether what is read stays in its file, which is then kept open, until it is looked at."""

    @abstractmethod
    def read(self, path: Path) -> T:
        """Read a whole file.

        Raises:
            ValueError: the file is not what this format promises; the message says in what.
        """

    @abstractmethod
    def write(self, path: Path, value: T, stamp: Stamp) -> None:
        """Write a whole file, the same bytes for the same value and stamp."""
