"""Put one observation together: what every channel of the instrument records of one sky."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.settings import Nside, settings
from cmbml.sky.beams import pixel_window, signal_lmax
from cmbml.sky.harmonics import Alm, cut_alm, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, SkyMap
from cmbml.stages.assets import CMB_ALM, FOREGROUND_MAP, FREQ, OBS_MAP, SIM, SKY_RECIPE, SPLIT
from cmbml.stages.sims.noise import NOISE_PARTS, draw_channels
from cmbml.stages.sims.sky import foregrounds_of


@settings
class Observe(Executor):
    """Add beam * CMB, foregrounds and noise in every channel.

    Attributes:
        channels: the instrument.
        nside: of the dataset.
        lmax: highest multipole of the signal.
        fields: `I`, or `IQU`.
        pixel_windows: folder of HEALPix pixel window files; None to sample the signal at pixel centres.
    """

    channels: Mapping[str, Channel]
    nside: Nside
    lmax: PositiveInt
    fields: Fields
    pixel_windows: Path | None = None
    reads: ClassVar = (CMB_ALM, SKY_RECIPE, *NOISE_PARTS)
    may_read: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = (OBS_MAP,)
    per: ClassVar = (SPLIT, SIM)

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Leave the instrument out: its beams and its noise come with the sky and the noise that are read."""
        return {name: value for name, value in super().settings_at(key).items() if name != "channels"}

    def disk_bytes(self) -> int:
        """One map per channel."""
        return len(self.channels) * 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Read the parts, add them up, write a map per channel."""
        freqs = io.along(OBS_MAP, FREQ)
        total = draw_channels(io, freqs)
        alm = io.read(CMB_ALM)
        foregrounds = foregrounds_of(io, {freq: self.channels[freq] for freq in freqs})
        for observed, (freq, foreground) in zip(total, foregrounds, strict=True):
            observed += signal_in(alm, self.channels[freq], self.nside, self.lmax, self.pixel_windows, io.threads)
            observed += foreground.values
            io.write(OBS_MAP, SkyMap(observed, foreground.spec), {FREQ: freq})


def signal_in(
    alm: Alm, channel: Channel, nside: int, lmax: int, pixel_windows: Path | None, threads: int
) -> NDArray[np.floating[Any]]:
    """Return the CMB as a channel sees it.

    Args:
        alm: `(n_comp, n_alm)`, without a beam.
        channel: gives the beam.
        nside: of the map.
        lmax: highest multipole of `alm`.
        pixel_windows: folder of pixel window files, or None.
        threads: CPU threads.

    Returns:
        `(n_field, n_pix)`.
    """
    window = channel.beam(lmax, len(alm)) * pixel_window(pixel_windows, nside, lmax, len(alm))
    return synthesise(filter_components(cut_alm(alm, signal_lmax(window)), window), nside, threads)
