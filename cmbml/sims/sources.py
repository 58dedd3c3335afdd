"""The extragalactic components of the embedded sky: radio and infrared sources, the CIB, and clusters (thermal SZ)."""

from functools import partial
from typing import Literal

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sims.components import (
    H_OVER_K_GHZ,
    Band,
    Component,
    Emitter,
    OneSpectrum,
    PointSources,
    cmb_to_rj,
    grey_body,
    one_value,
)
from cmbml.sims.templates import Float32Map, Turbulence, child, template_lmax, unit_alm
from cmbml.sky.harmonics import filter_alm, synthesise
from cmbml.sky.maps import Fields

RADIO_GHZ, INFRARED_GHZ, CIB_GHZ = 30.0, 857.0, 217.0
ARCMIN2_PER_SR = (180 * 60 / np.pi) ** 2
C_M_PER_S, K_J_PER_K = 299792458.0, 1.380649e-23
T_CMB_UK = 2.7255e6


def cib_shape(ell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return C_l of the CIB at 217 GHz, up to a factor.

    Five numbers fitted to the table of Lapi et al. (2011) that the CENN group's public simulations use: within 6 % from
    l = 1 to 10^4.
    """
    shape: NDArray[np.float64] = (1 + (ell / 752.4) ** 1.418) ** (-3.441 / 1.418) * (1 + (ell / 5483.0) ** 2) ** (
        -5.602 / 2
    )
    return shape


def power_law_draws(
    rng: np.random.Generator, count: float, slope: float, least: float, most: float
) -> NDArray[np.float64]:
    """Draw strengths S of a population whose counts are N(>S) = count (S / least)^-slope on the whole sky.

    Args:
        rng: source of randomness.
        count: expected number above `least`; the number drawn is Poisson's.
        slope: of the integral counts.
        least: weakest strength.
        most: strongest strength: the counts end there.

    Returns:
        `(n,)`, in the unit of `least`.
    """
    top = (most / least) ** -slope
    uniform = rng.uniform(top, 1, size=rng.poisson(count * (1 - top)))
    drawn: NDArray[np.float64] = least * uniform ** (-1 / slope)
    return drawn


def random_directions(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Draw isotropic directions, `(n, 3)`."""
    z, phi = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(phi), across * np.sin(phi), z], axis=-1)


def jansky_to_uk_rj(freq_ghz: float, nside: int) -> float:
    """Return the uK_RJ, averaged over a pixel, of a source of 1 Jy: S c^2 / (2 k nu^2 Omega)."""
    return float(1e-26 * C_M_PER_S**2 / (2 * K_J_PER_K * (freq_ghz * 1e9) ** 2 * hp.nside2pixarea(nside)) * 1e6)


@settings
class RadioSources(Component):
    """Radio sources: power laws whose index scatters from source to source, unpolarised.

    The defaults give about 900 sources above 0.5 Jy at 30 GHz, as the Planck catalogue of compact sources has
    (PCCS2, arXiv:1507.02058), with the mean index found there between 30 and 143 GHz. The counts end where
    sources are so bright that every analysis masks them one by one.

    Attributes:
        amplitude: factor on the flux of every source.
        count_1jy: sources above 1 Jy at 30 GHz on the whole sky.
        count_slope: N(>S) goes as S to minus this (de Zotti et al. 2005, arXiv:astro-ph/0410709).
        least_jy, most_jy: range of the fluxes, Jy.
        index: mean index of the flux; that of uK_RJ is 2 less.
        index_scatter: its standard deviation from source to source.
    """

    amplitude: NonNegativeFloat = 1.0
    count_1jy: NonNegativeFloat = 390.0
    count_slope: PositiveFloat = 1.2
    least_jy: PositiveFloat = 0.02
    most_jy: PositiveFloat = 2.0
    index: float = -0.4
    index_scatter: NonNegativeFloat = 0.3

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """List the sources: pixel, I at 30 GHz, index."""
        rng = child(seed, "radio sources")
        count = self.count_1jy * self.least_jy**-self.count_slope
        flux = self.amplitude * power_law_draws(rng, count, self.count_slope, self.least_jy, self.most_jy)
        pixel = hp.vec2pix(nside, *random_directions(rng, flux.size).T)
        slope = rng.normal(self.index - 2, self.index_scatter, flux.size)
        return PointSources(pixel, flux * jansky_to_uk_rj(RADIO_GHZ, nside), slope, RADIO_GHZ)


