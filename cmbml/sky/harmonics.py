"""Spherical harmonic transforms on HEALPix maps, batched over channels, by ducc0.

Coefficients are stored as healpy stores them (m-major, m >= 0), so that both libraries may share them. A set is
`(n_comp, n_alm)`: one component (T) for intensity, three (T, E, B) for `IQU`.
"""

from functools import lru_cache
from typing import Any, TypeVar, overload

import ducc0
import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.maps import Frame, MapError

Alm = NDArray[np.complexfloating[Any, Any]]
Map = NDArray[np.floating[Any]]
Complex = TypeVar("Complex", bound=np.complexfloating[Any, Any])


def alm_size(lmax: int) -> int:
    """Return the number of coefficients with l <= lmax and 0 <= m <= l.

    Example:
        >>> alm_size(2)
        6
    """
    return (lmax + 1) * (lmax + 2) // 2


def alm_lmax(n_alm: int) -> int:
    """Return the lmax of a set of `n_alm` coefficients.

    Example:
        >>> alm_lmax(alm_size(383))
        383
    """
    return round((float(np.sqrt(8 * n_alm + 1)) - 3) / 2)


@lru_cache(maxsize=4)
def multipoles(lmax: int) -> NDArray[np.int64]:
    """Return the multipole l of every coefficient, `(n_alm,)`."""
    return np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])


@lru_cache(maxsize=4)
def _from_l_major(lmax: int) -> NDArray[np.int64]:
    """Return where each coefficient stands in the order (0,0), (1,0), (1,1), (2,0), ..."""
    ell = multipoles(lmax)
    m = np.concatenate([np.full(lmax + 1 - m, m) for m in range(lmax + 1)])
    place: NDArray[np.int64] = ell * (ell + 1) // 2 + m
    return place


@overload
def random_alm(rng: np.random.Generator, lmax: int, n_comp: int = 1) -> NDArray[np.complex128]: ...
@overload
def random_alm(rng: np.random.Generator, lmax: int, n_comp: int = 1, *, dtype: type[Complex]) -> NDArray[Complex]: ...
def random_alm(
    rng: np.random.Generator,
    lmax: int,
    n_comp: int = 1,
    dtype: type[np.complexfloating[Any, Any]] = np.complex128,
) -> Alm:
    """Draw coefficients of Gaussian fields of unit spectrum.

    The draws go through l in rising order: the same generator gives the same large scales at every `lmax`.

    Args:
        rng: source of randomness.
        lmax: highest multipole.
        n_comp: number of independent fields.
        dtype: complex128 or complex64; the draws are the same.

    Returns:
        `(n_comp, n_alm)`, of unit variance: <|a_lm|^2> = 1.
    """
    size = alm_size(lmax)
    draws: Map = rng.standard_normal((size, n_comp, 2)).astype(np.zeros(0, dtype).real.dtype, copy=False)
    draws *= np.sqrt(0.5)
    alm: Alm = np.ascontiguousarray(draws.view(dtype)[_from_l_major(lmax), :, 0].T)
    alm[:, : lmax + 1] = alm[:, : lmax + 1].real * np.sqrt(2)
    return alm


def filter_alm(alm: NDArray[Complex], window: Map) -> NDArray[Complex]:
    """Multiply coefficients by a function of l.

    Args:
        alm: `(..., n_alm)`.
        window: `(lmax + 1,)` or longer.

    Returns:
        `(..., n_alm)`, of the same type as `alm`.
    """
    lmax = alm_lmax(alm.shape[-1])
    real = alm.real.dtype
    filtered: NDArray[Complex] = alm * window.astype(real)[multipoles(lmax)]
    return filtered


def filter_components(alm: NDArray[Complex], windows: Map) -> NDArray[Complex]:
    """Multiply each component's coefficients by its own function of l.

    Args:
        alm: `(n_comp, n_alm)`.
        windows: `(n_comp, lmax + 1)`.

    Returns:
        `(n_comp, n_alm)`, of the same type as `alm`.
    """
    return np.stack([filter_alm(component, window) for component, window in zip(alm, windows, strict=True)])


