"""The contract of every method that finds the CMB in an observation."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from cmbml.settings import settings
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.observation import Observation, ObservationSpec


class MethodError(ValueError):
    """An observation that a method cannot clean, or a setting that it cannot meet."""


@settings
class Method(ABC):
    """A method: its settings are its fields; it has no files but `scratch`, and no global state.

    Attributes:
        name: where its results stand on the method axis; two settings of one method need two names.
    """

    name: str
    needs_truth: ClassVar[bool] = False
    """Whether it is shown the truth, as only controls are."""

    @abstractmethod
    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look, before any work, whether the method can clean such an observation.

        Returns:
            What it will give: nside, fields, unit, lmax and, above all, the beam.

        Raises:
            MethodError: it cannot; the message says why.
        """


class BlindMethod(Method):
    """A method that needs nothing but the observation."""

    @abstractmethod
    def clean(self, observation: Observation, scratch: Path, threads: int) -> SkyMap:
        """Find the CMB.

        Args:
            observation: the maps of all channels.
            scratch: an empty folder that is removed afterwards.
            threads: CPU threads; they must not change a bit of the result.

        Returns:
            The CMB, described by what `accepts` returned.
        """