@settings
class InfraredSources(Component):
    """Dusty galaxies: modified black bodies, unpolarised.

    The defaults give about 3,000 sources above 1 Jy at 857 GHz with Euclidean counts, as the Planck catalogue of
    compact sources has away from the plane (PCCS2, arXiv:1507.02058; Negrello et al. 2013, arXiv:1211.3832).

    Attributes:
        amplitude: factor on the flux of every source.
        count_1jy: sources above 1 Jy at 857 GHz on the whole sky.
        count_slope: N(>S) goes as S to minus this.
        least_jy, most_jy: range of the fluxes, Jy.
        index: emissivity index.
        temperature_k: temperature, K.
    """

    amplitude: NonNegativeFloat = 1.0
    count_1jy: NonNegativeFloat = 3000.0
    count_slope: PositiveFloat = 1.5
    least_jy: PositiveFloat = 0.05
    most_jy: PositiveFloat = 100.0
    index: float = 1.7
    temperature_k: PositiveFloat = 20.0

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """Make the template: I at 857 GHz."""
        rng = child(seed, "infrared sources")
        count = self.count_1jy * self.least_jy**-self.count_slope
        flux = self.amplitude * power_law_draws(rng, count, self.count_slope, self.least_jy, self.most_jy)
        pixel = hp.vec2pix(nside, *random_directions(rng, flux.size).T)
        total = np.bincount(pixel, weights=flux, minlength=12 * nside**2) * jansky_to_uk_rj(INFRARED_GHZ, nside)
        scaling = partial(grey_scaling, index=self.index, temperature_k=self.temperature_k, freq_ref_ghz=INFRARED_GHZ)
        return OneSpectrum(total.astype(np.float32), scaling)


@settings
class CosmicInfraredBackground(Component):
    """Anisotropies of the cosmic infrared background: a log-normal field of mean zero.

    Its mean brightness is left out: no differential measurement sees it.

    Attributes:
        amplitude: factor on the anisotropies.
        d3000_uk2: power D_l at l = 3000 and 217 GHz, uK_CMB^2: A_CIB of Planck 2018 V (arXiv:1907.12875).
        shape: of C_l: a `power_law`, or `lapi`, that of Lapi et al. (2011), which falls faster above l = 1000.
        slope: C_l goes as l to minus this, of a power law: the clustered part, D_l going as l^0.8 (George et al. 2015,
            arXiv:1408.3161).
        index: emissivity index of the effective modified black body (Addison et al. 2012, arXiv:1108.4614).
        temperature_k: its temperature, K.
        skewness: standard deviation of the logarithm of the field, from 0 (Gaussian) up.
    """

    amplitude: NonNegativeFloat = 1.0
    d3000_uk2: NonNegativeFloat = 47.0
    shape: Literal["power_law", "lapi"] = "power_law"
    slope: PositiveFloat = 1.2
    index: float = 2.2
    temperature_k: PositiveFloat = 9.7
    skewness: PositiveFloat = 0.3

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """Make the template: I at 217 GHz."""
        wanted = self.d3000_uk2 * 2 * np.pi / (3000 * 3001)
        sigma_uk = self.amplitude * np.sqrt(wanted / self.unit_spectrum(3000)[-1])
        lmax = template_lmax(nside)
        alm = filter_alm(unit_alm(child(seed, "cib"), lmax), np.sqrt(self.unit_spectrum(lmax)))
        values = synthesise(alm, nside, threads)[0]
        values = np.expm1(np.float32(self.skewness) * values)
        values *= np.float32(sigma_uk / self.skewness)
        values -= values.mean(dtype=np.float64).astype(np.float32)
        values *= np.float32(cmb_to_rj(CIB_GHZ))
        scaling = partial(grey_scaling, index=self.index, temperature_k=self.temperature_k, freq_ref_ghz=CIB_GHZ)
        return OneSpectrum(values, scaling)

    def unit_spectrum(self, lmax: int) -> NDArray[np.float64]:
        """Return C_l of a field of unit variance, `(lmax + 1,)`: the same numbers whatever `lmax`."""
        if self.shape == "power_law":
            return Turbulence(sigma=1.0, slope=self.slope, knee=10.0).spectrum(lmax)
        ell = np.arange(max(lmax, 8192) + 1.0)
        cl = cib_shape(ell)
        cl[0] = 0
        cl *= 4 * np.pi / np.sum((2 * ell + 1) * cl)
        return cl[: lmax + 1]


