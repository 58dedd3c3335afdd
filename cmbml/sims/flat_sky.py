"""Skies that are drawn on a flat patch itself, with the small scales that no map of the whole sky at hand has.

The components are those of CENN's simulations (Casas et al. 2022, section 2): the CMB, thermal dust, the CIB, radio
sources and infrared late-type galaxies, the thermal Sunyaev-Zel'dovich effect, and white noise.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.settings import Fraction, NonNegativeFloat, PositiveFloat, later, settings
from cmbml.sims.components import H_OVER_K_GHZ, cmb_to_rj
from cmbml.sims.dust_map import UK_RJ_PER_UNIT
from cmbml.sims.sources import cib_shape
from cmbml.sky.flat import gaussian_patches, multipoles
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError

Float = NDArray[np.float64]
T_CMB_K = 2.7255
REFERENCE_GHZ = {"dust": 353.0, "cib": 217.0, "radio": 220.0, "infrared": 214.0}
MARGIN = 1.25
"""How much larger the periodic image is that a patch is cut from, so that its edges do not meet."""
STAMP_ARCMIN = 30.0
"""How far from a cluster's centre its profile is drawn, along rows and columns."""


def radio_counts(flux_jy: Float) -> Float:
    """Return S^2.5 dN/dS of radio sources at 220 GHz, Jy^1.5/sr.

    A cubic in log S fitted to the model C2Ex of Tucci et al. (2011) between 1 mJy and 20 Jy: within 10 %.
    """
    x = np.log10(flux_jy)
    counts: Float = 10 ** (1.0314 + 0.2491 * x - 0.1586 * x**2 - 0.0319 * x**3)
    return counts


def infrared_counts(flux_jy: Float) -> Float:
    """Return S^2.5 dN/dS of infrared late-type galaxies at 214 GHz (1400 um), Jy^1.5/sr.

    Four numbers fitted to the spirals and starbursts of Cai et al. (2013) between 1 mJy and 20 Jy: a Euclidean slope
    for the near ones and a cut-off power law for the far ones; within 0.17 in the logarithm.
    """
    x = np.log10(flux_jy)
    counts: Float = 10**-0.3035 + 10 ** (42.5034 + 8.9834 * x - 10 ** (0.3 * (x + 6.8113)))
    return counts


def per_cmb_kelvin(freq_ghz: float) -> float:
    """Return dB/dT of the CMB at a frequency, Jy/sr per K_CMB."""
    x = H_OVER_K_GHZ * freq_ghz / T_CMB_K
    # 2 h nu^3 / c^2 is 1474.5 Jy/sr times (nu / GHz)^3.
    return float(1474.4995 * freq_ghz**3 * x * np.exp(x) / np.expm1(x) ** 2 / T_CMB_K)


def grey_ratio(freq_ghz: float, reference_ghz: float, index: Float, temperature_k: Float) -> Float:
    """Return how much brighter a modified black body is at a frequency than at the reference, both in uK_CMB."""
    planck = [np.expm1(H_OVER_K_GHZ * nu / temperature_k) for nu in (reference_ghz, freq_ghz)]
    ratio = freq_ghz / reference_ghz
    return ratio ** (3 + index) * planck[0] / planck[1] * per_cmb_kelvin(reference_ghz) / per_cmb_kelvin(freq_ghz)


