"""Maps of one sky in many velocity channels, as surveys of the 21 cm line give them.

Velocities are radio velocities in the local standard of rest, km/s; brightness temperatures are K, a mean over each
channel. Optically thin gas of brightness T(v) has the column N(HI) = 1.823e18 cm^-2 K^-1 (km/s)^-1 * sum(T) dv
(Dickey & Lockman 1990, ARA&A 28, 215, eq. 3).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, model_validator

from cmbml.settings import settings
from cmbml.sky.harmonics import analyse, filter_alm, synthesise
from cmbml.sky.maps import MapError, MapSpec, n_bad_pixels

Float = NDArray[np.float64]
COLUMN_PER_K_KM_S = 1.823e18
"""Column density of optically thin gas, cm^-2 for each K km/s."""
NEGLIGIBLE = 1e-6
"""Of a filter: what it takes from every multipole of a map at most, where it need not be applied."""


@settings
class VelocityAxis:
    """Channels of equal width, one next to the other.

    Attributes:
        low_km_s: lower edge of the first channel.
        high_km_s: upper edge of the last one.
        number: of channels.
    """

    low_km_s: float = -64.5
    high_km_s: float = 17.0
    number: PositiveInt = 64

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.high_km_s <= self.low_km_s:
            message = f"velocities from {self.low_km_s:g} to {self.high_km_s:g} km/s: they must rise"
            raise ValueError(message)
        return self

    @property
    def width_km_s(self) -> float:
        """Width of a channel."""
        return (self.high_km_s - self.low_km_s) / self.number

    @property
    def edges(self) -> Float:
        """Edges of the channels, km/s, `(number + 1,)`."""
        return np.linspace(self.low_km_s, self.high_km_s, self.number + 1)

    @property
    def centres(self) -> Float:
        """Centres of the channels, km/s, `(number,)`."""
        edges = self.edges
        centres: Float = (edges[1:] + edges[:-1]) / 2
        return centres


@dataclass(frozen=True, kw_only=True)
class CubeSpec:
    """What a cube is.

    Attributes:
        maps: what the map of each channel is; its unit is K.
        axis: the channels.
        noise_k: standard deviation of the noise of each channel and pixel, K, `number` of them; zeros where there is
            none.
    """

    maps: MapSpec
    axis: VelocityAxis
    noise_k: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that every channel has a noise.

        Raises:
            MapError: one has not, or it is below zero.
        """
        if len(self.noise_k) != self.axis.number or min(self.noise_k) < 0:
            message = f"noise of {len(self.noise_k)} channels, of {self.axis.number}: give each one that is not below 0"
            raise MapError(message)

    def difference(self, other: "CubeSpec") -> str:
        """Say in words what is not the same in two descriptions; empty where they agree."""
        parts = [self.maps.difference(other.maps, "nside", "unit", "frame")]
        if self.axis != other.axis:
            parts.append(f"channels are {_said(self.axis)}, not {_said(other.axis)}")
        return ", ".join(filter(None, parts))


def _said(axis: VelocityAxis) -> str:
    return f"{axis.number} from {axis.low_km_s:g} to {axis.high_km_s:g} km/s"


@dataclass(frozen=True)
class VelocityCube:
    """The maps of all channels.

    Attributes:
        values: `(n_channel, n_pix)`, K, RING order, by rising velocity.
        spec: what they are.
    """

    values: NDArray[np.floating[Any]]
    spec: CubeSpec

    def __post_init__(self) -> None:
        """Check that the array is what the description promises.

        Raises:
            MapError: the shape is wrong, or a pixel is not finite.
        """
        wanted = (self.spec.axis.number, self.spec.maps.n_pix)
        if self.values.shape != wanted:
            message = f"{wanted[0]} channels at nside {self.spec.maps.nside} mean {wanted}, not {self.values.shape}"
            raise MapError(message)
        if bad := n_bad_pixels(self.values):
            message = f"{bad} of {self.values.size} pixel values of the cube are NaN, infinite or UNSEEN"
            raise MapError(message)

    @property
    def integrated(self) -> Float:
        """Integrated intensity, K km/s, `(n_pix,)`."""
        total: Float = self.values.sum(axis=0, dtype=np.float64) * self.spec.axis.width_km_s
        return total

    def moments(self, number: int) -> Float:
        """Return the maps sum(v^m T) dv for m = 0 ... number - 1, with v in units of 50 km/s, `(number, n_pix)`."""
        powers = (self.spec.axis.centres / 50) ** np.arange(number)[:, None]
        found: Float = powers @ self.values.astype(np.float64) * self.spec.axis.width_km_s
        return found


def butterworth(lmax: int, ell: float, order: int) -> Float:
    """Return the window 1 / sqrt(1 + (l / ell)^(2 order)), `(lmax + 1,)`.

    The published preparation of 21 cm maps says l < 460, and no order.
    """
    # In logarithms: (l / ell)^(2 order) overflows far above the cut.
    ratio = order * np.log(np.maximum(np.arange(lmax + 1), 1e-300) / ell)
    window: Float = np.exp(-0.5 * np.logaddexp(0, 2 * ratio))
    return window


def band_limited(values: NDArray[Any], ell: float, order: int, threads: int = 1) -> NDArray[Any]:
    """Take out of maps what a Butterworth filter does not pass.

    Args:
        values: `(n_map, n_pix)`, RING; they come back as they are where they hold nothing above the filter.
        ell: multipole where half of the power passes.
        order: of the filter.
        threads: CPU threads.
    """
    nside = round(np.sqrt(values.shape[-1] / 12))
    lmax = 3 * nside - 1
    window = butterworth(lmax, ell, order)
    if window[-1] > 1 - NEGLIGIBLE:
        return values
    out = np.empty_like(values)
    for row, found in zip(values, out, strict=True):
        alm = analyse(row.astype(np.float64)[None], lmax, threads, accuracy=1e-5, max_iterations=10)
        # Only what is taken away goes through the transform.
        found[:] = row - synthesise(filter_alm(alm, 1 - window), nside, threads)[0]
    return out
