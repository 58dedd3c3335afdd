"""Needlet ILC on coefficients: scales, their weights, and the combination of any set of coefficients with them.

A scale's coefficients are h_l a_lm of each channel. Their local means (the average over the kernel) are known in
harmonic space, so that maps of what deviates from the means are synthesised on the scale's grid, and the means, which
hold low multipoles only, on the coarse grid of the weights. The results of all scales are added as coefficients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.covariance import (
    averaged,
    averaging_kernel,
    averaging_sigma,
    constrained_weights,
    grid_for,
    local_covariance,
    low_part,
    upsampled,
)
from cmbml.methods.ilc.needlets import falls_to
from cmbml.methods.ilc.transforms import analysed, power_per_pixel
from cmbml.sky.case import ChannelWeights
from cmbml.sky.harmonics import alm_lmax, cut_alm, filter_alm, synthesise
from cmbml.sky.masks import degrade_mask

Coefficients = NDArray[np.complex128]
Maps = NDArray[np.float64]
Window = NDArray[np.float64]

WINDOW_FLOOR = 1e-7
"""Where a scale's window is taken to end: what is cut off is 1e-14 of the partition of unity."""

LEAST_NSIDE = 16
MASK_FLOOR = 1e-3


@dataclass(frozen=True)
class Scale:
    """One scale of a needlet ILC.

    Attributes:
        window: h_l, `(lmax + 1,)`, not zero at its end.
        nside: of its maps.
        channels: indices of those whose beams reach it.
        n_modes: sum of (2 l + 1) h_l^2.
        kernel: window of the average of covariances, `(l_end + 1,)`.
        nside_weights: of the grid on which weights are found.
    """

    window: Window
    nside: int
    channels: tuple[int, ...]
    n_modes: float
    kernel: Window
    nside_weights: int

    @property
    def lmax(self) -> int:
        """Highest multipole."""
        return len(self.window) - 1

    def power(self, spectra: Maps) -> Maps:
        """Return the variance that fields of such spectra, `(n_channel, lmax + 1)`, have in the scale's channels."""
        return power_per_pixel(spectra[list(self.channels), : self.window.size] * self.window**2)

    @property
    def means_window(self) -> Window:
        """Window of the local means, `(l_end + 1,)`."""
        keep = min(len(self.kernel), len(self.window))
        return self.kernel[:keep] * self.window[:keep]

    @property
    def deviations_window(self) -> Window:
        """Window of what deviates from the local means, `(lmax + 1,)`."""
        window = self.window.copy()
        window[: len(self.means_window)] -= self.means_window
        return window


