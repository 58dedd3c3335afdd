"""Make the mask inside which methods are scored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_columns
from cmbml.settings import Fraction, NonNegativeFloat, Nside, PositiveFloat, settings
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.masks import apodise, degrade_mask, galactic_mask, source_mask
from stages.assets import FOREGROUND_MAP, FREQ, MASK, MASK_APODISED, SKY


@settings
class MaskFromSky(Executor):
    """Mask the brightest part of the Galaxy and the brightest point sources, down to a sky fraction.

    Attributes:
        channels: the instrument.
        sky_fraction: how much of the sky is kept, sources left out.
        smoothing_deg: full width at half maximum to which the Galaxy's brightness is smoothed first.
        source_sigma: how far above its surroundings, in robust standard deviations, a source must stand.
        apodisation_arcmin: width of the soft edge of the apodised twin.
        apodisation: shape of the edge, as in NaMaster: `C1` or `C2`.
    """

    channels: Mapping[str, Channel]
    sky_fraction: Fraction
    smoothing_deg: PositiveFloat
    source_sigma: PositiveFloat
    apodisation_arcmin: NonNegativeFloat
    apodisation: Literal["C1", "C2"]
    reads: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = (MASK, MASK_APODISED)
    per: ClassVar = (SKY,)

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Leave the instrument out: its beams come with the foregrounds that are read."""
        return {name: value for name, value in super().settings_at(key).items() if name != "channels"}

    def process(self, io: UnitIO) -> None:
        """Find the sources and the Galaxy, write the mask and its twin."""
        maps = {freq: found.values[0] for freq, found in io.read_each(FOREGROUND_MAP, FREQ)}
        fwhm = {freq: self.channels[freq].fwhm_arcmin for freq in maps}
        sources = np.all([source_mask(maps[freq], fwhm[freq], self.source_sigma, io.threads) for freq in maps], axis=0)
        mask = galactic_mask(list(maps.values()), sources, self.sky_fraction, self.smoothing_deg, io.threads)
        _write(io, mask, self.apodisation_arcmin, self.apodisation)


@settings
class MaskFromFile(Executor):
    """Take the mask from a HEALPix file, such as Planck's NILC mask.

    Attributes:
        path: the file.
        field: column name or number.
        nside: of the dataset.
        threshold: a pixel is kept if at least this part of it is.
        apodisation_arcmin: width of the soft edge of the apodised twin.
        apodisation: shape of the edge, as in NaMaster: `C1` or `C2`.
    """

    path: Path
    field: int | str
    nside: Nside
    threshold: Fraction
    apodisation_arcmin: NonNegativeFloat
    apodisation: Literal["C1", "C2"]
    writes: ClassVar = (MASK, MASK_APODISED)
    per: ClassVar = (SKY,)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the mask's file."""
        return (self.path,)

    def process(self, io: UnitIO) -> None:
        """Read, degrade, write the mask and its twin."""
        values = read_raw_columns(self.path, (self.field,))[0][0]
        _write(io, degrade_mask(values, self.nside, self.threshold), self.apodisation_arcmin, self.apodisation)


def _write(io: UnitIO, mask: np.ndarray, apodisation_arcmin: float, shape: Literal["C1", "C2"]) -> None:
    spec = MapSpec(nside=round(np.sqrt(mask.size / 12)), unit="")
    io.write(MASK, SkyMap(mask[None].astype(np.float32), spec))
    soft = apodise(mask, apodisation_arcmin, shape)
    io.write(MASK_APODISED, SkyMap(soft[None].astype(np.float32), spec))
