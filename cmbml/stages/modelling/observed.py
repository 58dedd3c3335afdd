"""Clean a set of real maps, one file per channel, as a mission has published them, and two halves of it alike."""

import logging
import time
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import RawHeader
from cmbml.methods.base import BlindMethod, Method, MethodError
from cmbml.methods.spnet.tuning import Tuning
from cmbml.methods.trained import Hardware, TrainedMethod
from cmbml.settings import Nside, later, settings
from cmbml.sky.beams import pixel_window, pixel_window_files
from cmbml.sky.case import ChannelWeights, Observation, ObservationSpec
from cmbml.sky.harmonics import analyse, filter_components, require_band_limit, rotate, synthesise
from cmbml.sky.maps import Fields, Frame, MapError, MapSpec, SkyMap
from cmbml.sky.plausibility import require_plausible
from cmbml.stages.assets import (
    CHANNEL_WEIGHTS,
    CLEANED_MAP,
    FIRST_HALF_MAP,
    HALF_DIFFERENCE_MAP,
    INFERENCE,
    METHOD,
    SAMPLES,
    SECOND_HALF_MAP,
    SIM,
    SPLIT,
    UNCERTAINTY_MAP,
)
from cmbml.stages.modelling.external import spec_with_templates, template_windows, with_templates
from cmbml.stages.modelling.learnt import Learnt
from cmbml.stages.modelling.observed_maps import ObservedMap, require_one_noise
from cmbml.stages.modelling.stage import write_answer

log = logging.getLogger(f"cmbml.{__name__}")
HALVES = (FIRST_HALF_MAP, SECOND_HALF_MAP, HALF_DIFFERENCE_MAP)


