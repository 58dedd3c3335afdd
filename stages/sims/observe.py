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
from cmbml.sky.beams import pixel_window
from cmbml.sky.harmonics import cut_alm, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, SkyMap
from stages.assets import CMB_ALM, FOREGROUND_MAP, FREQ, OBS_MAP, SIM, SPLIT
from stages.sims.noise import NOISE_PARTS, draw_channels

BEAM_LIMIT = 1e-6


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

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Leave the instrument out: its beams and its noise come with the foregrounds and the noise that are read."""
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
        for observed, (freq, foreground) in zip(total, io.read_each(FOREGROUND_MAP, FREQ), strict=True):
            window = self.channels[freq].beam(self.lmax, len(alm)) * pixels
            seen = cut_alm(alm, signal_lmax(window))
            observed += synthesise(filter_components(seen, window), self.nside, io.threads)
            observed += foreground.values
            io.write(OBS_MAP, SkyMap(observed, foreground.spec), {FREQ: freq})


def signal_lmax(window: NDArray[np.float64]) -> int:
    """Return the last multipole that a beam leaves anything of: a millionth, far below single precision of a map.

    Args:
        window: `(n_comp, lmax + 1)`, near 1 at l = 0.
    """
    return int(np.flatnonzero(np.abs(window).max(axis=0) > BEAM_LIMIT)[-1])
