"""Instrument noise: how it is described, and how realisations are drawn.

A realisation is n(p) = s(p) [a w(p) + r(p)]: s the total standard deviation per pixel, w white noise of unit
variance, and r an isotropic Gaussian field with spectrum R_l. With a^2 + sum (2 l + 1) R_l / 4 pi = 1 the variance of
every pixel is exactly s^2(p); R_l is found such that the mean angular spectrum of n is the wanted one
(`cmbml.sims.noise_spectrum`). In polarisation the variance of Q and of U is the mean of those of E and B.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cmbml.sims.noise_spectrum import LN_10, Array, NoiseError, correlation_spectrum, mode_coupling, mode_sum
from cmbml.sky.harmonics import Alm, alm_lmax, alm_size, multipoles, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields

NEGLIGIBLE = 1e-4
"""Share of the noise power below which the correlated part is not synthesised; far below the scatter of any bin."""


@dataclass(frozen=True)
class NoiseModel:
    """All that is needed to draw noise of one channel.

    Attributes:
        std_map: `(n_field, n_pix)`, uK_CMB: total standard deviation of each pixel.
        noise: `(n_comp, lmax + 1)`, uK_CMB^2: mean angular spectrum of the noise (T; or T, E, B), without `mean_map`.
        red: `(n_comp, lmax + 1)`: R_l, the spectrum of the correlated part of the noise over `std_map`.
        modes: `(n_mode, n_comp, lmax + 1)`: scatter of the spectrum over realisations,
            log10 N_l = mean + sum_k c_k modes_k with unit normals c_k.
        white_modes: `(n_mode,)`: the same for the white part.
        mean_map: `(n_field, n_pix)`, uK_CMB: added to every realisation; None for none.
    """

    std_map: NDArray[np.float32]
    noise: Array
    red: Array
    modes: Array
    white_modes: Array
    mean_map: NDArray[np.float32] | None = None

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return round(float(np.sqrt(self.std_map.shape[-1] / 12)))

    def white(self) -> Array:
        """Return a^2, the white share of the pixel variance, `(n_comp,)`; the same for E and B."""
        share = 1 - mode_sum(self.red)
        if len(share) == 3:
            share[1:] = share[1:].mean()
        return np.maximum(share, 0)

    def spectra(self) -> dict[str, Array]:
        """Return all but the maps as the columns of a table with one row per multipole."""
        names = "TEB"[: len(self.red)]
        columns = {f"noise_{name}": row for name, row in zip(names, self.noise, strict=True)}
        columns |= {f"red_{name}": row for name, row in zip(names, self.red, strict=True)}
        for k, (mode, white) in enumerate(zip(self.modes, self.white_modes, strict=True)):
            columns[f"mode{k}_white"] = np.full(self.red.shape[-1], white)
            columns |= {f"mode{k}_{name}": row for name, row in zip(names, mode, strict=True)}
        return columns

    @classmethod
    def from_parts(
        cls,
        std_map: NDArray[np.float32],
        columns: Mapping[str, NDArray[np.floating[Any]]],
        mean_map: NDArray[np.float32] | None = None,
    ) -> Self:
        """Rebuild a model exactly from its maps and the columns of `spectra`; further columns are ignored."""
        names = [name for name in "TEB" if f"red_{name}" in columns]
        numbers = sorted({int(found[1]) for key in columns if (found := re.fullmatch(r"mode(\d+)_white", key))})

        def stack(prefix: str) -> Array:
            return np.stack([np.asarray(columns[f"{prefix}_{name}"], dtype=np.float64) for name in names])

        red = stack("red")
        modes = np.array([stack(f"mode{k}") for k in numbers]).reshape(-1, *red.shape)
        white_modes = np.array([float(columns[f"mode{k}_white"][0]) for k in numbers])
        return cls(np.asarray(std_map, np.float32), stack("noise"), red, modes, white_modes, mean_map)

    def cut(self) -> int:
        """Return up to which multipole the correlated part is worth synthesising; -1 for white noise.

        Rounded up to a quarter of lmax, so that channels share transforms.
        """
        share = self.red > NEGLIGIBLE * (self.red + self.white()[:, None] * 4 * np.pi / self.std_map.shape[-1])
        if not share.any():
            return -1
        lmax = self.red.shape[-1] - 1
        quarters = np.ceil(4 * np.flatnonzero(share.any(axis=0))[-1] / max(lmax, 1))
        return int(np.ceil(quarters * lmax / 4))


def draw_spectrum(model: NoiseModel, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw the spectra of one realisation.

    The log-normal factors have mean 1, so that the expected variance of every pixel stays `std_map`^2.

    Args:
        model: the noise of the channel.
        rng: source of randomness; one normal for each mode is taken from it.

    Returns:
        White share a^2, `(n_comp,)`, and R_l, `(n_comp, lmax + 1)`.
    """
    white, red = model.white(), model.red
    if not len(model.white_modes):
        return white, red
    draws = rng.standard_normal(len(model.white_modes))

    def factor(modes: Array) -> Array:
        drawn: Array = np.exp(LN_10 * np.tensordot(draws, modes, 1) - 0.5 * LN_10**2 * np.sum(modes**2, axis=0))
        return drawn

    level = white[:, None] * 4 * np.pi / model.std_map.shape[-1]
    drawn = (level + red) * factor(model.modes) - level * factor(model.white_modes)
    return white * factor(model.white_modes), np.where(red > 0, np.maximum(drawn, 0), 0)


