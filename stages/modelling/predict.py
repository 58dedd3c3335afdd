"""Clean observations with a method that needs nothing but them."""

import time
from typing import ClassVar

from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import MethodError
from cmbml.settings import settings
from cmbml.sky.maps import SkyMap
from cmbml.sky.observation import Observation
from stages.assets import CLEANED_MAP, CMB_MAP, FREQ, INFERENCE, METHOD, OBS_MAP, SIM, SPLIT
from stages.modelling.method import MethodStage


@settings
class Predict(MethodStage):
    """Clean one simulation."""

    reads: ClassVar = (OBS_MAP, CMB_MAP)
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Read the maps, clean, write."""
        maps = dict(io.read_each(OBS_MAP, FREQ))
        spec = self.observation_spec(list(maps))
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
