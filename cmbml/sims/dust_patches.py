"""Patches of dust: the full-sky map that they are cut from, and where they lie.

The layout is that of Aylor et al. (arXiv:1909.06467, section 2.1): 1034 upright patches of 20 x 20 degrees whose
centres lie in steps of 5 degrees at |b| >= 25. They overlap; cut into halves by latitude, they share no pixel, for
none comes nearer to the plane than 10 degrees.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.settings import NonNegativeFloat, Nside, PositiveFloat, settings
from cmbml.sims.dust_map import read_full_sky
from cmbml.sims.foregrounds import SkyModel
from cmbml.sky.bandpass import BandError
from cmbml.sky.beams import gaussian_window
from cmbml.sky.centres import Half, stepped, uniform
from cmbml.sky.harmonics import analyse, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Frame, MapSpec
from cmbml.sky.patches import PatchSpec, Projection

Float = NDArray[np.float64]


class DustError(ValueError):
    """Dust that cannot be cut into patches."""


@settings
class DustSource(ABC):
    """A full-sky map of dust.

    Attributes:
        nside: of the map.
    """

    nside: Nside

    @property
    @abstractmethod
    def spec(self) -> MapSpec:
        """Say what patches of the map are of: they are laid out in Galactic coordinates, whatever the map's are."""

    @property
    def frame(self) -> Frame:
        """The frame in which the map's pixels lie."""
        return "G"

    def files(self) -> tuple[Path, ...]:
        """Return the raw files that it depends on."""
        return ()

    @abstractmethod
    def check(self) -> None:
        """Look, before any work, whether the map can be had.

        Raises:
            DustError: it cannot.
        """

    @abstractmethod
    def read(self, seed: int, threads: int) -> Float:
        """Return the map, `(n_pix,)`, RING, in `spec.unit`.

        Raises:
            DustError: the map is not what the settings say.
        """


@settings
class DustFile(DustSource):
    """A map in a file, such as Planck's E(B-V).

    Attributes:
        file: a FITS file with one full-sky HEALPix map: a column of a table, or the array of the first header.
        column: which, of a table.
        unit: of the patches: of the map's values, multiplied by `scale`.
        file_frame: of the map: `G` Galactic, `C` equatorial, `E` ecliptic.
        scale: factor on the values.
        nested: whether its pixels are in NESTED order.
        least: what is fainter is lifted to it, in `unit`; None: nothing is, and pixels that are not above zero are
            refused.
        most: what is brighter is cut off there, in `unit`, for compact sources are no dust; None: nothing is.
        fwhm_arcmin: of a Gaussian beam that the map is smoothed with; 0: it is left as it is.
    """

    file: Path
    column: int = 0
    unit: str
    file_frame: Frame = "G"
    scale: PositiveFloat = 1.0
    nested: bool = False
    least: PositiveFloat | None = None
    most: PositiveFloat | None = None
    fwhm_arcmin: NonNegativeFloat = 0.0

    @property
    def spec(self) -> MapSpec:
        """Say what patches of the map are of."""
        beam: Literal["gaussian", "none"] = "gaussian" if self.fwhm_arcmin else "none"
        return MapSpec(nside=self.nside, unit=self.unit, beam=beam, fwhm_arcmin=self.fwhm_arcmin)

    @property
    def frame(self) -> Frame:
        """The frame in which the map's pixels lie."""
        return self.file_frame

    def files(self) -> tuple[Path, ...]:
        """Return the file."""
        return (self.file,)

    def check(self) -> None:
        """Look whether the file is there."""
        if not self.file.is_file():
            message = f"dust.file={self.file}: there is no such file"
            raise DustError(message)

    def read(self, seed: int, threads: int) -> Float:
        """Read the file; smooth."""
        del seed
        try:
            values = read_full_sky(self.file, self.column, self.nested) * self.scale
        except BandError as error:
            raise DustError(str(error)) from error
        if values.size != self.spec.n_pix:
            message = f"{self.file} has nside {round(np.sqrt(values.size / 12))}, and dust.nside={self.nside} was said"
            raise DustError(message)
        if self.least or self.most:
            values = np.clip(values, self.least, self.most)
        if self.fwhm_arcmin:
            lmax = 3 * self.nside - 1
            alm = analyse(values[np.newaxis], lmax, threads)
            window = gaussian_window(self.fwhm_arcmin, lmax, 0)
            values = synthesise(filter_components(alm, window[np.newaxis]), self.nside, threads)[0].astype(np.float64)
        return values


