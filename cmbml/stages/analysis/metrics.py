"""Judge a cleaned map pixel by pixel, at every footing."""

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_columns
from cmbml.methods.base import ChannelName
from cmbml.metrics.floors import noise_rms, noise_spectrum, perfect_map
from cmbml.metrics.footing import Footing, Window, map_window, to_footing, windows
from cmbml.metrics.pixel import PIXEL_METRICS, MonopoleDipole, Regions, pixel_metrics, sweep
from cmbml.metrics.scores import Score
from cmbml.metrics.uncertainty import brightness_classes
from cmbml.settings import settings
from cmbml.sky.harmonics import Alm, alm_lmax
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.masks import degrade_mask
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import (
    CMB_ALM,
    INFERENCE,
    MASK,
    PREDICTION_ALM,
    PREDICTION_SPEC,
)
from cmbml.stages.maps import Maps

PERFECT = {"mae": 0.0, "rmse": 0.0, "nrmse": 0.0, "psnr_truth": math.inf}
AS_GIVEN = "as given"
"""Where error bars are scored: they hold for the map as the method gave it, and at no other footing."""
BY_PATCHES = "spectra of patches"
"""Where error bars of spectra are scored."""


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

    def parts_of_the_sky(self, io: UnitIO, tracer: SkyMap | None = None) -> tuple[Regions, MonopoleDipole]:
        """Return where is scored, and what is removed from intensity first.

        Args:
            io: of a unit that reads the mask.
            tracer: a channel by whose brightness the pixels of the mask are sorted into fifths, too.
        """
        mask = io.read(MASK).values[0] > 0.5
        skies = {
            name: degrade_mask(read_raw_columns(path)[0][0], self.maps.nside, 0.5)
            for name, path in self.sky_masks.items()
        }
        classes = {} if tracer is None else brightness_classes(tracer.values[0], mask)
        return Regions.of(mask, skies=skies, classes=classes), MonopoleDipole.outside(mask)


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
