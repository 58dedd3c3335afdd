"""A sky of neutral hydrogen in velocity channels, and the dust that belongs to it.

Along every line of sight lie a few clouds, each with cold, lukewarm and warm gas at one velocity, and further out gas
of intermediate and high velocity. Published anchors: about 3 clouds a sightline in the northern and 2.5 in the southern
sky (Panopoulou & Lenz 2020, ApJ 902, 120); 25, 41 and 34 % of the mass cold, lukewarm and warm, lines of 3.9, 11.8 and
24 km/s FWHM (Kalberla & Haud 2018, A&A 619, A58); N(HI) / E(B-V) = 8.3e21 cm^-2 mag^-1 (Liszt 2014, ApJ 780, 10); a
fifth of that dust in high-velocity gas; spin temperatures of 50 to 100 K in the cold medium. What has no published
number is a choice, and said to be one: dust ratios of the phases, gas dark in CO, where clouds lie and how they move;
the first two are such that the integrated intensity correlates with dust not much better than on the real sky.

Dust ratios that differ between phases (which the width of a line tells), gas dark in CO and lines that are optically
thick make dust a non-linear function of the spectrum of a line of sight; ratios that depend on velocity do not. Each
ingredient has a switch; without all of them, and without noise, the sum over channels is the dust, times a constant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from scipy.special import ndtr, ndtri

from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sims.dust_map import UK_RJ_PER_UNIT, DustMap
from cmbml.sims.templates import Profile, Turbulence, child, cloudy, gaussian, template_lmax, unit_alm
from cmbml.sky.velocity import COLUMN_PER_K_KM_S, VelocityAxis

Float32 = NDArray[np.float32]
Float = NDArray[np.float64]
SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))
FLAT = Profile(level=1.0, disc=0.0, softening=1.0, slope=0.0, tilt=(0.0, 0.0, 0.0), thin=0.0, thin_contrast=0.0)
"""No smooth shape: what `cloudy` gives is turbulence of mean one."""
COVERAGE = Turbulence(sigma=1.0, slope=3.8, knee=4)
"""The field that says where a cloud is."""
MOTION = Turbulence(sigma=1.0, slope=3.5, knee=4)
"""The field of a cloud's velocity."""
EDGE = 0.4
"""Standard deviations of `COVERAGE` over which a cloud ends."""
BISECTIONS = 60
Phases = tuple[float, float, float]


@settings
class CoDark:
    """Cold gas so dense that much of it is molecular: dust without a line. A choice: no published anchor.

    Attributes:
        threshold_cm2: column of cold atomic gas in a cloud above which there is such gas.
        strength: molecular over atomic column beyond that.
    """

    threshold_cm2: PositiveFloat = 1.0e20
    strength: NonNegativeFloat = 1.5


@settings
class DistantGas:
    """Gas of intermediate or high velocity.

    Attributes:
        column: of its mean column, in units of that of all local clouds together.
        coverage: part of the sky that it covers.
        velocity_km_s: mean velocity.
        scatter_km_s: standard deviation of that, over the sky.
        dust: its dust over that of local gas of the same column.
    """

    column: NonNegativeFloat
    coverage: Annotated[float, Field(gt=0, lt=1)]
    velocity_km_s: float
    scatter_km_s: NonNegativeFloat
    dust: NonNegativeFloat


