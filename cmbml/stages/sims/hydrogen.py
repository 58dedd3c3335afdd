"""Make or read maps of neutral hydrogen in velocity channels, and the dust that they are to foretell."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from cmbml.core.errors import ConfigError
from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.figures.hydrogen import channel_figure
from cmbml.handlers.raw_map import read_raw_columns, read_raw_header
from cmbml.handlers.velocity_cube import RawCube, read_columns, read_image, read_slices
from cmbml.settings import NonNegativeFloat, Nside, PositiveFloat, settings
from cmbml.sims.dust_map import DustMap
from cmbml.sims.hydrogen import Hydrogen, draw_hydrogen
from cmbml.sky.maps import MapError, MapSpec, SkyMap, n_bad_pixels
from cmbml.sky.masks import galactic_mask
from cmbml.sky.velocity import CubeSpec, VelocityAxis, VelocityCube, band_limited
from cmbml.stages.assets import CHANNELS_FIGURE, DUST_MAP, HI_CUBE, HI_MASK, SKY

Float = NDArray[np.float64]
SkyFraction = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Found:
    """What a source gives.

    Attributes:
        cube: K, `(n_channel, n_pix)`.
        dust: `(n_pix,)`, in the unit of the target.
        mask: `(n_pix,)`, 1 keep; None where it is to be made of the dust.
    """

    cube: NDArray[np.floating[Any]]
    dust: Float
    mask: Float | None = None


@settings
class HydrogenSource(ABC):
    """Where cubes and dust come from.

    Attributes:
        nside: of all maps.
        axis: the velocity channels.
        dust_unit: of the dust.
        filter_ell: multipole from which on the Butterworth filter takes small scales out of all maps; None for no
            filter.
        filter_order: of it.
        sky_fraction: part of the sky that the mask keeps, where it is made: the faintest dust.
        smoothing_deg: FWHM to which the dust is smoothed for that.
    """

    nside: Nside
    axis: VelocityAxis
    dust_unit: str = "uK_RJ"
    filter_ell: PositiveFloat | None = 460.0
    filter_order: PositiveInt = 8
    sky_fraction: SkyFraction = 0.72
    smoothing_deg: PositiveFloat = 5.0

    @property
    def cube_spec(self) -> CubeSpec:
        """What a cube is."""
        return CubeSpec(maps=MapSpec(nside=self.nside, unit="K"), axis=self.axis, noise_k=self.noise())

    @property
    def dust_spec(self) -> MapSpec:
        """What a map of dust is."""
        return MapSpec(nside=self.nside, unit=self.dust_unit)

    @property
    def mask_spec(self) -> MapSpec:
        """What a mask is."""
        return MapSpec(nside=self.nside, unit="")

    @abstractmethod
    def noise(self) -> tuple[float, ...]:
        """Return the noise of each channel, K."""

    @abstractmethod
    def find(self, seed: int, threads: int) -> Found:
        """Make or read everything.

        Args:
            seed: of what is random.
            threads: CPU threads.
        """

    def files(self) -> tuple[Path, ...]:
        """Return the raw files that are read."""
        return ()

    def check(self, space: Space) -> None:
        """Look, before any work, whether there can be such maps."""
        del space
        _ = self.cube_spec


@settings
class EmbeddedHydrogen(HydrogenSource):
    """Gas and dust that are drawn.

    Attributes:
        gas: its settings.
        uk_rj_per_mag: dust of one magnitude of E(B-V), uK_RJ.
        dust: a map of E(B-V) that is the target in place of the gas's own dust: columns are made to fit it.
    """

    gas: Hydrogen
    uk_rj_per_mag: PositiveFloat = 1258.0
    dust: DustMap | None = None

    def noise(self) -> tuple[float, ...]:
        """Return what is put in."""
        return self.gas.noise(self.axis)

    def files(self) -> tuple[Path, ...]:
        """Return the map of dust, if there is one."""
        return () if self.dust is None else (self.dust.file,)

    def check(self, space: Space) -> None:
        """Look whether the map of dust is there."""
        super().check(space)
        if self.dust is not None:
            self.dust.check()

    def find(self, seed: int, threads: int) -> Found:
        """Draw a sky."""
        sky = draw_hydrogen(self.gas, self.axis, self.nside, seed, self.dust, threads)
        return Found(sky.cube, sky.reddening * self.uk_rj_per_mag)


@settings
class HydrogenFiles(HydrogenSource):
    """Maps in files: a cube, dust, and a mask if there is one.

    Attributes:
        layout: `slices`: a file for each channel; `columns`: one file with a column for each; `image`: a cube of the
            HEALPix maps, one row for each channel, whose velocities its header states.
        cube: the file; of slices with `{channel}` in it, which stands for the number of the channel (`{channel:03d}`).
        first_channel: the number of the lowest channel, of slices.
        unit: of the cube: K, mK; what the header says where None.
        noise_k: of each channel, K, or of all of them.
        dust: the file with the map of dust.
        dust_column: of it.
        dust_factor: what brings it to `dust_unit`.
        mask: a file with a mask, 1 keep; None: it is made.
        mask_column: of it.
        tolerance_km_s: how far the velocities that files state may be from those of `axis`.
    """

    layout: Literal["slices", "columns", "image"]
    cube: str
    first_channel: int = 0
    unit: str | None = None
    noise_k: NonNegativeFloat | tuple[NonNegativeFloat, ...] = 0.043
    dust: Path
    dust_column: int | str = 0
    dust_factor: PositiveFloat = 1.0
    mask: Path | None = None
    mask_column: int | str = 0
    tolerance_km_s: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _names_channels(self) -> Self:
        if self.layout == "slices" and self.cube.format(channel=0) == self.cube.format(channel=1):
            message = f"cube={self.cube}: slices are files of their own; let {{channel}} stand for their number"
            raise ValueError(message)
        return self

    def paths(self) -> list[Path]:
        """Return the files of the cube."""
        if self.layout != "slices":
            return [Path(self.cube)]
        return [Path(self.cube.format(channel=self.first_channel + i)) for i in range(self.axis.number)]

    def noise(self) -> tuple[float, ...]:
        """Return what is stated."""
        if isinstance(self.noise_k, float):
            return (self.noise_k,) * self.axis.number
        return self.noise_k

    def files(self) -> tuple[Path, ...]:
        """Return all files."""
        return (*self.paths(), self.dust, *((self.mask,) if self.mask else ()))

    def check(self, space: Space) -> None:
        """Look whether the files are there, and whether one sky is asked for.

        Raises:
            MapError: files are missing.
            ConfigError: more skies than one are asked for.
        """
        super().check(space)
        if missing := [str(path) for path in self.files() if not path.is_file()]:
            few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            message = f"{len(missing)} of {len(self.files())} files of cube, dust and mask are missing: {few}"
            raise MapError(message)
        if len(skies := space.keys((SKY,))) > 1:
            message = f"files hold one sky, and {len(skies)} are asked for: set vary=shared"
            raise ConfigError(message)

    def find(self, seed: int, threads: int) -> Found:
        """Read everything.

        Raises:
            MapError: something is not what is said of it; the message says what, and what to do.
        """
        del seed, threads
        cube = self._cube()
        dust = self._map(self.dust, self.dust_column, "the map of dust") * self.dust_factor
        mask = None if self.mask is None else self._map(self.mask, self.mask_column, "the mask")
        return Found(cube.values, dust, mask)

    def _cube(self) -> RawCube:
        paths = self.paths()
        if self.layout == "slices":
            found = read_slices(paths, unit=self.unit)
        elif self.layout == "columns":
            found = read_columns(paths[0], self.axis.number, self.unit)
        else:
            found = read_image(paths[0], self.unit)
        wanted = (self.axis.number, 12 * self.nside**2)
        if found.velocities is not None and found.values.shape[0] > wanted[0]:
            found = _within(found, self.axis)
        if found.values.shape != wanted:
            there = round(np.sqrt(found.values.shape[-1] / 12))
            message = (
                f"the cube has {found.values.shape[0]} channels of nside {there}, and {wanted[0]} of nside "
                f"{self.nside} are asked for: set scenario.nside and hydrogen.source.axis to what it has, or degrade it"
            )
            raise MapError(message)
        if found.velocities is not None:
            off = np.abs(found.velocities - self.axis.centres)
            if off.max() > self.tolerance_km_s:
                worst = int(off.argmax())
                message = (
                    f"channel {worst} of the cube is at {found.velocities[worst]:g} km/s by its header, and at "
                    f"{self.axis.centres[worst]:g} km/s by hydrogen.source.axis: set low_km_s and high_km_s to the "
                    "outer edges of its channels"
                )
                raise MapError(message)
        return found

    def _map(self, path: Path, column: int | str, what: str) -> Float:
        """Read one map.

        Raises:
            MapError: it has NaN, or another nside or frame.
        """
        header = read_raw_header(path)
        header.frame("G", "the frame of the dataset")
        values: Float = read_raw_columns(path, (column,), unknown=True)[0][0]
        if bad := int(np.isnan(values).sum()):
            message = (
                f"{what}, {path}, has {bad} pixels that are NaN or UNSEEN: fill them, or mask them and fill them with 0"
            )
            raise MapError(message)
        if values.size != 12 * self.nside**2:
            message = f"{what}, {path}, has nside {header.nside}, and the cube {self.nside}: degrade one of them first"
            raise MapError(message)
        return values


def _within(found: RawCube, axis: VelocityAxis) -> RawCube:
    """Keep the channels whose centres lie in a range."""
    if found.velocities is None:
        return found
    kept = (found.velocities > axis.low_km_s) & (found.velocities < axis.high_km_s)
    return RawCube(found.values[kept], found.velocities[kept])


@settings
class RealiseHydrogen(Executor):
    """Write the cube of one sky, its dust, and the mask.

    Attributes:
        source: where they come from.
    """

    source: HydrogenSource
    writes: ClassVar = (HI_CUBE, DUST_MAP, HI_MASK)
    per: ClassVar = (SKY,)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the raw files."""
        return self.source.files()

    def check(self, space: Space) -> None:
        """Look whether there can be such maps."""
        self.source.check(space)

    def disk_bytes(self) -> int:
        """Four bytes for each pixel of each channel, of dust and of mask."""
        return 48 * self.source.nside**2 * (self.source.axis.number + 2)

    def process(self, io: UnitIO) -> None:
        """Make or read, filter, mask, write.

        Raises:
            MapError: dust or cube hold no numbers, or the mask leaves nothing.
        """
        source = self.source
        found = source.find(int(io.rng("hydrogen").integers(2**63)), io.threads)
        if bad := n_bad_pixels(found.dust):
            message = f"the map of dust has {bad} pixels that are NaN, infinite or UNSEEN"
            raise MapError(message)
        cube, dust = np.asarray(found.cube), found.dust[None]
        if source.filter_ell is not None:
            cube, dust = (
                band_limited(maps, source.filter_ell, source.filter_order, io.threads) for maps in (cube, dust)
            )
        mask = found.mask
        if mask is None:
            everywhere = np.ones(dust.shape[-1], dtype=bool)
            kept = galactic_mask([dust[0]], everywhere, source.sky_fraction, source.smoothing_deg, io.threads)
            mask = kept.astype(np.float64)
        if not ((mask >= 0) & (mask <= 1)).all() or not (mask > 0).any():
            message = (
                f"the mask leaves nothing of the sky, or is none: its values run from {mask.min():g} to "
                f"{mask.max():g}, and 1 is to be kept"
            )
            raise MapError(message)
        io.write(HI_CUBE, VelocityCube(cube.astype(np.float32), source.cube_spec))
        io.write(DUST_MAP, SkyMap(dust.astype(np.float32), source.dust_spec))
        io.write(HI_MASK, SkyMap(mask[None].astype(np.float32), source.mask_spec))


