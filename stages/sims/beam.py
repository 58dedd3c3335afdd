"""Let a detector see the foregrounds: its beam, and the resolution of the dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import Nside, settings
from cmbml.sky.beams import pixel_window, pixel_window_files
from cmbml.sky.harmonics import analyse, filter_components, require_band_limit, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapSpec, SkyMap
from stages.assets import FOREGROUND_MAP, FREQ, SKY, SKY_MAP


@settings
class ConvolveBeam(Executor):
    """Convolve the emission with a channel's beam and bring it to the dataset's nside, in harmonic space.

    Attributes:
        channels: the instrument.
        nside: of the dataset.
        nside_sky: of the emission; at least `nside`.
        lmax: highest multipole kept.
        fields: `I`, or `IQU`.
        pixel_windows: folder of HEALPix pixel window files; None to sample the signal at pixel centres.
    """

    channels: Mapping[str, Channel]
    nside: Nside
    nside_sky: Nside
    lmax: PositiveInt
    fields: Fields
    pixel_windows: Path | None = None
    reads: ClassVar = (SKY_MAP,)
    writes: ClassVar = (FOREGROUND_MAP,)
    per: ClassVar = (SKY, FREQ)
    along: ClassVar = {"channels": FREQ}

    def check(self, space: Space) -> None:
        """Look whether the resolutions and the beams fit together."""
        require_band_limit(self.lmax, self.nside)
        if self.nside_sky < self.nside:
            message = f"scenario.nside_sky={self.nside_sky} is below nside={self.nside}; it must be at least that"
            raise ValueError(message)
        for key in space.keys((FREQ,)):
            channel = self.channels[key[FREQ]]
            if channel.window is not None:
                channel.beam(self.lmax, 1)

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Depend on the channel's beam alone."""
        mine = super().settings_at(key)
        channel = mine["channels"]
        return mine | {"channels": {"fwhm_arcmin": channel.fwhm_arcmin, "window": channel.window}}

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the tables of the beam and of the pixel window."""
        window = self.channels[key[FREQ]].window
        return (*pixel_window_files(self.pixel_windows, self.nside), *(() if window is None else (window,)))

    def disk_bytes(self) -> int:
        """One map."""
        return 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Transform, filter, transform back, write."""
        channel, n_comp = self.channels[io.key[FREQ]], len(self.fields)
        # Converged well before that where nside_sky is twice nside; where it is not, more would not help.
        sky = io.read(SKY_MAP).values.astype("f8")
        alm = analyse(sky, self.lmax, io.threads, accuracy=1e-6, max_iterations=20)
        window = channel.beam(self.lmax, n_comp) * pixel_window(self.pixel_windows, self.nside, self.lmax, n_comp)
        values = synthesise(filter_components(alm, window), self.nside, io.threads)
        spec = MapSpec(
            nside=self.nside,
            fields=self.fields,
            lmax=self.lmax,
            beam=channel.beam_kind,
            fwhm_arcmin=channel.fwhm_arcmin,
            pixel_window=self.pixel_windows is not None,
        )
        io.write(FOREGROUND_MAP, SkyMap(values, spec))
