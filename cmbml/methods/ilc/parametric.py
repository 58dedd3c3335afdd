"""Parametric component separation: spectral laws are fitted, and the CMB is what generalised least squares find.

Eriksen et al. 2008 (arXiv:0709.1058) and Stompor et al. 2009 (arXiv:0804.2645) fit spectral parameters and then
amplitudes. Here amplitudes have the first moments of each law beside them (Chluba et al. 2017, arXiv:1701.00274), so
that parameters may differ from those fitted, and all have a Gaussian prior whose covariance, with that of the model's
own error, is found in the data. The CMB has none: the posterior mean has a response of 1 to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, final

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.covariance import averaging_kernel, averaging_sigma, constrained_weights, local_covariance
from cmbml.methods.ilc.engine import Demands, Scale, ScaleWeights, apply_weights, plan_scales, shown_weights
from cmbml.methods.ilc.laws import LAWS, OWNERS, seen
from cmbml.methods.ilc.linear import Coefficients, LinearMethod, Maps
from cmbml.methods.ilc.needlet import multipole_power
from cmbml.methods.ilc.needlets import Bands
from cmbml.methods.ilc.spectral import amplitudes, component_covariance, fit_spectra
from cmbml.methods.ilc.transforms import power_per_pixel
from cmbml.methods.ilc.uncertainty import LEAST_VARIANCE, needlet_noise
from cmbml.settings import Fraction, NonNegativeFloat, PositiveFloat, settings
from cmbml.sky.bandpass import Bandpass
from cmbml.sky.case import Answer, ChannelWeights, Observation, ObservationSpec
from cmbml.sky.harmonics import cut_alm, filter_alm, synthesise
from cmbml.sky.maps import MapSpec, SkyMap

ALONE = "method=parametric"
SHARED_RAD = 1.0
"""Over which means are taken that are weighed on the weights' grid: so wide that the grid holds them."""

AMPLITUDE_RIDGE = 1e-3
"""Draws amplitudes towards zero that channels do not tell apart: they set the scale of priors, and no more."""

LEAST_BRIGHTNESS = 1e-3
"""The least mean square of a component, over its median over the sky."""


@settings
class Prior:
    """A Gaussian prior of a spectral parameter.

    Attributes:
        mean: its mean.
        spread: its standard deviation; of what is left after the fit, too, to begin with.
    """

    mean: float
    spread: PositiveFloat


@dataclass(frozen=True)
class Plan:
    """How intensity is cleaned.

    Attributes:
        scales: needlet scales, with the grid of weights.
        noise: spectra of the channels' noise at the common beam, `(n_channel, lmax + 1)`, uK^2.
        seen: spectral laws and their derivatives in the channels, of parameters `(n_pix, 4)`.
    """

    scales: tuple[Scale, ...]
    noise: Maps
    seen: Callable[[Maps], tuple[Maps, Maps]]


@dataclass(frozen=True)
class Weights:
    """What is found.

    Attributes:
        scales: weights of each scale; `variance` is the posterior's.
        foreign: `(n_scale, n_pix)`, the part of the variance that is not noise, uK^2.
    """

    scales: list[ScaleWeights]
    foreign: Maps


