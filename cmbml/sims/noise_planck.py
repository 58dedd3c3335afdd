"""Noise from the files of the Planck mission: variance maps, and simulations of the noise of each channel.

The variance maps are the `*_COV` columns of the frequency maps; the simulations are the end-to-end noise maps
(FFP10). As in CMB-ML (sects 3.5 and 4.1 of its paper) they give the average map, the mean spectrum and its principal
components.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import ducc0
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.settings import PositiveFloat, settings
from cmbml.sims.noise import NoiseModel, NoiseSource, build_model
from cmbml.sims.noise_files import RawMaps, inspect
from cmbml.sims.noise_spectrum import Array, NoiseError, from_bins, mode_sum, scatter_modes, spectrum_bins
from cmbml.sky.harmonics import Alm, alm_size, pixel_geometry, power, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields
from cmbml.sky.spectra import bin_spectrum

VARIANCE_COLUMNS = ("II_COV", "QQ_COV", "UU_COV")
MARGIN = 0.98


@dataclass(frozen=True)
class SimulatedNoise:
    """What a set of noise simulations says.

    Attributes:
        noise: `(n_comp, lmax + 1)`, uK_CMB^2: mean spectrum about the average map, smooth in l.
        log_spectra: `(n_sample, n_comp, n_bin)`: log10 of the spectra of each simulation, in uK_CMB^2.
        edges: `(n_bin + 1,)`: the bins.
        average: `(n_comp, n_alm)`, uK_CMB: coefficients of the average map.
    """

    noise: Array
    log_spectra: Array
    edges: NDArray[np.int64]
    average: Alm


@settings
class PlanckNoise(NoiseSource):
    """Noise from variance maps and noise simulations that the user has.

    The spectrum of the simulations rules up to lmax. The variance map says how the variance goes over the sky and,
    as far as the spectrum leaves it open (beyond lmax), how much there is in all; where the two disagree by more than
    that, the standard deviation is scaled to the spectrum. Where a channel has no polarisation columns, Q and U have
    the intensity's noise times the channel's ratio of depths (sqrt(2) by default).

    Attributes:
        kind: `white` (the mean of the variance map everywhere), `anisotropic` (the variance map) or `correlated`
            (with the spectrum and average map of the simulations).
        folder: where the files are.
        variance_maps: channel -> file with columns II_COV (QQ_COV, UU_COV), in `folder`.
        simulations: channel -> file names with `{number}` (as in `{number:05d}`) and, if wanted, `{channel}`.
        n_simulations: how many, numbered from 0.
        n_components: the most principal components of the log spectra to keep.
        average_map: whether the average of the simulations is added to every realisation. It holds 1/n_simulations of
            the noise power too.
        mjy_per_k: MJy/sr per K_CMB of the channels that are calibrated in MJy/sr.
    """

    kind: Literal["white", "anisotropic", "correlated"] = "correlated"
    folder: Path
    variance_maps: Mapping[str, Path]
    simulations: Mapping[str, str] = field(default_factory=dict)
    n_simulations: Annotated[int, Field(ge=10)] = 100
    n_components: Annotated[int, Field(ge=0)] = 10
    average_map: bool = True
    mjy_per_k: Mapping[str, PositiveFloat] = field(default_factory=dict)

    def files(self, name: str) -> tuple[Path, ...]:
        """Return the variance map and, for correlated noise, the simulations of a channel."""
        given: dict[str, Mapping[str, Any]] = {"variance_maps": self.variance_maps}
        given |= {"simulations": self.simulations} if self.kind == "correlated" else {}
        for setting, mapping in given.items():
            if name not in mapping:
                message = f"noise setting {setting} has no entry for channel {name}; it has {sorted(mapping)}"
                raise NoiseError(message)
        variance = self.folder / self.variance_maps[name]
        if self.kind != "correlated":
            return (variance,)
        template = self.simulations[name]
        try:
            paths = [self.folder / template.format(number=i, channel=name) for i in range(self.n_simulations)]
        except (KeyError, IndexError, ValueError) as error:
            message = f"simulations of channel {name}: {template!r} may hold {{number}} and {{channel}} only"
            raise NoiseError(message) from error
        if len(set(paths)) == 1:
            message = f"simulations of channel {name}: {template!r} names one file; it needs {{number}}"
            raise NoiseError(message)
        return (variance, *paths)

    def check(self, channels: Mapping[str, Channel], nside: int, lmax: int, fields: Fields) -> None:
        """Refuse missing files, wrong units and resolutions, from the headers alone."""
        super().check(channels, nside, lmax, fields)
        for name in channels:
            variance, *simulations = (inspect(path) for path in self.files(name))
            self._check_map(variance, nside, "II_COV", 2, name)
            for maps in simulations:
                self._check_map(maps, -(-(lmax + 1) // 3), next(iter(maps.columns)), 1, name)

    def _check_map(self, maps: RawMaps, nside: int, column: str, power_of: int, name: str) -> None:
        if maps.nside < nside:
            message = f"{maps.path} has nside {maps.nside}; channel {name} needs at least {nside}"
            raise NoiseError(message)
        if column not in maps.columns:
            message = f"{maps.path} has no column {column}; it has {', '.join(maps.columns)}"
            raise NoiseError(message)
        maps.factor(column, power_of, self.mjy_per_k.get(name))

    def model(self, name: str, channel: Channel, nside: int, lmax: int, fields: Fields, threads: int) -> NoiseModel:
        """Describe the noise of one channel from its files."""
        self.check({name: channel}, nside, lmax, fields)
        variance = self._variance(name, channel, nside, fields)
        total = variance.mean(axis=1)
        if len(fields) == 3:
            total[1:] = total[1:].mean()
        white = total * 4 * np.pi / variance.shape[1]
        zeros = np.zeros((len(fields), lmax + 1))
        if self.kind == "white":
            return build_model(np.ones_like(variance), zeros, white, threads=threads)
        if self.kind == "anisotropic":
            return build_model(np.sqrt(variance), zeros, white, threads=threads)
        found = self._simulated(name, lmax, fields, threads)
        modes, white_modes = _scatter(found, variance, self.n_components)
        noise = found.noise
        if len(noise) < len(fields):
            noise = np.concatenate([noise] + [noise * _depth_ratio(channel) ** 2] * 2)
            modes = np.repeat(modes, 3, axis=1)
        white = _white_part(noise, modes, white_modes, total, variance.shape[1], name)
        excess = np.maximum(noise - white[:, None], 0)
        # The monopole of the simulations is removed; in polarisation l < 2 does not exist.
        excess[0, :1] = excess[1:, :2] = 0
        average = np.zeros(variance.shape, dtype=np.float32)
        average[: len(found.average)] = synthesise(found.average, nside, threads)
        return build_model(
            np.sqrt(variance),
            excess,
            white,
            scatter=(modes, white_modes),
            mean_map=average if self.average_map else None,
            threads=threads,
        )

    def _variance(self, name: str, channel: Channel, nside: int, fields: Fields) -> Array:
        """Return the variance of the mean of the sub-pixels, `(n_field, n_pix)`, uK_CMB^2."""
        maps = inspect(self.files(name)[0])
        columns = [column for column in VARIANCE_COLUMNS[: len(fields)] if column in maps.columns]
        values = maps.read(columns, nside).astype(np.float64)
        for row, column in zip(values, columns, strict=True):
            where = f"column {column} of {maps.path}"
            row *= maps.factor(column, 2, self.mjy_per_k.get(name)) * (nside / maps.nside) ** 2
            if row.min() <= 0:
                message = f"{where}: {np.count_nonzero(row <= 0)} pixels have a variance <= 0"
                raise NoiseError(message)
        if len(values) < len(fields):
            ratio = _depth_ratio(channel)
            values = np.stack([values[0], ratio**2 * values[0], ratio**2 * values[0]])
        return values

    def _simulated(self, name: str, lmax: int, fields: Fields, threads: int) -> SimulatedNoise:
        """Analyse the simulations, twice so that no more than one is in memory: for the average, and about it."""
        paths = self.files(name)[1:]
        average: Any = 0
        for path in paths:
            average = average + self._coefficients(path, name, lmax, fields, threads) / len(paths)
        deviations = (power(self._coefficients(path, name, lmax, fields, threads) - average) for path in paths)
        # About the average of the same n maps the scatter is smaller by (n - 1) / n.
        spectra = np.stack(list(deviations)) * len(paths) / (len(paths) - 1)
        edges = spectrum_bins(lmax)
        binned = bin_spectrum(spectra, edges)
        noise = 10 ** from_bins(np.log10(binned.mean(axis=0)), edges)
        return SimulatedNoise(noise, np.log10(binned), edges, average)

    def _coefficients(self, path: Path, name: str, lmax: int, fields: Fields, threads: int) -> Alm:
        """Return the coefficients of one simulation, `(n_comp, n_alm)`, uK_CMB."""
        maps = inspect(path)
        columns = list(maps.columns)[: len(fields)]
        values = maps.read(columns, maps.nside)
        for row, column in zip(values, columns, strict=True):
            row *= maps.factor(column, 1, self.mjy_per_k.get(name))
        if len(values) == 2:
            message = f"{path} has 2 columns; noise simulations have one (I) or three (I, Q, U)"
            raise NoiseError(message)
        alm = _plain_sums(values, lmax, threads)
        alm[0, 0] = 0
        return alm


def _plain_sums(values: NDArray[np.float32], lmax: int, threads: int) -> Alm:
    """Return the coefficients of noise by plain sums over pixels: one pass, and white noise stays exactly white.

    Args:
        values: `(n_field, n_pix)`.
        lmax: highest multipole.
        threads: CPU threads.

    Returns:
        `(n_field, n_alm)`.
    """
    n_field, n_pix = values.shape
    alm = np.empty((n_field, alm_size(lmax)), dtype=np.complex64)
    common = {"lmax": lmax, "nthreads": threads, **pixel_geometry(round(np.sqrt(n_pix / 12)))}
    ducc0.sht.adjoint_synthesis(map=values[:1], alm=alm[:1], spin=0, **common)
    if n_field == 3:
        ducc0.sht.adjoint_synthesis(map=values[1:], alm=alm[1:], spin=2, **common)
    alm *= np.float32(4 * np.pi / n_pix)
    return alm


def _depth_ratio(channel: Channel) -> float:
    """Return how much noisier Q and U are than I."""
    return channel.depth("Q") / channel.depth("I") if channel.depth("I") else 2**0.5


def _scatter(found: SimulatedNoise, variance: Array, n_components: int) -> tuple[Array, Array]:
    """Return the modes, `(n_mode, n_comp, lmax + 1)`, and the white modes, `(n_mode,)`, of simulated spectra."""
    # Uneven noise has fewer independent modes than even noise.
    even = np.array([np.mean(row) ** 2 / np.mean(row**2) for row in variance[: found.noise.shape[0]]])
    counts = np.diff(found.edges.astype(np.float64) ** 2) * even[:, None]
    n_sample, n_comp, n_bin = found.log_spectra.shape
    rows = scatter_modes(found.log_spectra.reshape(n_sample, -1), counts.ravel(), n_components)
    modes = from_bins(rows.reshape(-1, n_comp, n_bin), found.edges)
    lmax = found.edges[-1] - 1
    upper = modes[..., 2 * lmax // 3 :]
    return modes, upper.mean(axis=(1, 2))


def _white_part(noise: Array, modes: Array, white_modes: Array, total: Array, n_pix: int, name: str) -> Array:
    """Choose how much of the noise is white over all scales, so that the pixel variance comes out as mapped.

    White noise reaches beyond lmax; so its level sets the variance there, on which the spectrum is silent. It cannot
    exceed the lowest point of the spectrum, less what the scatter over realisations may take off; below a third of
    lmax that point is not looked for, since the few modes there dip by chance.

    Args:
        noise: `(n_comp, lmax + 1)`, uK_CMB^2.
        modes: `(n_mode, n_comp, lmax + 1)`.
        white_modes: `(n_mode,)`.
        total: `(n_field,)`, uK_CMB^2: mean of the variance map.
        n_pix: number of pixels.
        name: the channel, for the error.

    Returns:
        `(n_comp,)`, uK_CMB^2.

    Raises:
        NoiseError: variance map and simulations have nothing to do with each other.
    """
    spread = np.log(10) * np.sqrt(np.sum((modes - white_modes[:, None, None]) ** 2, axis=0))
    most = MARGIN * np.min((noise * np.exp(-4 * spread))[:, noise.shape[1] // 3 :], axis=1)
    inside, beyond = mode_sum(noise), (n_pix - noise.shape[-1] ** 2) / (4 * np.pi)
    if len(noise) == 3:
        most[1:], inside[1:] = most[1:].min(), inside[1:].mean()
    white: Array = np.clip((total - inside) / max(beyond, 1e-30), 0.5 * most, most)
    ratio = (inside + white * beyond) / total
    if np.any((ratio < 0.25) | (ratio > 4)):
        message = (
            f"channel {name}: the noise simulations have {', '.join(f'{value:.3g}' for value in ratio)} times the "
            f"variance of the variance map (I, Q, U); they must belong to the same data, in the units of their headers"
        )
        raise NoiseError(message)
    return white