@settings
class ThermalSunyaevZeldovich(Component):
    """Clusters of galaxies: positive blobs of Compton y, seen with the non-relativistic thermal SZ spectrum.

    The counts follow the Planck catalogue (PSZ2, arXiv:1502.01598), and the power agrees with the Planck y map's at
    l = 100, 10^12 D_l of about 0.06 (Planck 2015 XXII, arXiv:1502.01596).

    Attributes:
        amplitude: factor on y.
        count: clusters of integrated Y above 1e-3 arcmin^2 on the whole sky.
        count_slope: N(>Y) goes as Y to minus this.
        least_arcmin2, most_arcmin2: range of Y, arcmin^2.
        core_arcmin: core radius of a cluster of Y = 1e-3 arcmin^2; it grows as Y^(1/3).
    """

    amplitude: NonNegativeFloat = 1.0
    count: NonNegativeFloat = 1500.0
    count_slope: PositiveFloat = 1.3
    least_arcmin2: PositiveFloat = 2e-5
    most_arcmin2: PositiveFloat = 0.1
    core_arcmin: PositiveFloat = 2.0

    def prepare(self, nside: int, fields: Fields, seed: int, threads: int) -> Emitter:  # noqa: ARG002
        """Make the template: y."""
        rng = child(seed, "clusters")
        count = self.count * (self.least_arcmin2 / 1e-3) ** -self.count_slope
        y = power_law_draws(rng, count, self.count_slope, self.least_arcmin2, self.most_arcmin2)
        core = np.radians(self.core_arcmin / 60) * (y / 1e-3) ** (1 / 3)
        strength = self.amplitude * y / (hp.nside2pixarea(nside) * ARCMIN2_PER_SR)
        return OneSpectrum(beta_blobs(random_directions(rng, y.size), strength, core, nside), thermal_sz_scaling)


def beta_blobs(
    centres: NDArray[np.float64], strength: NDArray[np.float64], core_rad: NDArray[np.float64], nside: int
) -> Float32Map:
    """Paint projected beta models of beta = 1, (1 + (theta / core)^2)^-1, out to five core radii.

    What a blob adds over all pixels is kept exactly; one whose core is less than half a pixel falls into one pixel.

    Args:
        centres: unit vectors `(n, 3)`.
        strength: `(n,)`, the sum over the pixels.
        core_rad: `(n,)`, core radii, rad.
        nside: resolution.

    Returns:
        `(n_pix,)`.
    """
    out = np.zeros(12 * nside**2)
    wide = 2 * core_rad > hp.nside2resol(nside)
    np.add.at(out, hp.vec2pix(nside, *centres[~wide].T), strength[~wide])
    for centre, total, core in zip(centres[wide], strength[wide], core_rad[wide], strict=True):
        pixels = hp.query_disc(nside, centre, 5 * core)
        if pixels.size == 0:
            pixels = np.array([hp.vec2pix(nside, *centre)])
        chord2 = np.sum((np.array(hp.pix2vec(nside, pixels)) - centre[:, None]) ** 2, axis=0)
        profile = 1 / (1 + chord2 / core**2)
        out[pixels] += total * profile / profile.sum()
    return out.astype(np.float32)


def grey_scaling(band: Band, index: float, temperature_k: float, freq_ref_ghz: float) -> float:
    """Return the uK_RJ in a band of a modified black body of 1 uK_RJ at its reference frequency."""
    indices, temperatures = (np.full(1, value, dtype=np.float32) for value in (index, temperature_k))
    return one_value(grey_body(freq_ref_ghz, indices, temperatures), band)


def thermal_sz_scaling(band: Band) -> float:
    """Return the uK_RJ in a band of y = 1: T_CMB (x coth(x / 2) - 4) in uK_CMB (Carlstrom et al. 2002, eq. 2).

    The bandpass integral is that of `bandpass_unit_conversion`: power received over power per uK_RJ.

    Example:
        >>> band = Band(freq_ghz=np.array([143.0]))
        >>> round(thermal_sz_scaling(band) * band.to_uk_cmb() / 1e6, 2)
        -2.84
    """
    nu = band.freq_ghz
    x = H_OVER_K_GHZ * nu * 1e6 / T_CMB_UK
    decrement = T_CMB_UK * (x / np.tanh(x / 2) - 4)
    to_rj = np.array([cmb_to_rj(f) for f in nu])
    if nu.size == 1:
        return float((decrement * to_rj)[0])
    weights = np.ones(nu.size) if band.weights is None else band.weights
    power = weights * nu**2
    return float(np.trapezoid(power * decrement * to_rj, nu) / np.trapezoid(power, nu))