@settings
class FlatSky:
    """What is on a patch besides the CMB.

    Attributes:
        dust_uk: brightness of dust at 353 GHz towards the Galactic poles, uK_CMB; at latitude b it is 1 / sin |b| times
            that.
        dust_spread: standard deviation of the logarithm of that from patch to patch.
        dust_contrast: standard deviation of the logarithm of the brightness within a patch.
        dust_slope: C_l of that logarithm goes as l to minus this.
        dust_index: mean emissivity index.
        dust_index_scatter: its standard deviation, from patch to patch and once more within a patch.
        dust_temperature_k: mean temperature, K.
        dust_temperature_scatter_k: its standard deviation, from patch to patch and once more within a patch, K.
        cib_d1000_uk2: D_l of the CIB at l = 1000 and 217 GHz, uK_CMB^2; 25 is about what Planck found.
        cib_correlation: of the CIB between neighbouring channels.
        cib_index: emissivity index of its effective modified black body.
        cib_temperature_k: temperature of the same, K.
        radio_index: mean index of the flux of radio sources.
        infrared_index: mean index of the flux of infrared sources.
        index_scatter: standard deviation of both from source to source.
        least_jy: weakest source, Jy.
        most_jy: brightest source, Jy; no source is masked.
        clusters: clusters of integrated Y above 1e-3 arcmin^2 on the whole sky.
        cluster_slope: N(>Y) goes as Y to minus this.
        least_arcmin2: faintest cluster, arcmin^2.
        core_arcmin: core radius of a cluster of Y = 1e-3 arcmin^2, arcmin; it grows as Y^(1/3).
        noise: factor on the channels' white noise.
    """

    dust_uk: NonNegativeFloat = 250.0
    dust_spread: NonNegativeFloat = 0.5
    dust_contrast: NonNegativeFloat = 0.35
    dust_slope: PositiveFloat = 2.8
    dust_index: PositiveFloat = 1.53
    dust_index_scatter: NonNegativeFloat = 0.05
    dust_temperature_k: PositiveFloat = 19.6
    dust_temperature_scatter_k: NonNegativeFloat = 1.0
    cib_d1000_uk2: NonNegativeFloat = 25.0
    cib_correlation: Fraction = 0.97
    cib_index: PositiveFloat = 2.2
    cib_temperature_k: PositiveFloat = 9.7
    radio_index: float = -0.7
    infrared_index: float = 2.5
    index_scatter: NonNegativeFloat = 0.05
    least_jy: PositiveFloat = 1e-3
    most_jy: PositiveFloat = 10.0
    clusters: NonNegativeFloat = 1500.0
    cluster_slope: PositiveFloat = 1.3
    least_arcmin2: PositiveFloat = 2e-5
    core_arcmin: PositiveFloat = 2.0
    noise: NonNegativeFloat = 1.0


@settings
class DustOfPatches:
    """Dust of drawn patches from patches in files, such as a generator's: one of them, at random, for each.

    Attributes:
        files: FITS files of patches, with the pixels of those that are drawn; their headers say the unit of the values,
            which are taken for those at 353 GHz.
        scale: factor on them.
        part: of the patches that have such dust; that of the others is drawn, as it is where there are no files.
    """

    files: Annotated[tuple[Path, ...], Field(min_length=1)]
    scale: PositiveFloat = 1.0
    part: Annotated[float, Field(gt=0, le=1)] = later(1.0)

    def factor(self, unit: str) -> float:
        """Return what brings values in a unit to uK_CMB at 353 GHz.

        Raises:
            MapError: it is no unit of dust.
        """
        if unit == "uK_CMB":
            return self.scale
        if unit not in UK_RJ_PER_UNIT:
            message = f"patches of dust in {unit or 'no unit'}; known are uK_CMB, {', '.join(UK_RJ_PER_UNIT)}"
            raise MapError(message)
        return self.scale * UK_RJ_PER_UNIT[unit] / cmb_to_rj(REFERENCE_GHZ["dust"])


@settings
class FlatGrid:
    """The images that are drawn.

    Attributes:
        n_pixels: side of a patch, pixels.
        pixel_arcmin: side of a pixel, arcmin.
    """

    n_pixels: PositiveInt = 256
    pixel_arcmin: PositiveFloat = 1.5

    @property
    def pixel_rad(self) -> tuple[float, float]:
        """Sides of a pixel, rad."""
        side = float(np.radians(self.pixel_arcmin / 60))
        return side, side

    @property
    def n_drawn(self) -> int:
        """Side of the periodic image, pixels."""
        return int(np.ceil(MARGIN * self.n_pixels))