@settings
class Hydrogen:
    """The gas, its lines and its dust.

    Attributes:
        layers: of local clouds, one behind the other.
        clouds_north: clouds a sightline, north of the plane.
        clouds_south: and south of it.
        column_cm2: mean column of local gas towards the poles.
        flattening: sine of the latitude where the column stops to rise towards the plane.
        turbulence: of the column of a cloud.
        mass: parts of cold, lukewarm and warm gas.
        fwhm_km_s: widths of their lines.
        contrast: how much these parts differ over the sky: standard deviation of the logarithm of cold over lukewarm.
        velocity_km_s: mean velocity of local clouds.
        scatter_km_s: standard deviation of their velocities, over the sky and between clouds.
        rotation_km_s: amplitude of Galactic rotation, sin(2 l) cos^2(b).
        column_per_mag: N(HI) / E(B-V), cm^-2 mag^-1.
        phase_ratio: dust of the three phases over the mean; None for the same in all.
        spin_temperature_k: lowest and highest of cold gas; None for gas that is optically thin.
        co_dark: cold dense gas without a line; None for none.
        intermediate: gas of intermediate velocity; None for none.
        high: of high velocity; None for none.
        velocity_ratio: by how much the ratio of dust to gas rises over 100 km/s; 0 for not at all.
        noise_k: of a channel, K; or of each.
    """

    layers: PositiveInt = 4
    clouds_north: PositiveFloat = 3.0
    clouds_south: PositiveFloat = 2.5
    column_cm2: PositiveFloat = 2.0e20
    flattening: PositiveFloat = 0.12
    turbulence: Turbulence = Turbulence(sigma=0.5, slope=3.2, knee=15, filaments=0.25)
    mass: Phases = (0.25, 0.41, 0.34)
    fwhm_km_s: Phases = (3.9, 11.8, 24.0)
    contrast: NonNegativeFloat = 1.0
    velocity_km_s: float = -3.0
    scatter_km_s: NonNegativeFloat = 6.0
    rotation_km_s: float = 6.0
    column_per_mag: PositiveFloat = 8.3e21
    phase_ratio: Phases | None = (1.8, 0.9, 0.53)
    spin_temperature_k: tuple[PositiveFloat, PositiveFloat] | None = (50.0, 100.0)
    co_dark: CoDark | None = CoDark()
    intermediate: DistantGas | None = DistantGas(
        column=0.12, coverage=0.35, velocity_km_s=-45.0, scatter_km_s=8.0, dust=0.7
    )
    high: DistantGas | None = DistantGas(column=0.04, coverage=0.2, velocity_km_s=-110.0, scatter_km_s=20.0, dust=0.2)
    velocity_ratio: float = 0.0
    noise_k: NonNegativeFloat | tuple[NonNegativeFloat, ...] = 0.043

    def noise(self, axis: VelocityAxis) -> tuple[float, ...]:
        """Return the noise of each channel, K.

        Raises:
            ValueError: it is given for another number of channels.
        """
        if isinstance(self.noise_k, float):
            return (self.noise_k,) * axis.number
        if len(self.noise_k) != axis.number:
            message = f"noise_k has {len(self.noise_k)} entries, and there are {axis.number} velocity channels"
            raise ValueError(message)
        return self.noise_k


@dataclass(frozen=True)
class Gas:
    """One structure on all sightlines.

    Attributes:
        columns: of its phases, cm^-2, `(3, n_pix)`.
        velocity: km/s, `(n_pix,)`.
        dust: its dust over that of local gas.
        local: whether it belongs to local clouds.
    """

    columns: Float
    velocity: Float
    dust: float
    local: bool


@dataclass(frozen=True)
class HydrogenSky:
    """What a sky is.

    Attributes:
        cube: brightness temperature, K, `(n_channel, n_pix)`.
        reddening: E(B-V) of all dust, mag, `(n_pix,)`.
        column: N(HI), cm^-2, `(n_pix,)`.
        clouds: local clouds a sightline, `(n_pix,)`.
    """

    cube: Float32
    reddening: Float
    column: Float
    clouds: NDArray[np.int64]


def draw_hydrogen(
    gas: Hydrogen, axis: VelocityAxis, nside: int, seed: int, dust: DustMap | None = None, threads: int = 1
) -> HydrogenSky:
    """Draw a sky.

    Args:
        gas: its settings.
        axis: the velocity channels.
        nside: HEALPix resolution.
        seed: of all that is random.
        dust: a map of E(B-V) that all columns are scaled to, sightline by sightline, so that the dust is that map; the
            gas's own where None.
        threads: CPU threads.
    """
    parts, clouds = _structures(gas, nside, seed, threads)
    if dust is not None:
        target = dust.intensity(nside).astype(np.float64) / UK_RJ_PER_UNIT["mag"]
        factor = _factor(gas, axis, parts, target)
        parts = [Gas(part.columns * factor, part.velocity, part.dust, part.local) for part in parts]
    cube = _cube(gas, axis, parts, nside, seed, threads)
    noise = np.array(gas.noise(axis))
    rng = child(seed, "channel noise")
    for channel, sigma in zip(cube, noise, strict=True):
        channel += (sigma * rng.standard_normal(channel.size)).astype(np.float32)
    column = np.sum([part.columns.sum(axis=0) for part in parts], axis=0)
    return HydrogenSky(cube, _reddening(gas, axis, parts), column, clouds)