@dataclass(frozen=True)
class ScaleWeights:
    """Weights of one scale.

    Attributes:
        scale: which.
        values: `(n_channel_of_scale, n_pix_of_weights)`.
        variance: of the scale's cleaned coefficients, `(n_pix_of_weights,)`, uK^2.
        n_free: channels less constraints.
    """

    scale: Scale
    values: Maps
    variance: Maps
    n_free: int


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What scales must meet.

    Attributes:
        tolerance: part of the CMB that the ILC bias may take away.
        beam_criterion: a channel takes part in a scale if its beam is above this where the window has fallen to it.
        n_nulled: number of nulled components.
        sky_fraction: part of the sky that covariances are taken from.
        refuse_few_modes: whether a scale that has not modes enough for the tolerance is refused.
    """

    tolerance: float
    beam_criterion: float
    n_nulled: int = 0
    sky_fraction: float = 1.0
    refuse_few_modes: bool = False


def joined_windows(windows: Maps, n_free: int, tolerance: float) -> Maps:
    """Join scales to the next smaller ones until each has modes enough.

    Scales whose squares are added are still a partition of unity. The last ones, if they have too few modes, are joined
    to those before them.

    Args:
        windows: `(n_scale, lmax + 1)`, h_j.
        n_free: channels less constraints.
        tolerance: the most that n_free over a scale's number of modes may be.

    Returns:
        `(n_joined, lmax + 1)`; one scale if all of them together have too few.

    Example:
        >>> joined_windows(np.eye(3), 2, 0.5).astype(int).tolist()  # of 1, 3 and 5 modes
        [[1, 1, 0], [0, 0, 1]]
    """
    modes = 2 * np.arange(windows.shape[1]) + 1
    squares: list[Window] = []
    filling = np.zeros(windows.shape[1])
    for square in windows**2:
        filling = filling + square
        if n_free <= tolerance * (modes * filling).sum():
            squares.append(filling)
            filling = np.zeros_like(filling)
    if filling.any():
        squares.append(squares.pop() + filling if squares else filling)
    return np.sqrt(np.stack(squares))


def plan_scales(windows: Maps, beams: Maps, nside: int, names: Sequence[str], demands: Demands) -> tuple[Scale, ...]:
    """Choose resolution, channels and kernel of each scale.

    Args:
        windows: `(n_scale, lmax + 1)`.
        beams: `(n_channel, lmax + 1)`.
        nside: of the result, and the finest used.
        names: of the channels.
        demands: what must be met.

    Returns:
        The scales.

    Raises:
        MethodError: a scale has fewer channels than constraints, or too few modes.
    """
    reach = [falls_to(beam, demands.beam_criterion) for beam in beams]
    scales = []
    for number, whole in enumerate(windows):
        end = falls_to(whole, demands.beam_criterion)
        channels = tuple(i for i, last in enumerate(reach) if end <= last)
        if len(channels) <= demands.n_nulled:
            message = (
                f"scale {number} (to l = {end}) needs more channels than the {demands.n_nulled} nulled components, and "
                f"has {len(channels)}: {', '.join(names[i] for i in channels) or 'none'} of {', '.join(names)} have "
                "beams that reach it; null fewer, lower method.lmax_per_nside, or give more channels"
            )
            raise MethodError(message)
        window = whole[: int(np.flatnonzero(whole > WINDOW_FLOOR)[-1]) + 1]
        scales.append(_plan_scale(number, window, min(nside, _nside_above(end, len(window) - 1)), channels, demands))
    return tuple(scales)


def _nside_above(end: int, lmax: int) -> int:
    """Return the least nside above `end`, that also holds the tail of a window without aliasing."""
    nside = 1 << end.bit_length()
    while 2 * nside < lmax:
        nside *= 2
    return nside


def _plan_scale(number: int, window: Window, nside: int, channels: tuple[int, ...], demands: Demands) -> Scale:
    n_free = len(channels) - 1 - demands.n_nulled
    n_modes = float(((2 * np.arange(window.size) + 1) * window**2).sum())
    available = n_modes * demands.sky_fraction
    if demands.refuse_few_modes and n_free > available * demands.tolerance:
        message = (
            f"scale {number} (to l = {window.size - 1}) has {available:.0f} modes on {demands.sky_fraction:.2f} of the "
            f"sky; {len(channels)} channels and {demands.n_nulled} nulled components need "
            f"{n_free / demands.tolerance:.0f} for method.bias_tolerance={demands.tolerance:g}. Raise it to "
            f"{n_free / available:.2g}, or set method.few_modes=use_all, give a smaller mask or wider scales"
        )
        raise MethodError(message)
    sigma = min(averaging_sigma(n_free, n_modes, demands.tolerance), np.pi)
    kernel = averaging_kernel(sigma, 3 * nside - 1)
    return Scale(window, nside, channels, n_modes, kernel, min(nside, max(LEAST_NSIDE, grid_for(kernel))))


def clean_scales(
    alm: Coefficients,
    scales: Sequence[Scale],
    mixing: Maps,
    threads: int,
    mask: Maps | None = None,
    iterations: int | None = None,
    prior: Maps | None = None,
) -> tuple[Coefficients, list[ScaleWeights]]:
    """Find the weights of all scales, and combine the channels with them.

    Args:
        alm: `(n_channel, n_alm)`, at one beam.
        scales: of the ILC.
        mixing: `(n_channel, 1 + n_nulled)`.
        threads: CPU threads; they do not change a bit of the result.
        mask: `(n_pix,)`, 1 where covariances are taken from; None for the whole sky.
        iterations: of the analysis of results, see `analysed`.
        prior: `(n_channel, lmax + 1)`, spectra that are added to the variances of channels while weights are found;
            None for none.

    Returns:
        The cleaned coefficients `(n_alm,)`, and the weights.
    """
    lmax = alm_lmax(alm.shape[-1])
    cleaned, weights = np.zeros(alm.shape[-1], dtype=alm.dtype), []
    for scale in scales:
        maps = _deviations(alm, scale, threads)
        if mask is None:
            covariance = local_covariance(maps, scale.kernel, scale.nside_weights, threads)
        else:
            covariance = _masked_covariance(alm, scale, mask, threads)
        added = np.zeros(len(scale.channels)) if prior is None else scale.power(prior)
        covariance += np.diag(added)
        values, variance = constrained_weights(covariance, mixing[list(scale.channels)])
        variance -= values**2 @ added
        n_free = len(scale.channels) - mixing.shape[1]
        weights.append(ScaleWeights(scale, np.ascontiguousarray(values.T), variance, n_free))
        found = _combine(maps, _means(alm, scale, threads), weights[-1], lmax, threads, iterations)
        cleaned += cut_alm(found, lmax)
    return cleaned, weights


def apply_weights(
    alm: Coefficients, weights: Sequence[ScaleWeights], threads: int, iterations: int | None = None
) -> Coefficients:
    """Combine the channels with weights that were found before.

    Args:
        alm: `(n_channel, n_alm)`, at one beam.
        weights: of all scales.
        threads: CPU threads.
        iterations: of the analysis of results, see `analysed`.

    Returns:
        `(n_alm,)`.
    """
    lmax = alm_lmax(alm.shape[-1])
    cleaned = np.zeros(alm.shape[-1], dtype=alm.dtype)
    for found in weights:
        maps, means = _deviations(alm, found.scale, threads), _means(alm, found.scale, threads)
        cleaned += cut_alm(_combine(maps, means, found, lmax, threads, iterations), lmax)
    return cleaned


def shown_weights(rows: tuple[str, ...], weights: Sequence[ScaleWeights]) -> ChannelWeights:
    """Return weights as they are shown, each scale's at the multipole at which its window is highest.

    Args:
        rows: what was combined.
        weights: of all scales.
    """
    at = np.array([float(np.argmax(found.scale.window)) for found in weights])
    shape = (len(rows), len(weights))
    mean, low, high = (np.full(shape, np.nan) for _ in range(3))
    for place, found in enumerate(weights):
        taken = list(found.scale.channels)
        mean[taken, place] = found.values.mean(axis=1)
        low[taken, place], high[taken, place] = np.percentile(found.values, (5, 95), axis=1)
    return ChannelWeights(rows, "multipole", at, mean, low, high)


def _deviations(alm: Coefficients, scale: Scale, threads: int) -> Maps:
    """Synthesise the scale's channels less their local means, `(n_channel_of_scale, n_pix_of_scale)`."""
    return np.concatenate(
        [
            synthesise(filter_alm(cut_alm(alm[i], scale.lmax), scale.deviations_window)[None], scale.nside, threads)
            for i in scale.channels
        ]
    )