def draw_patch(
    sky: FlatSky,
    channels: Mapping[str, Channel],
    c_ell: Float,
    latitude_deg: float,
    grid: FlatGrid,
    rng: np.random.Generator,
    dust: Float | None = None,
) -> dict[str, Float]:
    """Draw one patch, as each channel sees it.

    Args:
        sky: what is on it.
        channels: the instrument.
        c_ell: `(lmax + 1,)` of the CMB, uK_CMB^2.
        latitude_deg: Galactic latitude, which says how bright dust is.
        grid: of the image.
        rng: what draws.
        dust: `(n_pixels, n_pixels)`, uK_CMB at 353 GHz, in place of a drawn field: turned and mirrored at random.
            Around it, as far as beams reach, it is continued by its mirror image.

    Returns:
        `cmb`, `dust`, `cib`, `radio`, `infrared`, `sz` and `noise`, `(n_channel, n_pixels, n_pixels)` each, uK_CMB,
        under the channels' beams (noise has none).
    """
    freqs = [channel.freq_ghz for channel in channels.values()]
    n = grid.n_drawn

    def field(spectrum: Float) -> Float:
        drawn: Float = gaussian_patches(spectrum, 1, (n, n), grid.pixel_rad, rng, margin=1.0)[0]
        return drawn

    cmb = field(c_ell)[0]
    emitted = {
        "cmb": np.stack([cmb] * len(freqs)),
        "dust": _dust(sky, freqs, latitude_deg, grid, rng, field, dust),
        "cib": _cib(sky, freqs, field),
        "radio": _sources(sky, freqs, radio_counts, "radio", sky.radio_index, grid, rng),
        "infrared": _sources(sky, freqs, infrared_counts, "infrared", sky.infrared_index, grid, rng),
        "sz": _clusters(sky, freqs, grid, rng),
    }
    ell = multipoles((n, n), grid.pixel_rad)
    lmax = int(ell.max()) + 1
    beams = np.stack([np.interp(ell, np.arange(lmax + 1), channel.beam(lmax, 1)[0]) for channel in channels.values()])
    parts = {
        name: np.fft.irfft2(np.fft.rfft2(images) * beams, s=(n, n))[:, : grid.n_pixels, : grid.n_pixels]
        for name, images in emitted.items()
    }
    depths = np.array([channel.depth_uk_arcmin for channel in channels.values()]) * sky.noise / grid.pixel_arcmin
    white = rng.standard_normal((len(freqs), grid.n_pixels, grid.n_pixels))
    return parts | {"noise": depths[:, None, None] * white}


def _power_law(slope: float, grid: FlatGrid) -> Float:
    """Return a spectrum that goes as l^-slope, and is flat below the first mode of the image."""
    first = 2 * np.pi / (grid.n_drawn * grid.pixel_rad[0])
    ell = np.arange(int(np.sqrt(2) * np.pi / grid.pixel_rad[0]) + 2, dtype=float)
    found: Float = np.maximum(ell, first) ** -slope
    found[0] = 0
    return found


