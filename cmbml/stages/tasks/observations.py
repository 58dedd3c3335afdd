"""Maps of all channels are shown, and the CMB is asked for."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import ChannelName, MethodError
from cmbml.settings import settings
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.instrument import Channel
from cmbml.stages.assets import CMB_MAP, FREQ, OBS_MAP
from cmbml.stages.maps import Maps
from cmbml.stages.tasks.cases import Cases


@settings
class Observations(Cases):
    """Observations of the whole sky.

    Attributes:
        maps: what the maps of the dataset are.
        channels: the instrument.
        observed: the channels that the dataset has: `all` of the instrument's, or some.
    """

    maps: Maps
    channels: Mapping[str, Channel]
    observed: tuple[ChannelName, ...] | Literal["all"] = "all"
    shown: ClassVar = (OBS_MAP,)
    asked: ClassVar = CMB_MAP

    def spec(self) -> ObservationSpec:
        """Describe the observations by what the config says of the dataset."""
        names = self.channels if self.observed == "all" else self.observed
        channels = {name: self.channels[name] for name in names}
        truth = self.maps.spec
        maps = {
            name: truth.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin)
            for name, channel in channels.items()
        }
        return ObservationSpec(maps, truth, channels)

    def read(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> Observation:
        """Read the maps of all channels."""
        spec = self.spec()
        maps = {
            key[FREQ]: found
            for key, found in io.read_all(OBS_MAP, {axis: [value] for axis, value in (at or {}).items()})
        }
        for freq, found in maps.items():
            if wrong := found.spec.difference(spec.shown[freq], "nside", "fields", "unit", "beam", "fwhm_arcmin"):
                message = f"the map of channel {freq} is not what the config says: {wrong}"
                raise MethodError(message)
        return Observation(spec, maps)

    def disk_bytes(self) -> int:
        """One map."""
        return self.maps.n_bytes
