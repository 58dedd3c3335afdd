"""Judge a cleaned map pixel by pixel, at every footing, and its error bars as they were given."""

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_columns
from cmbml.methods.base import ChannelName
from cmbml.metrics.floors import noise_rms, noise_spectrum, perfect_map
from cmbml.metrics.footing import Footing, Window, map_window, to_conventions, to_footing, unit_factor, windows
from cmbml.metrics.pixel import PIXEL_METRICS, MonopoleDipole, Regions, pixel_metrics, sweep
from cmbml.metrics.scores import Score
from cmbml.metrics.uncertainty import UNCERTAINTY_METRICS, sweep_uncertainty, uncertainty_metrics
from cmbml.settings import settings
from cmbml.sky.case import require_map
from cmbml.sky.harmonics import Alm, alm_lmax, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec
from cmbml.sky.masks import degrade_mask
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import (
    CLEANED_MAP,
    CMB_ALM,
    INFERENCE,
    MASK,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    UNCERTAINTY_MAP,
)
from cmbml.stages.maps import Maps

PERFECT = {"mae": 0.0, "rmse": 0.0, "nrmse": 0.0, "psnr_truth": math.inf}
AS_GIVEN = "as given"
"""Where error bars are scored: they hold for the map as the method gave it, and at no other footing."""


@settings
class OnPixels(Judge):
    """Look at the pixels inside the mask, in latitude bands and in further masks.

    Attributes:
        maps: what the maps of the dataset are.
        sky_masks: name -> HEALPix file (its first column) of further parts of the sky.
    """

    maps: Maps
    sky_masks: Mapping[str, Path]

    def files(self) -> tuple[Path, ...]:
        """Return the files of the further masks."""
        return tuple(self.sky_masks.values())

    def parts_of_the_sky(self, io: UnitIO) -> tuple[Regions, MonopoleDipole]:
        """Return where is scored, and what is removed from intensity first."""
        mask = io.read(MASK).values[0] > 0.5
        skies = {
            name: degrade_mask(read_raw_columns(path)[0][0], self.maps.nside, 0.5)
            for name, path in self.sky_masks.items()
        }
        return Regions.of(mask, skies=skies), MonopoleDipole.outside(mask)


@settings
class Pixels(OnPixels):
    """Compare truth and prediction at every footing.

    Attributes:
        footings: where they are compared.
        channels: the instrument, for what the noise alone allows of the channels that a method was shown.
        observed: the channels of the dataset: `all` that the instrument has, or some.
    """

    footings: tuple[Footing, ...]
    channels: Mapping[str, Channel]
    observed: tuple[ChannelName, ...] | Literal["all"]
    reads: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC, INFERENCE, CMB_ALM, MASK)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of each footing, field and region."""
        spec = spec_of(io.read(PREDICTION_SPEC))
        truth, prediction = io.read(CMB_ALM), io.read(PREDICTION_ALM)
        regions, dipole = self.parts_of_the_sky(io)
        own = map_window(spec, alm_lmax(truth.shape[-1]), len(prediction), pixel_windows=self.maps.pixel_windows)
        shown = self._shown(io.read(INFERENCE)["channels"])
        for footing in self.footings:
            maps = to_footing(prediction, spec, truth, footing, self.maps.nside, io.threads, own)
            perfect = self._perfect(truth, spec, footing, own, io.threads)
            for i, field in enumerate(spec.fields[: len(prediction)]):
                t, p = (dipole.remove(values[i]) if field == "I" else values[i] for values in maps)
                states = sweep(t, p, regions)
                floors = dict.fromkeys(states, PERFECT)
                if perfect is not None:
                    ideal = dipole.remove(perfect[i]) if field == "I" else perfect[i]
                    floors = {name: pixel_metrics(state) for name, state in sweep(t, ideal, regions).items()}
                noise = noise_floor(shown, field, footing, own.shape[-1] - 1) if shown else math.nan
                for name, state in states.items():
                    found = pixel_metrics(state)
                    for metric in PIXEL_METRICS:
                        yield Score(
                            metric,
                            footing.name,
                            field,
                            name,
                            found[metric.name],
                            floor=floors[name][metric.name] if metric.name in PERFECT else math.nan,
                            noise_floor=noise if metric.name == "rmse" else math.nan,
                            count=regions.n_pix[name],
                        )

    def _perfect(self, truth: Alm, spec: MapSpec, footing: Footing, own: Window, threads: int) -> np.ndarray | None:
        """Return what a perfect map becomes at a footing; None where that is the truth itself."""
        scale = windows(spec, footing, own.shape[-1] - 1, len(own), own)
        if np.allclose(scale.perfect, scale.truth, atol=1e-9):
            return None
        return perfect_map(truth, spec, footing, self.maps.nside, threads, own)

    def _shown(self, channels: Collection[str] | None) -> list[Channel]:
        """Return the channels of the dataset that a method was shown; all where nobody knows (None)."""
        observed = self.channels if self.observed == "all" else self.observed
        return [self.channels[name] for name in observed if channels is None or name in channels]


def noise_floor(channels: Collection[Channel], field: str, footing: Footing, lmax: int) -> float:
    """Return the rms that the noise of some channels alone allows of a field at a footing, uK_CMB."""
    spectra = np.stack([noise_spectrum(channel, field, lmax) for channel in channels])
    beams = np.stack([channel.beam(lmax, 1)[0] for channel in channels])
    return noise_rms(spectra, beams, footing.beam(lmax, 1)[0])


def spec_of(stored: dict[str, Any]) -> MapSpec:
    """Return the description of a prediction from what `PREDICTION_SPEC` holds."""
    return MapSpec(**{name: value for name, value in stored.items() if name != "values_sha256"})


@settings
class ErrorBars(OnPixels):
    """Compare a method's errors with its error bars, if these are at the resolution and in the frame of the dataset."""

    reads: ClassVar = (CLEANED_MAP, PREDICTION_SPEC, CMB_ALM, MASK)
    may_read: ClassVar = (UNCERTAINTY_MAP,)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of each field and region, as given."""
        given, spec = io.read_optional(UNCERTAINTY_MAP), spec_of(io.read(PREDICTION_SPEC))
        sigma = None if given is None else require_map(given)
        if sigma is None or (sigma.spec.nside, sigma.spec.frame) != (self.maps.nside, spec.frame):
            return
        cleaned, truth = require_map(io.read(CLEANED_MAP)), io.read(CMB_ALM)
        n_comp = min(len(truth), len(cleaned.values))
        own = map_window(spec, alm_lmax(truth.shape[-1]), n_comp, pixel_windows=self.maps.pixel_windows)
        regions, dipole = self.parts_of_the_sky(io)
        seen = synthesise(filter_components(truth[:n_comp], own), cleaned.spec.nside, io.threads)
        prediction = to_conventions(cleaned, "uK_CMB").values
        bars = np.multiply(sigma.values, unit_factor(sigma.spec.unit, "uK_CMB"), dtype=np.float32)
        for i, field in enumerate(cleaned.spec.fields[:n_comp]):
            t, p = (dipole.remove(values[i]) if field == "I" else values[i] for values in (seen, prediction))
            for name, state in sweep_uncertainty(t, p, bars[i], regions).items():
                found = uncertainty_metrics(state)
                for metric in UNCERTAINTY_METRICS:
                    yield Score(metric, AS_GIVEN, field, name, found[metric.name], count=regions.n_pix[name])
