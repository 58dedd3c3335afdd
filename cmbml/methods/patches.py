"""Patches of the sky as the samples of a network."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, final

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.methods.base import ChannelName, ChannelNames, MethodError
from cmbml.methods.trained import Examples, describe, known
from cmbml.settings import Fraction, NonNegativeFloat, PositiveFloat, later, settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Answer, Case, CaseSpec, Observation, ObservationSpec
from cmbml.sky.centres import Half, rings, uniform
from cmbml.sky.harmonics import analyse, filter_components
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.patches import Cutter, Patches, PatchSpec, Stitcher, cut, cut_exactly

log = logging.getLogger(__name__)
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
MAX_MAPS_KEPT = 2


@lru_cache(MAX_MAPS_KEPT)
def _stitcher(spec: PatchSpec, overlap: float) -> Stitcher:
    return Stitcher(spec, rings(spec, overlap))


@lru_cache(MAX_MAPS_KEPT)
def _cutter(spec: PatchSpec, overlap: float, interpolation: Literal["bilinear", "nearest"]) -> Cutter:
    return Cutter(spec, rings(spec, overlap), interpolation)


@lru_cache
def _warn(text: str) -> None:
    """Say something once in a run."""
    if text:
        log.warning("%s", text)


class Squares(Examples):
    """Patches have the eight symmetries of the square."""

    n_symmetries: ClassVar[int] = 8

    def turned(self, values: Float32, number: int, n_field: int) -> Float32:
        """Turn a patch by right angles, and reflect it; Q and U change sign with the axes they refer to."""
        turns, mirrored = number % 4, number >= 4
        out = np.rot90(values, turns, axes=(-2, -1))
        out = (out[..., ::-1] if mirrored else out).copy()  # for what is given may be a file that is only read
        if n_field == 3:
            fields = out.reshape(-1, 3, *out.shape[-2:])
            fields[:, 1:] *= (-1) ** turns
            fields[:, 2] *= -1 if mirrored else 1
        return out


ANALYSIS: dict[str, Any] = {"accuracy": 1e-5, "max_iterations": 10}
"""Of the maps of channels: what more steps change lies above 2 nside, where HEALPix says little, and noise rules."""


@final
@settings
class SkyPatches(Squares):
    """Patches cut from maps of the whole sky, and a sphere stitched from the replies.

    Patches that are learnt from are drawn: centre and rotation are random. Those that an answer is made of lie on
    rings that cover the sphere, and overlap.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        channels: which channels a network is shown, in this order.
        n_pixels: side of a patch, pixels.
        pixel_arcmin: side of its pixels, arcmin; those of the maps where None.
        target_channel: the channel under whose beam the CMB is asked for; or else
        target_fwhm_arcmin: the Gaussian beam under which it is; 0 for none.
        per_simulation: how many patches are drawn from each simulation.
        half: of the sphere in which they are drawn: `all`, `north`, `south`, `east`, `west`.
        latitudes_deg: least and greatest |b| of their centres.
        overlap: part of its side that a patch of an answer shares with the next one.
        cut: `exact` through harmonic coefficients, `bilinear`, or `nearest` pixels.
        learnt_from: `maps`, or `drawn`: nothing is learnt from these patches; a state that patches have taught which
            were drawn flat, of the same channels and pixels, is asked about them.
    """

    channels: ChannelNames
    n_pixels: PositiveInt
    pixel_arcmin: PositiveFloat | None = None
    target_channel: ChannelName | None = None
    target_fwhm_arcmin: NonNegativeFloat = 0.0
    per_simulation: PositiveInt = 64
    half: Half = "all"
    latitudes_deg: tuple[NonNegativeFloat, PositiveFloat] = (0.0, 90.0)
    overlap: Fraction = 0.4
    cut: Literal["exact", "bilinear", "nearest"] = "exact"
    learnt_from: Literal["maps", "drawn"] = later("maps")

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look whether the channels are there, and whether the patches can be cut and cover the sphere."""
        spec.require_channels(self.channels)
        patch = self.patch_spec(spec)
        _warn(patch.too_fine())
        _stitcher(patch, self.overlap)
        beam, fwhm = self._beam(spec)
        return spec.asked.with_(beam=beam, fwhm_arcmin=fwhm)

    def patch_spec(self, spec: ObservationSpec) -> PatchSpec:
        """Say what the patches are."""
        pixel = self.pixel_arcmin or float(np.degrees(hp.nside2resol(spec.asked.nside)) * 60)
        n = self.n_pixels
        return PatchSpec(maps=spec.asked, height=n, width=n, pixel_arcmin=(pixel, pixel))

    def _beam(self, spec: ObservationSpec) -> tuple[Literal["none", "gaussian", "window"], float]:
        if self.target_channel is None:
            return ("gaussian", self.target_fwhm_arcmin) if self.target_fwhm_arcmin else ("none", 0.0)
        spec.require_channel(self.target_channel)
        shown = spec.shown[self.target_channel]
        if shown.beam == "window":
            message = (
                f"method.examples.target_channel={self.target_channel}: its beam is tabulated, and no map can say that "
                "it has it; take method.examples.target_channel=null and a target_fwhm_arcmin"
            )
            raise MethodError(message)
        return shown.beam, shown.fwhm_arcmin

    def shapes(self, spec: ObservationSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(n_channel n_field, n_pixels, n_pixels)` and `(n_field, n_pixels, n_pixels)`."""
        n_field, patch = len(spec.asked.fields), (self.n_pixels, self.n_pixels)
        return (len(self.channels) * n_field, *patch), (n_field, *patch)

    def n_lessons(self, spec: ObservationSpec) -> int:  # noqa: ARG002
        """Return how many patches are drawn.

        Raises:
            MethodError: what is asked has learnt from others.
        """
        if self.learnt_from == "drawn":
            message = (
                "method.examples.learnt_from=drawn: nothing is learnt from patches of maps; give the state that drawn "
                "patches have taught, weights=FILE, or take method.examples.learnt_from=maps"
            )
            raise MethodError(message)
        return self.per_simulation

    def choose(self, spec: ObservationSpec, rng: np.random.Generator) -> Float64:  # noqa: ARG002
        """Draw the centres of patches."""
        return uniform(self.per_simulation, rng, self.half, self.latitudes_deg)

    def features(self, case: Observation, chosen: Float64 | None = None) -> Float32:
        """Cut the patches of all channels; of IQU, I Q U of the first, then of the second, ..."""
        maps = [case.shown[name].values for name in self.channels]
        return self._cut(maps, self.patch_spec(case.spec), case.spec.asked, chosen)

    def target(self, case: Observation, chosen: Float64 | None = None) -> Float32:
        """Cut the patches of the CMB, under the beam that was asked for."""
        asked = known(case)
        lmax = asked.spec.lmax or 3 * asked.spec.nside - 1
        kind, fwhm = self._beam(case.spec)
        spins = (0, 2, 2)[: len(asked.spec.fields)]
        beam = np.stack([gaussian_window(fwhm if kind == "gaussian" else 0.0, lmax, spin) for spin in spins])
        alm = filter_components(analyse(asked.values.astype(np.float64), lmax), beam)
        patch = self.patch_spec(case.spec)
        centres = rings(patch, self.overlap) if chosen is None else chosen
        # Exactly, however features are cut: what is asked for is the CMB, and not what interpolation makes of it.
        return np.stack([*cut_exactly(alm, patch, centres)]).astype(np.float32)

    def _cut(self, maps: list[NDArray[Any]], patch: PatchSpec, asked: MapSpec, chosen: Float64 | None) -> Float32:
        if self.cut == "exact":
            centres = rings(patch, self.overlap) if chosen is None else chosen
            lmax = asked.lmax or 3 * asked.nside - 1
            parts = [
                np.stack([*cut_exactly(alm, patch, centres)]).astype(np.float32)
                for alm in (analyse(values.astype(np.float64), lmax, **ANALYSIS) for values in maps)
            ]
            return np.concatenate(parts, axis=1)
        values = np.concatenate(maps).astype(np.float32)
        if chosen is None:
            return _cutter(patch, self.overlap, self.cut).cut(values)
        return cut(values, patch, chosen, self.cut)

    def answer(self, replies: Float32, sigma: Float32 | None, spec: ObservationSpec) -> Answer[SkyMap]:
        """Stitch a sphere."""
        stitcher, promised = _stitcher(self.patch_spec(spec), self.overlap), self.accepts(spec)
        value = SkyMap(stitcher.stitch(replies, exact=self.cut == "exact").astype(np.float32), promised)
        return Answer(value, None if sigma is None else SkyMap(stitcher.spread(sigma).astype(np.float32), promised))

    def places(self, spec: ObservationSpec) -> tuple[PatchSpec, Float64]:
        """Say what the patches of an answer are, and where."""
        patch = self.patch_spec(spec)
        return replace(patch, maps=self.accepts(spec)), rings(patch, self.overlap)

    def about(self) -> dict[str, Any]:
        """Say what a state must agree with: the settings of what it learnt from."""
        if self.learnt_from == "drawn":
            return WholePatches(name=self.name, channels=self.channels).about()
        return super().about()

    def describe(self, spec: ObservationSpec) -> dict[str, Any]:
        """Say what the observations are, and the patches."""
        patch = self.patch_spec(spec)
        if self.learnt_from == "drawn":
            return _describe_drawn(patch, {name: spec.shown[name] for name in self.channels}, spec.channels)
        return describe(spec, self.channels) | {"pixel_arcmin": patch.pixel_arcmin[0]}


def _describe_drawn(patch: PatchSpec, shown: Mapping[str, MapSpec], channels: Mapping[str, Channel]) -> dict[str, Any]:
    """Say what patches are that lie nowhere."""
    return {
        "pixel_arcmin": list(patch.pixel_arcmin),
        "fields": patch.maps.fields,
        "unit": patch.maps.unit,
        "channels": {
            name: {"freq_ghz": channels[name].freq_ghz, "fwhm_arcmin": maps.fwhm_arcmin} for name, maps in shown.items()
        },
    }


@final
@settings
class WholePatches(Squares):
    """Patches that are a dataset's own, as they are.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        channels: which channels a network is shown, in this order.
    """

    channels: ChannelNames

    def accepts(self, spec: CaseSpec[PatchSpec]) -> PatchSpec:
        """Look whether the channels are there."""
        spec.require_channels(self.channels)
        return spec.asked

    def shapes(self, spec: CaseSpec[PatchSpec]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(n_channel n_field, height, width)` and `(n_field, height, width)`."""
        n_field, patch = len(spec.asked.maps.fields), (spec.asked.height, spec.asked.width)
        return (len(self.channels) * n_field, *patch), (n_field, *patch)

    def features(self, case: Case[Patches], chosen: None = None) -> Float32:  # noqa: ARG002
        """Put the channels of each patch together."""
        return np.concatenate([case.shown[name].values for name in self.channels], axis=1).astype(np.float32)

    def target(self, case: Case[Patches], chosen: None = None) -> Float32:  # noqa: ARG002
        """Return the true patches."""
        values: Float32 = known(case).values.astype(np.float32)
        return values

    def answer(self, replies: Float32, sigma: Float32 | None, spec: CaseSpec[PatchSpec]) -> Answer[Patches]:
        """Say what the replies are."""
        nowhere = np.full((len(replies), 3), np.nan)
        value = Patches(replies, spec.asked, nowhere)
        return Answer(value, None if sigma is None else Patches(sigma, spec.asked, nowhere))

    def places(self, spec: CaseSpec[PatchSpec]) -> tuple[PatchSpec, None]:
        """Say what the patches are; they lie nowhere."""
        return spec.asked, None

    def describe(self, spec: CaseSpec[PatchSpec]) -> dict[str, Any]:
        """Say what the patches are."""
        return _describe_drawn(spec.asked, {name: spec.shown[name].maps for name in self.channels}, spec.channels)
