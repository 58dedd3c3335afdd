"""A product of the pipeline, declared once."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from cmbml.core.handler import AssetHandler
from cmbml.core.space import Axis

T = TypeVar("T")


@dataclass(frozen=True)
class Asset(Generic[T]):
    """A kind of file: its name, its format, and the axes along which there are many of it.

    Attributes:
        name: unique; the file's name begins with it.
        handler: reads and writes it.
        per: one file for each point on these axes.
    """

    name: str
    handler: AssetHandler[T]
    per: tuple[Axis, ...] = ()

    def __str__(self) -> str:
        return self.name
