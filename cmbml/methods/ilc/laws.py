"""Spectral laws of the Galaxy's emission in intensity, as channels see them through their bandpasses, in uK_CMB.

Thermal dust is a modified black body, synchrotron and free-free emission are power laws, spinning dust is log-normal in
flux (Planck 2015 X, arXiv:1502.01588; Stevenson 2014, arXiv:1310.7979). Each is 1 uK_RJ at its reference frequency.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.ilc.sed import H_OVER_K_GHZ, T_CMB_K
from cmbml.sky.bandpass import Bandpass

Maps = NDArray[np.float64]

DUST_GHZ, LOW_GHZ = 353.0, 30.0
"""Reference frequencies: of thermal dust, and of all other emission."""

LAWS = ("thermal dust", "synchrotron", "free-free", "spinning dust")
OWNERS = (0, 0, 1, 3)
"""The law that each spectral parameter belongs to: dust's index and temperature (K), synchrotron's index, and the
logarithm of the frequency, over 30 GHz, at which spinning dust's flux is highest."""


def seen(bands: Sequence[Bandpass], theta: Maps, free_free_index: float, ame_width: float) -> tuple[Maps, Maps]:
    """Return what channels see of each law, and its derivatives by the spectral parameters.

    Args:
        bands: of the channels.
        theta: `(n_pix, 4)`, spectral parameters, in the order of `OWNERS`.
        free_free_index: in uK_RJ.
        ame_width: of spinning dust's flux, standard deviation in ln(frequency).

    Returns:
        uK_CMB per uK_RJ at the reference frequency: `(n_pix, n_channel, 4)` in the order of `LAWS`, and of `OWNERS`.
    """
    laws, slopes = [], []
    for band in bands:
        emission = _Emission(band.freq_ghz, theta[:, :, None], free_free_index, ame_width)
        factors = to_uk_cmb(band)
        laws.append(np.stack([law @ factors for law in emission.laws()], axis=-1))
        slopes.append(np.stack([slope @ factors for slope in emission.slopes()], axis=-1))
    return np.stack(laws, axis=1), np.stack(slopes, axis=1)


def to_uk_cmb(band: Bandpass) -> Maps:
    """Return by what the uK_RJ at each sample of a band are multiplied and summed to its uK_CMB, `(n,)`.

    Received power is the integral of the response times nu^2 T_RJ, and that of a change of the CMB's temperature is
    the same of its derivative (Planck 2013 IX, arXiv:1303.5070, section 3.2).
    """
    x = H_OVER_K_GHZ * band.freq_ghz / T_CMB_K
    response = band.widths * (1.0 if band.weights is None else band.weights) * band.freq_ghz**2
    of_cmb = (response * x**2 * np.exp(x) / np.expm1(x) ** 2).sum()
    factors: Maps = response / of_cmb
    return factors


@dataclass(frozen=True)
class _Emission:
    """Brightness in uK_RJ, `(n_pix, n_freq)`, of `theta`, `(n_pix, 4, 1)`."""

    freq_ghz: Maps
    theta: Maps
    free_free_index: float
    ame_width: float

    def laws(self) -> tuple[Maps, Maps, Maps, Maps]:
        index, temperature, synchrotron, peak = np.moveaxis(self.theta, 1, 0)
        low, colder = np.log(self.freq_ghz / LOW_GHZ), H_OVER_K_GHZ / temperature
        black = np.expm1(DUST_GHZ * colder) / np.expm1(self.freq_ghz * colder)
        dust = (self.freq_ghz / DUST_GHZ) ** (index + 1) * black
        free_free = np.broadcast_to(np.exp(self.free_free_index * low), dust.shape)
        spinning = np.exp((peak / self.ame_width**2 - 2) * low - 0.5 * (low / self.ame_width) ** 2)
        return dust, np.exp(synchrotron * low), free_free, spinning

    def slopes(self) -> tuple[Maps, Maps, Maps, Maps]:
        dust, synchrotron, _, spinning = self.laws()
        low, temperature = np.log(self.freq_ghz / LOW_GHZ), self.theta[:, 1]
        warmer = self._by_temperature(self.freq_ghz) - self._by_temperature(np.array([DUST_GHZ]))
        return (
            dust * np.log(self.freq_ghz / DUST_GHZ),
            dust * warmer / temperature,
            synchrotron * low,
            spinning * low / self.ame_width**2,
        )

    def _by_temperature(self, freq_ghz: Maps) -> Maps:
        """Return d ln B_nu / d ln T."""
        x = H_OVER_K_GHZ * freq_ghz / self.theta[:, 1]
        slope: Maps = -x / np.expm1(-x)
        return slope
