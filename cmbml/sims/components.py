"""What every component of the embedded sky has in common: settings that make templates, templates that emit.

Spectra are those of PySM 3's component classes. They are evaluated here, over parts of the pixels that fit a cache,
because a sky for every simulation must not cost more than all the rest of it.

PySM 3 takes more than a second to import, so it is imported where it works: settings can be read without it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cmbml.sims.templates import Float32Map, over_chunks
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields

if TYPE_CHECKING:
    from astropy.units import Quantity


BAND_SAMPLES, BAND_TAIL = 128, 1e-5
H_OVER_K_GHZ = 0.04799243073366221


class BandError(ValueError):
    """A table that holds no bandpass."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A channel's bandpass as PySM takes it.

    Attributes:
        freq_ghz: `(n,)`, GHz; one value for a delta function.
        weights: `(n,)`, response in power units (Jy/sr); None for a delta function.
    """

    freq_ghz: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, channel: Channel) -> "Band":
        """Read a channel's bandpass, thinned to at most `BAND_SAMPLES` samples.

        A measured table has thousands of samples, each of which would cost a whole map. The range that holds all but
        1e-5 of the response on either side is cut in equal bins, and a sample is the mean response of its bin.

        Raises:
            BandError: the table does not hold a bandpass.
        """
        if channel.bandpass is None:
            return cls(freq_ghz=np.array([channel.freq_ghz]))
        freq, response = _read_bandpass(channel.bandpass)
        steps = 0.5 * (response[1:] + response[:-1]) * np.diff(freq)
        received = np.concatenate([[0], np.cumsum(steps)])
        if len(freq) <= BAND_SAMPLES:
            return cls(freq_ghz=freq, weights=response)
        low, high = np.interp([BAND_TAIL, 1 - BAND_TAIL], received / received[-1], freq)
        if np.count_nonzero((freq >= low) & (freq <= high)) <= BAND_SAMPLES:
            inside = (freq >= low) & (freq <= high)
            return cls(freq_ghz=freq[inside], weights=response[inside])
        edges = np.linspace(low, high, BAND_SAMPLES + 1)
        weights = np.diff(np.interp(edges, freq, received)) / np.diff(edges)
        return cls(freq_ghz=0.5 * (edges[1:] + edges[:-1]), weights=weights)

    @property
    def freqs(self) -> "Quantity":
        """The frequencies with their unit."""
        from pysm3 import units as u

        return self.freq_ghz << u.GHz

    def samples(self) -> list[tuple[float, float]]:
        """Return frequencies (GHz) and weights: a band's emission in uK_RJ is the weighted sum of that at each.

        The trapezoidal integral over received power, as PySM takes it.
        """
        if self.freq_ghz.size == 1:
            return [(float(self.freq_ghz[0]), 1.0)]
        from pysm3.utils import normalize_weights

        response = normalize_weights(self.freq_ghz, self.weights)
        steps = np.diff(self.freq_ghz)
        widths = 0.5 * (np.concatenate([steps, [0]]) + np.concatenate([[0], steps]))
        return list(zip(self.freq_ghz.tolist(), (response * widths).tolist(), strict=True))

    def to_uk_cmb(self) -> float:
        """Return the factor from uK_RJ to uK_CMB."""
        from pysm3 import units as u
        from pysm3.utils import bandpass_unit_conversion

        return float(np.squeeze(bandpass_unit_conversion(self.freqs, self.weights, u.uK_CMB).value))


def _read_bandpass(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read a text table of frequency (GHz, rising) and response (power units, not negative)."""
    try:
        table = np.loadtxt(path, ndmin=2, usecols=(0, 1))
    except (OSError, ValueError) as error:
        message = f"cannot read the bandpass {path}: {error}; it must be a text table of frequency (GHz) and response"
        raise BandError(message) from error
    freq, response = table.T
    noise = max(0.0, -float(response.min(initial=0.0)))
    # Measured responses scatter around zero out of the band.
    response = np.maximum(response, 0)
    if (
        len(freq) < 2
        or not np.isfinite(table).all()
        or (np.diff(freq) <= 0).any()
        or freq[0] <= 0
        or not response.max() > 10 * noise
    ):
        message = f"{path} is no bandpass: it must hold rising frequencies (GHz) and a response that is positive"
        raise BandError(message)
    return freq, response


class Emitter(ABC):
    """Templates of one component, ready to be evaluated in any band."""

    @abstractmethod
    def add_to(self, total: Float32Map, band: Band, factor: float, threads: int) -> None:
        """Add the emission in a band to a map.

        Args:
            total: `(n_field, n_pix)`, I or I, Q, U; what is not polarised is added to I alone.
            band: which.
            factor: from uK_RJ to the unit of `total`.
            threads: CPU threads; they do not change a bit of the result.
        """


@dataclass(frozen=True)
class VaryingSpectrum(Emitter):
    """A component whose spectrum changes from pixel to pixel.

    Attributes:
        iqu: `(1, n_pix)` or `(3, n_pix)`, uK_RJ at the reference frequency.
        scaling: takes a frequency in GHz and a part of the pixels; returns the uK_RJ there of 1 uK_RJ at the reference
            frequency, `(n,)`.
    """

    iqu: Float32Map
    scaling: Callable[[float, slice], Float32Map]

    def add_to(self, total: Float32Map, band: Band, factor: float, threads: int) -> None:
        """Evaluate the spectrum of every pixel."""
        rows = self.iqu[: len(total)]
        samples = band.samples()

        def add(part: slice) -> None:
            seen = sum(np.float32(weight * factor) * self.scaling(freq, part) for freq, weight in samples)
            total[: len(rows), part] += rows[:, part] * seen

        over_chunks(add, total.shape[1], threads)


