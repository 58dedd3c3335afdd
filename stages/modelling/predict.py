"""Clean observations with a method that needs nothing but them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import BlindMethod, MethodError
from cmbml.settings import Nside, settings
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapSpec, SkyMap
from cmbml.sky.observation import Observation, ObservationSpec
from stages.assets import CLEANED_MAP, CMB_MAP, FREQ, INFERENCE, METHOD, OBS_MAP, SIM, SPLIT


@settings
class Predict(Executor):
    """Clean one simulation.

    Attributes:
        method: what cleans it.
        channels: the instrument.
        nside: of the dataset.
        lmax: highest multipole of its signal.
        fields: `I`, or `IQU`.
        pixel_windows: folder of pixel window files that the dataset was made with, or None.
    """

    method: BlindMethod
    channels: Mapping[str, Channel]
    nside: Nside
    lmax: PositiveInt
    fields: Fields
    pixel_windows: Path | None = None
    reads: ClassVar = (OBS_MAP, CMB_MAP)
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def check(self, space: Space) -> None:
        """Ask the method whether it accepts such observations."""
        self.method.accepts(self._spec([key[FREQ] for key in space.keys((FREQ,))]))

    def disk_bytes(self) -> int:
        """One map."""
        return 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Read the maps, clean, write."""
        maps = dict(io.read_each(OBS_MAP, FREQ))
        spec = self._spec(list(maps))
        for freq, found in maps.items():
            if wrong := found.spec.difference(spec.maps[freq], "nside", "fields", "unit", "beam", "fwhm_arcmin"):
                message = f"the map of channel {freq} is not what the config says: {wrong}"
                raise MethodError(message)
        truth = io.read(CMB_MAP) if self.method.needs_truth else None
        started = time.perf_counter()
        with io.scratch() as scratch:
            cleaned = self.method.clean(Observation(spec, maps, truth), scratch, io.threads)
        seconds = time.perf_counter() - started
        promised = self.method.accepts(spec)
        if cleaned.spec != promised:
            message = f"{self.method.name} promised {promised} and gave {cleaned.spec}"
            raise MethodError(message)
        io.write(CLEANED_MAP, SkyMap(cleaned.values.astype("f4"), cleaned.spec))
        io.write(INFERENCE, {"inference_seconds": round(seconds, 4), "threads": io.threads})

    def _spec(self, freqs: list[str]) -> ObservationSpec:
        truth = MapSpec(
            nside=self.nside, fields=self.fields, lmax=self.lmax, pixel_window=self.pixel_windows is not None
        )
        channels = {freq: self.channels[freq] for freq in freqs}
        maps = {
            freq: truth.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin)
            for freq, channel in channels.items()
        }
        return ObservationSpec(channels, maps, truth)
