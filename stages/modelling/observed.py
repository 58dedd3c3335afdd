"""Clean a set of real maps, one file per channel, as a mission has published them."""

import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_columns
from cmbml.methods.base import BlindMethod, MethodError
from cmbml.metrics.footing import rotate
from cmbml.settings import NonNegativeFloat, Nside, PositiveFloat, settings
from cmbml.sims.noise_files import RawMaps, inspect, unit_factor
from cmbml.sims.noise_spectrum import NoiseError
from cmbml.sky.beams import pixel_window, pixel_window_files
from cmbml.sky.harmonics import analyse, filter_components, require_band_limit, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapError, MapSpec, SkyMap
from cmbml.sky.observation import Observation, ObservationSpec
from stages.assets import CLEANED_MAP, INFERENCE, METHOD, SIM, SPLIT, UNCERTAINTY_MAP


@settings
class ObservedMap:
    """The map of one channel; its resolution and its ordering are what its header says.

    Attributes:
        file: below the folder of the observations.
        columns: numbers or names of its columns: I; or I, Q, U.
        freq_ghz: centre frequency.
        fwhm_arcmin: full width at half maximum of the Gaussian beam.
        window: a table of the beam's window function, used in place of the Gaussian.
        unit: K_CMB, mK_CMB, uK_CMB or MJy/sr; what the header says where None.
        mjy_per_k: MJy/sr per K_CMB over the channel's band, for a map in MJy/sr. There is no default: at 857 GHz the
            band of Planck gives 2.27, and its centre alone 1.44.
        frame: G Galactic, C equatorial, E ecliptic.
    """

    file: Path
    columns: tuple[int | str, ...] = (0,)
    freq_ghz: PositiveFloat
    fwhm_arcmin: NonNegativeFloat
    window: Path | None = None
    unit: str | None = None
    mjy_per_k: PositiveFloat | None = None
    frame: Literal["G", "C", "E"] = "G"

    @property
    def channel(self) -> Channel:
        """What a method is told of the channel; its noise is not known."""
        return Channel(freq_ghz=self.freq_ghz, fwhm_arcmin=self.fwhm_arcmin, depth_uk_arcmin=0.0, window=self.window)

    def factors(self, stated: list[str], path: Path) -> NDArray[np.float64]:
        """Return what brings each column to uK_CMB.

        Raises:
            NoiseError: a unit is none that can be converted.
        """
        return np.array([unit_factor(self.unit or unit, 1, self.mjy_per_k, str(path)) for unit in stated])


