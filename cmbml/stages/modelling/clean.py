"""Clean observations with a method that needs nothing but them."""

import time
from dataclasses import fields, replace
from typing import ClassVar

from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import MethodError
from cmbml.settings import settings
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.observation import ObservationSpec
from cmbml.stages.assets import CLEANED_MAP, CMB_MAP, INFERENCE, METHOD, OBS_MAP, SIM, SPLIT, UNCERTAINTY_MAP
from cmbml.stages.modelling.method import MethodStage


@settings
class Clean(MethodStage):
    """Clean one simulation."""

    reads: ClassVar = (OBS_MAP, CMB_MAP)
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP,)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def process(self, io: UnitIO) -> None:
        """Read the maps, clean, write."""
        observation = self.read_observation(io)
        truth = io.read(CMB_MAP) if self.method.needs_truth else None
        started = time.perf_counter()
        with io.scratch() as scratch:
            cleaned = self.method.clean(replace(observation, truth=truth), scratch, io.threads)
        seconds = time.perf_counter() - started
        given = [(CLEANED_MAP, cleaned.cmb), (UNCERTAINTY_MAP, cleaned.uncertainty)]
        found = [(asset, sky) for asset, sky in given if sky is not None]
        for asset, sky in found:
            self._require_promised(asset.name, sky, observation.spec)
        for asset, sky in found:
            io.write(asset, SkyMap(sky.values.astype("f4"), sky.spec))
        shown = list(self.method.channels_shown(observation.spec))
        io.write(INFERENCE, {"inference_seconds": round(seconds, 4), "threads": io.threads, "channels": shown})

    def _require_promised(self, name: str, given: SkyMap, spec: ObservationSpec) -> None:
        if wrong := given.spec.difference(self.method.accepts(spec), *(entry.name for entry in fields(MapSpec))):
            message = f"{self.method.name} gave another {name} than it had promised: {wrong}"
            raise MethodError(message)
