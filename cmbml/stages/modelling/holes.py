"""Make holes in maps, or take maps that have some."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_columns, read_raw_header, read_raw_map
from cmbml.methods.holes.signal import HoleError
from cmbml.metrics.footing import map_window
from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sky.harmonics import filter_components, synthesise
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.stages.assets import CMB_ALM, HOLE_MASK, HOLED_MAP, HOLED_NOISE, HOLES, MASK, SIM, SPLIT
from cmbml.stages.maps import Maps

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


@settings
class HoleSource(ABC):
    """Where the maps with holes come from.

    Attributes:
        maps: what the maps of the dataset are.
        fwhm_arcmin: of the Gaussian beam that the maps have; 0 for none.
        noise_uk_arcmin: white noise of the maps, uK arcmin, the same in all fields. Without any, the map would have to
            be believed to the last bit: state a small one.
        lmax: highest multipole of the maps' signal; 2 nside where None: HEALPix tells little of those above, and where
            the signal is far above the noise no solver converges that has to find them.
    """

    maps: Maps
    fwhm_arcmin: NonNegativeFloat
    noise_uk_arcmin: PositiveFloat
    lmax: PositiveInt | None = None
    reads: ClassVar[tuple[Asset[Any], ...]] = ()

    @property
    def spec(self) -> MapSpec:
        """What the maps are."""
        beam: Literal["none", "gaussian"] = "gaussian" if self.fwhm_arcmin else "none"
        lmax = min(self.lmax or 2 * self.maps.nside, self.maps.lmax)
        return self.maps.spec.with_(beam=beam, fwhm_arcmin=self.fwhm_arcmin, lmax=lmax)

    @property
    def mask_spec(self) -> MapSpec:
        """What a mask of their holes is."""
        return self.spec.with_(unit="", fields="I", beam="none", fwhm_arcmin=0.0)

    def window(self) -> Values:
        """Return beam and pixel window, `(n_comp, lmax of the dataset + 1)`, zero above the maps' own band limit."""
        return map_window(self.spec, self.maps.lmax, len(self.maps.fields), pixel_windows=self.maps.pixel_windows)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise of a pixel, uK."""
        return float(np.radians(self.noise_uk_arcmin / 60) / hp.nside2resol(self.maps.nside))

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the raw files of one unit."""
        return self.maps.window_files()

    @abstractmethod
    def read(self, io: UnitIO) -> Values:
        """Return the map of a unit, `(n_field, n_pix)`, uK_CMB; NaN where it is not known."""


@settings
class TrueMaps(HoleSource):
    """The dataset's own CMB under a beam, with white noise."""

    reads: ClassVar = (CMB_ALM,)

    def read(self, io: UnitIO) -> Values:
        """Make the map."""
        window = self.window()
        alm = filter_components(io.read(CMB_ALM)[: len(window)], window)
        signal = synthesise(alm.astype(np.complex128), self.maps.nside, io.threads)
        seen: Values = signal + self.noise_std * io.rng("noise of a holed map").standard_normal(signal.shape)
        return seen


@settings
class GivenMaps(HoleSource):
    """Maps in HEALPix files, such as a cleaned map of the dataset, or one that somebody else made.

    Attributes:
        file: the file; `{split}` and `{sim}` in it stand for the simulation.
        columns: of the fields.
        unit: of the values; what the header says where None.
    """

    file: str
    columns: tuple[int | str, ...] = (0,)
    unit: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            self.file.format(split="", sim="")
        except (KeyError, IndexError, ValueError) as error:
            message = f"file={self.file}: {{split}} and {{sim}} are all that it may hold in braces ({error})"
            raise ValueError(message) from error
        if len(self.columns) != len(self.maps.fields):
            message = f"columns={list(self.columns)}: the dataset's maps are {self.maps.fields}; name a column of each"
            raise ValueError(message)
        return self

    def path(self, key: Key) -> Path:
        """Return the file of one unit."""
        return Path(self.file.format(split=key[SPLIT], sim=key[SIM]))

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the map's file."""
        return (*super().files(key), self.path(key))

    def read(self, io: UnitIO) -> Values:
        """Read the map.

        Raises:
            HoleError: it has another resolution.
            MapError: it is in another frame than the dataset, or has no unit.
        """
        path = self.path(io.key)
        read_raw_header(path).frame(self.spec.frame, "the frame of the dataset")
        values = read_raw_map(path, self.columns, self.unit, unknown=True)
        if values.shape[-1] != 12 * self.maps.nside**2:
            nside = round(np.sqrt(values.shape[-1] / 12))
            message = f"{path} has nside {nside}, and the dataset {self.maps.nside}; degrade one of them first"
            raise HoleError(message)
        return values


