"""The Galactic components of the embedded sky: thermal dust, synchrotron, free-free and spinning dust.

Every profile and spectrum below is a handful of numbers fitted to PySM 3's d1, s1, f1 and a1 at nside 64 (see
`cmbml.sims.templates`): brightness to the mean in the masks GAL020, GAL040, GAL060 and the full sky, turbulence to the
rms and to the slope of the angular spectrum at l = 20-120 in GAL060.

At high latitude more than half of the power of f1, and a part of a1's, is radio galaxies that leaked into the published
maps (Centaurus A, 3C 273, 3C 279, Virgo A). Here they belong to the radio sources, so free-free emission alone has only
about 0.6 of f1's rms in GAL020.
"""

import numpy as np

from cmbml.settings import Fraction, NonNegativeFloat, PositiveFloat, settings
from cmbml.sims.components import (
    Band,
    Component,
    Emitter,
    OneSpectrum,
    VaryingSpectrum,
    grey_body,
    one_value,
    power_law,
)
from cmbml.sims.templates import (
    Complex,
    Float32Map,
    Polarisation,
    Profile,
    Turbulence,
    child,
    cloudy,
    gaussian,
    unit_alm,
)
from cmbml.sky.harmonics import Alm
from cmbml.sky.maps import Fields

DUST_GHZ, SYNCHROTRON_GHZ, FREE_FREE_GHZ, AME_GHZ = 353.0, 23.0, 30.0, 30.0

# The complexes: Ophiuchus and Aquila, Taurus and Perseus, Cepheus and Polaris, Orion, Chamaeleon and Musca.
DUST_PROFILE = Profile(
    level=0.0,
    disc=8.8,
    softening=0.298,
    slope=2.9,
    tilt=(0.102, -0.062, 0.03),
    thin=2180.0,
    thin_contrast=1.12,
    complexes=(
        Complex(0, 20, 12, 390),
        Complex(170, -15, 14, 468),
        Complex(110, 15, 12, 32),
        Complex(210, -15, 10, 107),
        Complex(300, -15, 12, 131),
    ),
)
DUST_TURBULENCE = Turbulence(sigma=0.32, slope=2.8, knee=30)
DUST_POLARISATION = Polarisation(
    ordered=0.10, turbulent=0.055, slope=2.5, knee=8, bb_to_ee=0.35, te_correlation=0.35, most=0.25
)

# Loop I, the Fan region, the Galactic bulge, the inner northern sky.
SYNCHROTRON_PROFILE = Profile(
    level=40.1,
    disc=14.5,
    softening=0.0735,
    slope=1.14,
    tilt=(0.548, 0.262, -0.076),
    thin=65.2,
    thin_contrast=3.15,
    complexes=(
        Complex(329, 17.5, 6, 35.2, radius_deg=58),
        Complex(135, 3, 20, 129),
        Complex(0, 0, 14, 190),
        Complex(30, 30, 12, 232),
    ),
)
SYNCHROTRON_TURBULENCE = Turbulence(sigma=0.17, slope=3.3, knee=12)
SYNCHROTRON_POLARISATION = Polarisation(
    ordered=0.25, turbulent=0.12, slope=2.8, knee=6, bb_to_ee=0.2, te_correlation=0.1, most=0.7
)

# Orion, zeta Ophiuchi, the Gum nebula, the Large Magellanic Cloud, the California nebula; compact: 30 Doradus.
FREE_FREE_PROFILE = Profile(
    level=0.0865,
    disc=6.0,
    softening=0.0829,
    slope=1.88,
    tilt=(0.169, -0.106, 0.039),
    thin=1270.0,
    thin_contrast=2.55,
    complexes=(
        Complex(209, -19, 4, 1100),
        Complex(5, 22, 8, 406),
        Complex(260, -8, 14, 36.3),
        Complex(277, -34, 3, 200),
        Complex(162, -13, 5, 497),
    ),
    compact=(Complex(279.4, -31.7, 0.72, 5500),),
)
FREE_FREE_TURBULENCE = Turbulence(sigma=1.1, slope=3.5, knee=100)

