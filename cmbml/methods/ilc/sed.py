"""Spectral energy distributions of what a constrained ILC nulls, in thermodynamic (CMB) units.

Moments are derivatives by the parameters (Chluba, Hill & Abitbol 2017, arXiv:1701.00274): a sky whose spectral index
or temperature varies from place to place is nulled to first order if these are nulled too.
"""

from abc import ABC, abstractmethod
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from cmbml.settings import PositiveFloat, settings

H_OVER_K_GHZ = 0.04799243073366221
"""Planck's constant over Boltzmann's, K / GHz (exact in the SI)."""

T_CMB_K = 2.7255
"""Temperature of the CMB (Fixsen 2009)."""

Spectrum = NDArray[np.float64]


def thermodynamic(freq_ghz: Spectrum) -> Spectrum:
    """Return the derivative of the black body by temperature at the CMB's, up to a constant factor."""
    x = H_OVER_K_GHZ * freq_ghz / T_CMB_K
    derivative: Spectrum = x**4 * np.exp(x) / np.expm1(x) ** 2
    return derivative


@settings
class Emission(ABC):
    """A component of the sky with a known spectrum."""

    @abstractmethod
    def spectrum(self, freq_ghz: Spectrum) -> Spectrum:
        """Return its brightness in CMB units, in any normalisation, at each frequency `(n,)`."""


@final
@settings
class ThermalSz(Emission):
    """The thermal Sunyaev-Zeldovich effect, not relativistic: x coth(x / 2) - 4."""

    def spectrum(self, freq_ghz: Spectrum) -> Spectrum:
        """Return the spectrum for y = 1, over T_CMB."""
        x = H_OVER_K_GHZ * freq_ghz / T_CMB_K
        return x / np.tanh(x / 2) - 4


@final
@settings
class ModifiedBlackBody(Emission):
    """Dust, or the cosmic infrared background: nu^beta B_nu(T), or a derivative of it.

    Attributes:
        beta: spectral index of the emissivity.
        temperature_k: of the dust, K.
        freq_ref_ghz: where the spectrum is 1, and where the derivative by beta vanishes.
        moment: None for the spectrum itself; `beta` or `temperature` for its derivative by that.
    """

    beta: float
    temperature_k: PositiveFloat
    freq_ref_ghz: PositiveFloat = 353.0
    moment: Literal["beta", "temperature"] | None = None

    def spectrum(self, freq_ghz: Spectrum) -> Spectrum:
        """Return the spectrum."""
        ref = np.array([self.freq_ref_ghz])
        base = self._brightness(freq_ghz) / self._brightness(ref)
        if self.moment == "beta":
            return base * np.log(freq_ghz / self.freq_ref_ghz)
        if self.moment == "temperature":
            return base * (self._by_temperature(freq_ghz) - self._by_temperature(ref))
        return base

    def _brightness(self, freq_ghz: Spectrum) -> Spectrum:
        x = H_OVER_K_GHZ * freq_ghz / self.temperature_k
        return freq_ghz ** (self.beta + 3) / np.expm1(x) / thermodynamic(freq_ghz)

    def _by_temperature(self, freq_ghz: Spectrum) -> Spectrum:
        """Return d ln B_nu / d ln T."""
        x = H_OVER_K_GHZ * freq_ghz / self.temperature_k
        return -x / np.expm1(-x)


@final
@settings
class PowerLaw(Emission):
    """Synchrotron or free-free: a power law in brightness temperature, or a derivative of it.

    Attributes:
        beta: spectral index in Rayleigh-Jeans units.
        freq_ref_ghz: where the spectrum is 1, and where the derivatives vanish.
        moment: None for the spectrum itself; `beta` for its derivative by beta; `curvature` for the second one.
    """

    beta: float
    freq_ref_ghz: PositiveFloat = 30.0
    moment: Literal["beta", "curvature"] | None = None

    def spectrum(self, freq_ghz: Spectrum) -> Spectrum:
        """Return the spectrum."""
        ref = np.array([self.freq_ref_ghz])
        ratio = freq_ghz / self.freq_ref_ghz
        base = ratio ** (self.beta + 2) * thermodynamic(ref) / thermodynamic(freq_ghz)
        order = {None: 0, "beta": 1, "curvature": 2}[self.moment]
        spectrum: Spectrum = base * np.log(ratio) ** order
        return spectrum


def mixing_matrix(freq_ghz: Spectrum, nulled: tuple[Emission, ...]) -> Spectrum:
    """Return what each channel sees of the CMB (1) and of each nulled component, `(n_channel, 1 + n_nulled)`.

    The columns of components have a largest entry of 1.
    """
    columns = [component.spectrum(freq_ghz) for component in nulled]
    return np.stack([np.ones(freq_ghz.size), *(column / np.abs(column).max() for column in columns)], axis=1)