def _means(alm: Coefficients, scale: Scale, threads: int) -> Maps:
    """Synthesise the local means of the scale's channels, `(n_channel_of_scale, n_pix_of_weights)`."""
    window = scale.means_window
    chosen = np.stack([cut_alm(alm[i], len(window) - 1) for i in scale.channels])
    return low_part(chosen, window, scale.nside_weights, threads)


def _combine(
    maps: Maps, means: Maps, weights: ScaleWeights, highest: int, threads: int, iterations: int | None
) -> Coefficients:
    """Weigh deviations on the scale's grid and means on the weights' grid, and add both as coefficients.

    `highest` is the highest multipole of all scales.
    """
    scale = weights.scale
    fine = np.zeros(maps.shape[1])
    for values, sky in zip(weights.values, maps, strict=True):
        fine += upsampled(values[None], scale.nside, threads)[0] * sky
    coarse = np.einsum("cp,cp->p", weights.values, means)
    low = min(2 * scale.nside_weights, scale.lmax)
    # Steps that are counted are counted as healpy's are, which take all that the grid holds.
    top = scale.lmax if iterations is None else min(3 * scale.nside - 1, highest)
    alm = cut_alm(analysed(fine[None], top, threads, iterations), scale.lmax)
    alm += cut_alm(analysed(coarse[None], low, threads), scale.lmax)
    return filter_alm(alm[0], scale.window)


def _masked_covariance(alm: Coefficients, scale: Scale, mask: Maps, threads: int) -> Maps:
    """Take covariances where a mask is 1, and divide by the part of the kernel that it leaves."""
    inside = degrade_mask(mask, scale.nside, 0.5).astype(np.float64)
    area = averaged(inside[None], scale.kernel, scale.nside_weights, threads)[0]
    if area.min() < MASK_FLOOR:
        message = (
            f"the mask leaves {area.min():.1e} of what covariances are averaged over somewhere at the scale to "
            f"l = {scale.lmax}; lower method.bias_tolerance, which widens the average, or give a smaller mask"
        )
        raise MethodError(message)
    maps = np.concatenate(
        [
            synthesise(filter_alm(cut_alm(alm[i], scale.lmax), scale.window)[None], scale.nside, threads)
            for i in scale.channels
        ]
    )
    means = averaged(maps * inside, scale.kernel, scale.nside_weights, threads) / area
    maps -= upsampled(means, scale.nside, threads)
    maps *= inside
    covariance: Maps = local_covariance(maps, scale.kernel, scale.nside_weights, threads) / area[:, None, None]
    return covariance
