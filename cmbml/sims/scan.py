"""How often a spinning satellite looks at each part of the sky.

The satellite stands at the Sun-Earth point L2. It spins about an axis that stays near the anti-solar direction and
precesses about it, while the detectors look `opening_deg` away from the axis and so sweep rings. The density of the
axis on the sky, convolved with a ring, is the hit pattern; in harmonic space a ring of radius alpha is P_l(cos alpha)
(Funk-Hecke), which gives the pattern exactly, band-limited, and the same at every resolution.
"""

from functools import lru_cache
from typing import Annotated

import ducc0
import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from scipy.special import eval_legendre

from cmbml.settings import PositiveFloat, settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_alm, synthesise

YEAR_DAYS = 365.25
POORLY_SEEN = 0.02


class ScanError(ValueError):
    """A scan strategy that leaves a part of the sky unobserved."""


@settings
class ScanStrategy:
    """The motion of the spin axis and of the line of sight; Planck's as flown by default.

    Planck: an opening of 85 degrees and a cycloid of 7.5 degrees in six months (Tauber et al. 2010, A&A 520, A1;
    Planck 2013 results I, sect. 4).

    Attributes:
        opening_deg: angle between spin axis and line of sight.
        precession_deg: angle between spin axis and anti-solar direction.
        precession_days: period of the precession; it should go into the mission a whole number of times.
        focal_plane_deg: full width at half maximum, on the sky, of the spread of the detectors about the line of
            sight; it smooths the edges of the pattern.
        years: length of the mission; whole years, so that the seasons leave no seam.
    """

    opening_deg: Annotated[float, Field(gt=0, le=90)] = 85.0
    precession_deg: Annotated[float, Field(ge=0, lt=90)] = 7.5
    precession_days: PositiveFloat = YEAR_DAYS / 2
    focal_plane_deg: Annotated[float, Field(ge=0.5, le=20)] = 2.0
    years: PositiveInt = 1


def spin_axis(scan: ScanStrategy) -> NDArray[np.float64]:
    """Follow the spin axis over the mission, evenly in time.

    Args:
        scan: the strategy.

    Returns:
        `(3, n_time)`: unit vectors in the ecliptic frame.
    """
    cycles = scan.years * YEAR_DAYS / scan.precession_days
    n_time = max(20_000, 64 * int(np.ceil(cycles)))
    time = (np.arange(n_time) + 0.5) / n_time
    longitude, phase = 2 * np.pi * scan.years * time, 2 * np.pi * cycles * time
    zero = np.zeros(n_time)
    anti_solar = np.stack([np.cos(longitude), np.sin(longitude), zero])
    along = np.stack([-np.sin(longitude), np.cos(longitude), zero])
    north = np.stack([zero, zero, zero + 1])
    tilt = np.deg2rad(scan.precession_deg)
    axis: NDArray[np.float64] = np.cos(tilt) * anti_solar + np.sin(tilt) * (
        np.cos(phase) * along + np.sin(phase) * north
    )
    return axis


@lru_cache(maxsize=4)
def _pattern_alm(scan: ScanStrategy) -> NDArray[np.complex128]:
    """Return the coefficients of the hit pattern in the Galactic frame, `(1, n_alm)`, of a pattern of mean 1."""
    sigma = np.deg2rad(scan.focal_plane_deg) / np.sqrt(8 * np.log(2))
    lmax = int(np.ceil(6 / sigma))
    theta, phi = hp.vec2dir(hp.Rotator(coord=["E", "G"])(spin_axis(scan)))
    location = np.stack([theta, np.mod(phi, 2 * np.pi)], axis=1)
    weight = np.full((1, len(location)), 4 * np.pi / len(location))
    # One thread: the order in which points are added up must not depend on the machine.
    track: NDArray[np.complex128] = ducc0.sht.adjoint_synthesis_general(
        map=weight, spin=0, lmax=lmax, loc=location, epsilon=1e-10, nthreads=1
    )
    ring = eval_legendre(np.arange(lmax + 1), np.cos(np.deg2rad(scan.opening_deg)))
    return filter_alm(track, ring * gaussian_window(60 * scan.focal_plane_deg, lmax))


@lru_cache(maxsize=2)
def hits(nside: int, scan: ScanStrategy) -> NDArray[np.float64]:
    """Return the relative observing time of every pixel.

    Args:
        nside: resolution; the pattern is the same at each.
        scan: the strategy.

    Returns:
        `(n_pix,)`, RING, Galactic frame, mean 1, read-only.

    Raises:
        ScanError: a part of the sky is hardly seen at all.
    """
    pattern: NDArray[np.float64] = synthesise(_pattern_alm(scan), nside)[0]
    unseen = np.mean(pattern < POORLY_SEEN)
    if unseen:
        message = (
            f"the scan strategy (opening {scan.opening_deg}, precession {scan.precession_deg} degrees) leaves "
            f"{100 * unseen:.2g} % of the sky unobserved: the two angles must add up to at least 90 degrees, and the "
            f"precession period ({scan.precession_days} days) must let the rings cross the ecliptic poles"
        )
        raise ScanError(message)
    pattern /= pattern.mean()
    pattern.setflags(write=False)
    return pattern
