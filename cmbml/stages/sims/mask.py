"""Make the mask inside which methods are scored."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.errors import nearest
from cmbml.core.executor import Executor
from cmbml.core.space import Axis, Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_columns
from cmbml.settings import Fraction, NonNegativeFloat, Nside, PositiveFloat, settings
from cmbml.sims.foregrounds import SkyModel
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.masks import apodise, degrade_mask, galactic_mask, source_mask
from cmbml.stages.assets import FOREGROUND_MAP, FREQ, MASK, MASK_APODISED, SKY


@settings
class MaskFromSky(Executor):
    """Mask the brightest part of the Galaxy, down to a sky fraction: one mask for the whole dataset.

    Where simulations share a sky it is made from that, and the brightest point sources are masked too. Where every
    simulation has its own, it is made from the mean of some that no simulation has, so that all scores count the same
    pixels and more simulations do not move them.

    Attributes:
        models: the skies by name.
        model: which of them the mask is for.
        channels: the instrument.
        nside: of the dataset.
        sky_fraction: how much of the sky is kept, sources left out.
        smoothing_deg: full width at half maximum to which the Galaxy's brightness is smoothed first.
        source_sigma: how far above its surroundings, in robust standard deviations, a source must stand.
        mean_of: over how many skies the mean is taken.
        apodisation_arcmin: width of the soft edge of the apodised twin.
        apodisation: shape of the edge, as in NaMaster: `C1` or `C2`.
    """

    models: Mapping[str, SkyModel]
    model: str = "main"
    channels: Mapping[str, Channel]
    nside: Nside
    sky_fraction: Fraction
    smoothing_deg: PositiveFloat
    source_sigma: PositiveFloat
    mean_of: PositiveInt = 8
    apodisation_arcmin: NonNegativeFloat
    apodisation: Literal["C1", "C2"]
    may_read: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = (MASK, MASK_APODISED)

    def check(self, space: Space) -> None:
        """Look whether there is such a sky."""
        if self.model not in self.models:
            message = f"mask.model={self.model}: `skies` lacks it; {nearest(self.model, self.models)}"
            raise ValueError(message)
        if self.model not in {key[SKY] for key in space.keys((SKY,))}:
            self.models[self.model].varied(0)

    def restricts(self) -> Mapping[Axis, Collection[str]]:
        """Look at the sky that simulations share, if they do."""
        return {SKY: (self.model,)}

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Depend on one model, and on the channels' bands: beams come with the foregrounds that are read."""
        bands = {name: [channel.freq_ghz, channel.bandpass] for name, channel in self.channels.items()}
        return super().settings_at(key) | {"models": self.models[self.model], "channels": bands}

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the sky's template files."""
        return self.models[self.model].files()

    def process(self, io: UnitIO) -> None:
        """Find the Galaxy, and sources that stay where they are; write the mask and its twin."""
        maps = {key[FREQ]: found.values[0] for key, found in io.read_all(FOREGROUND_MAP)}
        if maps:
            fwhm = {freq: self.channels[freq].fwhm_arcmin for freq in maps}
            found = [source_mask(maps[freq], fwhm[freq], self.source_sigma, io.threads) for freq in maps]
            sources = np.all(found, axis=0)
        else:
            maps, sources = self._mean_sky(io), np.ones(12 * self.nside**2, dtype=bool)
        mask = galactic_mask(list(maps.values()), sources, self.sky_fraction, self.smoothing_deg, io.threads)
        _write(io, mask, self.apodisation_arcmin, self.apodisation)

    def _mean_sky(self, io: UnitIO) -> dict[str, NDArray[np.float64]]:
        """Return each channel's mean over skies that no simulation has."""
        mean = {freq: np.zeros(12 * self.nside**2) for freq in self.channels}
        for number in range(self.mean_of):
            seed = io.seed(f"sky of the mask {number}")
            model = self.models[self.model].varied(seed)
            emitted = model.emissions(list(self.channels.values()), self.nside, "I", seed, io.threads)
            for total, values in zip(mean.values(), emitted, strict=True):
                total += values[0] / self.mean_of
        return mean


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

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether the file is there.

        Raises:
            ValueError: it is not.
        """
        if not self.path.is_file():
            message = (
                f"mask.path={self.path}: there is no such file. Name one by mask.path=FILE, or put it into "
                "assets.folder; the default is Planck's NILC map of 2018 with its mask, from the Planck Legacy Archive "
                "(pla.esac.esa.int, CMB maps). mask=from_sky needs none"
            )
            raise ValueError(message)

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