def mix_components(alm: Alm, matrices: NDArray[np.floating[Any]]) -> Alm:
    """Multiply the components of each coefficient by a matrix that depends on l.

    Args:
        alm: `(n_comp, n_alm)`.
        matrices: `(n_comp, n_comp, lmax + 1)`: component i of the result is the sum over j of matrix [i, j] times j.

    Returns:
        `(n_comp, n_alm)`, of the same type as `alm`.
    """
    return np.stack([filter_components(alm, row).sum(axis=0) for row in matrices])


def inner(alm: Alm, other: Alm) -> float:
    """Return the product of two sets of coefficients of real fields, summed over all m, those below zero included.

    Args:
        alm: `(..., n_alm)`.
        other: the same shape.
    """
    product = (alm.real * other.real + alm.imag * other.imag).reshape(-1, alm.shape[-1])
    return float(2 * product.sum() - product[:, : alm_lmax(alm.shape[-1]) + 1].sum())


def require_band_limit(lmax: int, nside: int) -> None:
    """Check that a map can hold the multipoles up to `lmax`.

    Raises:
        MapError: it cannot.
    """
    if lmax > 3 * nside - 1:
        message = (
            f"scenario.lmax={lmax} is too high for nside={nside}; it must be at most 3 nside - 1 = {3 * nside - 1}"
        )
        raise MapError(message)


def cut_alm(alm: NDArray[Complex], lmax: int) -> NDArray[Complex]:
    """Keep, or pad with zeros to, the multipoles up to `lmax`.

    Args:
        alm: `(..., n_alm)`.
        lmax: highest multipole of the result.

    Returns:
        `(..., alm_size(lmax))`.
    """
    old = alm_lmax(alm.shape[-1])
    if old == lmax:
        return alm
    out = np.zeros((*alm.shape[:-1], alm_size(lmax)), dtype=alm.dtype)
    keep = min(old, lmax)
    for m in range(keep + 1):
        source, target = m * (2 * old + 1 - m) // 2, m * (2 * lmax + 1 - m) // 2
        out[..., target + m : target + keep + 1] = alm[..., source + m : source + keep + 1]
    return out


def pixel_geometry(nside: int) -> dict[str, Any]:
    """Return the rings of a HEALPix map as ducc0's transforms want them."""
    geometry: dict[str, Any] = ducc0.healpix.Healpix_Base(nside, "RING").sht_info()
    return geometry


@overload
def synthesise(alm: NDArray[np.complex128], nside: int, threads: int = 1) -> NDArray[np.float64]: ...
@overload
def synthesise(alm: Alm, nside: int, threads: int = 1) -> Map: ...
def synthesise(alm: Alm, nside: int, threads: int = 1) -> Map:
    """Evaluate coefficients at the pixel centres.

    Args:
        alm: `(..., n_comp, n_alm)`, n_comp 1 (T), 2 (E, B) or 3 (T, E, B).
        nside: resolution of the maps.
        threads: CPU threads; they do not change a bit of the result.

    Returns:
        `(..., n_comp, n_pix)`: I; Q, U; or I, Q, U in HEALPix's (COSMO) convention; single precision for complex64.
    """
    lead, n_comp = alm.shape[:-2], alm.shape[-2]
    batch = alm.reshape(-1, n_comp, alm.shape[-1])
    out = np.empty((batch.shape[0], n_comp, 12 * nside**2), dtype=alm.real.dtype)
    common = {"lmax": alm_lmax(alm.shape[-1]), "nthreads": threads, **pixel_geometry(nside)}
    if n_comp != 2:
        ducc0.sht.synthesis(alm=batch[:, :1], map=out[:, :1], spin=0, **common)
    if n_comp >= 2:
        ducc0.sht.synthesis(alm=batch[:, -2:], map=out[:, -2:], spin=2, **common)
    return out.reshape(*lead, n_comp, out.shape[-1])


