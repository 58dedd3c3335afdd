"""How skies differ from one another: distributions around the real sky's morphology and spectra.

A benchmark whose simulations share one sky is won by whoever remembers it. Here every sky is drawn: where its clouds,
arms and loops stand, how thick and warped its plane is, how rough and filamentary its gas, and how each component's
spectrum varies and correlates with brightness. What is drawn is a sky of plain settings, which can be written down.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from cmbml.settings import NonNegativeFloat, settings
from cmbml.sims.galaxy import DUST_GHZ, Dust, FreeFree, SpinningDust, Synchrotron
from cmbml.sims.sources import CosmicInfraredBackground, InfraredSources, RadioSources, ThermalSunyaevZeldovich
from cmbml.sims.templates import Arm, Complex, Profile, Turbulence

Sources = TypeVar("Sources", RadioSources, InfraredSources, CosmicInfraredBackground, ThermalSunyaevZeldovich)
Range = tuple[NonNegativeFloat, NonNegativeFloat]
DUST_PIVOT_GHZ = 217.0
"""Where another index of dust does not change its brightness: in the middle of the channels, as in logarithm."""
MOST_SIGMA = 2.0
"""Where normal draws are cut, in standard deviations: the sky stays one that could be ours."""


@settings
class EmbeddedVariety:
    """Widths of the distributions that an embedded sky is drawn from, around its own settings.

    "Spread" is the standard deviation of a normal distribution, cut at two of them; of the logarithm where it is said.
    A range is that of a uniform distribution; of the logarithm where it is said.

    Attributes:
        amplitude: spread of the logarithm of each component's brightness.
        shape: spread of the logarithm of the parts of each profile (level, disc, thin disc, its height, softening).
        tilt: spread of the exponents of the contrast along x, y and z, and of the thin disc's along x.
        warp_deg: spread of the plane's warp, deg; all Galactic components share it.
        arms: how many arms the thin disc has, from and to.
        arm_contrast: range of how much brighter an arm makes it.
        complexes_lat_deg: spread of the latitudes of the bright complexes around those of the fitted ones, of either
            sign; longitudes are uniform.
        loops: how many loops synchrotron emission has, from and to.
        roughness: spread of the logarithm of the turbulence's standard deviation.
        slope: spread of the slope of its spectrum.
        filaments: range of the strength of filaments.
        dust_index: spread of the mean emissivity index.
        dust_index_scatter: range of its scatter from pixel to pixel (logarithmic).
        dust_temperature_k: spread of the mean temperature, K.
        dust_temperature_scatter_k: range of its scatter (logarithmic), K.
        brightness_correlation: largest correlation, of either sign, of spectral parameters with brightness.
        synchrotron_index: spread of the mean index.
        synchrotron_index_scatter: range of its scatter (logarithmic).
        synchrotron_curvature: spread of the curvature.
        free_free_index: spread of the index.
        ame_peak: spread of the logarithm of the mean peak frequency.
        ame_peak_scatter: range of its scatter (logarithmic).
        ame_width: spread of the width of the spectrum.
        ame_gas_correlation: range of the correlation of spinning with thermal dust.
        spectral_slope: range of the slope of the spectra of spectral parameters; a flat one decorrelates channels.
        spectral_knee: range of their knee (logarithmic).
        extragalactic: spread of the logarithm of the brightness of sources, CIB and clusters; positions are always new.
        extragalactic_index: spread of the mean index of sources and of the CIB.
    """

    amplitude: NonNegativeFloat = 0.15
    shape: NonNegativeFloat = 0.12
    tilt: NonNegativeFloat = 0.25
    warp_deg: NonNegativeFloat = 1.5
    arms: tuple[int, int] = (2, 6)
    arm_contrast: Range = (0.2, 1.0)
    complexes_lat_deg: NonNegativeFloat = 6.0
    loops: tuple[int, int] = (1, 3)
    roughness: NonNegativeFloat = 0.15
    slope: NonNegativeFloat = 0.12
    filaments: Range = (0.0, 0.6)
    dust_index: NonNegativeFloat = 0.11
    dust_index_scatter: Range = (0.05, 0.35)
    dust_temperature_k: NonNegativeFloat = 2.0
    dust_temperature_scatter_k: Range = (0.5, 3.0)
    brightness_correlation: NonNegativeFloat = 0.7
    synchrotron_index: NonNegativeFloat = 0.14
    synchrotron_index_scatter: Range = (0.05, 0.3)
    synchrotron_curvature: NonNegativeFloat = 0.06
    free_free_index: NonNegativeFloat = 0.02
    ame_peak: NonNegativeFloat = 0.15
    ame_peak_scatter: Range = (0.03, 0.2)
    ame_width: NonNegativeFloat = 0.03
    ame_gas_correlation: Range = (0.2, 0.9)
    spectral_slope: Range = (0.8, 2.6)
    spectral_knee: Range = (5.0, 40.0)
    extragalactic: NonNegativeFloat = 0.1
    extragalactic_index: NonNegativeFloat = 0.05


class Draw:
    """Draws from the distributions that varieties are made of.

    Args:
        rng: source of randomness.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def normal(self, mean: float, spread: float) -> float:
        """Draw from a normal distribution, cut."""
        return float(mean + spread * np.clip(self.rng.standard_normal(), -MOST_SIGMA, MOST_SIGMA))

    def factor(self, spread: float) -> float:
        """Draw a factor of median one."""
        return float(np.exp(self.normal(0.0, spread)))

    def uniform(self, ends: Sequence[float]) -> float:
        """Draw from a range."""
        low, high = ends
        return float(self.rng.uniform(low, high))

    def log_uniform(self, ends: Sequence[float]) -> float:
        """Draw from a range, uniformly in the logarithm."""
        return float(np.exp(self.rng.uniform(*np.log(ends))))