AME_PROFILE = Profile(
    level=0.0,
    disc=6.7,
    softening=0.302,
    slope=2.46,
    tilt=(0.51, -0.072, 0.066),
    thin=902.0,
    thin_contrast=1.36,
    complexes=(
        Complex(0, 20, 12, 284),
        Complex(170, -15, 14, 255),
        Complex(110, 15, 12, 7.5),
        Complex(210, -15, 10, 65.8),
        Complex(300, -15, 12, 11.5),
    ),
)
AME_TURBULENCE = Turbulence(sigma=0.7, slope=4.0, knee=80)
AME_GAS_CORRELATION = 0.5
SPECTRAL_TURBULENCE = Turbulence(sigma=1.0, slope=2.5, knee=10)


def gas_alm(seed: int, nside: int) -> Alm:
    """Draw the coefficients of the interstellar gas, which thermal and spinning dust share, `(1, n_alm)`."""
    return unit_alm(child(seed, "gas"), nside)


@settings
class Dust(Component):
    """Thermal dust: a modified black body nu^index B_nu(T) (Planck 2015 X, arXiv:1502.01588), polarised.

    Attributes:
        amplitude: factor on the fitted brightness.
        index: mean emissivity index.
        index_scatter: its standard deviation from pixel to pixel.
        temperature_k: mean temperature at the Galactic poles, K.
        temperature_fall_k: fall of the temperature where the smooth profile is e times brighter, K.
        temperature_scatter_k: standard deviation of the temperature from pixel to pixel, K.
        polarisation: factor on the fitted polarised fraction.
    """

    amplitude: NonNegativeFloat = 1.0
    index: float = 1.52
    index_scatter: NonNegativeFloat = 0.025
    temperature_k: PositiveFloat = 23.0
    temperature_fall_k: NonNegativeFloat = 1.0
    temperature_scatter_k: NonNegativeFloat = 0.9
    polarisation: NonNegativeFloat = 1.0

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:
        """Make the templates: I, Q, U at 353 GHz, index and temperature."""
        gas = gas_alm(seed, nside)
        intensity = self.amplitude * cloudy(DUST_PROFILE, DUST_TURBULENCE, gas, nside, threads)
        rng = child(seed, "dust polarisation")
        iqu = polarise(intensity, DUST_POLARISATION, self.polarisation, rng, gas, nside, fields, threads)
        index = spectral_map(self.index, self.index_scatter, child(seed, "dust index"), nside, threads)
        rng = child(seed, "dust temperature")
        temperature = spectral_map(self.temperature_k, self.temperature_scatter_k, rng, nside, threads)
        fall = np.log(DUST_PROFILE.map(nside) / np.float32(DUST_PROFILE.disc))
        temperature -= np.float32(self.temperature_fall_k) * fall
        np.clip(temperature, 10, 40, out=temperature)
        return VaryingSpectrum(lambda part: grey_body(iqu[:, part], index[part], temperature[part], DUST_GHZ))


@settings
class Synchrotron(Component):
    """Synchrotron emission: a power law in uK_RJ, polarised.

    Attributes:
        amplitude: factor on the fitted brightness.
        index: mean spectral index.
        index_scatter: its standard deviation from pixel to pixel (Miville-Deschenes et al. 2008, arXiv:0802.3345).
        polarisation: factor on the fitted polarised fraction.
    """

    amplitude: NonNegativeFloat = 1.0
    index: float = -3.0
    index_scatter: NonNegativeFloat = 0.05
    polarisation: NonNegativeFloat = 1.0

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:
        """Make the templates: I, Q, U at 23 GHz and the index."""
        alm = unit_alm(child(seed, "synchrotron"), nside)
        intensity = self.amplitude * cloudy(SYNCHROTRON_PROFILE, SYNCHROTRON_TURBULENCE, alm, nside, threads)
        rng = child(seed, "synchrotron polarisation")
        iqu = polarise(intensity, SYNCHROTRON_POLARISATION, self.polarisation, rng, alm, nside, fields, threads)
        index = spectral_map(self.index, self.index_scatter, child(seed, "synchrotron index"), nside, threads)
        return VaryingSpectrum(lambda part: power_law(iqu[:, part], index[part], SYNCHROTRON_GHZ))


