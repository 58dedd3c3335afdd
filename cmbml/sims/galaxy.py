"""The Galactic components of the embedded sky: thermal dust, synchrotron, free-free and spinning dust.

Every profile and spectrum below is a handful of numbers fitted to PySM 3's d1, s1, f1 and a1 at nside 64 (see
`cmbml.sims.templates`): brightness to the mean in the masks GAL020, GAL040, GAL060 and the full sky, turbulence to the
rms and to the slope of the angular spectrum at l = 20-120 in GAL060.

At high latitude more than half of the power of f1, and a part of a1's, is radio galaxies that leaked into the published
maps (Centaurus A, 3C 273, 3C 279, Virgo A). Here they belong to the radio sources, so free-free emission alone has only
about 0.6 of f1's rms in GAL020.
"""

from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from cmbml.settings import Fraction, NonNegativeFloat, PositiveFloat, settings
from cmbml.sims.components import (
    Component,
    Emitter,
    OneSpectrum,
    VaryingSpectrum,
    grey_body,
    one_value,
    power_law,
)
from cmbml.sims.dust_map import DustMap
from cmbml.sims.templates import (
    SPECTRAL_LMAX,
    Complex,
    Float32Map,
    Polarisation,
    Profile,
    Turbulence,
    child,
    cloudy,
    gaussian,
    template_lmax,
    unit_alm,
)
from cmbml.sky.harmonics import Alm, cut_alm
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
SPECTRAL_TURBULENCE = Turbulence(sigma=1.0, slope=2.5, knee=10)
"""The spectrum of maps of spectral parameters, in units of their scatter."""

Correlation = Annotated[float, Field(ge=-1, le=1)]


def gas_alm(seed: int, nside: int) -> Alm:
    """Draw the coefficients of the interstellar gas, which thermal and spinning dust share, `(1, n_alm)`."""
    return unit_alm(child(seed, "gas"), template_lmax(nside))


def ridges(seed: int) -> np.random.Generator:
    """Return where the filaments of the gas are drawn from."""
    return child(seed, "filaments")


@settings
class Dust(Component):
    """Thermal dust: a modified black body nu^index B_nu(T) (Planck 2015 X, arXiv:1502.01588), polarised.

    Attributes:
        amplitude: factor on the brightness.
        brightness: a map that the brightness is read from; the fitted shape with turbulence of its own where None.
        index: mean emissivity index.
        index_scatter: its standard deviation from pixel to pixel.
        index_brightness: correlation of the index with the logarithm of the brightness of clouds.
        temperature_k: mean temperature at the Galactic poles, K.
        temperature_fall_k: fall of the temperature where the smooth profile is e times brighter, K.
        temperature_scatter_k: standard deviation of the temperature from pixel to pixel, K.
        temperature_brightness: correlation of that scatter with the logarithm of the brightness of clouds.
        polarisation: factor on the fitted polarised fraction.
        profile: the smooth shape.
        turbulence: of the brightness.
        spectral: turbulence of index and temperature.
    """

    amplitude: NonNegativeFloat = 1.0
    brightness: DustMap | None = None
    index: float = 1.52
    index_scatter: NonNegativeFloat = 0.025
    index_brightness: Correlation = 0.0
    temperature_k: PositiveFloat = 23.0
    temperature_fall_k: NonNegativeFloat = 1.0
    temperature_scatter_k: NonNegativeFloat = 0.9
    temperature_brightness: Correlation = 0.0
    polarisation: NonNegativeFloat = 1.0
    profile: Profile = DUST_PROFILE
    turbulence: Turbulence = DUST_TURBULENCE
    spectral: Turbulence = SPECTRAL_TURBULENCE

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:
        """Make the templates: I, Q, U at 353 GHz, index and temperature."""
        gas = gas_alm(seed, nside)
        if self.brightness is None:
            intensity = cloudy(self.profile, self.turbulence, gas, nside, threads, ridges(seed))
        else:
            intensity = self.brightness.intensity(nside).copy()
        intensity *= np.float32(self.amplitude)
        rng = child(seed, "dust polarisation")
        iqu = polarise(intensity, DUST_POLARISATION, self.polarisation, rng, gas, nside, fields, threads)
        rng, share = child(seed, "dust index"), (gas, self.index_brightness)
        index = spectral_map(self.index, self.index_scatter, rng, nside, threads, self.spectral, share)
        rng, share = child(seed, "dust temperature"), (gas, self.temperature_brightness)
        spread = self.temperature_scatter_k
        temperature = spectral_map(self.temperature_k, spread, rng, nside, threads, self.spectral, share)
        fall = np.log(self.profile.map(nside, threads) / np.float32(self.profile.disc))
        temperature -= np.float32(self.temperature_fall_k) * fall
        np.clip(temperature, 10, 40, out=temperature)
        return VaryingSpectrum(iqu, grey_body(DUST_GHZ, index, temperature))