@dataclass(frozen=True)
class OneSpectrum(Emitter):
    """A component of the same spectrum everywhere: one map times one number per band.

    Attributes:
        values: `(n_pix,)`, the map.
        scaling: the uK_RJ that one unit of the map gives in a band.
    """

    values: Float32Map
    scaling: Callable[[Band], float]

    def add_to(self, total: Float32Map, band: Band, factor: float, threads: int) -> None:
        """Scale the map."""
        scale = np.float32(self.scaling(band) * factor)

        def add(part: slice) -> None:
            total[0, part] += self.values[part] * scale

        over_chunks(add, total.shape[1], threads)


@dataclass(frozen=True)
class PointSources(Emitter):
    """Sources smaller than a pixel, each of which is a power law of its own.

    Attributes:
        pixel: `(n_source,)`, where each stands.
        values: `(n_source,)`, uK_RJ averaged over its pixel at the reference frequency.
        index: `(n_source,)`, spectral index in uK_RJ.
        freq_ref_ghz: the reference frequency, GHz.
    """

    pixel: NDArray[np.int64]
    values: NDArray[np.float64]
    index: NDArray[np.float64]
    freq_ref_ghz: float

    def add_to(self, total: Float32Map, band: Band, factor: float, threads: int) -> None:
        """Add every source to its pixel."""
        del threads
        seen = np.zeros(self.values.shape)
        for freq, weight in band.samples():
            seen += weight * self.values * (freq / self.freq_ref_ghz) ** self.index
        np.add.at(total[0], self.pixel, (factor * seen).astype(np.float32))


class Component(ABC):
    """The settings of one component."""

    @abstractmethod
    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:
        """Make the component's templates at a resolution."""


def power_law(freq_ref_ghz: float, index: Float32Map, curvature: float = 0.0) -> Callable[[float, slice], Float32Map]:
    """Return the scaling of emission that goes as nu^(index + curvature ln(nu / nu_ref)) in uK_RJ.

    PySM's `PowerLaw` and `CurvedPowerLaw` (Zonca et al. 2021, arXiv:2108.01444), in single precision.

    Args:
        freq_ref_ghz: reference frequency, GHz.
        index: `(n_pix,)`.
        curvature: of the spectrum.
    """

    def scaling(freq_ghz: float, part: slice) -> Float32Map:
        log = np.log(freq_ghz / freq_ref_ghz)
        exponent = index[part] * np.float32(log)
        if curvature:
            exponent += np.float32(curvature * log**2)
        np.exp(exponent, out=exponent)
        return exponent

    return scaling


def grey_body(
    freq_ref_ghz: float, index: Float32Map, temperature_k: Float32Map
) -> Callable[[float, slice], Float32Map]:
    """Return the scaling of a modified black body nu^index B_nu(T), in uK_RJ.

    PySM's `ModifiedBlackBody` (Zonca et al. 2021, arXiv:2108.01444), in single precision: with x = h nu / k T,
    (nu / nu_ref)^(index + 1) (e^x_ref - 1) / (e^x - 1).

    Args:
        freq_ref_ghz: reference frequency, GHz.
        index: `(n_pix,)`.
        temperature_k: `(n_pix,)`, K.
    """

    def scaling(freq_ghz: float, part: slice) -> Float32Map:
        out = (index[part] + np.float32(1)) * np.float32(np.log(freq_ghz / freq_ref_ghz))
        np.exp(out, out=out)
        colder = np.float32(H_OVER_K_GHZ) / temperature_k[part]
        out *= np.expm1(np.float32(freq_ref_ghz) * colder)
        out /= np.expm1(np.float32(freq_ghz) * colder)
        return out

    return scaling


def cmb_to_rj(freq_ghz: float) -> float:
    """Return the uK_RJ in one uK_CMB."""
    return 1 / Band(freq_ghz=np.array([freq_ghz])).to_uk_cmb()


def one_value(scaling: Callable[[float, slice], Float32Map], band: Band) -> float:
    """Evaluate the scaling of a spectrum that is the same everywhere, whose maps have one pixel."""
    return float(sum(weight * scaling(freq, slice(0, 1))[0] for freq, weight in band.samples()))


@contextmanager
def numba_threads(threads: int) -> Iterator[None]:
    """Hold PySM's compiled loops to a number of threads."""
    import numba

    _keep_compiled()
    old = numba.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(threads, most)))
    try:
        yield
    finally:
        numba.set_num_threads(old)


@cache
def _keep_compiled() -> None:
    """Let numba keep PySM's loops on disk, because compiling them takes every new process ten seconds."""
    from pysm3.models import dust, power_law, spdust

    loops = (
        dust.get_emission_numba,
        power_law.get_emission_numba_IQU,
        power_law.get_emission_numba_IQU_curved,
        spdust.compute_spdust_emission_numba,
    )
    for loop in loops:
        # Numba says so when no folder can be written; the loops are then compiled as before.
        with suppress(RuntimeError):
            loop.enable_caching()