@settings
class FreeFree(Component):
    """Free-free emission: a power law of one index, unpolarised.

    Attributes:
        amplitude: factor on the fitted brightness.
        index: spectral index in uK_RJ (Planck 2015 X, arXiv:1502.01588, at 30 GHz).
    """

    amplitude: NonNegativeFloat = 1.0
    index: float = -2.14

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """Make the template: I at 30 GHz."""
        alm = unit_alm(child(seed, "free-free"), nside)
        intensity = self.amplitude * cloudy(FREE_FREE_PROFILE, FREE_FREE_TURBULENCE, alm, nside, threads)

        def scaling(band: Band) -> float:
            index = np.full(2, self.index, dtype=np.float32)
            return one_value(lambda unit: power_law(unit[None], index, FREE_FREE_GHZ), band)

        return OneSpectrum(intensity, scaling)


@settings
class SpinningDust(Component):
    """Anomalous microwave emission of spinning dust: flux log-normal in frequency, unpolarised.

    S(nu) goes as exp(-(ln(nu / nu_peak) / width)^2 / 2) (Stevenson 2014, arXiv:1310.7979), which is a power law with
    curvature in uK_RJ.

    Attributes:
        amplitude: factor on the fitted brightness.
        peak_ghz: mean frequency of the peak of the flux, GHz.
        peak_scatter: standard deviation of the logarithm of the peak's frequency from pixel to pixel.
        width: standard deviation of the spectrum in ln(nu).
    """

    amplitude: NonNegativeFloat = 1.0
    peak_ghz: PositiveFloat = 26.5
    peak_scatter: NonNegativeFloat = 0.05
    width: Fraction = 0.41

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """Make the templates: I at 30 GHz and the slope there."""
        alm = unit_alm(child(seed, "spinning dust"), nside)
        alm *= np.float32(np.sqrt(1 - AME_GAS_CORRELATION**2))
        alm += np.float32(AME_GAS_CORRELATION) * gas_alm(seed, nside)
        intensity = self.amplitude * cloudy(AME_PROFILE, AME_TURBULENCE, alm, nside, threads)
        rng = child(seed, "spinning dust peak")
        peak = spectral_map(np.log(self.peak_ghz / AME_GHZ), self.peak_scatter, rng, nside, threads)
        index = peak / np.float32(self.width**2) - np.float32(2)
        curvature = -0.5 / self.width**2
        return VaryingSpectrum(lambda part: power_law(intensity[None, part], index[part], AME_GHZ, curvature))


def spectral_map(mean: float, scatter: float, rng: np.random.Generator, nside: int, threads: int) -> Float32Map:
    """Draw a spatially varying spectral parameter, `(n_pix,)`."""
    values = gaussian(SPECTRAL_TURBULENCE, unit_alm(rng, nside), nside, threads)
    values *= np.float32(scatter)
    values += np.float32(mean)
    return values


def polarise(
    intensity: Float32Map,
    polarisation: Polarisation,
    factor: float,
    rng: np.random.Generator,
    alm: Alm,
    nside: int,
    fields: Fields,
    threads: int,
) -> Float32Map:
    """Add Q and U to an intensity map, `(3, n_pix)`; `(1, n_pix)` where they are not wanted."""
    if fields == "I":
        return intensity[None]
    iqu = np.empty((3, intensity.size), dtype=np.float32)
    iqu[0] = intensity
    iqu[1:] = polarisation.fractions(rng, alm, nside, threads)
    iqu[1:] *= np.float32(factor) * intensity
    return iqu
