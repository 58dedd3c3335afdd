"""What is shown to a method and what is asked of it, as assets of a dataset."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sky.case import Case, CaseSpec


@settings
class Cases(ABC):
    """One kind of question; a simulation of a dataset is one of it.

    Attributes:
        shown: the assets that a method is shown.
        asked: the asset that holds the true answers.
    """

    shown: ClassVar[tuple[Asset[Any], ...]]
    asked: ClassVar[Asset[Any]]

    @abstractmethod
    def spec(self) -> CaseSpec[Any]:
        """Say what a case is, from the settings alone."""

    @abstractmethod
    def read(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> Case[Any]:
        """Read what is shown.

        Args:
            io: of a unit that reads `shown`.
            at: the simulation, where the unit holds several.

        Raises:
            ValueError: a file is not what the settings say.
        """

    def read_asked(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> Any:  # noqa: ANN401
        """Read the true answer.

        Args:
            io: of a unit that reads `asked`.
            at: the simulation, where the unit holds several.
        """
        return next(found for _, found in io.read_all(self.asked, only(at)))

    def disk_bytes(self) -> int:
        """Return how large one answer is."""
        return 0


def only(at: Mapping[Axis, str] | None) -> dict[Axis, list[str]]:
    """Return the values to keep to when one simulation is read."""
    return {axis: [value] for axis, value in (at or {}).items()}


@settings
class CaseStage(Executor):
    """Work on the cases of a dataset.

    Attributes:
        cases: which question is asked.
    """

    cases: Cases
    looks_at: ClassVar[tuple[str, ...]] = ()
    """Of `shown` and `asked`, which it reads."""

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return what it reads by itself, and what the cases show and ask."""
        seen = self.cases.shown if "shown" in self.looks_at else ()
        return (*self.reads, *seen, *((self.cases.asked,) if "asked" in self.looks_at else ()))
