"""Patches that were drawn flat are shown, channel by channel, and the CMB under one channel's beam is asked for."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import ChannelName, MethodError
from cmbml.settings import settings
from cmbml.sims.flat_sky import FlatGrid
from cmbml.sky.case import Case, CaseSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import Patches, PatchSpec
from cmbml.stages.assets import CMB_PATCHES, FREQ, OBS_PATCHES
from cmbml.stages.tasks.cases import Cases, only


@settings
class DrawnPatches(Cases):
    """Patches that are a dataset's own. A simulation is a set of them.

    Attributes:
        grid: their pixels.
        channels: the instrument.
        observed: the channels that the dataset has: `all` of the instrument's, or some.
        target_channel: under whose beam the CMB is asked for.
    """

    grid: FlatGrid
    channels: Mapping[str, Channel]
    observed: tuple[ChannelName, ...] | Literal["all"] = "all"
    target_channel: ChannelName
    shown: ClassVar = (OBS_PATCHES,)
    asked: ClassVar = CMB_PATCHES

    def spec(self) -> CaseSpec[PatchSpec]:
        """Describe the patches by what the config says of the dataset.

        Raises:
            MethodError: the target is under the beam of a channel that there is not.
        """
        names = self.channels if self.observed == "all" else self.observed
        channels = {name: self.channels[name] for name in names}
        if self.target_channel not in channels:
            message = f"patches.target_channel={self.target_channel}: the dataset has channels {', '.join(channels)}"
            raise MethodError(message)

        def patch(channel: Channel) -> PatchSpec:
            maps = MapSpec(nside=self._nside(), beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin)
            n, pixel = self.grid.n_pixels, self.grid.pixel_arcmin
            return PatchSpec(maps=maps, height=n, width=n, pixel_arcmin=(pixel, pixel))

        shown = {name: patch(channel) for name, channel in channels.items()}
        return CaseSpec(shown, shown[self.target_channel], channels)

    def _nside(self) -> int:
        """Return the resolution of a sphere whose pixels would be about these: there is none."""
        # A pixel of nside n has a side of sqrt(pi / 3) / n.
        return int(2 ** np.clip(np.round(np.log2(np.sqrt(np.pi / 3) / self.grid.pixel_rad[0])), 0, 13))

    def read(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> Case[Patches]:
        """Read the patches of all channels."""
        found = {key[FREQ]: image for key, image in io.read_all(OBS_PATCHES, only(at))}
        return Case(self.spec(), found)

    def disk_bytes(self) -> int:
        """One patch: how many there are in a simulation is the stage's that draws them."""
        return 4 * self.grid.n_pixels**2