@settings
class CleanObserved(Executor):
    """Bring the maps to one unit, frame and resolution, and clean them.

    A map that has the resolution asked for is left as it is; another one is analysed up to `lmax` and synthesised
    anew. Beams stay as they are: they are the method's to deal with.

    Attributes:
        method: what cleans them.
        folder: where the maps are.
        maps: channel -> its map.
        nside: resolution at which they are cleaned.
        lmax: highest multipole that is cleaned.
        fields: `I`, or `IQU`.
        frame: of the result.
        pixel_windows: folder of HEALPix's pixel window files, to divide each map by the window of its own pixels;
            maps are taken as sampled at the centres of pixels where None.
    """

    method: BlindMethod
    folder: Path
    maps: Mapping[str, ObservedMap]
    nside: Nside
    lmax: PositiveInt
    fields: Fields = "I"
    frame: Literal["G", "C", "E"] = "G"
    pixel_windows: Path | None = None
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP,)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look at every header, and ask the method whether it accepts such maps."""
        require_band_limit(self.lmax, self.nside)
        if self.method.needs_truth:
            message = f"{self.method.name} needs the truth, which nobody knows of observed maps; take another method="
            raise MethodError(message)
        for name in self.maps:
            self._inspect(name)
        self.method.accepts(self.observation_spec())

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the maps, and the windows of beams and pixels."""
        found = [self.folder / entry.file for entry in self.maps.values()]
        found += [entry.window for entry in self.maps.values() if entry.window is not None]
        sides = sorted({self._inspect(name).nside for name in self.maps}) if self.pixel_windows else []
        return (*found, *(path for nside in sides for path in pixel_window_files(self.pixel_windows, nside)))

    def disk_bytes(self) -> int:
        """One map, and its uncertainty."""
        return 2 * 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Read the maps, clean, write."""
        spec = self.observation_spec()
        maps = {name: SkyMap(self._read(name, io.threads), spec.maps[name]) for name in self.maps}
        started = time.perf_counter()
        with io.scratch() as scratch:
            cleaned = self.method.clean(Observation(spec, maps), scratch, io.threads)
        seconds = time.perf_counter() - started
        promised = self.method.accepts(spec)
        for asset, sky in ((CLEANED_MAP, cleaned.cmb), (UNCERTAINTY_MAP, cleaned.uncertainty)):
            if sky is None:
                continue
            if wrong := sky.spec.difference(promised, *(entry.name for entry in fields(MapSpec))):
                message = f"{self.method.name} gave another {asset.name} than it had promised: {wrong}"
                raise MethodError(message)
            io.write(asset, SkyMap(sky.values.astype("f4"), sky.spec))
        shown = list(self.method.channels_shown(spec))
        io.write(INFERENCE, {"inference_seconds": round(seconds, 4), "threads": io.threads, "channels": shown})

    def observation_spec(self) -> ObservationSpec:
        """Describe the maps as the method will see them."""
        truth = MapSpec(nside=self.nside, fields=self.fields, lmax=self.lmax, frame=self.frame)
        channels = {name: entry.channel for name, entry in self.maps.items()}
        maps = {
            name: truth.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin)
            for name, channel in channels.items()
        }
        return ObservationSpec(channels, maps, truth)

    def _inspect(self, name: str) -> RawMaps:
        """Read a header, and look whether the map can be used.

        Raises:
            MapError: it cannot.
        """
        entry = self.maps[name]
        path = self.folder / entry.file
        if not path.is_file():
            message = f"the map of channel {name}, {path}, is not there; check observed.folder and observed.maps.{name}"
            raise MapError(message)
        if len(entry.columns) != len(self.fields):
            message = (
                f"observed.maps.{name}.columns={list(entry.columns)}: fields {self.fields} need "
                f"{len(self.fields)} column{'s' * (len(self.fields) > 1)}"
            )
            raise MapError(message)
        try:
            found = inspect(path)
            names = list(found.columns)
            stated = [found.columns[names[at] if isinstance(at, int) else at] for at in entry.columns]
            entry.factors(stated, path)
        except (KeyError, IndexError) as error:
            message = f"{path} has the columns {', '.join(names)}; observed.maps.{name}.columns={list(entry.columns)}"
            raise MapError(message) from error
        except NoiseError as error:
            message = f"channel {name}: {error}; say more with observed.maps.{name}.unit and .mjy_per_k"
            raise MapError(message) from error
        if self.lmax > 3 * found.nside - 1:
            message = (
                f"the map of channel {name} has nside {found.nside}, which holds multipoles up to "
                f"{3 * found.nside - 1}; lower observed.lmax={self.lmax}, or leave the channel out"
            )
            raise MapError(message)
        return found

    def _read(self, name: str, threads: int) -> NDArray[np.float32]:
        """Read a map in uK_CMB, in the frame and at the resolution of the set, `(n_field, n_pix)`."""
        entry = self.maps[name]
        path = self.folder / entry.file
        values, stated = read_raw_columns(path, entry.columns)
        values *= entry.factors(stated, path)[:, None]
        nside = round(np.sqrt(values.shape[1] / 12))
        if nside != self.nside or entry.frame != self.frame or self.pixel_windows is not None:
            alm = analyse(values, self.lmax, threads)
            window = pixel_window(self.pixel_windows, nside, self.lmax, len(self.fields))
            alm = rotate(filter_components(alm, 1 / window), entry.frame, self.frame, threads)
            values = synthesise(alm, self.nside, threads)
        return values.astype(np.float32)
