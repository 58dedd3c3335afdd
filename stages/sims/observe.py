"""Put one observation together: what every channel of the instrument records of one sky."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.settings import Nside, settings
from cmbml.sky.beams import pixel_window, pixel_window_files
from cmbml.sky.harmonics import filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, SkyMap
from stages.assets import CMB_ALM, FOREGROUND_MAP, FREQ, OBS_MAP, SIM, SPLIT
from stages.sims.noise import NOISE_PARTS, draw_channels


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
    reads: ClassVar = (CMB_ALM, FOREGROUND_MAP, *NOISE_PARTS)
    writes: ClassVar = (OBS_MAP,)
    per: ClassVar = (SPLIT, SIM)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the tables of the beams and of the pixel window."""
        windows = [channel.window for channel in self.channels.values() if channel.window is not None]
        return (*pixel_window_files(self.pixel_windows, self.nside), *windows)

    def disk_bytes(self) -> int:
        """One map per channel."""
        return len(self.channels) * 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Read the parts, add them up, write a map per channel."""
        freqs = io.along(OBS_MAP, FREQ)
        total = draw_channels(io, freqs)
        alm = io.read(CMB_ALM)
        pixels = pixel_window(self.pixel_windows, self.nside, self.lmax, len(alm))
        beams = [self.channels[freq].beam(self.lmax, len(alm)) * pixels for freq in freqs]
        total += synthesise(np.stack([filter_components(alm, beam) for beam in beams]), self.nside, io.threads)
        for observed, (freq, foreground) in zip(total, io.read_each(FOREGROUND_MAP, FREQ), strict=True):
            observed += foreground.values
            io.write(OBS_MAP, SkyMap(observed, foreground.spec), {FREQ: freq})
