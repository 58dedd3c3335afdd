"""Put one observation together: what every channel of the instrument records of one sky."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.settings import Nside, settings
from cmbml.sky.beams import pixel_window, signal_lmax
from cmbml.sky.harmonics import cut_alm, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, SkyMap
from stages.assets import CMB_ALM, FOREGROUND_MAP, FREQ, OBS_MAP, SIM, SKY_RECIPE, SPLIT
from stages.sims.noise import NOISE_PARTS, draw_channels
from stages.sims.sky import foregrounds_of


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
        pixels = pixel_window(self.pixel_windows, self.nside, self.lmax, len(alm))
        foregrounds = foregrounds_of(io, {freq: self.channels[freq] for freq in freqs})
        for observed, (freq, foreground) in zip(total, foregrounds, strict=True):
            window = self.channels[freq].beam(self.lmax, len(alm)) * pixels
            seen = cut_alm(alm, signal_lmax(window))
            observed += synthesise(filter_components(seen, window), self.nside, io.threads)
            observed += foreground.values
            io.write(OBS_MAP, SkyMap(observed, foreground.spec), {FREQ: freq})
