"""Score a cleaned map pixel by pixel, at every footing."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from astropy.table import Table

from cmbml.core.errors import UndeclaredError
from cmbml.core.executor import Executor
from cmbml.core.space import Key
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_columns
from cmbml.methods.base import ChannelName
from cmbml.metrics.floors import noise_rms, noise_spectrum, perfect_map
from cmbml.metrics.footing import Footing, Window, map_window, to_conventions, to_footing, unit_factor, windows
from cmbml.metrics.pixel import MonopoleDipole, Regions, State, pixel_metrics, sweep
from cmbml.metrics.uncertainty import sweep_uncertainty, uncertainty_metrics
from cmbml.settings import settings
from cmbml.sky.harmonics import Alm, alm_lmax, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.masks import degrade_mask
from cmbml.stages.assets import (
    CLEANED_MAP,
    CMB_ALM,
    INFERENCE,
    MASK,
    METHOD,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    SCORES,
    SIM,
    SKY,
    SKY_RECIPE,
    SPLIT,
    UNCERTAINTY_MAP,
)
from cmbml.stages.maps import Maps

PERFECT = {"mae": 0.0, "rmse": 0.0, "nrmse": 0.0, "psnr_truth": math.inf}
NO_PIXEL_SCORES = pixel_metrics(State()) | dict.fromkeys(
    (*(f"floor_{name}" for name in PERFECT), "noise_rmse"), math.nan
)
NO_ERROR_BARS = uncertainty_metrics(State())
AS_GIVEN = "as given"
"""Where error bars are scored: they hold for the map as the method gave it, and at no other footing."""


@settings
class ScorePixels(Executor):
    """Compare truth and prediction at every footing, inside the mask, in latitude bands and in further masks.

    Error bars have rows of their own, `as given`, if they are at the resolution and in the frame of the comparison.

    Attributes:
        footings: where they are compared.
        maps: what the maps of the dataset are.
        channels: the instrument, for what the noise alone allows of the channels that a method was shown.
        observed: the channels of the dataset: `all` that the instrument has, or some.
        sky_masks: name -> HEALPix file (its first column) of further parts of the sky.
    """

    footings: tuple[Footing, ...]
    maps: Maps
    channels: Mapping[str, Channel]
    observed: tuple[ChannelName, ...] | Literal["all"]
    sky_masks: Mapping[str, Path]
    reads: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC, CLEANED_MAP, INFERENCE, CMB_ALM, MASK)
    may_read: ClassVar = (UNCERTAINTY_MAP, SKY_RECIPE)
    writes: ClassVar = (SCORES,)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the files of the further masks."""
        return tuple(self.sky_masks.values())

    def process(self, io: UnitIO) -> None:
        """Compare and write a row per footing, field and region."""
        spec = spec_of(io.read(PREDICTION_SPEC))
        truth, prediction = io.read(CMB_ALM), io.read(PREDICTION_ALM)
        mask = io.read(MASK).values[0] > 0.5
        skies = {
            name: degrade_mask(read_raw_columns(path)[0][0], self.maps.nside, 0.5)
            for name, path in self.sky_masks.items()
        }
        regions, dipole = Regions.of(mask, skies=skies), MonopoleDipole.outside(mask)
        own = map_window(spec, alm_lmax(truth.shape[-1]), len(prediction), pixel_windows=self.maps.pixel_windows)
        shown = self._shown(io.read(INFERENCE)["channels"])
        rows: list[dict[str, Any]] = []
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
                noise = noise_floor(shown, field, footing, own.shape[-1] - 1)
                for name, state in states.items():
                    rows.append(
                        {"footing": footing.name, "field": field, "region": name, "n_pix": regions.n_pix[name]}
                        | pixel_metrics(state)
                        | {f"floor_{metric}": floors[name][metric] for metric in PERFECT}
                        | {"noise_rmse": noise}
                        | NO_ERROR_BARS
                    )
        sigma = io.read_optional(UNCERTAINTY_MAP)
        if sigma is not None and (sigma.spec.nside, sigma.spec.frame) == (self.maps.nside, spec.frame):
            rows += error_bars(truth, io.read(CLEANED_MAP), sigma, own, regions, dipole, io.threads)
        io.write(SCORES, Table([{"sky": sky_of(io)} | row for row in rows]))

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


def noise_floor(channels: Collection[Channel], field: Literal["I", "Q", "U"], footing: Footing, lmax: int) -> float:
    """Return the rms that the noise of some channels alone allows of a field at a footing, uK_CMB."""
    spectra = np.stack([noise_spectrum(channel, field, lmax) for channel in channels])
    beams = np.stack([channel.beam(lmax, 1)[0] for channel in channels])
    return noise_rms(spectra, beams, footing.beam(lmax, 1)[0])


def sky_of(io: UnitIO) -> str:
    """Return which sky a simulation sees; empty where nobody knows, as of imported simulations."""
    try:
        return io.along(SKY_RECIPE, SKY)[0]
    except UndeclaredError:
        return ""


def spec_of(stored: Mapping[str, Any]) -> MapSpec:
    """Return the description of a prediction from what `PREDICTION_SPEC` holds."""
    return MapSpec(**{name: value for name, value in stored.items() if name != "values_sha256"})


def error_bars(
    truth: Alm, cleaned: SkyMap, sigma: SkyMap, own: Window, regions: Regions, dipole: MonopoleDipole, threads: int
) -> list[dict[str, Any]]:
    """Score a method's error bars on its map as it gave it.

    Args:
        truth: `(n_comp, n_alm)`, uK_CMB, without a beam.
        cleaned: the map, in the truth's frame.
        sigma: standard deviation of its error.
        own: `(n_comp, lmax + 1)`: beam times pixel window of the map.
        regions: where they are scored.
        dipole: what is removed from intensity first.
        threads: CPU threads.

    Returns:
        A row per field and region, NaN in what is no score of error bars.
    """
    n_comp = len(own)
    seen = synthesise(filter_components(truth[:n_comp], own), cleaned.spec.nside, threads)
    prediction = to_conventions(cleaned, "uK_CMB").values
    bars = sigma.values * np.float32(unit_factor(sigma.spec.unit, "uK_CMB"))
    rows: list[dict[str, Any]] = []
    for i, field in enumerate(cleaned.spec.fields[:n_comp]):
        t, p = (dipole.remove(values[i]) if field == "I" else values[i] for values in (seen, prediction))
        for name, state in sweep_uncertainty(t, p, bars[i], regions).items():
            where = {"footing": AS_GIVEN, "field": field, "region": name, "n_pix": regions.n_pix[name]}
            rows.append(where | NO_PIXEL_SCORES | uncertainty_metrics(state))
    return rows