def _structures(gas: Hydrogen, nside: int, seed: int, threads: int) -> tuple[list[Gas], NDArray[np.int64]]:
    """Draw the columns and velocities of all structures, and count the clouds of each sightline."""
    x, y, z = (np.asarray(part, np.float64) for part in hp.pix2vec(nside, np.arange(12 * nside**2)))
    slab = gas.column_cm2 * np.sqrt((1 + gas.flattening**2) / (z**2 + gas.flattening**2))
    # sin(2 l) cos^2(b) = 2 x y of the unit vector.
    rotation = gas.rotation_km_s * 2 * x * y
    north = ndtr(z / 0.1)
    share = (gas.clouds_south + (gas.clouds_north - gas.clouds_south) * north) / gas.layers
    found, clouds = [], np.zeros(z.size, np.int64)
    for number in range(gas.layers):
        name, rng = f"cloud {number}", child(seed, f"placing of cloud {number}")
        there, weight = _coverage(share, nside, child(seed, f"{name} coverage"), threads)
        clouds += there
        texture = _texture(gas, nside, seed, name, threads)
        column = slab / gas.layers * weight / share * texture
        offset = gas.scatter_km_s * rng.standard_normal() / 2
        motion = np.sqrt(0.75) * gas.scatter_km_s * _field(MOTION, nside, child(seed, f"{name} motion"), threads)
        velocity = gas.velocity_km_s + offset + motion + rng.uniform(0.2, 1.0) * rotation
        found.append(Gas(_phases(gas, column, texture, nside, seed, name, threads), velocity, 1.0, True))
    for name, distant in (("intermediate", gas.intermediate), ("high", gas.high)):
        if distant is None:
            continue
        part = np.full(z.size, distant.coverage)
        _, weight = _coverage(part, nside, child(seed, f"{name} coverage"), threads)
        texture = _texture(gas, nside, seed, name, threads)
        column = distant.column * gas.column_cm2 * weight / distant.coverage * texture
        motion = distant.scatter_km_s * _field(MOTION, nside, child(seed, f"{name} motion"), threads)
        columns = _phases(gas, column, texture, nside, seed, name, threads)
        found.append(Gas(columns, distant.velocity_km_s + motion, distant.dust, False))
    return found, clouds


def _field(spectrum: Turbulence, nside: int, rng: np.random.Generator, threads: int) -> Float:
    """Draw a Gaussian field of unit variance, `(n_pix,)`."""
    values = gaussian(spectrum, unit_alm(rng, template_lmax(nside)), nside, threads).astype(np.float64)
    unit: Float = values / np.sqrt(spectrum.variance(template_lmax(nside)))
    return unit


def _coverage(share: Float, nside: int, rng: np.random.Generator, threads: int) -> tuple[NDArray[np.bool_], Float]:
    """Say where a cloud is that covers some part of the sky, and how much of its column is there."""
    height = _field(COVERAGE, nside, rng, threads) + ndtri(np.clip(share, 1e-6, 1 - 1e-6))
    # The mean of ndtr(height / EDGE) over a Gaussian field is ndtr(t / sqrt(1 + EDGE^2)): nearly the share.
    return height > 0, ndtr(height / EDGE)


def _texture(gas: Hydrogen, nside: int, seed: int, name: str, threads: int) -> Float:
    """Draw filamentary turbulence of mean one, `(n_pix,)`."""
    alm = unit_alm(child(seed, f"{name} texture"), template_lmax(nside))
    values = cloudy(FLAT, gas.turbulence, alm, nside, threads, child(seed, f"{name} filaments"))
    return values.astype(np.float64)


