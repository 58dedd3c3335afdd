"""What the filling of holes is given: a map, its holes, its noise, and what spectra its signal may have."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.holes.signal import Float, NoisyMap, Signal
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
        seed: of what is drawn.
    """

    spectra: Float
    window: Float
    seed: int

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """`(n_pix,)`, False in holes."""
        return np.asarray(self.shown[MASK].values[0] > 0.5)

    @property
    def noise(self) -> Float:
        """`(n_field, n_pix)`, standard deviation of the noise, in holes that which the map would have there."""
        return self.shown[NOISE].values.astype(np.float64)

    def noisy(self, threads: int) -> NoisyMap:
        """Return what is known of the map."""
        signal = Signal(self.spectra, self.window, self.shown[HOLED].spec.nside, threads)
        return NoisyMap.of(signal, self.observed, self.noise**2)