@settings
class DrawHydrogen(Executor):
    """Draw the spectrum of a sky, and where its gas and its dust are.

    Attributes:
        pointings: how many directions outside the mask the spectrum is the sum of.
    """

    pointings: PositiveInt = 10_000
    reads: ClassVar = (HI_CUBE, DUST_MAP, HI_MASK)
    writes: ClassVar = (CHANNELS_FIGURE,)
    per: ClassVar = (SKY,)

    def process(self, io: UnitIO) -> None:
        """Read, draw."""
        cube, dust, mask = io.read(HI_CUBE), io.read(DUST_MAP), io.read(HI_MASK).values[0]
        kept = np.flatnonzero(mask > 0.5)
        seen = io.rng("pointings").choice(kept, self.pointings)
        spectrum = cube.values[:, seen].sum(axis=1, dtype=np.float64)
        latitude = hp.pix2ang(cube.spec.maps.nside, seen, lonlat=True)[1]
        halves = {
            f"{name}, brought to as many": cube.values[:, seen[inside]].mean(axis=1, dtype=np.float64) * len(seen)
            for name, inside in (("north", latitude > 0), ("south", latitude < 0))
            if inside.any()
        }
        maps = {
            "integrated intensity [K km/s]": cube.integrated,
            f"dust [{dust.spec.unit}]": dust.values[0].astype(np.float64),
        }
        io.write(CHANNELS_FIGURE, channel_figure(cube.spec.axis.centres, spectrum, halves, maps, mask))
