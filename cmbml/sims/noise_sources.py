"""The embedded sources of instrument noise: nothing but the published figures of the channels and a scan strategy."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.settings import settings
from cmbml.sims.noise import NoiseModel, NoiseSource, build_model
from cmbml.sims.noise_spectrum import LN_10, Array, correlation_spectrum
from cmbml.sims.scan import ScanStrategy, hits
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields


def white_levels(channel: Channel, fields: Fields) -> Array:
    """Return the white spectrum of each component (T; or T, E, B) from the published depths, uK_CMB^2."""
    depths = [channel.depth("I"), channel.depth("Q"), channel.depth("U")][: len(fields)]
    return np.deg2rad(np.array(depths) / 60) ** 2


@settings
class NoNoise(NoiseSource):
    """A perfect instrument."""

    def model(self, name: str, channel: Channel, nside: int, lmax: int, fields: Fields, threads: int) -> NoiseModel:  # noqa: ARG002
        """Describe noise that is zero everywhere."""
        zeros = np.zeros((len(fields), lmax + 1))
        return build_model(np.zeros((len(fields), 12 * nside**2)), zeros, zeros[:, 0], threads=threads)


@settings
class WhiteNoise(NoiseSource):
    """White noise of the published depth, the same everywhere: variance depth^2 / Omega_pix."""

    def model(self, name: str, channel: Channel, nside: int, lmax: int, fields: Fields, threads: int) -> NoiseModel:  # noqa: ARG002
        """Describe uniform white noise."""
        zeros = np.zeros((len(fields), lmax + 1))
        shape = np.ones((len(fields), 12 * nside**2))
        return build_model(shape, zeros, white_levels(channel, fields), threads=threads)


@lru_cache(maxsize=2)
def _scan_pattern(scan: ScanStrategy, nside: int, threads: int) -> tuple[NDArray[np.float32], Array]:
    """Return the standard deviation `(n_pix,)` of a scan up to a factor, and its spectrum for mean square 1."""
    shape = 1 / np.sqrt(hits(nside, scan))
    shape /= np.sqrt(np.mean(shape**2))
    return shape.astype(np.float32), correlation_spectrum(shape, 2 * nside, threads)


@settings
class AnisotropicNoise(NoiseSource):
    """White noise, as deep in each pixel as the scan strategy has it observed.

    The sky average of the pixel variance is depth^2 / Omega_pix; the variance of a pixel goes as 1 / hits.
    """

    scan: ScanStrategy = ScanStrategy()

    def check(self, channels: Mapping[str, Channel], nside: int, lmax: int, fields: Fields) -> None:
        """Refuse a scan that leaves the sky unobserved."""
        super().check(channels, nside, lmax, fields)
        hits(64, self.scan)

    def model(self, name: str, channel: Channel, nside: int, lmax: int, fields: Fields, threads: int) -> NoiseModel:  # noqa: ARG002
        """Describe white noise over the hit pattern."""
        shape, _ = _scan_pattern(self.scan, nside, threads)
        zeros = np.zeros((len(fields), lmax + 1))
        return build_model(np.stack([shape] * len(fields)), zeros, white_levels(channel, fields), threads=threads)


@settings
class CorrelatedNoise(NoiseSource):
    """Noise over the hit pattern with the spectrum depth^2 (1 + (knee / l)^slope), scattering over realisations.

    The depth is that of the white part; the correlated part comes on top, in the pixel variance too. It starts at
    l = 1 in intensity and at l = 2 in polarisation; the monopole holds no more than what the uneven depth of the map
    moves there from its neighbours. It ends at lmax.

    Attributes:
        scan: gives the hit pattern.
        level_scatter: scatter over realisations of the whole spectrum's level, as a fraction.
        knee_scatter: the same of the correlated part alone.
    """

    scan: ScanStrategy = ScanStrategy()
    level_scatter: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    knee_scatter: Annotated[float, Field(ge=0, le=0.5)] = 0.1

    def check(self, channels: Mapping[str, Channel], nside: int, lmax: int, fields: Fields) -> None:
        """Refuse a scan that leaves the sky unobserved."""
        super().check(channels, nside, lmax, fields)
        hits(64, self.scan)

    def model(self, name: str, channel: Channel, nside: int, lmax: int, fields: Fields, threads: int) -> NoiseModel:  # noqa: ARG002
        """Describe noise with a knee over the hit pattern."""
        shape, pattern = _scan_pattern(self.scan, nside, threads)
        white = white_levels(channel, fields)
        ell = np.arange(lmax + 1.0)
        ratio = np.where(ell > 0, (channel.knee_multipole / np.maximum(ell, 1)) ** channel.slope, 0)
        ratio = np.stack([ratio] * len(fields))
        ratio[1:, :2] = 0
        # A mode that moves the knee part alone moves the log of the sum by its share of it.
        modes = np.stack([np.full_like(ratio, self.level_scatter), self.knee_scatter * ratio / (1 + ratio)]) / LN_10
        white_modes = np.array([self.level_scatter, 0.0]) / LN_10
        used = [k for k in range(2) if modes[k].any()]
        return build_model(
            np.stack([shape] * len(fields)),
            ratio * white[:, None],
            white,
            coupling_patterns=[pattern] * (1 if len(fields) == 1 else 2),
            scatter=(modes[used], white_modes[used]),
            threads=threads,
        )