def draw_noise(
    models: Sequence[NoiseModel], rngs: Sequence[np.random.Generator], threads: int = 1
) -> NDArray[np.float32]:
    """Draw one realisation of every channel's noise.

    A channel's noise depends on its own model and generator alone, to the bit. The generator gives first the
    spectrum's modes, then the large scales, then the pixels.

    Args:
        models: one per channel, of the same nside and fields.
        rngs: one generator per channel.
        threads: CPU threads; they do not change a bit of the result.

    Returns:
        `(n_channel, n_field, n_pix)`, uK_CMB.
    """
    spectra = [draw_spectrum(model, rng) for model, rng in zip(models, rngs, strict=True)]
    cuts = [model.cut() for model in models]
    out = np.empty((len(models), *models[0].std_map.shape), dtype=np.float32)
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        for cut in sorted(set(cuts)):
            group = [i for i, mine in enumerate(cuts) if mine == cut]
            large: Iterable[NDArray[np.float32] | None] = [None] * len(group)
            if cut >= 0:
                alm = np.empty((len(group), out.shape[1], alm_size(cut)), dtype=np.complex64)
                list(pool.map(_draw_large_scales, [spectra[i][1] for i in group], [rngs[i] for i in group], alm))
                large = synthesise(alm, models[0].nside, threads)
            columns = [
                (models[i], spectra[i][0], rngs[i], values, out[i]) for i, values in zip(group, large, strict=True)
            ]
            list(pool.map(_draw_pixels, *zip(*columns, strict=True)))
    return out


def _draw_large_scales(red: Array, rng: np.random.Generator, alm: Alm) -> None:
    """Fill `alm`, `(n_comp, n_alm)`, with a realisation of the spectra `red`."""
    lmax = alm_lmax(alm.shape[-1])
    ell, amplitudes = multipoles(lmax), np.sqrt(red).astype(np.float32)
    drawn = random_alm(rng, lmax, len(alm), dtype=np.complex64)
    for component, amplitude, unit in zip(alm, amplitudes, drawn, strict=True):
        np.multiply(unit, amplitude[ell], out=component)


def _draw_pixels(
    model: NoiseModel,
    white: Array,
    rng: np.random.Generator,
    large: NDArray[np.float32] | None,
    out: NDArray[np.float32],
) -> None:
    """Fill `out`, `(n_field, n_pix)`, with white noise, the large scales if any, and the average map if any."""
    for field in range(len(out)):
        grain: NDArray[np.float32] = rng.standard_normal(out.shape[1:], dtype=np.float32)
        grain *= np.float32(np.sqrt(white[field]))
        if large is not None:
            grain += large[field]
        np.multiply(grain, model.std_map[field], out=out[field])
    if model.mean_map is not None:
        out += model.mean_map