@final
@settings
class Parametric(LinearMethod[Plan, Weights]):
    """Fit thermal dust, synchrotron, free-free emission and spinning dust, and leave the CMB; intensity only.

    Attributes:
        bands: the scales, each of which has amplitudes and a prior of its own.
        dust_index: emissivity index of thermal dust.
        dust_temperature_k: its temperature, K.
        synchrotron_index: in uK_RJ.
        ame_peak: ln(nu / 30 GHz) where spinning dust's flux is highest.
        free_free_index: in uK_RJ.
        ame_width: standard deviation of spinning dust's flux in ln(frequency).
        average_deg: full width at half maximum over which second moments are averaged; sets the grid of the weights.
        region_deg: the same for the covariance of components and the model's error.
        fit_error: relative error of the laws while spectral parameters are fitted.
        fit_modes: how many independent modes an average counts for in that fit, against the priors.
        model_error: relative error of the laws that their estimate starts from.
        em_steps: steps of expectation maximisation; more leave less of the priors that are started from.
        data_share: how much of the covariance that weights are found from is that of the channels themselves, as of a
            needlet ILC. What the laws say is its prior then: it keeps weights from following chance correlations, and
            what no law foresees is in the data all the same. 0: none.
        bias_tolerance: part of the CMB that may be lost to chance correlations, if there were no prior; sets how far
            the channels' own covariance is averaged.
        tilt: power of l + 1 that coefficients are weighed by in it; 1: all of the CMB's modes count alike.
        noise_weight: how many times more than it is there the channels' noise counts in it.
    """

    bands: Bands
    dust_index: Prior
    dust_temperature_k: Prior
    synchrotron_index: Prior
    ame_peak: Prior
    free_free_index: float = -2.14
    ame_width: PositiveFloat = 0.41
    average_deg: Annotated[float, Field(gt=0, le=60)] = 8.0
    region_deg: Annotated[float, Field(gt=0, le=360)] = 30.0
    fit_error: PositiveFloat = 0.1
    fit_modes: PositiveFloat = 50.0
    model_error: PositiveFloat = 0.003
    em_steps: PositiveInt = 40
    data_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    bias_tolerance: Fraction = 2e-3
    tilt: Annotated[float, Field(ge=0, le=4)] = 1.5
    noise_weight: NonNegativeFloat = 1.0

    @property
    def priors(self) -> tuple[Prior, ...]:
        """The priors of spectral parameters, in the order of `OWNERS`."""
        return self.dust_index, self.dust_temperature_k, self.synchrotron_index, self.ame_peak

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Accept an observation whose intensity can be cleaned.

        Raises:
            MethodError: channels are too few, their units differ, or beams do not allow it.
        """
        return super().accepts(_intensity(spec))

    def clean_alike(
        self, observation: Observation, others: Sequence[Mapping[str, SkyMap]], scratch: Path, threads: int
    ) -> tuple[Answer[SkyMap], tuple[SkyMap, ...]]:
        """Clean intensity, and apply the weights to that of the others."""
        return super().clean_alike(replace(observation, spec=_intensity(observation.spec)), others, scratch, threads)

    def combined(self, observation: Observation, threads: int) -> tuple[Coefficients, Coefficients]:
        """Return the channels' intensity at the common beam, `(1, n_channel, n_alm)`, and the result, `(1, n_alm)`."""
        return super().combined(replace(observation, spec=_intensity(observation.spec)), threads)

    def decompose(
        self,
        observation: Observation,
        foregrounds: Mapping[str, SkyMap],
        noise: Mapping[str, SkyMap],
        scratch: Path,
        threads: int,
    ) -> dict[str, SkyMap]:
        """Say what the parts of intensity have become."""
        alone = replace(observation, spec=_intensity(observation.spec))
        return super().decompose(alone, foregrounds, noise, scratch, threads)

    def plan(self, spec: ObservationSpec, component: int) -> Plan:  # noqa: ARG002
        """Choose the scales and the channels of each.

        Raises:
            MethodError: channels are fewer than components, or templates or nulled components are wanted.
        """
        if len(self.channels) <= len(LAWS):
            message = (
                f"{ALONE} finds the CMB and {len(LAWS)} components ({', '.join(LAWS)}), and needs at least "
                f"{len(LAWS) + 1} channels; method.channels has {len(self.channels)}"
            )
            raise MethodError(message)
        if self.nulled or spec.templates:
            message = f"{ALONE} has laws of its own; leave method.nulled and method.external empty, or use an ILC"
            raise MethodError(message)
        nside = spec.asked.nside
        windows = self.bands.windows(self.lmax(spec), nside)
        demands = Demands(tolerance=1.0, beam_criterion=self.beam_criterion)
        scales = plan_scales(windows, self.beams(spec, 0), nside, self.channels, demands)
        grid = min(_grid(self.average_deg), *(scale.nside for scale in scales))
        kernels = [averaging_kernel(SHARED_RAD, 3 * scale.nside - 1) for scale in scales]
        scales = tuple(
            replace(scale, kernel=kernel, nside_weights=grid) for scale, kernel in zip(scales, kernels, strict=True)
        )
        bands = [Bandpass.of(spec.channels[name]) for name in self.channels]

        def laws(theta: Maps) -> tuple[Maps, Maps]:
            return seen(bands, theta, self.free_free_index, self.ame_width)

        return Plan(scales, self._noise(spec, 0) + LEAST_VARIANCE, laws)

    def find(self, alm: Coefficients, plan: Plan, threads: int) -> tuple[Coefficients, Weights]:
        """Fit spectral parameters, then the covariance of components at each scale, and clean."""
        grid = plan.scales[0].nside_weights
        everywhere = [scale for scale in plan.scales if len(scale.channels) == len(alm)]
        broad = everywhere[-1] if everywhere else plan.scales[0]
        window = np.ones(broad.window.size)
        moments = self._moments(alm, plan.noise, window, tuple(range(len(alm))), broad.nside, grid, threads)
        noise = power_per_pixel(plan.noise[:, : window.size])
        variance = noise + self.fit_error**2 * np.einsum("pcc->pc", moments)
        mean, spread = (np.array([getattr(prior, name) for prior in self.priors]) for name in ("mean", "spread"))
        theta = fit_spectra(moments, variance, plan.seen, mean, spread, self.fit_modes)
        laws, slopes = plan.seen(theta)
        gains = amplitudes(laws, variance, AMPLITUDE_RIDGE)
        squares = np.einsum("plc,pcd,pld->pl", gains, moments, gains)
        squares = np.maximum(squares, LEAST_BRIGHTNESS * np.median(squares, axis=0))
        bright = (laws**2 @ squares[:, :, None])[..., 0]
        sizes = np.sqrt(squares)
        columns = np.concatenate([laws * sizes[:, None], slopes * (sizes[:, list(OWNERS)] * spread)[:, None]], axis=-1)
        neighbours = _neighbours(grid, self.region_deg)
        found, foreign = [], np.empty((len(plan.scales), 12 * grid**2))
        for scale, left in zip(plan.scales, foreign, strict=True):
            taken = list(scale.channels)
            local = self._moments(alm, plan.noise, scale.window, scale.channels, scale.nside, grid, threads)
            covariance = component_covariance(
                local,
                scale.power(plan.noise),
                columns[:, taken],
                bright[:, taken],
                neighbours,
                self.model_error,
                self.em_steps,
            )
            channel = np.arange(len(taken))
            noise_here = scale.power(plan.noise)
            left_of = covariance.copy()
            covariance[:, channel, channel] += noise_here
            if self.data_share:
                measured = self._measured(alm, scale, grid, covariance, threads)
                measured[:, channel, channel] += self.noise_weight * noise_here
                covariance = (1 - self.data_share) * covariance + self.data_share * measured
            values, posterior = constrained_weights(covariance, np.ones((len(taken), 1)))
            left[:] = np.einsum("pc,pcd,pd->p", values, left_of, values)
            found.append(ScaleWeights(scale, np.ascontiguousarray(values.T), posterior, len(taken) - 1))
        weights = Weights(found, np.maximum(foreign, 0.0))
        return self.apply(alm, plan, weights, threads), weights

    def apply(self, alm: Coefficients, plan: Plan, weights: Weights, threads: int) -> Coefficients:  # noqa: ARG002
        """Combine other coefficients with weights that were found before."""
        return apply_weights(alm, weights.scales, threads, self.iterations)

    def noise_variance(self, plan: Plan, weights: Weights, noise: Maps) -> Maps:  # noqa: ARG002
        """Propagate the noise scale by scale."""
        return needlet_noise(weights.scales, noise)

    def rest_variance(
        self,
        spec: ObservationSpec,  # noqa: ARG002
        component: int,  # noqa: ARG002
        alm: Coefficients,  # noqa: ARG002
        cleaned: Coefficients,  # noqa: ARG002
        weights: Weights,
        threads: int,  # noqa: ARG002
    ) -> Maps:
        """Return the posterior variance less the noise's part: that of components and of the model's error."""
        total: Maps = weights.foreign.sum(axis=0)
        return total

    def told(self, rows: tuple[str, ...], plan: Plan, weights: Weights) -> ChannelWeights:  # noqa: ARG002
        """Return the weights of each scale, at the multipole at which its window is highest."""
        return shown_weights(rows, weights.scales)

    def _measured(self, alm: Coefficients, scale: Scale, grid: int, like: Maps, threads: int) -> Maps:
        """Return the channels' own covariance, CMB and all, `(12 grid^2, n_channel, n_channel)`.

        It is brought to the size of the prior's, by what holds no CMB: tilted, it has no unit of its own. The CMB's
        variance is the same in all channels, and moves no weights.
        """
        n_channel, lmax = len(scale.channels), scale.lmax
        window = scale.window * multipole_power(lmax, self.tilt)
        chosen = np.stack([filter_alm(cut_alm(alm[i], lmax), window) for i in scale.channels])
        n_modes = float(((2 * np.arange(lmax + 1) + 1) * scale.window**2).sum())
        sigma = averaging_sigma(n_channel - 1, n_modes, self.bias_tolerance)
        kernel = averaging_kernel(sigma, 3 * scale.nside - 1)
        found = local_covariance(synthesise(chosen[:, None], scale.nside, threads)[:, 0], kernel, grid, threads)
        return found * (_size(like) / _size(found))

    def _moments(
        self,
        alm: Coefficients,
        noise: Maps,
        window: NDArray[np.float64],
        channels: tuple[int, ...],
        nside: int,
        grid: int,
        threads: int,
    ) -> Maps:
        """Average products of channels at a scale, less their mean, `(12 grid^2, n_channel, n_channel)`.

        What has no CMB in it cannot find weights that depend on the CMB: chance correlations play no part. The mean is
        that of least noise.
        """
        chosen = np.stack([filter_alm(cut_alm(alm[i], window.size - 1), window) for i in channels])
        share = 1 / power_per_pixel(noise[list(channels), : window.size] * window**2)
        chosen -= np.tensordot(share / share.sum(), chosen, axes=1)
        sigma = np.deg2rad(self.average_deg) / np.sqrt(8 * np.log(2))
        kernel = averaging_kernel(float(sigma), 3 * nside - 1)
        return local_covariance(synthesise(chosen[:, None], nside, threads)[:, 0], kernel, grid, threads)


