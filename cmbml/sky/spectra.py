"""Angular power spectra, and how they are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spectra:
    """Power spectra C_l from l = 0 on, without any factor of l (l + 1).

    Attributes:
        cl: name -> `(lmax + 1,)`. Names: `lensed_TT`, `lensed_EE`, `lensed_BB`, `lensed_TE`, `unlensed_TT`, ... in
            uK_CMB^2; `PP` of the lensing potential (no unit), `PT` and `PE` in uK_CMB.
    """

    cl: Mapping[str, NDArray[np.float64]]

    @property
    def lmax(self) -> int:
        """The highest multipole that every spectrum reaches."""
        return min(len(values) for values in self.cl.values()) - 1

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """Return one spectrum by its name."""
        return self.cl[name]


def d_ell(cl: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return D_l = l (l + 1) C_l / 2 pi of a spectrum that starts at l = 0."""
    ell = np.arange(cl.shape[-1])
    return cl.astype(np.float64, copy=False) * ell * (ell + 1) / (2 * np.pi)


def bin_spectrum(values: NDArray[np.floating[Any]], edges: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Average a spectrum in bins, each multipole weighted by its 2 l + 1 modes.

    Args:
        values: `(..., lmax + 1)`.
        edges: `(n_bin + 1,)`: bin i holds edges[i] <= l < edges[i + 1].

    Returns:
        `(..., n_bin)`.

    Example:
        >>> bin_spectrum(np.ones(10), np.array([2, 5, 10])).tolist()
        [1.0, 1.0]
    """
    weights = 2.0 * np.arange(values.shape[-1]) + 1
    pairs = list(pairwise(edges))
    return np.stack([np.average(values[..., a:b], axis=-1, weights=weights[a:b]) for a, b in pairs], axis=-1)