class EmbeddedDraw(Draw):
    """Draws of one embedded sky.

    Args:
        variety: the distributions.
        rng: source of randomness.
    """

    def __init__(self, variety: EmbeddedVariety, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.variety = variety
        self.warp = {"warp_deg": abs(self.normal(0.0, variety.warp_deg)), "warp_lon_deg": self.uniform((0.0, 360.0))}

    def correlation(self) -> float:
        """Draw a correlation with brightness."""
        return self.uniform((-self.variety.brightness_correlation, self.variety.brightness_correlation))

    def spectral(self) -> Turbulence:
        """Draw the spectrum of a spectral parameter."""
        slope, knee = self.uniform(self.variety.spectral_slope), self.log_uniform(self.variety.spectral_knee)
        return Turbulence(sigma=1.0, slope=slope, knee=knee)

    def turbulence(self, fitted: Turbulence) -> Turbulence:
        """Draw the turbulence of a component's brightness."""
        return replace(
            fitted,
            sigma=fitted.sigma * self.factor(self.variety.roughness),
            slope=self.normal(fitted.slope, self.variety.slope),
            knee=fitted.knee * self.factor(self.variety.roughness),
            filaments=self.uniform(self.variety.filaments),
        )

    def profile(self, fitted: Profile) -> Profile:
        """Draw the smooth shape of a component."""
        variety = self.variety
        parts = ("level", "disc", "softening", "thin", "thin_height")
        return replace(
            fitted,
            **{name: getattr(fitted, name) * self.factor(variety.shape) for name in parts},
            **self.warp,
            tilt=(
                self.normal(fitted.tilt[0], variety.tilt),
                self.normal(fitted.tilt[1], variety.tilt),
                self.normal(fitted.tilt[2], variety.tilt),
            ),
            thin_contrast=self.normal(fitted.thin_contrast, variety.tilt),
            complexes=tuple(self.complex_like(spot) for spot in fitted.complexes if not spot.radius_deg),
            compact=tuple(self.complex_like(spot) for spot in fitted.compact),
            arms=tuple(
                Arm(self.uniform((0.0, 360.0)), self.uniform((5.0, 20.0)), self.uniform(variety.arm_contrast))
                for _ in range(self.rng.integers(variety.arms[0], variety.arms[1] + 1))
            ),
        )

    def complex_like(self, fitted: Complex) -> Complex:
        """Draw a bright region like a fitted one, about as far from the plane, elsewhere."""
        size, brightness = self.factor(0.3), self.factor(0.3)
        north = 1.0 if self.rng.random() < 0.5 else -1.0
        lon, lat = self.uniform((0.0, 360.0)), north * self.normal(abs(fitted.lat_deg), self.variety.complexes_lat_deg)
        return Complex(lon, lat, fitted.width_deg * size, fitted.height * brightness / size)

    def loop_like(self, fitted: Complex) -> Complex:
        """Draw a ring like a fitted one."""
        lon, lat, width = self.uniform((0.0, 360.0)), self.normal(0.0, 20.0), self.uniform((4.0, 8.0))
        height = 0.8 * fitted.height * self.factor(0.4)
        return Complex(lon, lat, width, height, radius_deg=self.uniform((20.0, 60.0)))

    def dust(self, fitted: Dust) -> Dust:
        """Draw thermal dust."""
        variety = self.variety
        index = self.normal(fitted.index, variety.dust_index)
        pivot = (DUST_GHZ / DUST_PIVOT_GHZ) ** (index - fitted.index)
        return replace(
            fitted,
            amplitude=fitted.amplitude * self.factor(variety.amplitude) * pivot,
            index=index,
            index_scatter=self.log_uniform(variety.dust_index_scatter),
            index_brightness=self.correlation(),
            temperature_k=self.normal(fitted.temperature_k, variety.dust_temperature_k),
            temperature_scatter_k=self.log_uniform(variety.dust_temperature_scatter_k),
            temperature_brightness=self.correlation(),
            profile=self.profile(fitted.profile),
            turbulence=self.turbulence(fitted.turbulence),
            spectral=self.spectral(),
        )

    def synchrotron(self, fitted: Synchrotron) -> Synchrotron:
        """Draw synchrotron emission."""
        variety = self.variety
        profile = self.profile(fitted.profile)
        loop = next((spot for spot in fitted.profile.complexes if spot.radius_deg), None)
        if loop is not None:
            number = self.rng.integers(variety.loops[0], variety.loops[1] + 1)
            loops = tuple(self.loop_like(loop) for _ in range(number))
            profile = replace(profile, complexes=(*profile.complexes, *loops))
        return replace(
            fitted,
            amplitude=fitted.amplitude * self.factor(variety.amplitude),
            index=self.normal(fitted.index, variety.synchrotron_index),
            index_scatter=self.log_uniform(variety.synchrotron_index_scatter),
            index_brightness=self.correlation(),
            curvature=self.normal(fitted.curvature, variety.synchrotron_curvature),
            profile=profile,
            turbulence=self.turbulence(fitted.turbulence),
            spectral=self.spectral(),
        )

    def free_free(self, fitted: FreeFree) -> FreeFree:
        """Draw free-free emission."""
        return replace(
            fitted,
            amplitude=fitted.amplitude * self.factor(self.variety.amplitude),
            index=self.normal(fitted.index, self.variety.free_free_index),
            profile=self.profile(fitted.profile),
            turbulence=self.turbulence(fitted.turbulence),
        )

    def spinning_dust(self, fitted: SpinningDust) -> SpinningDust:
        """Draw spinning dust."""
        variety = self.variety
        return replace(
            fitted,
            amplitude=fitted.amplitude * self.factor(variety.amplitude),
            peak_ghz=fitted.peak_ghz * self.factor(variety.ame_peak),
            peak_scatter=self.log_uniform(variety.ame_peak_scatter),
            width=self.normal(fitted.width, variety.ame_width),
            gas_correlation=self.uniform(variety.ame_gas_correlation),
            profile=self.profile(fitted.profile),
            turbulence=self.turbulence(fitted.turbulence),
            spectral=self.spectral(),
        )

    def beyond(self, fitted: Sources) -> Sources:
        """Draw sources, the CIB or clusters."""
        drawn = replace(fitted, amplitude=fitted.amplitude * self.factor(self.variety.extragalactic))
        if isinstance(drawn, ThermalSunyaevZeldovich):
            return drawn
        return replace(drawn, index=self.normal(drawn.index, self.variety.extragalactic_index))


@settings
class PysmVariety:
    """How skies made of published templates differ: HEALPix's own turns and reflections, and correlated changes.

    Each preset's emission at frequency nu is multiplied by exp(a + b L + c L^2), L = ln(nu / nu_ref): a changes its
    brightness, b is a change of its spectral index exactly, and c one of its curvature (of dust: of its temperature,
    to second order). a and b are Gaussian fields, and what their variance adds to the mean square is taken out again.
    90-degree turns about the Galactic pole and reflections keep the plane where it is.

    Attributes:
        amplitude: range of the standard deviation of a.
        amplitude_offset: spread of its mean.
        scale_deg: range of the scales of all fields (logarithmic), deg.
        dust_index: spread of the mean of b of dust (presets d...), nu_ref 217 GHz.
        dust_index_scatter: range of its standard deviation (logarithmic).
        synchrotron_index: the same for synchrotron (s...), nu_ref 23 GHz.
        synchrotron_index_scatter: the same.
        curvature: spread of c of synchrotron.
        ame_index: spread of the mean of b of spinning dust (a...), nu_ref 23 GHz.
        temperature: spread of c of dust.
    """

    amplitude: Range = (0.1, 0.5)
    amplitude_offset: NonNegativeFloat = 0.08
    scale_deg: Range = (1.0, 15.0)
    dust_index: NonNegativeFloat = 0.18
    dust_index_scatter: Range = (0.08, 0.4)
    synchrotron_index: NonNegativeFloat = 0.16
    synchrotron_index_scatter: Range = (0.05, 0.25)
    curvature: NonNegativeFloat = 0.04
    ame_index: NonNegativeFloat = 0.4
    temperature: NonNegativeFloat = 0.09


@settings
class PresetChange:
    """What is changed in one preset of one sky.

    Attributes:
        freq_ref_ghz: where its brightness is that of the preset, GHz.
        amplitude: mean of a.
        amplitude_scatter: its standard deviation.
        amplitude_knee: multipole below which its spectrum is flat.
        index: mean of b.
        index_scatter: its standard deviation.
        index_knee: multipole below which its spectrum is flat.
        curvature: c.
    """

    freq_ref_ghz: float
    amplitude: float
    amplitude_scatter: float
    amplitude_knee: float
    index: float = 0.0
    index_scatter: float = 0.0
    index_knee: float = 10.0
    curvature: float = 0.0


def draw_change(preset: str, variety: PysmVariety, draw: Draw) -> PresetChange:
    """Draw what is changed in a preset, by PySM's families of names: d dust, s synchrotron, a spinning dust."""
    scatter = draw.uniform(variety.amplitude)
    change = PresetChange(
        freq_ref_ghz=DUST_PIVOT_GHZ if preset[0] == "d" else 23.0,
        # Less the variance, so that the mean square of the factor is one: what varies is not brighter on the whole.
        amplitude=draw.normal(0.0, variety.amplitude_offset) - scatter**2,
        amplitude_scatter=scatter,
        amplitude_knee=180 / draw.log_uniform(variety.scale_deg),
    )
    knee = 180 / draw.log_uniform(variety.scale_deg)
    if preset[0] == "d":
        scatter = draw.log_uniform(variety.dust_index_scatter)
        index, curvature = draw.normal(0.0, variety.dust_index), draw.normal(0.0, variety.temperature)
    elif preset[0] == "s":
        scatter = draw.log_uniform(variety.synchrotron_index_scatter)
        index, curvature = draw.normal(0.0, variety.synchrotron_index), draw.normal(0.0, variety.curvature)
    elif preset[0] == "a":
        scatter, index, curvature = 0.0, draw.normal(0.0, variety.ame_index), 0.0
    else:
        return change
    return replace(change, index=index, index_scatter=scatter, index_knee=knee, curvature=curvature)
