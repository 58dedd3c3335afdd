"""Clean a set of real maps, one file per channel, as a mission has published them."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import RawHeader, read_raw_header, read_raw_map
from cmbml.methods.base import BlindMethod, MethodError
from cmbml.settings import NonNegativeFloat, Nside, PositiveFloat, settings
from cmbml.sky.beams import pixel_window, pixel_window_files
from cmbml.sky.case import ChannelWeights, Observation, ObservationSpec
from cmbml.sky.harmonics import analyse, filter_components, require_band_limit, rotate, synthesise
from cmbml.sky.instrument import Channel, white_depth
from cmbml.sky.maps import Fields, Frame, MapError, MapSpec, SkyMap
from cmbml.sky.plausibility import require_beam, require_error_bars, require_plausible
from cmbml.stages.assets import CHANNEL_WEIGHTS, CLEANED_MAP, INFERENCE, METHOD, SAMPLES, SIM, SPLIT, UNCERTAINTY_MAP
from cmbml.stages.modelling.external import spec_with_templates, template_windows, with_templates
from cmbml.stages.modelling.stage import write_answer

log = logging.getLogger(f"cmbml.{__name__}")


@settings
class ObservedMap:
    """The map of one channel; its resolution and its ordering are what its header says.

    What is known of its noise is said in one way: by its depth, by a map of its standard deviation, or by two maps of
    halves of the data. Where nothing is known, the cleaned map has no error bars.

    Attributes:
        file: below the folder of the observations.
        columns: numbers or names of its columns: I; or I, Q, U.
        freq_ghz: centre frequency.
        fwhm_arcmin: full width at half maximum of the Gaussian beam.
        window: a table of the beam's window function, used in place of the Gaussian.
        unit: K_CMB, mK_CMB, uK_CMB or MJy/sr; what the header says where None. It holds for what is known of the
            noise, too.
        mjy_per_k: MJy/sr per K_CMB over the channel's band, for a map in MJy/sr. There is no default: at 857 GHz the
            band of Planck gives 2.27, and its centre alone 1.44.
        frame: G Galactic, C equatorial, E ecliptic; what the header says where None, or else G.
        depth_uk_arcmin: white noise level of intensity, uK_CMB arcmin.
        depth_p_uk_arcmin: the same for Q and U; sqrt(2) times that of intensity by default.
        noise_std: a map, below the folder, of the noise's standard deviation; its first columns are read.
        halves: two maps, below the folder, with `columns`, of which `file` is the mean, such as of half missions; half
            their difference is taken for the noise.
    """

    file: Path
    columns: tuple[int | str, ...] = (0,)
    freq_ghz: PositiveFloat
    fwhm_arcmin: NonNegativeFloat
    window: Path | None = None
    unit: str | None = None
    mjy_per_k: PositiveFloat | None = None
    frame: Frame | None = None
    depth_uk_arcmin: PositiveFloat | None = None
    depth_p_uk_arcmin: PositiveFloat | None = None
    noise_std: Path | None = None
    halves: tuple[Path, Path] | None = None

    @property
    def noise_is_known(self) -> bool:
        """Whether anything is said of the noise."""
        return any(entry is not None for entry in (self.depth_uk_arcmin, self.noise_std, self.halves))

    @property
    def noise_files(self) -> tuple[Path, ...]:
        """The maps that tell of the noise."""
        return self.halves or ((self.noise_std,) if self.noise_std is not None else ())

    def read(self, path: Path, columns: tuple[int | str, ...]) -> NDArray[np.float64]:
        """Read columns of a file, `(n_column, n_pix)`, uK_CMB."""
        return read_raw_map(path, columns, self.unit, self.mjy_per_k)

    def channel(self, folder: Path | None = None) -> Channel:
        """Say what a method is told of the channel; a depth of zero where nothing is known of its noise.

        Args:
            folder: where the maps that tell of the noise are; None to tell but whether it is known, without a look.
        """
        depths = (self.depth_uk_arcmin or 0.0, self.depth_p_uk_arcmin)
        if self.noise_files:
            found = np.ones(len(self.columns)) if folder is None else white_depth(self._noise(folder))
            depths = (float(found[0]), float(np.sqrt(np.mean(found[1:] ** 2))) if len(found) > 1 else None)
        return Channel(
            freq_ghz=self.freq_ghz,
            fwhm_arcmin=self.fwhm_arcmin,
            depth_uk_arcmin=depths[0],
            depth_p_uk_arcmin=depths[1],
            window=self.window,
        )

    def _noise(self, folder: Path) -> NDArray[np.float64]:
        """Read the noise, or its standard deviation, `(n_field, n_pix)`, uK_CMB."""
        if self.halves is not None:
            first, second = (self.read(folder / path, self.columns) for path in self.halves)
            half = (first - second) / 2
            noise: NDArray[np.float64] = half - half.mean(axis=1, keepdims=True)
            return noise
        path = folder / self.noise_files[0]
        bars = self.read(path, tuple(range(len(self.columns))))
        require_error_bars(bars, str(path), "say its unit in the header, or in observed.maps.*.unit")
        return bars


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
    frame: Frame = "G"
    pixel_windows: Path | None = None
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP, SAMPLES, CHANNEL_WEIGHTS)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 3

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look at every header, and ask the method whether it accepts such maps."""
        require_band_limit(self.lmax, self.nside)
        require_one_noise(self.maps)
        if self.method.needs_truth:
            message = f"{self.method.name} needs the truth, which nobody knows of observed maps; take another method="
            raise MethodError(message)
        for name in self.maps:
            self._inspect(name)
        self.method.accepts(spec_with_templates(self.observation_spec(noise=False), self.method.maps_from_elsewhere()))

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the maps, what tells of their noise, and the windows of beams and pixels."""
        entries = self.maps.values()
        found = [self.folder / path for entry in entries for path in (entry.file, *entry.noise_files)]
        found += [entry.window for entry in self.maps.values() if entry.window is not None]
        sides = sorted({self._inspect(name).nside for name in self.maps}) if self.pixel_windows else []
        found += [path for nside in sides for path in pixel_window_files(self.pixel_windows, nside)]
        return (*found, *self.method.files(), *template_windows(self.method.maps_from_elsewhere()))

    def disk_bytes(self) -> int:
        """One map, and its uncertainty."""
        return 2 * 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Read the maps, clean, write."""
        spec = self.observation_spec()
        maps = {name: SkyMap(self._read(name, io.threads), spec.shown[name]) for name in self.maps}
        seen = with_templates(Observation(spec, maps), self.method.maps_from_elsewhere())
        started = time.perf_counter()
        with io.scratch() as scratch:
            answer = self.method.clean(seen, scratch, io.threads)
        seconds = time.perf_counter() - started
        if not self._noise_is_known():
            answer = replace(answer, sigma=None)
        write_answer(io, self.method.name, answer, self.method.accepts(seen.spec))
        if answer.weights is not None:
            io.write(CHANNEL_WEIGHTS, weights_table(answer.weights))
        shown = list(self.method.channels_shown(spec))
        io.write(INFERENCE, {"inference_seconds": round(seconds, 4), "threads": io.threads, "channels": shown})

    def _noise_is_known(self) -> bool:
        """Look whether error bars would hold the noise of every channel that is combined; say so if they would not."""
        used = getattr(self.method, "channels", self.maps)
        unknown = [name for name in used if not self.maps[name].noise_is_known]
        if unknown:
            log.info(
                "%s gets no uncertainty map: nothing is known of the noise of channel %s; give depth_uk_arcmin, "
                "noise_std or halves in observed.maps.%s",
                self.method.name,
                ", ".join(unknown),
                unknown[0],
            )
        return not unknown

    def observation_spec(self, noise: bool = True) -> ObservationSpec:
        """Describe the maps as the method will see them.

        Args:
            noise: whether to look at the maps that tell of the noise; without, depths stand for their being known.
        """
        truth = MapSpec(nside=self.nside, fields=self.fields, lmax=self.lmax, frame=self.frame)
        channels = {name: entry.channel(self.folder if noise else None) for name, entry in self.maps.items()}
        maps = {
            name: truth.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin)
            for name, channel in channels.items()
        }
        return ObservationSpec(maps, truth, channels)

    def _inspect(self, name: str) -> RawHeader:
        """Read a header, and look whether the map can be used.

        Raises:
            MapError: it cannot.
        """
        entry, place = self.maps[name], f"observed.maps.{name}"
        for path in (self.folder / file for file in (entry.file, *entry.noise_files)):
            if not path.is_file():
                message = f"the map of channel {name}, {path}, is not there; check observed.folder and {place}"
                raise MapError(message)
        if len(entry.columns) != len(self.fields):
            message = (
                f"{place}.columns={list(entry.columns)}: fields {self.fields} need "
                f"{len(self.fields)} column{'s' * (len(self.fields) > 1)}"
            )
            raise MapError(message)
        require_beam(entry.fwhm_arcmin, f"{place}.fwhm_arcmin")
        found = read_raw_header(self.folder / entry.file)
        try:
            found.unit_factors(entry.columns, entry.unit, entry.mjy_per_k)
        except MapError as error:
            message = f"channel {name}: {error}; say more with {place}.unit, .mjy_per_k and .columns"
            raise MapError(message) from error
        found.frame(entry.frame, f"{place}.frame")
        if self.lmax > 3 * found.nside - 1:
            message = (
                f"the map of channel {name} has nside {found.nside}, which holds multipoles up to "
                f"{3 * found.nside - 1}; lower observed.lmax={self.lmax}, or leave the channel out"
            )
            raise MapError(message)
        return found

    def _read(self, name: str, threads: int) -> NDArray[np.float32]:
        """Read a map in uK_CMB, in the frame and at the resolution of the set, `(n_field, n_pix)`."""
        entry, header = self.maps[name], self._inspect(name)
        values = entry.read(header.path, entry.columns)
        frame = header.frame(entry.frame, f"observed.maps.{name}.frame")
        mend = f"set observed.maps.{name}.unit to the unit that the numbers have"
        require_plausible(values, frame, header.taken_as(entry.columns, entry.unit), mend, entry.freq_ghz)
        if header.nside != self.nside or frame != self.frame or self.pixel_windows is not None:
            alm = analyse(values, self.lmax, threads)
            window = pixel_window(self.pixel_windows, header.nside, self.lmax, len(self.fields))
            alm = rotate(filter_components(alm, 1 / window), frame, self.frame, threads)
            values = np.asarray(synthesise(alm, self.nside, threads), np.float64)
        return values.astype(np.float32)


def weights_table(weights: ChannelWeights) -> Table:
    """Return weights as a table, a row for each channel and place."""
    shape = weights.mean.shape
    return Table(
        {
            "channel": np.repeat(weights.rows, shape[1]),
            "along": np.full(weights.mean.size, weights.along),
            "at": np.tile(weights.at, shape[0]),
            **{name: getattr(weights, name).ravel() for name in ("mean", "low", "high")},
        }
    )


def require_one_noise(maps: Mapping[str, ObservedMap]) -> None:
    """Check that the noise of no channel is said in two ways.

    Raises:
        MapError: it is.
    """
    for name, entry in maps.items():
        ways = {"depth_uk_arcmin": entry.depth_uk_arcmin, "noise_std": entry.noise_std, "halves": entry.halves}
        said = [way for way, value in ways.items() if value is not None]
        if len(said) > 1:
            message = f"observed.maps.{name} says its noise by {' and by '.join(said)}; keep one of them"
            raise MapError(message)
        if entry.depth_p_uk_arcmin is not None and entry.depth_uk_arcmin is None:
            message = f"observed.maps.{name}.depth_p_uk_arcmin needs depth_uk_arcmin beside it"
            raise MapError(message)