@settings
class SkyDust(DustSource):
    """The thermal dust of a model of the sky; the same sky in every simulation and split, as there is but one.

    Attributes:
        sky: the model.
        part: which of its parts.
        freq_ghz: at which frequency, GHz; patches are in uK_CMB.
    """

    sky: SkyModel
    part: str = "dust"
    freq_ghz: PositiveFloat = 353.0

    @property
    def spec(self) -> MapSpec:
        """Say what patches of the map are of."""
        return MapSpec(nside=self.nside)

    def files(self) -> tuple[Path, ...]:
        """Return the sky's template files."""
        return self.sky.files()

    def check(self) -> None:
        """Look whether the sky has such a part and can be made."""
        if self.part not in (parts := self.sky.parts()):
            message = f"dust.part={self.part}: the sky has {', '.join(parts)}"
            raise DustError(message)
        self.sky.check(self.nside, "I")

    def read(self, seed: int, threads: int) -> Float:
        """Let the sky emit."""
        channel = Channel(freq_ghz=self.freq_ghz, fwhm_arcmin=0.0, depth_uk_arcmin=0.0)
        emission = self.sky.parts()[self.part].emission(channel, self.nside, "I", seed, threads)
        return np.asarray(emission[0], np.float64)


@settings
class PatchLayout:
    """Where patches lie, and what they are.

    Attributes:
        n_pixels: side of a patch, pixels.
        side_deg: the same, degrees.
        projection: `plate_carree` (the paper's), or `gnomonic`.
        centres: in steps on a `grid`, or drawn at `random` with random rotations, elsewhere in each simulation.
        step_deg: between neighbours on the grid.
        latitudes_deg: least and greatest |b| of centres.
        number: of random patches in a simulation.
        halves: split -> the half of the sphere its patches lie in: `all`, `north`, `south`, `east`, `west`; `all` for
            splits that are not named.
    """

    n_pixels: Annotated[int, Field(ge=16)] = 64
    side_deg: PositiveFloat = 20.0
    projection: Projection = "plate_carree"
    centres: Literal["grid", "random"] = "grid"
    step_deg: PositiveFloat = 5.0
    latitudes_deg: tuple[NonNegativeFloat, PositiveFloat] = (25.0, 90.0)
    number: PositiveInt = 517
    halves: Mapping[str, Half] = field(default_factory=dict)

    def patch_spec(self, maps: MapSpec) -> PatchSpec:
        """Say what the patches of a map are."""
        pixel = 60 * self.side_deg / self.n_pixels
        n = self.n_pixels
        return PatchSpec(maps=maps, height=n, width=n, pixel_arcmin=(pixel, pixel), projection=self.projection)

    def centres_of(self, split: str, rng: np.random.Generator) -> Float:
        """Return the centres of one simulation's patches, `(n_patch, 3)`, degrees, Galactic.

        Args:
            split: of the simulation.
            rng: the simulation's own.
        """
        half = self.halves.get(split, "all")
        if self.centres == "random":
            return uniform(self.number, rng, half, self.latitudes_deg)
        return stepped(self.step_deg, self.latitudes_deg, half)

    def count(self, split: str) -> int:
        """Return how many patches a simulation of a split has."""
        return len(self.centres_of(split, np.random.default_rng(0)))


def require_positive(values: NDArray[np.floating], unit: str) -> None:
    """Check that patches have a logarithm.

    Args:
        values: of the patches.
        unit: of the values, for the message.

    Raises:
        DustError: pixels are not above zero.
    """
    if bad := int((~(values > 0)).sum()):
        message = (
            f"{bad} of {values.size} pixels of the patches are not above zero (the lowest is {values.min():.3g} "
            f"{unit}), and networks learn from their logarithm; say with dust.least to what they shall be lifted"
        )
        raise DustError(message)
