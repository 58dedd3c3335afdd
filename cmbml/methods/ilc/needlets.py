"""Bands of multipoles: the windows h_j(l) that cut the harmonic space into scales, with sum_j h_j(l)^2 = 1.

Most families are made from low-pass functions L_0 <= L_1 <= ... <= 1: h_j^2 = L_j - L_(j-1), which is a partition of
unity whatever the L_j are.
"""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Annotated, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from cmbml.settings import Nside, PositiveFloat, settings
from cmbml.sky.beams import gaussian_window

Windows = NDArray[np.float64]

BUMP_STEPS = 4001


@settings
class Bands(ABC):
    """A family of windows.

    Attributes:
        nside: resolution that the multipoles and angles are stated for; at another one they are scaled in proportion.
            None: they hold as they stand.
    """

    nside: Nside | None = None

    @abstractmethod
    def squares(self, ell: NDArray[np.float64]) -> Windows:
        """Return h_j^2 at multipoles of the stated resolution, `(n_scale, n_ell)`, from large scales to small ones."""

    def windows(self, lmax: int, nside: int) -> Windows:
        """Return the windows.

        Args:
            lmax: highest multipole.
            nside: resolution of the maps.

        Returns:
            `(n_scale, lmax + 1)`; scales that hold nothing up to `lmax` are left out.
        """
        factor = 1.0 if self.nside is None else self.nside / nside
        squares = np.maximum(self.squares(factor * np.arange(lmax + 1.0)), 0.0)
        windows: Windows = np.sqrt(squares[squares.max(axis=1) > 0])
        return windows


def between(low_passes: Windows) -> Windows:
    """Return what lies between low-pass functions and above the last, `(n + 1, n_ell)`."""
    n_ell = low_passes.shape[1]
    return np.diff(np.concatenate([np.zeros((1, n_ell)), low_passes, np.ones((1, n_ell))]), axis=0)


def _rising(values: tuple[float, ...], what: str) -> None:
    if any(a >= b for a, b in pairwise(values)):
        message = f"{what} must rise from each to the next, and are {list(values)}"
        raise ValueError(message)


@final
@settings
class CosineNeedlets(Bands):
    """Cosine needlets (Planck 2015 results IX, arXiv:1502.05956, appendix B).

    The first window is 1 at l = 0 and falls to zero at the first peak; window j is 1 at its peak and falls, as a
    quarter of a cosine, to zero at the peaks next to it; the last stays 1 above its peak.

    Attributes:
        peaks: multipoles of the peaks but the first one, at l = 0.
    """

    peaks: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> "CosineNeedlets":
        _rising(self.peaks, "peaks")
        return self

    def squares(self, ell: NDArray[np.float64]) -> Windows:
        """Return h_j^2, from low-pass functions that fall from one peak to the next."""
        peaks = np.array([0.0, *self.peaks])[:, None]
        along = np.clip((ell - peaks[:-1]) / np.diff(peaks, axis=0), 0, 1)
        return between(np.where(along < 1, np.cos(0.5 * np.pi * along) ** 2, 0.0))


@final
@settings
class GaussianNeedlets(Bands):
    """Differences of Gaussian beams (Remazeilles et al. 2011, arXiv:1103.1166; arXiv:1605.09387, eq. A.29).

    Attributes:
        fwhm_arcmin: full widths at half maximum, falling.
    """

    fwhm_arcmin: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> "GaussianNeedlets":
        _rising(tuple(-fwhm for fwhm in self.fwhm_arcmin), "minus fwhm_arcmin")
        return self

    def squares(self, ell: NDArray[np.float64]) -> Windows:
        """Return h_j^2, from beams squared."""
        sigma = np.deg2rad(np.array(self.fwhm_arcmin) / 60)[:, None] / np.sqrt(8 * np.log(2))
        return between(np.exp(-ell * (ell + 1) * sigma**2))


@final
@settings
class StandardNeedlets(Bands):
    """Standard needlets, infinitely smooth and of bounded support (Marinucci et al. 2008, arXiv:0707.0844).

    Attributes:
        base: ratio B of one scale to the next.
        first: multipole at which the first window, which holds the largest scales, has fallen to zero.
        n_scale: number of windows; the last holds all smaller scales.
    """

    base: Annotated[float, Field(gt=1, le=10)]
    first: PositiveFloat
    n_scale: Annotated[int, Field(ge=2, le=64)]

    def squares(self, ell: NDArray[np.float64]) -> Windows:
        """Return h_j^2 = phi(l / B^(j + 1)) - phi(l / B^j), with phi the integral of exp(-1 / (1 - t^2))."""
        steps = np.linspace(-1, 1, BUMP_STEPS)[1:-1]
        bump = np.cumsum(np.exp(-1 / (1 - steps**2)))
        falls = self.first * self.base ** np.arange(self.n_scale - 1.0)
        ratio = ell / falls[:, None]
        place = 1 - 2 * self.base / (self.base - 1) * (ratio - 1 / self.base)
        return between(np.interp(place, steps, bump / bump[-1], left=0.0, right=1.0))


@final
@settings
class MexicanNeedlets(Bands):
    """Mexican needlets (Scodeller et al. 2011, arXiv:1004.5576), scaled so that their squares add up to one.

    Attributes:
        base: ratio B of one scale to the next.
        first: multipole at which the first window is widest.
        n_scale: number of windows.
        order: p, how closely a window keeps to its multipoles: g_j = (l / l_j)^2p exp(-p (l / l_j)^2 + p).
    """

    base: Annotated[float, Field(gt=1, le=10)]
    first: PositiveFloat
    n_scale: Annotated[int, Field(ge=2, le=64)]
    order: PositiveInt = 1

    def squares(self, ell: NDArray[np.float64]) -> Windows:
        """Return g_j^2 over their sum; the outermost windows hold what lies beyond."""
        ratio = np.maximum(ell, 0.5) / (self.first * self.base ** np.arange(float(self.n_scale)))[:, None]
        log_squares = 2 * self.order * (2 * np.log(ratio) - ratio**2)
        powers = np.exp(log_squares - log_squares.max(axis=0))
        squares: Windows = powers / powers.sum(axis=0)
        return squares


@final
@settings
class TopHatBands(Bands):
    """Windows with hard edges.

    Attributes:
        edges: first multipole of each window but the first, which begins at l = 0.
    """

    edges: tuple[PositiveFloat, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> "TopHatBands":
        _rising(self.edges, "edges")
        return self

    def squares(self, ell: NDArray[np.float64]) -> Windows:
        """Return 1 inside, 0 outside."""
        return between((ell < np.array(self.edges)[:, None]).astype(np.float64).reshape(-1, ell.size))


def falls_to(window: NDArray[np.float64], level: float) -> int:
    """Return the multipole, past its peak, at which a window is nearest to a level; the last where it stays above.

    A window that is zero everywhere ends before l = 0, at -1.
    """
    if not window.any():
        return -1
    if window[-1] > level:
        return window.size - 1
    peak = int(np.argmax(window))
    return peak + int(np.argmin(np.abs(window[peak:] - level)))


def kernel(sigma_rad: float, lmax: int) -> NDArray[np.float64]:
    """Return the window of a Gaussian average, `(lmax + 1,)`; `sigma_rad` is its standard deviation."""
    return gaussian_window(60 * float(np.rad2deg(sigma_rad)) * np.sqrt(8 * np.log(2)), lmax)
