"""Put one observation together: what every channel of the instrument records of one sky."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sky.beams import pixel_window, signal_lmax
from cmbml.sky.harmonics import Alm, cut_alm, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import SkyMap
from cmbml.stages.assets import CMB_ALM, FOREGROUND_MAP, FREQ, OBS_MAP, SIM, SKY_RECIPE, SPLIT
from cmbml.stages.maps import Maps
from cmbml.stages.sims.noise import NOISE_PARTS, draw_channels
from cmbml.stages.sims.sky import foregrounds_of


@settings
class Observe(Executor):
    """Add beam * CMB, foregrounds and noise in every channel.

    Attributes:
        channels: the instrument.
        maps: what the maps of the dataset are.
    """

    channels: Mapping[str, Channel]
    maps: Maps
    reads: ClassVar = (CMB_ALM, SKY_RECIPE, *NOISE_PARTS)
    may_read: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = (OBS_MAP,)
    per: ClassVar = (SPLIT, SIM)

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Leave the instrument out: its beams and its noise come with the sky and the noise that are read."""
        return {name: value for name, value in super().settings_at(key).items() if name != "channels"}

    def disk_bytes(self) -> int:
        """One map per channel."""
        return len(self.channels) * self.maps.n_bytes

    def process(self, io: UnitIO) -> None:
        """Read the parts, add them up, write a map per channel."""
        freqs = io.along(OBS_MAP, FREQ)
        total = draw_channels(io, freqs)
        alm = io.read(CMB_ALM)
        foregrounds = foregrounds_of(io, {freq: self.channels[freq] for freq in freqs})
        for observed, (freq, foreground) in zip(total, foregrounds, strict=True):
            observed += signal_in(alm, self.channels[freq], self.maps, io.threads)
            observed += foreground.values
            io.write(OBS_MAP, SkyMap(observed, foreground.spec), {FREQ: freq})


def signal_in(alm: Alm, channel: Channel, maps: Maps, threads: int) -> NDArray[np.floating[Any]]:
    """Return the CMB as a channel sees it.

    Args:
        alm: `(n_comp, n_alm)`, without a beam.
        channel: gives the beam.
        maps: what the maps of the dataset are; `alm` holds multipoles up to their lmax.
        threads: CPU threads.

    Returns:
        `(n_field, n_pix)`.
    """
    window = channel.beam(maps.lmax, len(alm)) * pixel_window(maps.pixel_windows, maps.nside, maps.lmax, len(alm))
    return synthesise(filter_components(cut_alm(alm, signal_lmax(window)), window), maps.nside, threads)
