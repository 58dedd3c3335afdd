"""The contract of every method that finds the CMB in an observation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from cmbml.methods.external import ExternalMap
from cmbml.settings import each_once, settings
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.maps import MapSpec, SkyMap

ChannelName = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A channel; the command line's `method.channel=100` means the channel "100"."""
ChannelNames = Annotated[tuple[ChannelName, ...], Field(min_length=1), AfterValidator(each_once)]
"""Channels that a method is shown, in its order; one at least, and each once."""


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

    def files(self) -> tuple[Path, ...]:
        """Return the files that settings name and that results depend on."""
        return ()

    @abstractmethod
    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look, before any work, whether the method can clean such an observation.

        Returns:
            What it will give: nside, fields, unit, lmax and, above all, the beam.

        Raises:
            MethodError: it cannot; the message says why.
        """

    def channels_shown(self, spec: ObservationSpec) -> tuple[str, ...]:
        """Return the channels that it looks at: those of its setting `channels`, if it has one; all by default.

        The noise of these alone limits it.
        """
        return tuple(getattr(self, "channels", spec.channels))


class BlindMethod(Method):
    """A method that needs nothing but the observation."""

    linear: ClassVar[bool] = False
    """Whether channels are added up with weights that leave the CMB as it is, wherever they were found: the CMB, given
    to `decompose` as another part, must come out as the signal does."""

    @abstractmethod
    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer[SkyMap]:
        """Find the CMB.

        Args:
            observation: the maps of all channels.
            scratch: an empty folder that is removed afterwards.
            threads: CPU threads; they must not change a bit of the result.

        Returns:
            The CMB, and how sure the method is of it if it can tell.
        """

    def clean_alike(
        self, observation: Observation, others: Sequence[Mapping[str, SkyMap]], scratch: Path, threads: int
    ) -> tuple[Answer[SkyMap], tuple[SkyMap, ...]]:
        """Find the CMB, and combine other data of the same sky with the weights that were found in the observation.

        What differs between maps that were cleaned so, such as those of two halves of the data, is their noise alone.
        A method that finds nothing in the data cleans each by itself, which is what this does; others are each a
        `WeighingMethod`.

        Args:
            observation: the maps of all channels.
            others: channel -> map, for each of the other data; of the resolution and beams of the observation.
            scratch: as of `clean`.
            threads: as of `clean`.

        Returns:
            The answer to the observation, as `clean` gives it, and what the others have become.
        """
        alike = (self.clean(replace(observation, shown=maps), scratch, threads).value for maps in others)
        return self.clean(observation, scratch, threads), tuple(alike)

    def maps_from_elsewhere(self) -> tuple[ExternalMap, ...]:
        """Return the templates that it wants to be shown beside the channels: its setting `external`, if it has one."""
        return tuple(getattr(self, "external", ()))

    def decompose(
        self,
        observation: Observation,
        foregrounds: Mapping[str, SkyMap],
        noise: Mapping[str, SkyMap],
        scratch: Path,
        threads: int,
    ) -> dict[str, SkyMap]:
        """Say what each part of a simulated observation has become in the cleaned map.

        This is done by `paired_parts`. A linear method overrides it: it applies to each part the weights that it finds
        where there is no CMB, and what the weights that it really found make of the observation besides is the work of
        the CMB's chance correlations with the rest.

        Args:
            observation: the maps of all channels.
            foregrounds: channel -> its foregrounds.
            noise: channel -> its noise.
            scratch: an empty folder that is removed afterwards.
            threads: CPU threads.

        Returns:
            `signal`, `foregrounds` and `noise`, and of a linear method `chance`, whose sum is the cleaned map.
        """
        return paired_parts(lambda part: self.clean(part, scratch, threads).value, observation, foregrounds, noise)


class WeighingMethod(BlindMethod):
    """A method that finds weights in the observation, and can combine other data of the same sky with them."""

    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer[SkyMap]:
        """Find weights, and combine the channels with them."""
        return self.clean_alike(observation, (), scratch, threads)[0]

    @abstractmethod
    def clean_alike(
        self, observation: Observation, others: Sequence[Mapping[str, SkyMap]], scratch: Path, threads: int
    ) -> tuple[Answer[SkyMap], tuple[SkyMap, ...]]:
        """Find weights, and combine with them the channels, and those of the others."""


def paired_parts(
    clean: Callable[[Observation], SkyMap],
    observation: Observation,
    foregrounds: Mapping[str, SkyMap],
    noise: Mapping[str, SkyMap],
) -> dict[str, SkyMap]:
    """Clean growing parts of an observation: what foregrounds add is theirs, and what noise then adds is its.

    Args:
        clean: gives the cleaned map of an observation.
        observation: the maps of all channels.
        foregrounds: channel -> its foregrounds.
        noise: channel -> its noise.

    Returns:
        `signal`, `foregrounds` and `noise`, whose sum is the cleaned map.
    """
    noiseless = minus(observation, noise)
    whole, without_noise, signal = map(clean, (observation, noiseless, minus(noiseless, foregrounds)))
    return {
        "signal": signal,
        "foregrounds": SkyMap(without_noise.values - signal.values, whole.spec),
        "noise": SkyMap(whole.values - without_noise.values, whole.spec),
    }


def plus(first: Mapping[str, SkyMap], second: Mapping[str, SkyMap]) -> dict[str, SkyMap]:
    """Return the sums of two parts, channel by channel."""
    return {name: SkyMap(part.values + second[name].values, part.spec) for name, part in first.items()}


def minus(observation: Observation, part: Mapping[str, SkyMap]) -> Observation:
    """Return an observation without a part of it."""
    maps = {name: SkyMap(found.values - part[name].values, found.spec) for name, found in observation.shown.items()}
    return replace(observation, shown=maps)
