"""What every component of the embedded sky has in common: settings that make templates, templates that emit.

PySM 3 takes more than a second to import, so it is imported where it works: settings can be read without it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cmbml.sims.templates import Float32Map
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields

if TYPE_CHECKING:
    import pysm3
    from astropy.units import Quantity


BAND_SAMPLES, BAND_TAIL = 128, 1e-5


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
    def emission(self, part: slice, band: Band) -> NDArray[np.floating[Any]]:
        """Return the emission in a part of the pixels, uK_RJ, `(3, n)`, or `(1, n)` where it is not polarised."""


@dataclass(frozen=True)
class VaryingSpectrum(Emitter):
    """A component whose spectrum changes from pixel to pixel.

    Attributes:
        build: makes PySM's model of a part of the pixels.
    """

    build: Callable[[slice], "pysm3.Model"]

    def emission(self, part: slice, band: Band) -> NDArray[np.floating[Any]]:
        """Evaluate PySM's model."""
        values: NDArray[np.float64] = self.build(part).get_emission(band.freqs, band.weights).value
        return values


@dataclass(frozen=True)
class OneSpectrum(Emitter):
    """A component of the same spectrum everywhere: one map times one number per band.

    Attributes:
        values: `(n_pix,)`, the map.
        scaling: the uK_RJ that one unit of the map gives in a band.
    """

    values: Float32Map
    scaling: Callable[[Band], float]

    def emission(self, part: slice, band: Band) -> NDArray[np.floating[Any]]:
        """Scale the map."""
        scaled: NDArray[np.floating[Any]] = self.values[None, part] * np.float32(self.scaling(band))
        return scaled


class Component(ABC):
    """The settings of one component."""

    @abstractmethod
    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:
        """Make the component's templates at a resolution."""


def power_law(iqu: Float32Map, index: Float32Map, freq_ref_ghz: float, curvature: float | None = None) -> "pysm3.Model":
    """Return PySM's model of emission that goes as nu^index in uK_RJ.

    Args:
        iqu: `(1, n)` or `(3, n)`, uK_RJ at the reference frequency.
        index: `(n,)`.
        freq_ref_ghz: reference frequency, GHz.
        curvature: c, for nu^(index + c ln(nu / nu_ref)).
    """
    import pysm3
    from pysm3 import units as u

    kind = pysm3.PowerLaw if curvature is None else pysm3.CurvedPowerLaw
    more = {} if curvature is None else {"spectral_curvature": curvature, "freq_curve": freq_ref_ghz * u.GHz}
    return kind(
        **_stokes(iqu),
        freq_ref_I=freq_ref_ghz * u.GHz,
        freq_ref_P=freq_ref_ghz * u.GHz,
        map_pl_index=index,
        nside=1,
        has_polarization=len(iqu) == 3,
        **more,
    )


def grey_body(iqu: Float32Map, index: Float32Map, temperature_k: Float32Map, freq_ref_ghz: float) -> "pysm3.Model":
    """Return PySM's model of a modified black body nu^index B_nu(T).

    One reference frequency serves I, Q and U: at exactly that of I, PySM leaves Q and U as they are.

    Args:
        iqu: `(1, n)` or `(3, n)`, uK_RJ at the reference frequency.
        index: `(n,)`.
        temperature_k: `(n,)`, K.
        freq_ref_ghz: reference frequency, GHz.
    """
    import pysm3
    from pysm3 import units as u

    # PySM's class always evaluates three rows; without polarisation, I fills the other two.
    return pysm3.ModifiedBlackBody(
        **_stokes(iqu if len(iqu) == 3 else np.repeat(iqu, 3, axis=0)),
        freq_ref_I=freq_ref_ghz * u.GHz,
        freq_ref_P=freq_ref_ghz * u.GHz,
        map_mbb_index=index,
        map_mbb_temperature=temperature_k,
        unit_mbb_temperature="K",
        nside=1,
    )


def _stokes(iqu: Float32Map) -> dict[str, "Quantity"]:
    from pysm3 import units as u

    return {f"map_{name}": u.Quantity(row, u.uK_RJ, copy=False) for name, row in zip("IQU", iqu, strict=False)}


def cmb_to_rj(freq_ghz: float) -> float:
    """Return the uK_RJ in one uK_CMB."""
    return 1 / Band(freq_ghz=np.array([freq_ghz])).to_uk_cmb()


def one_value(model: Callable[[Float32Map], "pysm3.Model"], band: Band) -> float:
    """Evaluate a model of one spectrum on a unit template."""
    # Two pixels, because PySM takes an array of one for a stack of maps.
    return float(model(np.ones(2, dtype=np.float32)).get_emission(band.freqs, band.weights).value[0, 0])


@contextmanager
def numba_threads(threads: int) -> Iterator[None]:
    """Hold PySM's compiled loops to a number of threads."""
    import numba

    _keep_compiled()
    old = numba.get_num_threads()
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
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
