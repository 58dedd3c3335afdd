"""Needlet internal linear combination, with or without components that are nulled.

Delabrouille et al. 2009 (arXiv:0807.0773); Remazeilles et al. 2011 (arXiv:1006.5599) for the constraints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.methods.ilc.engine import (
    Demands,
    Scale,
    ScaleWeights,
    apply_weights,
    clean_scales,
    joined_windows,
    plan_scales,
    shown_weights,
)
from cmbml.methods.ilc.linear import Coefficients, LinearMethod, Maps
from cmbml.methods.ilc.needlets import Bands
from cmbml.methods.ilc.uncertainty import needlet_noise
from cmbml.methods.masking import masked, read_mask
from cmbml.settings import Fraction, NonNegativeFloat, settings
from cmbml.sky.case import ChannelWeights, ObservationSpec
from cmbml.sky.harmonics import alm_lmax, filter_alm
from cmbml.sky.maps import SkyMap


@dataclass(frozen=True)
class Plan:
    """How one component is cleaned.

    Attributes:
        scales: of the ILC.
        mixing: what channels see of each component, `(n_channel, 1 + n_nulled)`.
        mask: 1 where covariances are taken from; None for the whole sky.
        noise: spectra of the channels' noise at the common beam, `(n_channel, lmax + 1)`, uK^2.
    """

    scales: tuple[Scale, ...]
    mixing: Maps
    mask: Maps | None
    noise: Maps


@final
@settings
class NeedletIlc(LinearMethod[Plan, list[ScaleWeights]]):
    """Combine channels, scale by scale, with weights that vary over the sky.

    Attributes:
        bands: the scales.
        bias_tolerance: part of the CMB that may be lost to chance correlations; sets how far covariances are averaged.
        few_modes: what to do at a scale that has not modes enough for the tolerance: average over the whole sky, or
            refuse.
        tilt: power of l + 1 that multiplies coefficients while weights are found and applied, and is taken back after.
            With 0, the few largest scales, which hold most of the CMB's variance, decide what correlates by chance;
            with 1, the CMB's modes count alike.
        mask: HEALPix file, above a half where covariances are to be taken from; None for the whole sky.
        observation_mask: HEALPix file, below a half where observations are set to zero before all else, and the result
            means nothing; None: they are used as they are.
        join_tolerance: scales are joined to the next until chance correlations take no more than this part of the CMB
            where covariances are averaged over the whole sky; None: they stay.
        noise_weight: how many times more than it is there the channels' white noise counts while weights are found. It
            draws weights towards those of least noise wherever foregrounds are not far above the noise, where they
            would follow chance correlations, and foregrounds that are bright elsewhere.
    """

    bands: Bands
    bias_tolerance: Fraction
    tilt: Annotated[float, Field(ge=0, le=4)] = 0.0
    few_modes: Literal["use_all", "refuse"] = "use_all"
    mask: Path | None = None
    observation_mask: Path | None = None
    join_tolerance: Fraction | None = None
    noise_weight: NonNegativeFloat = 0.0
    left_out: ClassVar[float] = 0.65

    def files(self) -> tuple[Path, ...]:
        """Return the templates and the masks."""
        masks = tuple(path for path in (self.mask, self.observation_mask) if path is not None)
        return (*super().files(), *masks)

    def prepared(self, maps: Mapping[str, SkyMap]) -> Mapping[str, SkyMap]:
        """Set the maps to zero where they are not to be seen."""
        return masked(maps, self.observation_mask)

    def plan(self, spec: ObservationSpec, component: int) -> Plan:
        """Choose the channels, the grids and the averages of all scales."""
        mask = None if self.mask is None else read_mask(self.mask)
        demands = Demands(
            tolerance=self.bias_tolerance,
            beam_criterion=self.beam_criterion,
            n_nulled=len(self.nulled),
            sky_fraction=1.0 if mask is None else float(mask.mean()),
            refuse_few_modes=self.few_modes == "refuse",
        )
        nside = spec.asked.nside
        windows = self.bands.windows(self.lmax(spec), nside)
        if self.join_tolerance is not None:
            windows = joined_windows(windows, len(self.rows(spec)) - 1 - len(self.nulled), self.join_tolerance)
        scales = plan_scales(windows, self.beams(spec, component), nside, self.rows(spec), demands)
        return Plan(scales, self.mixing(spec), mask, self._noise(spec, component))

    def find(self, alm: Coefficients, plan: Plan, threads: int) -> tuple[Coefficients, list[ScaleWeights]]:
        """Clean scale by scale."""
        tilt = multipole_power(alm_lmax(alm.shape[-1]), self.tilt)
        prior = self.noise_weight * tilt**2 * plan.noise
        cleaned, weights = clean_scales(
            filter_alm(alm, tilt), plan.scales, plan.mixing, threads, plan.mask, self.iterations, prior
        )
        return filter_alm(cleaned, 1 / tilt), weights

    def apply(self, alm: Coefficients, plan: Plan, weights: list[ScaleWeights], threads: int) -> Coefficients:  # noqa: ARG002
        """Combine other coefficients with weights that were found before."""
        tilt = multipole_power(alm_lmax(alm.shape[-1]), self.tilt)
        return filter_alm(apply_weights(filter_alm(alm, tilt), weights, threads, self.iterations), 1 / tilt)

    def told(self, rows: tuple[str, ...], plan: Plan, weights: list[ScaleWeights]) -> ChannelWeights:  # noqa: ARG002
        """Return the weights of each scale, at the multipole at which its window is highest."""
        return shown_weights(rows, weights)

    def noise_variance(self, plan: Plan, weights: list[ScaleWeights], noise: Maps) -> Maps:  # noqa: ARG002
        """Propagate the noise scale by scale."""
        return needlet_noise(weights, noise)


def multipole_power(lmax: int, tilt: float) -> NDArray[np.float64]:
    """Return (l + 1)^tilt, `(lmax + 1,)`."""
    return np.asarray((np.arange(lmax + 1) + 1.0) ** tilt, dtype=np.float64)
