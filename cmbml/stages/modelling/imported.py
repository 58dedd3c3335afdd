"""Take maps that somebody else has cleaned, so that a competitor needs none of our code to be compared."""

import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import RawHeader, read_raw_columns, read_raw_header, read_raw_map
from cmbml.settings import NonNegativeFloat, Nside, settings
from cmbml.sky.maps import Fields, Frame, MapError, MapSpec, SkyMap
from cmbml.sky.plausibility import require_beam, require_error_bars, require_plausible
from cmbml.stages.assets import CLEANED_MAP, INFERENCE, METHOD, SIM, SPLIT, UNCERTAINTY_MAP
from cmbml.stages.sims.imported import fill_in

log = logging.getLogger(__name__)
OTHER_UNIT = "set predictions.unit to the unit that the numbers have"


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
        frame: of the maps: G Galactic, C equatorial, E ecliptic; what their headers say where None, or else G.
        nside: of the maps.
        fields: `I`, or `IQU`: the first columns of each file.
    """

    folder: Path
    template: str
    uncertainty: str | None = None
    fwhm_arcmin: NonNegativeFloat
    lmax: PositiveInt | None = None
    unit: str | None = None
    pixel_window: bool = False
    frame: Frame | None = None
    nside: Nside
    fields: Fields = "I"
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP,)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def check(self, space: Space) -> None:
        """Look whether every map is there, and whether its header and the settings agree."""
        require_beam(self.fwhm_arcmin, "predictions.fwhm_arcmin")
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
        for path in wanted:
            self._inspect(path)

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the file of the map, and that of its uncertainty."""
        templates = [self.template] if self.uncertainty is None else [self.template, self.uncertainty]
        return tuple(self.folder / fill_in(template, split=key[SPLIT], sim=key[SIM]) for template in templates)

    def process(self, io: UnitIO) -> None:
        """Read, check, write."""
        found: dict[Asset[Any], NDArray[np.float32]] = {}
        frame: Frame = "G"
        for asset, path in zip((CLEANED_MAP, UNCERTAINTY_MAP), self.files(io.key), strict=False):
            header, frame = self._inspect(path)
            values = self._read(path, masked=asset is CLEANED_MAP)
            where = header.taken_as(self._columns, self.unit)
            if asset is CLEANED_MAP:
                require_plausible(values, frame, where, OTHER_UNIT)
            else:
                require_error_bars(values, where, OTHER_UNIT)
            found[asset] = values.astype(np.float32)
        spec = MapSpec(
            nside=self.nside,
            fields=self.fields,
            lmax=self.lmax or 3 * self.nside - 1,
            beam="gaussian" if self.fwhm_arcmin else "none",
            fwhm_arcmin=self.fwhm_arcmin,
            pixel_window=self.pixel_window,
            frame=frame,
        )
        for asset, single in found.items():
            io.write(asset, SkyMap(single, spec))
        io.write(INFERENCE, {"inference_seconds": None, "threads": None, "channels": None})

    def _read(self, path: Path, masked: bool) -> NDArray[np.float64]:
        """Read a map; where a mask has left pixels UNSEEN, fill them with zero, and say so."""
        if not masked:
            return read_raw_map(path, self._columns, self.unit)
        values = read_raw_map(path, self._columns, self.unit, fill=0.0)
        unseen = np.isnan(read_raw_columns(path, self._columns, unknown=True)[0]).any(axis=0)
        if unseen.any():
            log.info(
                "%s: %d of %d pixels are UNSEEN, and are filled with zero: where the mask of the scores keeps them, "
                "the whole CMB there counts as error",
                *(path, int(unseen.sum()), unseen.size),
            )
        return values

    @property
    def _columns(self) -> tuple[int, ...]:
        return tuple(range(len(self.fields)))

    def _inspect(self, path: Path) -> tuple[RawHeader, Frame]:
        """Read a header; return it, and the frame.

        Raises:
            MapError: it contradicts the settings.
        """
        header = read_raw_header(path)
        if header.nside != self.nside:
            message = (
                f"{path} has nside {header.nside}, and {self.nside} is expected; if such maps are meant, set "
                f"predictions.nside={header.nside}"
            )
            raise MapError(message)
        try:
            header.unit_factors(self._columns, self.unit)
        except MapError as error:
            message = f"{error}; say the unit of the numbers with predictions.unit=, such as predictions.unit=uK_CMB"
            raise MapError(message) from error
        return header, header.frame(self.frame, "predictions.frame")
