"""What the filling of holes is given: a map, its holes, its noise, and what spectra its signal may have."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.holes.signal import Apart, Float, NoisyMap, Signal
from cmbml.sky.case import Case
from cmbml.sky.maps import SkyMap

HOLED, MASK, NOISE = "map", "mask", "noise"
"""What is shown: the map, zero in holes; 1 where it is known and 0 in holes; the standard deviation of its noise."""


@dataclass(frozen=True, kw_only=True)
class HoledMap(Case[SkyMap]):
    """A map with holes.

    Attributes:
        spectra: `(n_comp, n_comp, lmax + 1)`, of the signal without a beam, in the square of the map's unit.
        window: `(n_comp, lmax + 1)`, beam and pixel window of the map.
        correlated: `(n_comp, lmax + 1)`, spectra of the noise beyond the white one, as it is in the map.
        seed: of what is drawn.
    """

    spectra: Float
    window: Float
    correlated: Float
    seed: int

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """`(n_pix,)`, False in holes."""
        return np.asarray(self.shown[MASK].values[0] > 0.5)

    @property
    def noise(self) -> Float:
        """`(n_field, n_pix)`, standard deviation of the white noise, in holes that which the map would have there."""
        return self.shown[NOISE].values.astype(np.float64)

    def signal(self, threads: int) -> Signal:
        """Return what is known of the signal."""
        return Signal(self.spectra, self.window, self.shown[HOLED].spec.nside, threads)

    def noisy(self, threads: int) -> NoisyMap:
        """Return what is known of the map: correlated noise counts as signal there, which `apart` takes out again."""
        signal = self.signal(threads)
        seen = signal.with_noise(self.correlated) if self.correlated.any() else signal
        return NoisyMap.of(seen, self.observed, self.noise**2)

    def apart(self) -> Apart | None:
        """Return what tells signal and correlated noise apart; None where there is no such noise."""
        return Apart(self.signal(1).beamed_spectra, self.correlated) if self.correlated.any() else None


def mask_hash(observed: NDArray[np.bool_]) -> str:
    """Return the SHA-256 of which pixels are known, `(n_pix,)`: a byte each, in RING order."""
    return hashlib.sha256(observed.astype(np.uint8).tobytes()).hexdigest()
