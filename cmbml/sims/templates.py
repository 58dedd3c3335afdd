"""Templates of the embedded Galaxy: a smooth, fitted shape times turbulence drawn from a seed.

Each map is D(n) exp(g(n) - var/2): D is a deterministic profile of a few numbers (disc, thin disc, named complexes), so
that the brightness of a region does not hang on the seed, and g is a Gaussian field of power-law spectrum, so that the
small scales are non-Gaussian and strongest where the sky is bright, as interstellar clouds are (a log-normal column
density; Vazquez-Semadeni 1994, ApJ 423, 681).

The numbers were fitted to the intensity of PySM 3's models d1, s1, f1 and a1 at nside 64 (Thorne et al. 2017,
arXiv:1608.02841; their templates: Planck 2015 X, arXiv:1502.01588; Remazeilles et al. 2015, arXiv:1411.3628).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from cmbml.sky.harmonics import Alm, alm_lmax, filter_alm, random_alm, synthesise

Float32Map = NDArray[np.float32]
CHUNK = 1 << 16
"""Pixels of one part of a map: few enough for a processor's cache."""
SPECTRAL_LMAX = 512
"""Where maps of spectral parameters end."""
ORDERED_FIELD_LON_LAT = (70.0, 24.0)


def child(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one component: the same whatever other components are on.

    Example:
        >>> bool(child(1, "gas").integers(100) == child(1, "gas").integers(100))
        True
    """
    return np.random.default_rng([seed, int.from_bytes(purpose.encode(), "big")])


@dataclass(frozen=True)
class Complex:
    """A named bright region: a Gaussian blob, or a ring where it has a radius.

    Attributes:
        lon_deg, lat_deg: Galactic position of the centre.
        width_deg: standard deviation across the blob or the ring.
        height: brightness at its crest, in the unit of the profile.
        radius_deg: radius of the ring; 0 for a blob.
    """

    lon_deg: float
    lat_deg: float
    width_deg: float
    height: float
    radius_deg: float = 0.0

    @property
    def centre(self) -> NDArray[np.float64]:
        """Unit vector to the centre, `(3,)`."""
        vector: NDArray[np.float64] = hp.ang2vec(self.lon_deg, self.lat_deg, lonlat=True)
        return vector

    def evaluate(self, vectors: Float32Map) -> Float32Map:
        """Return the brightness in the directions `(3, n)`, `(n,)`.

        Angles enter through their cosines: near the centre, or near the ring, this is the Gaussian.
        """
        cosine = self.centre.astype(np.float32) @ vectors
        width, radius = np.radians(self.width_deg), np.radians(self.radius_deg)
        if radius:
            cosine -= np.float32(np.cos(radius))
            cosine *= cosine
            cosine *= np.float32(-0.5 / (np.sin(radius) * width) ** 2)
        else:
            cosine -= np.float32(1)
            cosine *= np.float32(width**-2)
        values: Float32Map = np.float32(self.height) * np.exp(cosine, out=cosine)
        return values


@dataclass(frozen=True)
class Arm:
    """A stretch of the thin disc that is brighter, as where a line of sight runs along a spiral arm.

    Attributes:
        lon_deg: Galactic longitude.
        width_deg: standard deviation in longitude.
        contrast: how much is added to the thin disc there, in units of it.
    """

    lon_deg: float
    width_deg: float
    contrast: float

    def evaluate(self, cosine: Float32Map, sine: Float32Map) -> Float32Map:
        """Return the contrast at longitudes given by their cosines and sines, `(n,)`."""
        lon = np.radians(self.lon_deg)
        along = cosine * np.float32(np.cos(lon)) + sine * np.float32(np.sin(lon)) - np.float32(1)
        values: Float32Map = np.float32(self.contrast) * np.exp(along * np.float32(np.radians(self.width_deg) ** -2))
        return values


@dataclass(frozen=True)
class Profile:
    """The smooth shape of a Galactic component: D = level e^t + disc e^t (z^2 + s^2)^(-q/2) + thin disc + complexes.

    x points to the Galactic centre, y to l = 90 deg, z to the north pole; t = tilt . n.

    Attributes:
        level: isotropic part, uK_RJ at the reference frequency of the component.
        disc: brightness of the disc at the poles (where z^2 + s^2 = 1), uK_RJ.
        softening: s, sine of the latitude where the disc stops to rise.
        slope: q; 1 for an infinite slab.
        tilt: exponent of the contrast along x, y and z.
        thin: brightness of the thin disc at b = 0, l = 90 deg, uK_RJ.
        thin_contrast: its exponent along x.
        complexes: bright regions, textured by the turbulence as all the rest.
        compact: regions too small to be textured, which stand beside it.
        thin_height: sine of the latitude of the thin disc's standard deviation.
        warp_deg: how far north of b = 0 the plane stands at `warp_lon_deg`, and south of it on the other side.
        arms: brighter stretches of the thin disc.
    """

    level: float
    disc: float
    softening: float
    slope: float
    tilt: tuple[float, float, float]
    thin: float
    thin_contrast: float
    complexes: tuple[Complex, ...] = ()
    thin_height: float = 0.03
    compact: tuple[Complex, ...] = ()
    warp_deg: float = 0.0
    warp_lon_deg: float = 0.0
    arms: tuple[Arm, ...] = ()

    def evaluate(self, vectors: Float32Map) -> Float32Map:
        """Return the brightness in the directions `(3, n)`, uK_RJ, `(n,)`."""
        x, y, z = vectors
        if self.warp_deg:
            lon, slope = np.radians(self.warp_lon_deg), np.sin(np.radians(self.warp_deg))
            z = z - (x * np.float32(slope * np.cos(lon)) + y * np.float32(slope * np.sin(lon)))
        z2 = z * z
        disc = np.log(z2 + np.float32(self.softening**2))
        disc *= np.float32(-0.5 * self.slope)
        out: Float32Map = np.float32(self.disc) * np.exp(disc, out=disc)
        out += np.float32(self.level)
        out *= np.exp(np.asarray(self.tilt, dtype=np.float32) @ vectors)
        thin = np.exp(np.float32(self.thin_contrast) * x - z2 * np.float32(0.5 / self.thin_height**2))
        thin *= np.float32(self.thin)
        if self.arms:
            across = np.sqrt(x * x + y * y)
            thin *= 1 + sum(arm.evaluate(x / across, y / across) for arm in self.arms)
        out += thin
        for spot in self.complexes:
            out += spot.evaluate(vectors)
        return out

    def map(self, nside: int, threads: int = 1) -> Float32Map:
        """Return the brightness at the pixel centres, uK_RJ, `(n_pix,)`."""
        out = np.empty(12 * nside**2, dtype=np.float32)

        def fill(part: slice) -> None:
            out[part] = self.evaluate(directions(nside, part))

        over_chunks(fill, out.size, threads)
        return out


@dataclass(frozen=True)
class Turbulence:
    """The spectrum of a Gaussian field: C_l proportional to (l^2 + knee^2)^(-slope/2) from l = 1 on.

    Attributes:
        sigma: standard deviation of the field with all its multipoles up to 8192.
        slope: of the spectrum, at l well above `knee`.
        knee: multipole below which the spectrum is flat; it bounds how far the large scales differ between seeds.
        filaments: how much brighter ridges are than what lies between them, as the exponent that `cloudy` multiplies
            a standard deviation of distance from them by; 0 for none.
    """

    sigma: float
    slope: float
    knee: float
    filaments: float = 0.0

    def spectrum(self, lmax: int) -> NDArray[np.float64]:
        """Return C_l, `(lmax + 1,)`: the same numbers whatever `lmax`."""
        ell = np.arange(max(lmax, 8192) + 1)
        cl = np.asarray((ell**2 + self.knee**2) ** (-0.5 * self.slope), dtype=np.float64)
        cl[0] = 0
        cl *= self.sigma**2 * 4 * np.pi / np.sum((2 * ell + 1) * cl)
        return cl[: lmax + 1]

    def variance(self, lmax: int) -> float:
        """Return the variance of the field that ends at `lmax`."""
        return float(np.sum((2 * np.arange(lmax + 1) + 1) * self.spectrum(lmax)) / (4 * np.pi))

    def shape(self, alm: Alm) -> Alm:
        """Give coefficients of unit spectrum this spectrum."""
        return filter_alm(alm, np.sqrt(self.spectrum(alm_lmax(alm.shape[-1]))))

    def field(self, rng: np.random.Generator, nside: int, threads: int) -> Float32Map:
        """Draw the field at the pixel centres, `(n_pix,)`."""
        return gaussian(self, unit_alm(rng, template_lmax(nside)), nside, threads)


RIDGES = Turbulence(sigma=1.0, slope=3.0, knee=25)
"""The field whose zeros filaments follow."""


def template_lmax(nside: int) -> int:
    """Return the highest multipole of the templates at a resolution."""
    return 2 * nside


def over_chunks(work: Callable[[slice], None], n_pix: int, threads: int) -> None:
    """Do work on parts of a map, of a fixed size so that bits do not depend on the threads."""
    parts = [slice(start, min(start + CHUNK, n_pix)) for start in range(0, n_pix, CHUNK)]
    if threads == 1 or len(parts) == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass


def directions(nside: int, part: slice) -> Float32Map:
    """Return the unit vectors to a part of the pixels, `(3, n)`."""
    return _directions(nside, part.start, part.stop)


@lru_cache(maxsize=256)
def _directions(nside: int, start: int, stop: int) -> Float32Map:
    # Kept, because every component and every simulation asks for the same: at most 200 MB.
    return np.array(hp.pix2vec(nside, np.arange(start, stop)), dtype=np.float32)


def unit_alm(rng: np.random.Generator, lmax: int) -> Alm:
    """Draw single-precision coefficients of unit spectrum, `(1, n_alm)`."""
    return random_alm(rng, lmax, dtype=np.complex64)


def gaussian(spectrum: Turbulence, alm: Alm, nside: int, threads: int) -> Float32Map:
    """Evaluate coefficients of unit spectrum as a field of the given one, `(n_pix,)`."""
    values: NDArray[Any] = synthesise(spectrum.shape(alm), nside, threads)[0]
    return values


def cloudy(
    profile: Profile,
    turbulence: Turbulence,
    alm: Alm,
    nside: int,
    threads: int,
    ridges: np.random.Generator | None = None,
) -> Float32Map:
    """Multiply a smooth profile by log-normal turbulence of mean one.

    Filaments are the ridges of exp(-f |r|), r a Gaussian field of unit variance: they follow its zeros. The mean of
    that is 2 exp(f^2 / 2) Phi(-f), by which it is divided.

    Args:
        profile: the smooth shape.
        turbulence: spectrum of the logarithm.
        alm: `(1, n_alm)`, of unit spectrum.
        nside: resolution.
        threads: CPU threads.
        ridges: where the field of the filaments is drawn from, for turbulence that has them.

    Returns:
        `(n_pix,)`, uK_RJ at the reference frequency of the profile.
    """
    lmax = template_lmax(nside)
    out = gaussian(turbulence, alm, nside, threads)
    offset, distance, steepness = turbulence.variance(lmax) / 2, None, np.float32(turbulence.filaments)
    if turbulence.filaments and ridges is not None:
        spread = turbulence.filaments * np.sqrt(RIDGES.variance(lmax))
        offset += spread**2 / 2 + np.log(2 * ndtr(-spread))
        distance = RIDGES.field(ridges, nside, threads)

    def shape(part: slice) -> None:
        values = out[part]
        if distance is not None:
            values -= steepness * np.abs(distance[part])
        values -= np.float32(offset)
        np.exp(values, out=values)
        values *= profile.evaluate(directions(nside, part))

    over_chunks(shape, out.size, threads)
    for spot in profile.compact:
        near = hp.query_disc(nside, spot.centre, np.radians(5 * spot.width_deg))
        out[near] += spot.evaluate(np.array(hp.pix2vec(nside, near), dtype=np.float32))
    return out


def ordered_polarisation(vectors: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return Q and U of emission polarised across the ordered local magnetic field.

    The field of the Solar neighbourhood points to `ORDERED_FIELD_LON_LAT` (Planck intermediate results XLIV,
    arXiv:1604.01029, section 4). With B in the plane of the sky, Q + i U = -(B_theta + i B_phi)^2, of modulus
    cos^2 gamma (eqs. 1-4 there), in HEALPix's convention.

    Args:
        vectors: unit vectors `(3, n)`.

    Returns:
        `(2, n)`: Q and U, of modulus at most 1.
    """
    field = hp.ang2vec(*ORDERED_FIELD_LON_LAT, lonlat=True).astype(vectors.dtype)
    x, y, z = vectors
    across = np.sqrt(x**2 + y**2)
    south = (field[0] * x * z + field[1] * y * z) / across - field[2] * across
    east = (field[1] * x - field[0] * y) / across
    return np.stack([east**2 - south**2, -2 * south * east])


@dataclass(frozen=True)
class Polarisation:
    """How a Galactic component is polarised.

    Attributes:
        ordered: polarised fraction that the ordered field gives where it lies in the plane of the sky.
        turbulent: standard deviation of each of Q/I and U/I from the turbulent field.
        slope: of the turbulent E and B spectra.
        knee: multipole below which they are flat.
        bb_to_ee: power of B over that of E.
        te_correlation: correlation of E with the logarithm of the intensity.
        most: highest polarised fraction.
    """

    ordered: float
    turbulent: float
    slope: float
    knee: float
    bb_to_ee: float
    te_correlation: float
    most: float

    def fractions(self, rng: np.random.Generator, intensity: Alm, nside: int, threads: int) -> Float32Map:
        """Draw Q/I and U/I.

        Args:
            rng: source of randomness.
            intensity: `(1, n_alm)`: coefficients of unit spectrum of the logarithm of I, with which E is correlated.
            nside: resolution.
            threads: CPU threads.

        Returns:
            `(2, n_pix)`; the modulus stays below `most`.
        """
        alm = random_alm(rng, template_lmax(nside), n_comp=2, dtype=np.complex64)
        alm[0] *= np.float32(np.sqrt(1 - self.te_correlation**2))
        alm[0] += np.float32(self.te_correlation) * intensity[0]
        # The mean over the sky of Q^2 + U^2 is the sum of the variances of E and B, and each of Q and U has half of it.
        power = Turbulence(sigma=self.turbulent, slope=self.slope, knee=self.knee)
        shares = np.array([2 / (1 + self.bb_to_ee), 2 * self.bb_to_ee / (1 + self.bb_to_ee)])
        alm = power.shape(alm) * np.sqrt(shares).astype(np.float32)[:, None]
        alm[:, :2] = 0
        alm[:, template_lmax(nside) + 1] = 0
        out = synthesise(alm, nside, threads)

        def shape(part: slice) -> None:
            out[:, part] += np.float32(self.ordered) * ordered_polarisation(directions(nside, part))
            modulus = np.maximum(np.hypot(out[0, part], out[1, part]), np.float32(1e-12))
            out[:, part] *= np.float32(self.most) * np.tanh(modulus / np.float32(self.most)) / modulus

        over_chunks(shape, out.shape[1], threads)
        return out
