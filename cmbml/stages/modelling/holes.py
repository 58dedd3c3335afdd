"""Make holes in maps, or take maps that have some."""

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
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
from cmbml.metrics.noise_level import white_noise_spectrum
from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sims.cmb import Lensing, theory_prefix
from cmbml.sky.harmonics import filter_components, synthesise
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.stages.assets import (
    CMB_ALM,
    HOLE_MASK,
    HOLED_MAP,
    HOLED_NOISE,
    HOLED_NOISE_SPECTRA,
    HOLES,
    MASK,
    SIM,
    SPLIT,
    THEORY_SPECTRA,
)
from cmbml.stages.maps import Maps

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
log = logging.getLogger(f"cmbml.{__name__}")


@dataclass(frozen=True)
class HoledNoise:
    """The noise of a map.

    Attributes:
        std: `(n_field, n_pix)`, standard deviation of its white part, uK_CMB; NaN where it is not known.
        correlated: `(n_comp, lmax + 1)`, spectra of the rest, as it is in the map, uK_CMB^2.
    """

    std: Values
    correlated: Values


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
    noise_uk_arcmin: PositiveFloat | Literal["measured"] | None
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

    @property
    def band_limit(self) -> int:
        """The highest multipole of the maps' signal."""
        return 3 * self.spec.nside - 1 if self.spec.lmax is None else self.spec.lmax

    def window(self) -> Values:
        """Return beam and pixel window, `(n_comp, lmax of the dataset + 1)`, zero above the maps' own band limit."""
        return map_window(self.spec, self.maps.lmax, len(self.maps.fields), pixel_windows=self.maps.pixel_windows)

    def white(self, level_uk2: float | Values) -> HoledNoise:
        """Describe white noise of one spectrum, or of one for each field `(n_field,)`, uK_CMB^2."""
        n_field = len(self.maps.fields)
        std = np.sqrt(np.broadcast_to(level_uk2, n_field)) / hp.nside2resol(self.maps.nside)
        whole = np.repeat(std[:, None], 12 * self.maps.nside**2, axis=1)
        return HoledNoise(whole, np.zeros((n_field, self.band_limit + 1)))

    def stated_noise(self) -> HoledNoise:
        """Describe the white noise whose depth is stated."""
        return self.white(float(np.radians(float(self.noise_uk_arcmin or 0.0) / 60) ** 2))

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return what it reads of the dataset."""
        return self.reads

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the raw files of one unit."""
        return self.maps.window_files()

    @abstractmethod
    def read(self, io: UnitIO) -> Values:
        """Return the map of a unit, `(n_field, n_pix)`, uK_CMB; NaN where it is not known."""

    @abstractmethod
    def noise(self, io: UnitIO, values: Values, observed: Mask) -> HoledNoise:
        """Return the noise of the map of a unit.

        Args:
            io: of the unit.
            values: what `read` gave.
            observed: `(n_pix,)`, False in holes.
        """


@settings
class TrueMaps(HoleSource):
    """The dataset's own CMB under a beam, with white noise."""

    noise_uk_arcmin: PositiveFloat
    reads: ClassVar = (CMB_ALM,)

    def read(self, io: UnitIO) -> Values:
        """Make the map."""
        window = self.window()
        alm = filter_components(io.read(CMB_ALM)[: len(window)], window)
        signal = synthesise(alm.astype(np.complex128), self.maps.nside, io.threads)
        seen: Values = signal + self.stated_noise().std * io.rng("noise of a holed map").standard_normal(signal.shape)
        return seen

    def noise(self, io: UnitIO, values: Values, observed: Mask) -> HoledNoise:  # noqa: ARG002
        """Return the noise that was put in."""
        return self.stated_noise()


