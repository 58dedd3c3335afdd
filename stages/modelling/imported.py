"""Take maps that somebody else has cleaned, so that a competitor needs none of our code to be compared."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_map
from cmbml.settings import NonNegativeFloat, settings
from cmbml.sky.maps import Fields, MapError, MapSpec, SkyMap
from stages.assets import CLEANED_MAP, INFERENCE, METHOD, SIM, SPLIT


@settings
class ImportPrediction(Executor):
    """Read one cleaned map from a foreign FITS file, check it, and write it as our own asset.

    Attributes:
        folder: where the maps are.
        template: path below it; {split} and {sim} are filled in.
        fwhm_arcmin: the Gaussian beam that the maps have; 0 for none.
        lmax: highest multipole of their signal; 3 nside - 1 where None.
        unit: of the maps; what their headers say where None.
        pixel_window: whether they are averaged over pixels.
        frame: of the maps: G Galactic, C equatorial, E ecliptic.
        fields: `I`, or `IQU`: the first columns of each file.
    """

    folder: Path
    template: str
    fwhm_arcmin: NonNegativeFloat
    lmax: PositiveInt | None = None
    unit: str | None = None
    pixel_window: bool = False
    frame: Literal["G", "C", "E"] = "G"
    fields: Fields = "I"
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def check(self, space: Space) -> None:
        """Look whether every map is there."""
        wanted = [self._path(key) for key in space.keys((SPLIT, SIM))]
        missing = [str(path) for path in wanted if not path.is_file()]
        if missing:
            message = (
                f"{len(missing)} of {len(wanted)} predictions are missing, first {missing[0]}; check predictions.*"
            )
            raise MapError(message)

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the map's file."""
        return (self._path(key),)

    def process(self, io: UnitIO) -> None:
        """Read, check, write."""
        values = read_raw_map(self._path(io.key), tuple(range(len(self.fields))), self.unit)
        nside = round(np.sqrt(values.shape[1] / 12))
        spec = MapSpec(
            nside=nside,
            fields=self.fields,
            lmax=self.lmax or 3 * nside - 1,
            beam="gaussian" if self.fwhm_arcmin else "none",
            fwhm_arcmin=self.fwhm_arcmin,
            pixel_window=self.pixel_window,
            frame=self.frame,
        )
        io.write(CLEANED_MAP, SkyMap(values.astype(np.float32), spec))
        io.write(INFERENCE, {"inference_seconds": None, "threads": None})

    def _path(self, key: Key) -> Path:
        return self.folder / self.template.format(split=key[SPLIT], sim=key[SIM])