def derivatives(alm: Alm, nside: int, threads: int = 1) -> NDArray[np.float64]:
    """Evaluate a scalar field and its covariant derivatives at pixel centres, without any grid's finite differences.

    The traceless part of the second derivatives is a field of spin 2, with coefficients ((l + 2)! / (l - 2)!)^1/2 a_lm,
    and the trace is that of -l (l + 1) a_lm (Goldberg et al. 1967, J. Math. Phys. 8, 2155).

    Args:
        alm: `(n_alm,)`.
        nside: where the field is looked at; nothing need be resolved there, for nothing is analysed again.
        threads: CPU threads.

    Returns:
        `(6, n_pix)`, in orthonormal axes along colatitude and longitude: f; f_1; f_2; (f_11 - f_22) / 2; f_12;
        f_11 + f_22, per radian or square radian.
    """
    lmax = alm_lmax(alm.shape[-1])
    ell = np.arange(lmax + 1, dtype=np.float64)
    wide = alm.astype(np.complex128)
    both = np.stack([wide, filter_alm(wide, -ell * (ell + 1))])[:, None]
    values, laplacian = synthesise(both, nside, threads)[:, 0]
    slope = ducc0.sht.synthesis_deriv1(alm=wide[None], lmax=lmax, nthreads=threads, **pixel_geometry(nside))
    spin = np.zeros((2, alm.shape[-1]), np.complex128)
    # Q + iU = -sum (E + iB) 2Y.
    spin[0] = filter_alm(wide, -np.sqrt(np.maximum((ell + 2) * (ell + 1) * ell * (ell - 1), 0.0)))
    bend = synthesise(spin, nside, threads)
    return np.stack([values, *slope, bend[0] / 2, bend[1] / 2, laplacian])


def adjoint_synthesise(maps: Map, lmax: int, threads: int = 1) -> Alm:
    """Apply the transpose of `synthesise`: sum over pixels of the map times the conjugate harmonic, without weights.

    `inner(alm, adjoint_synthesise(maps)) = (synthesise(alm) * maps).sum()`.

    Args:
        maps: `(n_comp, n_pix)`, n_comp 1 (I) or 3 (I, Q, U).
        lmax: highest multipole.
        threads: CPU threads.

    Returns:
        `(n_comp, n_alm)`: T; or T, E, B.
    """
    common = {"lmax": lmax, "nthreads": threads, **pixel_geometry(round(np.sqrt(maps.shape[-1] / 12)))}
    parts = ((0, maps[:1]), (2, maps[1:]))[: 1 if len(maps) == 1 else 2]
    return np.concatenate([ducc0.sht.adjoint_synthesis(map=part, spin=spin, **common) for spin, part in parts])


@overload
def analyse(
    maps: NDArray[np.float64], lmax: int, threads: int = 1, accuracy: float = 1e-7, max_iterations: int = 60
) -> NDArray[np.complex128]: ...
@overload
def analyse(maps: Map, lmax: int, threads: int = 1, accuracy: float = 1e-7, max_iterations: int = 60) -> Alm: ...
def analyse(maps: Map, lmax: int, threads: int = 1, accuracy: float = 1e-7, max_iterations: int = 60) -> Alm:
    """Find the coefficients that reproduce maps best in the least-squares sense.

    HEALPix has no exact quadrature, so the transform is iterated until it has converged; nothing is downloaded and
    no pixel weights are needed.

    Args:
        maps: `(..., n_comp, n_pix)`: I; Q, U; or I, Q, U.
        lmax: highest multipole, at most 4 nside - 1.
        threads: CPU threads.
        accuracy: relative change at which to stop.
        max_iterations: where to stop in any case.

    Returns:
        `(..., n_comp, n_alm)`: T; E, B; or T, E, B.
    """
    lead, n_comp, n_pix = maps.shape[:-2], maps.shape[-2], maps.shape[-1]
    batch = maps.reshape(-1, n_comp, n_pix)
    real = np.float32 if maps.dtype == np.float32 else np.float64
    out = np.empty((batch.shape[0], n_comp, alm_size(lmax)), dtype=np.result_type(real, np.complex64))
    geometry = pixel_geometry(round(np.sqrt(n_pix / 12)))
    common = {"lmax": lmax, "nthreads": threads, "epsilon": accuracy, "maxiter": max_iterations, **geometry}
    parts = [(0, slice(0, 1))] * (n_comp != 2) + [(2, slice(n_comp - 2, n_comp))] * (n_comp >= 2)
    for source, target in zip(batch, out, strict=True):
        for spin, part in parts:
            values = np.ascontiguousarray(source[part], dtype=real)
            target[part] = ducc0.sht.pseudo_analysis(map=values, spin=spin, **common)[0]
    return out.reshape(*lead, n_comp, out.shape[-1])