@settings
class Synchrotron(Component):
    """Synchrotron emission: a power law in uK_RJ, polarised.

    Attributes:
        amplitude: factor on the fitted brightness.
        index: mean spectral index.
        index_scatter: its standard deviation from pixel to pixel (Miville-Deschenes et al. 2008, arXiv:0802.3345).
        index_brightness: correlation of the index with the logarithm of the brightness.
        curvature: c of nu^(index + c ln(nu / 23 GHz)).
        polarisation: factor on the fitted polarised fraction.
        profile: the smooth shape.
        turbulence: of the brightness.
        spectral: turbulence of the index.
    """

    amplitude: NonNegativeFloat = 1.0
    index: float = -3.0
    index_scatter: NonNegativeFloat = 0.05
    index_brightness: Correlation = 0.0
    curvature: float = 0.0
    polarisation: NonNegativeFloat = 1.0
    profile: Profile = SYNCHROTRON_PROFILE
    turbulence: Turbulence = SYNCHROTRON_TURBULENCE
    spectral: Turbulence = SPECTRAL_TURBULENCE

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:
        """Make the templates: I, Q, U at 23 GHz and the index."""
        alm = unit_alm(child(seed, "synchrotron"), template_lmax(nside))
        rng = child(seed, "synchrotron filaments")
        intensity = cloudy(self.profile, self.turbulence, alm, nside, threads, rng)
        intensity *= np.float32(self.amplitude)
        rng = child(seed, "synchrotron polarisation")
        iqu = polarise(intensity, SYNCHROTRON_POLARISATION, self.polarisation, rng, alm, nside, fields, threads)
        rng, share = child(seed, "synchrotron index"), (alm, self.index_brightness)
        index = spectral_map(self.index, self.index_scatter, rng, nside, threads, self.spectral, share)
        return VaryingSpectrum(iqu, power_law(SYNCHROTRON_GHZ, index, self.curvature))


@settings
class FreeFree(Component):
    """Free-free emission: a power law of one index, unpolarised.

    Attributes:
        amplitude: factor on the fitted brightness.
        index: spectral index in uK_RJ (Planck 2015 X, arXiv:1502.01588, at 30 GHz).
        profile: the smooth shape.
        turbulence: of the brightness.
    """

    amplitude: NonNegativeFloat = 1.0
    index: float = -2.14
    profile: Profile = FREE_FREE_PROFILE
    turbulence: Turbulence = FREE_FREE_TURBULENCE

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """Make the template: I at 30 GHz."""
        alm = unit_alm(child(seed, "free-free"), template_lmax(nside))
        intensity = cloudy(self.profile, self.turbulence, alm, nside, threads, child(seed, "free-free filaments"))
        intensity *= np.float32(self.amplitude)
        scaling = power_law(FREE_FREE_GHZ, np.full(1, self.index, dtype=np.float32))
        return OneSpectrum(intensity, partial(one_value, scaling))


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
        gas_correlation: correlation of its clouds with those of thermal dust.
        profile: the smooth shape.
        turbulence: of the brightness.
        spectral: turbulence of the peak.
    """

    amplitude: NonNegativeFloat = 1.0
    peak_ghz: PositiveFloat = 26.5
    peak_scatter: NonNegativeFloat = 0.05
    width: Fraction = 0.41
    gas_correlation: Correlation = 0.5
    profile: Profile = AME_PROFILE
    turbulence: Turbulence = AME_TURBULENCE
    spectral: Turbulence = SPECTRAL_TURBULENCE

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """Make the templates: I at 30 GHz and the slope there."""
        own = unit_alm(child(seed, "spinning dust"), template_lmax(nside))
        alm = mixed(own, gas_alm(seed, nside), self.gas_correlation)
        intensity = cloudy(self.profile, self.turbulence, alm, nside, threads, ridges(seed))
        intensity *= np.float32(self.amplitude)
        rng = child(seed, "spinning dust peak")
        mean = float(np.log(self.peak_ghz / AME_GHZ))
        peak = spectral_map(mean, self.peak_scatter, rng, nside, threads, self.spectral)
        index = peak / np.float32(self.width**2) - np.float32(2)
        return VaryingSpectrum(intensity[None], power_law(AME_GHZ, index, -0.5 / self.width**2))


def mixed(own: Alm, other: Alm, correlation: float) -> Alm:
    """Correlate coefficients of unit spectrum with others, `(1, n_alm)`; the spectrum stays."""
    return own * np.float32(np.sqrt(1 - correlation**2)) + np.float32(correlation) * other


def spectral_map(
    mean: float,
    scatter: float,
    rng: np.random.Generator,
    nside: int,
    threads: int,
    turbulence: Turbulence = SPECTRAL_TURBULENCE,
    shared: tuple[Alm, float] | None = None,
) -> Float32Map:
    """Draw a spatially varying spectral parameter, `(n_pix,)`.

    Args:
        mean: of the parameter.
        scatter: its standard deviation from pixel to pixel.
        rng: source of randomness.
        nside: resolution.
        threads: CPU threads.
        turbulence: spectrum of the variations, in units of `scatter`.
        shared: coefficients of unit spectrum, and the correlation of the parameter with them.
    """
    lmax = min(template_lmax(nside), SPECTRAL_LMAX)
    alm = unit_alm(rng, lmax)
    if shared is not None and shared[1]:
        alm = mixed(alm, cut_alm(shared[0], lmax), shared[1])
    values = gaussian(turbulence, alm, nside, threads)
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
