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
from stages.assets import CLEANED_MAP, INFERENCE, METHOD, SIM, SPLIT, UNCERTAINTY_MAP
from stages.sims.imported import fill_in


@settings
class ImportPrediction(Executor):
    """Read one cleaned map from a foreign FITS file, check it, and write it as our own asset.

    Attributes:
        folder: where the maps are.
        template: path below it; {split} and {sim} are filled in.
        uncertainty: the same for maps of the standard deviation of their errors, in the same unit; None without any.
        fwhm_arcmin: the Gaussian beam that the maps have; 0 for none.
        lmax: highest multipole of their signal; 3 nside - 1 where None.
        unit: of the maps; what their headers say where None.
        pixel_window: whether they are averaged over pixels.
        frame: of the maps: G Galactic, C equatorial, E ecliptic.
        fields: `I`, or `IQU`: the first columns of each file.
    """

    folder: Path
    template: str
    uncertainty: str | None = None
    fwhm_arcmin: NonNegativeFloat
    lmax: PositiveInt | None = None
    unit: str | None = None
    pixel_window: bool = False
    frame: Literal["G", "C", "E"] = "G"
    fields: Fields = "I"
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP,)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def check(self, space: Space) -> None:
        """Look whether every map is there."""
        wanted = [path for key in space.keys((SPLIT, SIM)) for path in self.files(key)]
        if len(set(wanted)) < len(wanted):
            message = (
                f"predictions.template={self.template} gives several maps one name; it must hold {{split}} and {{sim}}"
            )
            raise MapError(message)
        missing = [str(path) for path in wanted if not path.is_file()]
        if missing:
            message = (
                f"{len(missing)} of {len(wanted)} predictions are missing, first {missing[0]}; check predictions.*"
            )
            raise MapError(message)

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the file of the map, and that of its uncertainty."""
        templates = [self.template] if self.uncertainty is None else [self.template, self.uncertainty]
        return tuple(self.folder / fill_in(template, split=key[SPLIT], sim=key[SIM]) for template in templates)

    def process(self, io: UnitIO) -> None:
        """Read, check, write."""
        columns = tuple(range(len(self.fields)))
        found = [read_raw_map(path, columns, self.unit).astype(np.float32) for path in self.files(io.key)]
        nside = round(np.sqrt(found[0].shape[1] / 12))
        spec = MapSpec(
            nside=nside,
            fields=self.fields,
            lmax=self.lmax or 3 * nside - 1,
            beam="gaussian" if self.fwhm_arcmin else "none",
            fwhm_arcmin=self.fwhm_arcmin,
            pixel_window=self.pixel_window,
            frame=self.frame,
        )
        for asset, values in zip((CLEANED_MAP, UNCERTAINTY_MAP), found, strict=False):
            io.write(asset, SkyMap(values, spec))
        io.write(INFERENCE, {"inference_seconds": None, "threads": None, "channels": None})
