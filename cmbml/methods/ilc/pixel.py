"""The plain internal linear combination, with weights per latitude zone (Eriksen et al. 2004, astro-ph/0403098)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, final

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from cmbml.methods.base import ChannelNames, MethodError, WeighingMethod
from cmbml.settings import PositiveFloat, each_once, settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Answer, ChannelWeights, Observation, ObservationSpec
from cmbml.sky.harmonics import analyse, filter_alm, synthesise
from cmbml.sky.maps import MapSpec, SkyMap

Maps = NDArray[np.float64]

LEAST_WINDOW = 1e-3


@final
@settings
class PixelIlc(WeighingMethod):
    """Combine channels, brought to one beam, with the weights of least variance in each latitude zone.

    Weights w = C^-1 1 / (1^T C^-1 1), with C the covariance of the channels over the pixels of a zone; intensity only.

    Attributes:
        channels: the channels that are combined.
        fwhm_arcmin: the beam that all are brought to, and that the result has.
        zone_edges_deg: |b| at which one zone ends and the next begins.
    """

    channels: ChannelNames
    fwhm_arcmin: PositiveFloat
    zone_edges_deg: Annotated[tuple[Annotated[float, Field(gt=0, lt=90)], ...], AfterValidator(each_once)] = ()
    linear: ClassVar[bool] = True

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Accept an observation whose channels can all be brought to the common beam.

        Raises:
            MethodError: there are fewer than two channels, or a beam is too wide.
        """
        if len(self.channels) < 2:
            message = (
                f"{self.name} needs at least two channels to combine, and method.channels has {len(self.channels)}"
            )
            raise MethodError(message)
        lmax = spec.asked.lmax or 3 * spec.asked.nside - 1
        for name in self.channels:
            least = spec.require_channel(name).beam(lmax, 1).min()
            ours = gaussian_window(self.fwhm_arcmin, lmax)[lmax]
            if least < LEAST_WINDOW * ours:
                message = (
                    f"channel {name} sees {least:.1e} of the signal at l = {lmax}, too little to be brought to "
                    f"{self.fwhm_arcmin} arcmin; leave it out of method.channels, or widen method.fwhm_arcmin"
                )
                raise MethodError(message)
        return spec.asked.with_(fields="I", beam="gaussian", fwhm_arcmin=self.fwhm_arcmin)

    def clean_alike(
        self,
        observation: Observation,
        others: Sequence[Mapping[str, SkyMap]],
        scratch: Path,  # noqa: ARG002
        threads: int,
    ) -> tuple[Answer[SkyMap], tuple[SkyMap, ...]]:
        """Bring the channels to one beam and combine them, zone by zone; the others with the same weights."""
        spec = self.accepts(observation.spec)
        maps = self._at_one_beam(observation.shown, observation.spec, threads)
        weights = self._weights(maps)
        edges = np.array([0.0, *sorted(self.zone_edges_deg), 90.0])
        shown = weights.T
        told = ChannelWeights(self.channels, "latitude", 0.5 * (edges[1:] + edges[:-1]), shown, shown, shown)
        answer = Answer(self._combine(maps, weights, spec), weights=told if shown.shape[1] == told.at.size else None)
        at_one_beam = (self._at_one_beam(other, observation.spec, threads) for other in others)
        return answer, tuple(self._combine(other, weights, spec) for other in at_one_beam)

    def decompose(
        self,
        observation: Observation,
        foregrounds: Mapping[str, SkyMap],
        noise: Mapping[str, SkyMap],
        scratch: Path,  # noqa: ARG002
        threads: int,
    ) -> dict[str, SkyMap]:
        """Apply the weights of foregrounds and noise to each part, and both these and the real ones to the whole."""
        spec = self.accepts(observation.spec)
        observed, foreign, noisy = (
            self._at_one_beam(part, observation.spec, threads) for part in (observation.shown, foregrounds, noise)
        )
        weights = self._weights(foreign + noisy)
        parts = {"signal": observed - foreign - noisy, "foregrounds": foreign, "noise": noisy}
        found = {name: self._combine(part, weights, spec) for name, part in parts.items()}
        return found | {"chance": self._combine(observed, self._weights(observed) - weights, spec)}

    def _at_one_beam(self, observed: Mapping[str, SkyMap], given: ObservationSpec, threads: int) -> Maps:
        """Bring the chosen channels to the common beam, `(n_channel, n_pix)`."""
        spec = self.accepts(given)
        lmax = spec.lmax or 3 * spec.nside - 1
        common = gaussian_window(self.fwhm_arcmin, lmax)
        maps = np.empty((len(self.channels), spec.n_pix))
        for values, name in zip(maps, self.channels, strict=True):
            intensity = observed[name].values[:1].astype(np.float64)
            alm = analyse(intensity, lmax, threads, accuracy=1e-5, max_iterations=10)
            window = given.channels[name].beam(lmax, 1)[0]
            values[:] = synthesise(filter_alm(alm, common / window), spec.nside, threads)[0]
        return maps

    def _zones(self, n_pix: int) -> NDArray[np.int64]:
        latitude = 90 - np.rad2deg(hp.pix2ang(hp.npix2nside(n_pix), np.arange(n_pix))[0])
        zones: NDArray[np.int64] = np.digitize(np.abs(latitude), sorted(self.zone_edges_deg))
        return zones

    def _weights(self, maps: Maps) -> Maps:
        """Return the weights of each zone, `(n_zone, n_channel)`."""
        zones = self._zones(maps.shape[1])
        return np.stack([ilc_weights(np.cov(maps[:, zones == zone])) for zone in np.unique(zones)])

    def _combine(self, maps: Maps, weights: Maps, spec: MapSpec) -> SkyMap:
        values = np.einsum("pc,cp->p", weights[self._zones(maps.shape[1])], maps)
        return SkyMap(values[None].astype(np.float32), spec)


def ilc_weights(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of sum 1 and least variance, `(n_channel,)`.

    Channels differ in variance by up to ten orders of magnitude, so the covariance is scaled to a unit diagonal first.

    Example:
        >>> ilc_weights(np.diag([1.0, 3.0])).round(3).tolist()
        [0.75, 0.25]
    """
    scale = 1 / np.sqrt(np.diag(covariance))
    solved = scale * np.linalg.solve(covariance * np.outer(scale, scale), scale)
    weights: NDArray[np.float64] = solved / solved.sum()
    return weights
