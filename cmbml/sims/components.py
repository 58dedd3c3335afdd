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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cmbml.sims.templates import Float32Map, over_chunks
from cmbml.sky.bandpass import Bandpass
from cmbml.sky.maps import Fields

if TYPE_CHECKING:
    from astropy.units import Quantity


H_OVER_K_GHZ = 0.04799243073366221


@dataclass(frozen=True, kw_only=True)
class Band(Bandpass):
    """A channel's bandpass as PySM takes it."""

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
        return list(zip(self.freq_ghz.tolist(), (response * self.widths).tolist(), strict=True))

    def to_uk_cmb(self) -> float:
        """Return the factor from uK_RJ to uK_CMB."""
        from pysm3 import units as u
        from pysm3.utils import bandpass_unit_conversion

        return float(np.squeeze(bandpass_unit_conversion(self.freqs, self.weights, u.uK_CMB).value))


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
