"""What a method is given: the maps of all channels of one sky, and what each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass

from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapError, MapSpec, SkyMap


@dataclass(frozen=True)
class ObservationSpec:
    """What is known of an observation before any data is read.

    Attributes:
        channels: the instrument, in the order of its channels.
        maps: what the map of each channel will be.
        lmax: highest multipole of the signal.
    """

    channels: Mapping[str, Channel]
    maps: Mapping[str, MapSpec]
    lmax: int

    @property
    def nside(self) -> int:
        """Resolution of the maps, which all share it."""
        return next(iter(self.maps.values())).nside

    @property
    def fields(self) -> Fields:
        """Fields of the maps, which all share them."""
        return next(iter(self.maps.values())).fields

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
        mask: where the sky can be trusted; None for everywhere.
    """

    spec: ObservationSpec
    maps: Mapping[str, SkyMap]
    mask: SkyMap | None = None
