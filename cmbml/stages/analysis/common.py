"""Bring a cleaned map to coefficients in the truth's unit, frame and conventions, on which all scores stand."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from pydantic import NonNegativeInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.footing import Footing, check, map_window, to_conventions
from cmbml.metrics.prediction import prediction_alm
from cmbml.settings import settings
from cmbml.sky.case import require_map
from cmbml.sky.harmonics import alm_lmax
from cmbml.stages.assets import CLEANED_MAP, CMB_ALM, CMB_MAP, METHOD, PREDICTION_ALM, PREDICTION_SPEC, SIM, SPLIT
from cmbml.stages.maps import Maps


@settings
class Common(Executor):
    """Check that a cleaned map can be compared, and analyse it once for all footings.

    Attributes:
        footings: where it will be compared.
        maps: what the maps of the dataset are.
        iterations: of the analysis.
    """

    footings: tuple[Footing, ...]
    maps: Maps
    iterations: NonNegativeInt = 3
    reads: ClassVar = (CLEANED_MAP, CMB_MAP, CMB_ALM)
    writes: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the pixel window's file."""
        return self.maps.window_files()

    def disk_bytes(self) -> int:
        """The coefficients."""
        return 36 * self.maps.nside**2

    def process(self, io: UnitIO) -> None:
        """Check, convert, analyse, write."""
        cleaned, truth, alm = require_map(io.read(CLEANED_MAP)), io.read(CMB_MAP).spec, io.read(CMB_ALM)
        sky = to_conventions(cleaned, truth.unit)
        n_comp = min(len(alm), len(sky.values))
        own = map_window(sky.spec, alm_lmax(alm.shape[-1]), n_comp, pixel_windows=self.maps.pixel_windows)
        for footing in self.footings:
            check(sky.spec, truth.with_(pixel_window=False), footing, own)
        io.write(PREDICTION_ALM, prediction_alm(sky, alm, own, truth.frame, self.iterations, io.threads))
        digest = hashlib.sha256(cleaned.values.astype("<f4").tobytes()).hexdigest()
        io.write(PREDICTION_SPEC, asdict(sky.spec.with_(frame=truth.frame)) | {"values_sha256": digest})
