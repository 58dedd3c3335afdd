"""Bandpasses: what a channel receives at which frequency."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.instrument import Channel

BAND_SAMPLES, BAND_TAIL = 128, 1e-5


class BandError(ValueError):
    """A table that holds no bandpass."""


@dataclass(frozen=True, kw_only=True)
class Bandpass:
    """A channel's response.

    Attributes:
        freq_ghz: `(n,)`, GHz; one value for a delta function.
        weights: `(n,)`, response in power units (Jy/sr); None for a delta function.
    """

    freq_ghz: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, channel: Channel) -> Self:
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
    def widths(self) -> NDArray[np.float64]:
        """What each sample counts in a trapezoidal integral over frequency, GHz, `(n,)`; 1 for a delta function."""
        if self.freq_ghz.size == 1:
            return np.ones(1)
        steps = np.diff(self.freq_ghz)
        widths: NDArray[np.float64] = 0.5 * (np.concatenate([steps, [0]]) + np.concatenate([[0], steps]))
        return widths


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