@settings
class CleanObserved(Executor):
    """Bring the maps to one unit, frame and resolution, and clean them.

    A map that has the resolution asked for is left as it is; another one is analysed up to `lmax` and synthesised
    anew. Beams stay as they are: they are the method's to deal with.

    Where every channel that the method looks at has two halves of its data, and it is none that learns, both are
    cleaned with the weights that were found in the whole maps. They share all of the sky and nothing of their noise:
    that of the cleaned map is half their difference, and the cross-spectrum of the two has no noise in it.

    Attributes:
        method: what cleans them.
        weights: what it has learnt, if it learns: a file, or the name of weights that come with the package.
        hardware: what it runs on, if it learns.
        tuning: how much of a correction it subtracts, if it corrects an estimate; None: all of it.
        folder: where the maps are.
        maps: channel -> its map.
        nside: resolution at which they are cleaned.
        lmax: highest multipole that is cleaned.
        fields: `I`, or `IQU`.
        frame: of the result.
        pixel_windows: folder of HEALPix's pixel window files, to divide each map by the window of its own pixels;
            maps are taken as sampled at the centres of pixels where None.
    """

    method: Method
    folder: Path
    maps: Mapping[str, ObservedMap]
    nside: Nside
    lmax: PositiveInt
    fields: Fields = "I"
    frame: Frame = "G"
    pixel_windows: Path | None = None
    weights: Path | None = later(None)
    hardware: Hardware | None = field(default=None, metadata={"matters": False})
    tuning: Tuning | None = later(None)
    writes: ClassVar = (CLEANED_MAP, INFERENCE)
    may_write: ClassVar = (UNCERTAINTY_MAP, SAMPLES, CHANNEL_WEIGHTS, *HALVES)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 4

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look at every header, and ask the method whether it accepts such maps."""
        method = self._blind
        require_band_limit(self.lmax, self.nside)
        require_one_noise(self.maps)
        if method.needs_truth:
            message = f"{method.name} needs the truth, which nobody knows of observed maps; take another method="
            raise MethodError(message)
        for name in self.maps:
            self._inspect(name)
        spec = self.observation_spec(noise=False)
        method.accepts(spec_with_templates(spec, method.maps_from_elsewhere()))
        named = self._named_halves()
        lacking = [name for name in method.channels_shown(spec) if name not in named]
        if named and isinstance(self.method, TrainedMethod):
            log.info("%s cleans no halves: it was trained for the noise of the whole, and is not linear", method.name)
        elif named and lacking:
            log.info(
                "%s cleans no halves: channel %s has none; name them in observed.maps.%s.halves",
                method.name,
                ", ".join(lacking),
                lacking[0],
            )

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the maps, what tells of their noise, and the windows of beams and pixels."""
        entries = self.maps.values()
        named = (dict.fromkeys((*entry.sky_files, *entry.noise_files)) for entry in entries)
        found = [self.folder / path for paths in named for path in paths]
        found += [entry.window for entry in self.maps.values() if entry.window is not None]
        sides = sorted({self._inspect(name).nside for name in self.maps}) if self.pixel_windows else []
        found += [path for nside in sides for path in pixel_window_files(self.pixel_windows, nside)]
        return (*found, *self._blind.files(), *template_windows(self._blind.maps_from_elsewhere()))

    def disk_bytes(self) -> int:
        """One map, and its uncertainty; of halves three more."""
        return (5 if self._named_halves() else 2) * 48 * self.nside**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Read the maps, clean, write."""
        method = self._blind
        spec = self.observation_spec()
        maps = {
            name: self._brought(name, entry.read(self.folder), spec, io.threads) for name, entry in self.maps.items()
        }
        seen, *halves = (
            with_templates(Observation(spec, found), method.maps_from_elsewhere())
            for found in (maps, *self._halves(spec, io.threads))
        )
        started = time.perf_counter()
        with io.scratch() as scratch:
            answer, alike = method.clean_alike(seen, [half.shown for half in halves], scratch, io.threads)
        seconds = time.perf_counter() - started
        if not self._noise_is_known():
            answer = replace(answer, sigma=None)
        write_answer(io, self.method.name, answer, self.method.accepts(seen.spec))
        if answer.weights is not None:
            io.write(CHANNEL_WEIGHTS, weights_table(answer.weights))
        if alike:
            first, second = alike
            difference = replace(first, values=(first.values.astype(np.float64) - second.values) / 2)
            for asset, sky in zip(HALVES, (first, second, difference), strict=True):
                io.write(asset, replace(sky, values=sky.values.astype(np.float32)))
        shown = list(self.method.channels_shown(spec))
        io.write(INFERENCE, {"inference_seconds": round(seconds, 4), "threads": io.threads, "channels": shown})

    @property
    def _blind(self) -> BlindMethod:
        """The method, with what it has learnt."""
        if isinstance(self.method, BlindMethod):
            for name, given in (("observed.weights", self.weights), ("tuning", self.tuning)):
                if given is not None:
                    message = f"{self.method.name} learns nothing: {name} is for what does, such as method=spnet"
                    raise MethodError(message)
            return self.method
        if not isinstance(self.method, TrainedMethod):
            message = f"method={self.method.name}: its class is none that cleans"
            raise MethodError(message)
        if self.weights is None:
            message = (
                f"{self.method.name} learns from simulations: name what it has learnt, observed.weights="
                f"datasets/NAME/train/{self.method.name}/state.safetensors"
            )
            raise MethodError(message)
        hardware = self.hardware or Hardware()
        return Learnt(
            name=self.method.name, method=self.method, weights=self.weights, hardware=hardware, tuning=self.tuning
        )

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
        """Read the headers of a channel, and look whether its maps can be used.

        Raises:
            MapError: they cannot.
        """
        entry, place = self.maps[name], f"observed.maps.{name}"
        if len(entry.columns) != len(self.fields):
            message = (
                f"{place}.columns={list(entry.columns)}: fields {self.fields} need "
                f"{len(self.fields)} column{'s' * (len(self.fields) > 1)}"
            )
            raise MapError(message)
        found = entry.inspect(name, self.folder)
        if self.lmax > 3 * found.nside - 1:
            message = (
                f"the map of channel {name} has nside {found.nside}, which holds multipoles up to "
                f"{3 * found.nside - 1}; lower observed.lmax={self.lmax}, or leave the channel out"
            )
            raise MapError(message)
        return found

    def _named_halves(self) -> list[str]:
        """Return the channels that have halves."""
        return [name for name, entry in self.maps.items() if entry.halves is not None]

    def _halves(self, spec: ObservationSpec, threads: int) -> list[dict[str, SkyMap]]:
        """Read both halves of all channels that the method looks at; none, where one of these has none."""
        used = self.method.channels_shown(spec)
        if isinstance(self.method, TrainedMethod) or not set(used) <= set(self._named_halves()):
            return []
        halves: list[dict[str, SkyMap]] = [{}, {}]
        for name in used:
            for half, values in zip(halves, self.maps[name].read_halves(self.folder), strict=True):
                half[name] = self._brought(name, values, spec, threads)
        return halves

    def _brought(self, name: str, values: NDArray[np.float64], spec: ObservationSpec, threads: int) -> SkyMap:
        """Bring a map of a channel, in uK_CMB, to the frame and the resolution of the set."""
        entry, header = self.maps[name], self._inspect(name)
        frame = header.frame(entry.frame, f"observed.maps.{name}.frame")
        mend = f"set observed.maps.{name}.unit to the unit that the numbers have"
        require_plausible(values, frame, header.taken_as(entry.columns, entry.unit), mend, entry.freq_ghz)
        if header.nside != self.nside or frame != self.frame or self.pixel_windows is not None:
            alm = analyse(values, self.lmax, threads)
            window = pixel_window(self.pixel_windows, header.nside, self.lmax, len(self.fields))
            alm = rotate(filter_components(alm, 1 / window), frame, self.frame, threads)
            values = np.asarray(synthesise(alm, self.nside, threads), np.float64)
        return SkyMap(values.astype(np.float32), spec.shown[name])


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