@settings
class HoleShape:
    """Which holes are made.

    Attributes:
        mask: a HEALPix file, 1 where the map is known and 0 in holes; `dataset` for the mask of the dataset; None for
            no such holes.
        column: of the file.
        disks_deg: radii of round holes, deg.
        irregular_deg: radii of irregular holes, deg: each is a chain of smaller disks that lies within the radius.
        number: how many there are of each radius, in other places in each simulation.
    """

    mask: Path | Literal["dataset"] | None = None
    column: int | str = 0
    disks_deg: tuple[Annotated[float, Field(gt=0, le=90)], ...] = ()
    irregular_deg: tuple[Annotated[float, Field(gt=0, le=90)], ...] = ()
    number: NonNegativeInt = 1

    def observed(self, nside: int, given: NDArray[Any] | None, rng: np.random.Generator) -> Mask:
        """Return where the map is known, `(n_pix,)`.

        Args:
            nside: of the map.
            given: the mask that is named, `(n_pix,)`.
            rng: where holes lie.

        Raises:
            HoleError: the mask is none, or of another resolution.
        """
        known = np.ones(12 * nside**2, dtype=bool)
        if given is not None:
            if given.size != known.size:
                there = round(np.sqrt(given.size / 12))
                message = f"the mask of holes has nside {there}, and the map {nside}; degrade one of them first"
                raise HoleError(message)
            if not ((given >= 0) & (given <= 1)).all():
                message = f"the mask of holes has values from {given.min():g} to {given.max():g}; 0 to 1 are wanted"
                raise HoleError(message)
            known &= given > 0.5
        for radius in self.disks_deg:
            for _ in range(self.number):
                known[hp.query_disc(nside, _direction(rng), np.radians(radius))] = False
        for radius in self.irregular_deg:
            for _ in range(self.number):
                for centre in _chain(rng, radius):
                    known[hp.query_disc(nside, centre, np.radians(radius / 3))] = False
        return known


def _direction(rng: np.random.Generator) -> Values:
    vector = rng.standard_normal(3)
    direction: Values = vector / np.linalg.norm(vector)
    return direction


def _chain(rng: np.random.Generator, radius_deg: float, links: int = 8) -> list[Values]:
    """Return centres of disks that hang together, all within two thirds of a radius of the first."""
    first = place = _direction(rng)
    chain = [first]
    while len(chain) < links:
        step = place + np.radians(radius_deg / 3) * rng.standard_normal(3) / np.sqrt(3)
        step /= np.linalg.norm(step)
        if step @ first > np.cos(np.radians(2 * radius_deg / 3)):
            place = step
            chain.append(step)
    return chain


@settings
class PrepareHoles(Executor):
    """Take one map, find its holes, and write both, with the noise that the map has.

    Attributes:
        source: where maps come from.
        shape: which holes they have; what a given map does not know is a hole, too.
        least_pixels: fewest pixels that must be known.
    """

    source: HoleSource
    shape: HoleShape
    least_pixels: PositiveInt = 12
    writes: ClassVar = (HOLED_MAP, HOLE_MASK, HOLED_NOISE)
    per: ClassVar = (SPLIT, SIM, HOLES)

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return what the source reads, and the dataset's mask if that is wanted."""
        return (*self.source.reads, *((MASK,) if self.shape.mask == "dataset" else ()))

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the files of maps and mask."""
        return (*self.source.files(key), *((self.shape.mask,) if isinstance(self.shape.mask, Path) else ()))

    def disk_bytes(self) -> int:
        """Map, noise and mask."""
        return 3 * self.source.maps.n_bytes

    def process(self, io: UnitIO) -> None:
        """Read, make holes, write.

        Raises:
            HoleError: there is no hole, or nothing else, or more is unknown than the mask says.
        """
        values, spec = self.source.read(io), self.source.spec
        given = None
        if self.shape.mask == "dataset":
            given = io.read(MASK).values[0]
        elif self.shape.mask is not None:
            given = read_raw_columns(self.shape.mask, (self.shape.column,))[0][0]
        observed = self.shape.observed(spec.nside, given, io.rng("holes"))
        unknown = np.isnan(values).any(axis=0)
        if given is not None and (beyond := int((unknown & observed).sum())):
            message = (
                f"{beyond} pixels outside of the mask's holes are NaN or UNSEEN: mask them, too, or name no mask "
                "(holes.shape.mask=null), and they are the holes"
            )
            raise HoleError(message)
        observed &= ~unknown
        if observed.all():
            message = "there is no hole: name a mask (holes.shape.mask), or radii of holes (holes.shape.disks_deg)"
            raise HoleError(message)
        if observed.sum() < self.least_pixels:
            message = f"{observed.sum()} pixels are known, and all else is a hole: there is nothing to go on from"
            raise HoleError(message)
        io.write(HOLED_MAP, SkyMap(np.where(observed, values, 0.0).astype(np.float32), spec))
        io.write(HOLE_MASK, SkyMap(observed[None].astype(np.float32), self.source.mask_spec))
        noise = np.full(values.shape, self.source.noise_std, np.float32)
        io.write(HOLED_NOISE, SkyMap(noise, spec))
