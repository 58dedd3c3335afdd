"""Harmonic internal linear combination: one set of weights per bin of multipoles (Tegmark et al. 2003)."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.covariance import constrained_weights
from cmbml.methods.ilc.linear import Coefficients, LinearMethod, Maps
from cmbml.methods.ilc.needlets import falls_to
from cmbml.methods.ilc.transforms import power_per_pixel
from cmbml.methods.ilc.uncertainty import LEAST_VARIANCE
from cmbml.settings import Fraction, settings
from cmbml.sky.case import ChannelWeights, ObservationSpec
from cmbml.sky.harmonics import filter_alm, power


@dataclass(frozen=True)
class Bin:
    """A bin of multipoles.

    Attributes:
        first: its first multipole.
        last: its last one.
        channels: indices of those whose beams reach it.
    """

    first: int
    last: int
    channels: tuple[int, ...]

    @property
    def part(self) -> slice:
        """Where it stands in a spectrum."""
        return slice(self.first, self.last + 1)


@dataclass(frozen=True)
class Plan:
    """How one component is cleaned.

    Attributes:
        bins: of multipoles.
        mixing: what channels see of each component, `(n_channel, 1 + n_nulled)`.
    """

    bins: tuple[Bin, ...]
    mixing: Maps


@final
@settings
class HarmonicIlc(LinearMethod[Plan, Maps]):
    """Combine channels, bin by bin, with weights that are the same over the sky.

    Attributes:
        bin_width: of the bins; what is left over at the end belongs to the last one.
        bias_tolerance: bins are joined to the next ones until they lose no more of the CMB to chance correlations;
            None: bins stay as they are.
    """

    bin_width: PositiveInt
    bias_tolerance: Fraction | None = None
    left_out: ClassVar[float] = 0.2

    def plan(self, spec: ObservationSpec, component: int) -> Plan:
        """Choose the bins and their channels."""
        beams = self.beams(spec, component)
        reach = [falls_to(beam, self.beam_criterion) for beam in beams]
        bins = []
        for first, last in self._edges(self.lmax(spec), len(beams)):
            channels = tuple(i for i, end in enumerate(reach) if last <= end)
            if len(channels) <= len(self.nulled):
                message = (
                    f"the bin from l = {first} to {last} needs more channels than the {len(self.nulled)} nulled "
                    f"components, and has {len(channels)}: "
                    f"{', '.join(self.rows(spec)[i] for i in channels) or 'none'} of {', '.join(self.rows(spec))} have "
                    "beams that reach it; null fewer, lower method.lmax_per_nside, or give more channels"
                )
                raise MethodError(message)
            bins.append(Bin(first, last, channels))
        return Plan(tuple(bins), self.mixing(spec))

    def _edges(self, lmax: int, n_row: int) -> list[tuple[int, int]]:
        """Return first and last multipole of each bin."""
        n_free = n_row - 1 - len(self.nulled)
        least = 0.0 if self.bias_tolerance is None else n_free / self.bias_tolerance
        firsts = [0]
        for start in range(self.bin_width, lmax + 2 - self.bin_width, self.bin_width):
            if start**2 - firsts[-1] ** 2 >= least:
                firsts.append(start)
        while len(firsts) > 1 and (lmax + 1) ** 2 - firsts[-1] ** 2 < least:
            firsts.pop()
        return list(zip(firsts, [first - 1 for first in firsts[1:]] + [lmax], strict=True))

    def find(self, alm: Coefficients, plan: Plan, threads: int) -> tuple[Coefficients, Maps]:  # noqa: ARG002
        """Find weights `(n_channel, lmax + 1)`, and combine with them."""
        weights = harmonic_weights(spectra(alm), plan.bins, plan.mixing)
        return weighted(alm, weights), weights

    def apply(self, alm: Coefficients, plan: Plan, weights: Maps, threads: int) -> Coefficients:  # noqa: ARG002
        """Combine other coefficients with weights that were found before."""
        return weighted(alm, weights)

    def told(self, rows: tuple[str, ...], plan: Plan, weights: Maps) -> ChannelWeights:
        """Return a weight for each bin, at the mean of its multipoles."""
        at = np.array([(one.first + one.last) / 2 for one in plan.bins])
        mean = np.full((len(rows), len(plan.bins)), np.nan)
        for column, one in zip(mean.T, plan.bins, strict=True):
            column[list(one.channels)] = weights[list(one.channels), one.first]
        return ChannelWeights(rows, "multipole", at, mean, mean, mean)

    def noise_variance(self, plan: Plan, weights: Maps, noise: Maps) -> Maps:  # noqa: ARG002
        """Propagate the noise, which is the same everywhere."""
        return np.full(12, power_per_pixel((weights**2 * noise).sum(axis=0)) + LEAST_VARIANCE)


def spectra(alm: Coefficients) -> NDArray[np.float64]:
    """Return the spectra of all pairs of channels, `(n_channel, n_channel, lmax + 1)`, from `(n_channel, n_alm)`."""
    n = len(alm)
    found = {(a, b): power(alm[a], alm[b]) for a in range(n) for b in range(a, n)}
    return np.stack([np.stack([found[min(a, b), max(a, b)] for b in range(n)]) for a in range(n)])


def harmonic_weights(cross: NDArray[np.float64], bins: tuple[Bin, ...], mixing: Maps) -> Maps:
    """Return the weights of least variance in each bin.

    Args:
        cross: `(n_channel, n_channel, lmax + 1)`, spectra at one beam.
        bins: of multipoles.
        mixing: `(n_channel, 1 + n_nulled)`.

    Returns:
        `(n_channel, lmax + 1)`; zero for channels that do not take part.
    """
    weights = np.zeros(cross.shape[1:])
    modes = 2.0 * np.arange(cross.shape[2]) + 1
    for found in bins:
        rows = list(found.channels)
        chosen = cross[np.ix_(rows, rows)][:, :, found.part]
        covariance = (chosen * modes[found.part]).sum(axis=2) / modes[found.part].sum()
        weights[rows, found.part] = constrained_weights(covariance[None], mixing[rows])[0][0][:, None]
    return weights


def weighted(alm: Coefficients, weights: Maps) -> Coefficients:
    """Add channels `(n_channel, n_alm)`, each times its function of l, `(n_alm,)`."""
    total = np.zeros(alm.shape[1], dtype=alm.dtype)
    for channel, window in zip(alm, weights, strict=True):
        total += filter_alm(channel, window)
    return total