@settings
class GivenMaps(HoleSource):
    """Maps in HEALPix files, such as a cleaned map of the dataset, or one that somebody else made.

    Their noise is white and of one depth (`noise_uk_arcmin`, which may be `measured`: what the map has outside of holes
    beyond the CMB of the dataset's theory), or white with a standard deviation for each pixel (`noise_file`), or it has
    a spectrum (`noise_spectrum`), of which what all multipoles have is white and the rest correlated.

    Attributes:
        file: the file; `{split}` and `{sim}` in it stand for the simulation.
        columns: of the fields.
        unit: of the values; what the header says where None.
        lensing: how the CMB of the theory was lensed; of `measured`.
        noise_file: standard deviation of the noise, such as an uncertainty map of the dataset; as `file`.
        noise_columns: of the fields in it.
        noise_spectrum: a text file, `#` before comments, with the columns l, N_l of T, and with polarisation of E and
            B, uK_CMB^2, as the noise is in the map: no beam is taken out of it.
    """

    file: str
    noise_uk_arcmin: PositiveFloat | Literal["measured"] | None = None
    columns: tuple[int | str, ...] = (0,)
    unit: str | None = None
    lensing: Lensing = "remap"
    noise_file: str | None = None
    noise_columns: tuple[int | str, ...] = (0,)
    noise_spectrum: Path | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, pattern in (("file", self.file), ("noise_file", self.noise_file or "")):
            try:
                pattern.format(split="", sim="")
            except (KeyError, IndexError, ValueError) as error:
                message = f"{name}={pattern}: {{split}} and {{sim}} are all that it may hold in braces ({error})"
                raise ValueError(message) from error
        for name in ("columns", "noise_columns") if self.noise_file else ("columns",):
            if len(named := getattr(self, name)) != len(self.maps.fields):
                message = f"{name}={list(named)}: the dataset's maps are {self.maps.fields}; name a column of each"
                raise ValueError(message)
        told = [self.noise_uk_arcmin is not None, self.noise_file is not None, self.noise_spectrum is not None]
        if sum(told) != 1:
            message = (
                "say what noise the maps have, once: noise_uk_arcmin (a number, or measured), noise_file (its standard "
                "deviation in each pixel), or noise_spectrum"
            )
            raise ValueError(message)
        if self.noise_uk_arcmin == "measured" and self.maps.fields != "I":
            message = "noise_uk_arcmin=measured: of intensity alone; give noise_file or noise_spectrum for polarisation"
            raise ValueError(message)
        return self

    @property
    def measured(self) -> bool:
        """Whether the depth of the noise is to be found."""
        return self.noise_uk_arcmin == "measured"

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return the theory, where the noise is to be found."""
        return (THEORY_SPECTRA,) if self.measured else ()

    def path(self, pattern: str, key: Key) -> Path:
        """Return a file of one unit."""
        return Path(pattern.format(split=key[SPLIT], sim=key[SIM]))

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the map's file, and that of its noise."""
        own = [self.path(self.file, key)]
        own += [self.path(self.noise_file, key)] if self.noise_file else []
        own += [self.noise_spectrum] if self.noise_spectrum else []
        return (*super().files(key), *own)

    def read(self, io: UnitIO) -> Values:
        """Read the map.

        Raises:
            HoleError: it has another resolution.
            MapError: it is in another frame than the dataset, or has no unit.
        """
        return self._columns(self.path(self.file, io.key), self.columns)

    def noise(self, io: UnitIO, values: Values, observed: Mask) -> HoledNoise:
        """Read the noise, or find it.

        Raises:
            HoleError: it is none, or is not known where the map is.
        """
        if self.noise_file is not None:
            std = self._columns(self.path(self.noise_file, io.key), self.noise_columns)
            if bad := int((~(std > 0) & observed).any(axis=0).sum()):
                message = (
                    f"{self.path(self.noise_file, io.key)} is no standard deviation in {bad} pixels outside of holes"
                )
                raise HoleError(message)
            return HoledNoise(std, np.zeros((len(std), self.band_limit + 1)))
        if self.noise_spectrum is not None:
            return self._of_spectrum(self.noise_spectrum)
        if not self.measured:
            return self.stated_noise()
        lmax = self.band_limit
        theory = io.read(THEORY_SPECTRA)[theory_prefix(self.lensing) + "TT"][: lmax + 1]
        signal = theory * self.window()[0, : lmax + 1] ** 2
        level, error = white_noise_spectrum(values[0], observed, signal, io.threads)
        if level < 5 * error:
            message = (
                f"the noise of the map cannot be measured beside the CMB of the dataset's theory under the stated beam "
                f"({level:.3g} ± {error:.3g} uK^2): look at fwhm_arcmin and unit, or state noise_uk_arcmin"
            )
            raise HoleError(message)
        log.info("noise of the map, as measured: %.3g uK arcmin", np.degrees(np.sqrt(level)) * 60)
        return self.white(level)

    def _of_spectrum(self, path: Path) -> HoledNoise:
        """Read a spectrum, and take what is white out of it."""
        lmax, n_comp = self.band_limit, len(self.maps.fields)
        try:
            table = np.loadtxt(path, ndmin=2)
        except ValueError as error:
            message = f"{path} is no table of numbers: {error}"
            raise HoleError(message) from error
        if table.shape[1] != 1 + n_comp or not (table[: lmax + 1, 0] == np.arange(len(table[: lmax + 1]))).all():
            message = f"{path} must have the columns l (0, 1, 2, ...) and N_l of {'TEB'[:n_comp]}"
            raise HoleError(message)
        if len(table) <= lmax:
            message = f"{path} ends at l = {len(table) - 1}, and the map's signal at {lmax}: add N_l, or set lmax"
            raise HoleError(message)
        found = table[: lmax + 1, 1:].T
        if not (found[:, 2:] > 0).all():
            message = f"{path}: N_l must be above zero from l = 2 on"
            raise HoleError(message)
        floors = found[:, 2:].min(axis=1)
        # Q and U share the white noise of E and B.
        white = floors if n_comp == 1 else np.array([floors[0], *[floors[1:].min()] * 2])
        return HoledNoise(self.white(white).std, np.maximum(found - white[:, None], 0.0))

    def _columns(self, path: Path, columns: tuple[int | str, ...]) -> Values:
        read_raw_header(path).frame(self.spec.frame, "the frame of the dataset")
        values = read_raw_map(path, columns, self.unit, unknown=True)
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
    writes: ClassVar = (HOLED_MAP, HOLE_MASK, HOLED_NOISE, HOLED_NOISE_SPECTRA)
    per: ClassVar = (SPLIT, SIM, HOLES)
    version: ClassVar[int] = 2

    def needs(self) -> tuple[Asset[Any], ...]:
        """Return what the source reads, and the dataset's mask if that is wanted."""
        return (*self.source.needs(), *((MASK,) if self.shape.mask == "dataset" else ()))

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
        noise = self.source.noise(io, values, observed)
        # What the map would have in a hole is not known where its noise is not: the median stands in.
        there = np.where(observed, noise.std, np.nan)
        std = np.where(np.isfinite(noise.std), noise.std, np.nanmedian(there, axis=1, keepdims=True))
        io.write(HOLED_NOISE, SkyMap(std.astype(np.float32), spec))
        io.write(HOLED_NOISE_SPECTRA, noise.correlated)