def _phases(gas: Hydrogen, column: Float, texture: Float, nside: int, seed: int, name: str, threads: int) -> Float:
    """Share a column among cold, lukewarm and warm gas, colder where it is dense, `(3, n_pix)`."""
    own = _field(COVERAGE, nside, child(seed, f"{name} phases"), threads)
    dense = np.log(texture)
    field = 0.6 * (dense - dense.mean()) / max(float(dense.std()), 1e-12) + 0.8 * own
    logs = np.log(np.maximum(gas.mass, 1e-300))[:, None] + gas.contrast * np.outer((1.0, 0.0, -1.0), field)
    parts = np.exp(logs - logs.max(axis=0))
    columns = column * parts / parts.sum(axis=0)
    # The parts of the whole mass are the published ones, however they differ from place to place.
    totals = columns.sum(axis=1, keepdims=True)
    wanted = np.array(gas.mass)[:, None] / sum(gas.mass) * totals.sum()
    shared: Float = columns * np.divide(wanted, totals, out=np.zeros_like(totals), where=totals > 0)
    return shared


def _lines(gas: Hydrogen, axis: VelocityAxis, part: Gas) -> Iterator[tuple[int, int, Float]]:
    """Give phase, channel and what part of a line falls into it, `(n_pix,)`."""
    for phase, fwhm in enumerate(gas.fwhm_km_s):
        sigma = fwhm * SIGMA_PER_FWHM
        below = ndtr((axis.edges[0] - part.velocity) / sigma)
        for channel, edge in enumerate(axis.edges[1:]):
            above = ndtr((edge - part.velocity) / sigma)
            yield phase, channel, above - below
            below = above


def _cube(gas: Hydrogen, axis: VelocityAxis, parts: list[Gas], nside: int, seed: int, threads: int) -> Float32:
    """Return the brightness temperature of all structures, `(n_channel, n_pix)`.

    Of an optically thick line it is T_s (1 - exp(-tau)) (Dickey & Lockman 1990, eq. 1, without a background); clouds
    do not absorb one another's lines, as they are mostly at other velocities.
    """
    total = np.zeros((axis.number, 12 * nside**2))
    for number, part in enumerate(parts):
        spin = None
        if gas.spin_temperature_k is not None:
            low, high = gas.spin_temperature_k
            spin = low + (high - low) * ndtr(_field(COVERAGE, nside, child(seed, f"spin {number}"), threads))
        for phase, channel, fraction in _lines(gas, axis, part):
            thin = part.columns[phase] * fraction / (COLUMN_PER_K_KM_S * axis.width_km_s)
            total[channel] += -spin * np.expm1(-thin / spin) if phase == 0 and spin is not None else thin
    return total.astype(np.float32)


def _reddening(gas: Hydrogen, axis: VelocityAxis, parts: list[Gas], factor: Float | float = 1.0) -> Float:
    """Return E(B-V) of all structures with columns times a factor, mag, `(n_pix,)`."""
    return _atomic(gas, axis, parts) * factor + _dark(gas, parts, factor)


def _atomic(gas: Hydrogen, axis: VelocityAxis, parts: list[Gas]) -> Float:
    ratios = gas.phase_ratio or (1.0, 1.0, 1.0)
    total: Any = 0.0
    for part in parts:
        local = part.dust * np.array(ratios) @ part.columns
        if gas.velocity_ratio:
            # Channel by channel, as the channels see it; what lies in none has the mean ratio.
            for phase, channel, fraction in _lines(gas, axis, part):
                tilt = gas.velocity_ratio * axis.centres[channel] / 100
                local = local + part.dust * ratios[phase] * tilt * part.columns[phase] * fraction
        total = total + local
    reddening: Float = total / gas.column_per_mag
    return reddening


def _dark(gas: Hydrogen, parts: list[Gas], factor: Float | float) -> Float | float:
    if gas.co_dark is None:
        return 0.0
    cold = [np.maximum(part.columns[0] * factor - gas.co_dark.threshold_cm2, 0) for part in parts if part.local]
    dark: Float = gas.co_dark.strength * np.sum(cold, axis=0) / gas.column_per_mag
    return dark


def _factor(gas: Hydrogen, axis: VelocityAxis, parts: list[Gas], target: Float) -> Float:
    """Return by what columns must be multiplied for the reddening to be the target, `(n_pix,)`, by bisection."""
    atomic = _atomic(gas, axis, parts)
    # Without the dark gas it would be this; with it, less.
    low, high = np.zeros_like(target), target / atomic
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = atomic * middle + _dark(gas, parts, middle) > target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high