@overload
def iterated_analysis(
    maps: NDArray[np.float64], lmax: int, iterations: int = 3, threads: int = 1
) -> NDArray[np.complex128]: ...
@overload
def iterated_analysis(maps: Map, lmax: int, iterations: int = 3, threads: int = 1) -> Alm: ...
def iterated_analysis(maps: Map, lmax: int, iterations: int = 3, threads: int = 1) -> Alm:
    """Analyse maps as healpy's `map2alm` does: with equal pixel weights, and a fixed number of corrections.

    Args:
        maps: `(n_field, n_pix)`, RING: I, or I, Q, U.
        lmax: highest multipole.
        iterations: corrections by the analysis of what the coefficients leave over; healpy's default is 3.
        threads: CPU threads; they do not change a bit of the result.

    Returns:
        `(n_comp, n_alm)`: T; or T, E, B; single precision for float32.
    """
    real = np.float32 if maps.dtype == np.float32 else np.float64
    n_pix = maps.shape[-1]
    wanted: Map = np.ascontiguousarray(maps, dtype=real)
    nside = round(np.sqrt(n_pix / 12))
    alm = adjoint_synthesise(wanted, lmax, threads) * real(4 * np.pi / n_pix)
    for _ in range(iterations):
        rest = wanted - synthesise(alm, nside, threads)
        alm += adjoint_synthesise(rest, lmax, threads) * real(4 * np.pi / n_pix)
    return alm


def rotate(alm: NDArray[Complex], frame: Frame, wanted: Frame, threads: int = 1) -> NDArray[Complex]:
    """Turn coefficients from one frame to another.

    Args:
        alm: `(n_comp, n_alm)`, T; or T, E, B, which turn like scalars.
        frame: where they are.
        wanted: where they are to be.
        threads: CPU threads.

    Returns:
        `(n_comp, n_alm)`, of the same type.
    """
    if frame == wanted:
        return alm
    angles = hp.rotator.coordsys2euler_zyz([frame, wanted])
    lmax = alm_lmax(alm.shape[-1])
    turned = [ducc0.sht.rotate_alm(component, lmax, *angles, nthreads=threads) for component in alm]
    return np.stack(turned)


def power(alm: Alm, other: Alm | None = None) -> NDArray[np.float64]:
    """Return the (cross-)spectrum C_l of coefficients.

    Args:
        alm: `(..., n_alm)`.
        other: the same shape; `alm` itself by default.

    Returns:
        `(..., lmax + 1)`, in the unit of `alm` times that of `other`.
    """
    lmax = alm_lmax(alm.shape[-1])
    product = (alm * np.conj(alm if other is None else other)).real.astype(np.float64)
    product[..., lmax + 1 :] *= 2
    ell = multipoles(lmax)
    flat = product.reshape(-1, product.shape[-1])
    sums = np.stack([np.bincount(ell, weights=row, minlength=lmax + 1) for row in flat])
    return (sums / (2 * np.arange(lmax + 1) + 1)).reshape(*product.shape[:-1], lmax + 1)
