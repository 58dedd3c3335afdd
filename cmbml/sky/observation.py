"""What a method is given: the maps of all channels of one sky, and what each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass

from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap


@dataclass(frozen=True)
class ObservationSpec:
    """What is known of an observation before any data is read.

    Attributes:
        channels: the instrument, in the order of its channels.
        maps: what the map of each channel will be.
        truth: what the CMB map to be found is, without a beam.
    """

    channels: Mapping[str, Channel]
    maps: Mapping[str, MapSpec]
    truth: MapSpec

    def require_channel(self, name: str) -> Channel:
        """Return one channel.

        Raises:
            MapError: the observation has no such channel.
        """
        if name not in self.channels:
            message = f"the observation has no channel '{name}'; it has {', '.join(self.channels)}"
            raise MapError(message)
        return self.channels[name]


@dataclass(frozen=True)
class Observation:
    """The maps of all channels of one sky.

    Attributes:
        spec: what they are.
        maps: channel -> map, in the order of `spec.channels`.
        truth: the CMB; shown to controls alone.
    """

    spec: ObservationSpec
    maps: Mapping[str, SkyMap]
    truth: SkyMap | None = None