def _dust(
    sky: FlatSky,
    freqs: list[float],
    latitude_deg: float,
    grid: FlatGrid,
    rng: np.random.Generator,
    field: Callable[[Float], Float],
    given: Float | None,
) -> Float:
    """A log-normal field, or what is given, with a modified black body whose parameters vary."""
    spectrum = _power_law(sky.dust_slope, grid)

    def standard() -> Float:
        found = field(spectrum)[0]
        found -= found.mean()
        unit: Float = found / found.std()
        return unit

    if given is None:
        # Below half a degree the layer of dust is not plane any more.
        sine = max(abs(np.sin(np.radians(latitude_deg))), np.sin(np.radians(0.5)))
        level = sky.dust_uk / sine * np.exp(sky.dust_spread * rng.standard_normal())
        brightness = level * np.exp(sky.dust_contrast * standard() - sky.dust_contrast**2 / 2)
    else:
        turned = np.rot90(given if rng.random() < 0.5 else given[:, ::-1], int(rng.integers(4)))
        around = grid.n_drawn - grid.n_pixels
        # Half of what is around lies before the first pixel of the periodic image: at its other end.
        wide = np.pad(turned, (around // 2, around - around // 2), "symmetric")
        brightness = np.roll(wide, (-(around // 2),) * 2, axis=(0, 1))
    index = sky.dust_index + sky.dust_index_scatter * (rng.standard_normal() + standard())
    temperature = sky.dust_temperature_k + sky.dust_temperature_scatter_k * (rng.standard_normal() + standard())
    temperature = np.maximum(temperature, 5.0)
    return np.stack([brightness * grey_ratio(nu, REFERENCE_GHZ["dust"], index, temperature) for nu in freqs])


def _cib(sky: FlatSky, freqs: list[float], field: Callable[[Float], Float]) -> Float:
    """Gaussian fields that decorrelate from channel to channel."""
    ell = np.arange(12_001, dtype=float)
    one = sky.cib_d1000_uk2 * 2 * np.pi / (1000 * 1001) * cib_shape(ell) / cib_shape(np.array(1000.0))
    gains = np.array(
        [grey_ratio(nu, REFERENCE_GHZ["cib"], np.array(sky.cib_index), np.array(sky.cib_temperature_k)) for nu in freqs]
    )
    apart = np.abs(np.subtract.outer(np.arange(len(freqs)), np.arange(len(freqs))))
    root = np.linalg.cholesky(sky.cib_correlation**apart + 1e-12 * np.eye(len(freqs)))
    alike = np.stack([field(one)[0] for _ in freqs])
    fields: Float = gains[:, None, None] * np.einsum("ij,jhw->ihw", root, alike)
    return fields


def _sources(
    sky: FlatSky,
    freqs: list[float],
    counts: Callable[[Float], Float],
    kind: str,
    index: float,
    grid: FlatGrid,
    rng: np.random.Generator,
) -> Float:
    """Sources at random places, with fluxes from their counts; each lies in the middle of a pixel."""
    n, area = grid.n_drawn, (grid.n_drawn * grid.pixel_rad[0]) ** 2
    edges = np.geomspace(sky.least_jy, sky.most_jy, 201)
    middle = np.sqrt(edges[1:] * edges[:-1])
    expected = counts(middle) * middle**-2.5 * np.diff(edges) * area
    numbers = rng.poisson(expected)
    low, high = np.repeat(edges[:-1], numbers), np.repeat(edges[1:], numbers)
    flux = low * (high / low) ** rng.random(len(low))
    slopes = index + sky.index_scatter * rng.standard_normal(len(flux))
    place = rng.integers(n * n, size=len(flux))
    out = np.empty((len(freqs), n, n))
    for image, nu in zip(out, freqs, strict=True):
        jansky = np.bincount(place, flux * (nu / REFERENCE_GHZ[kind]) ** slopes, n * n)
        image[:] = (jansky / grid.pixel_rad[0] ** 2 / per_cmb_kelvin(nu) * 1e6).reshape(n, n)
    return out


def _clusters(sky: FlatSky, freqs: list[float], grid: FlatGrid, rng: np.random.Generator) -> Float:
    """Clusters at random places: y falls as 1 / (1 + (r / core)^2) out to the edge of a stamp."""
    n = grid.n_drawn
    share = (n * grid.pixel_rad[0]) ** 2 / (4 * np.pi)
    total = sky.clusters * (sky.least_arcmin2 / 1e-3) ** -sky.cluster_slope * share
    strengths = sky.least_arcmin2 * rng.random(rng.poisson(total)) ** (-1 / sky.cluster_slope)
    far = max(round(STAMP_ARCMIN / grid.pixel_arcmin), 1)
    offset = np.arange(-far, far + 1)
    squares = (offset[:, None] ** 2 + offset**2) * grid.pixel_arcmin**2
    # The counts end at the most massive clusters that there are.
    strengths = np.minimum(strengths, 0.1)[:, None, None]
    profiles = 1 / (1 + squares / (sky.core_arcmin * (strengths / 1e-3) ** (1 / 3)) ** 2)
    profiles *= strengths / grid.pixel_arcmin**2 / profiles.sum(axis=(1, 2), keepdims=True)
    centres = rng.integers(n, size=(len(strengths), 2))
    rows, columns = ((centres[:, [axis]] + offset) % n for axis in (0, 1))
    image = np.bincount((rows[:, :, None] * n + columns[:, None, :]).ravel(), profiles.ravel(), n * n).reshape(n, n)
    x = H_OVER_K_GHZ * np.array(freqs) / T_CMB_K
    spectrum = 1e6 * T_CMB_K * (x / np.tanh(x / 2) - 4)
    return spectrum[:, None, None] * image