def _size(covariance: Maps) -> Maps:
    """Return the geometric mean of the variances of what each channel has beside the mean of all, `(n_pix, 1, 1)`."""
    beside = np.eye(covariance.shape[-1]) - 1 / covariance.shape[-1]
    variances = np.einsum("ca,pab,cb->pc", beside, covariance, beside)
    size: Maps = np.exp(np.log(variances).mean(axis=1))[:, None, None]
    return size


def _intensity(spec: ObservationSpec) -> ObservationSpec:
    """Return an observation of the intensity alone; coefficients are taken of the first field."""
    shown = {name: found.with_(fields="I") for name, found in spec.shown.items()}
    return replace(spec, shown=shown, asked=spec.asked.with_(fields="I"))


def _grid(fwhm_deg: float) -> int:
    """Return the coarsest nside whose pixels are no wider than a kernel."""
    return 1 << max(0, int(np.ceil(np.log2(np.rad2deg(np.sqrt(np.pi / 3)) / fwhm_deg))))


def _neighbours(nside: int, fwhm_deg: float) -> Maps:
    """Return how much each pixel counts in the region around each, `(n_pix, n_pix)`."""
    vectors = np.stack(hp.pix2vec(nside, np.arange(12 * nside**2)))
    apart = np.arccos(np.clip(vectors.T @ vectors, -1, 1))
    weight = np.exp(-4 * np.log(2) * (apart / np.deg2rad(fwhm_deg)) ** 2)
    share: Maps = weight / weight.sum(axis=1, keepdims=True)
    return share