def build_model(
    shape: NDArray[np.floating[Any]],
    excess: Array,
    white: Array,
    coupling_patterns: list[Array] | None = None,
    scatter: tuple[Array, Array] | None = None,
    mean_map: NDArray[np.float32] | None = None,
    threads: int = 1,
) -> NoiseModel:
    """Put a model together whose pixel variance and angular spectrum agree with each other.

    The spectrum rules: the total variance is that of the white part plus that of the correlated part, and `shape`
    says how it varies over the sky.

    Args:
        shape: `(n_field, n_pix)`: standard deviation up to a factor; one factor for I, one for Q and U.
        excess: `(n_comp, lmax + 1)`, uK_CMB^2: the spectrum less the white level; >= 0.
        white: `(n_comp,)`, uK_CMB^2: the white level, equal for E and B.
        coupling_patterns: spectra of the patterns, of mean square 1, where they are known; worked out by default.
        scatter: modes `(n_mode, n_comp, lmax + 1)` and white modes `(n_mode,)`; none by default.
        mean_map: `(n_field, n_pix)`, uK_CMB.
        threads: CPU threads.

    Returns:
        The model.

    Raises:
        NoiseError: no such noise exists.
    """
    n_pix, lmax = shape.shape[-1], excess.shape[-1] - 1
    parts = [shape[:1]] if len(shape) == 1 else [shape[:1], shape[1:]]
    parts = [part / np.sqrt(np.mean(part.astype(np.float64) ** 2)) if part.any() else part for part in parts]
    red = np.zeros_like(excess)
    if excess.any():
        if coupling_patterns is None:
            l_pattern = 2 * round(np.sqrt(n_pix / 12))
            roots = [np.sqrt(np.mean(part**2, axis=0)) for part in parts]
            coupling_patterns = [correlation_spectrum(root, l_pattern, threads) for root in roots]
        red = mode_coupling(coupling_patterns, lmax).solve(excess, white[:, None])
    variance = white * n_pix / (4 * np.pi) + mode_sum(red)
    if len(variance) == 3:
        variance[1:] = variance[1:].mean()
    std = np.concatenate([part * np.sqrt(total) for part, total in zip(parts, variance, strict=False)])
    red = np.divide(red, variance[:, None], out=red, where=variance[:, None] > 0)
    modes = (np.zeros((0, *red.shape)), np.zeros(0)) if scatter is None else scatter
    return NoiseModel(std.astype(np.float32), excess + white[:, None], red, modes[0], modes[1], mean_map)


class NoiseSource(ABC):
    """Where the noise of a dataset comes from."""

    def check(self, channels: Mapping[str, Channel], nside: int, lmax: int, fields: Fields) -> None:  # noqa: ARG002
        """Refuse, before any work, what cannot be made.

        Args:
            channels: the detectors by name.
            nside: resolution of the noise maps.
            lmax: highest multipole of the correlated part.
            fields: `I` or `IQU`.

        Raises:
            NoiseError: with the reason.
        """
        if lmax > 3 * nside - 1:
            message = (
                f"correlated noise up to l = {lmax} does not fit on nside {nside}, which holds l <= {3 * nside - 1}"
            )
            raise NoiseError(message)

    def files(self, name: str) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the raw files that the noise of channel `name` is made from."""
        return ()

    @abstractmethod
    def model(self, name: str, channel: Channel, nside: int, lmax: int, fields: Fields, threads: int) -> NoiseModel:
        """Describe the noise of one channel.

        Args:
            name: the channel's name.
            channel: the detector.
            nside: resolution of the noise maps.
            lmax: highest multipole of the correlated part.
            fields: `I` or `IQU`.
            threads: CPU threads.

        Returns:
            The model, from which `draw_noise` draws.
        """
