"""Realisations of the CMB: Gaussian, or truly lensed by remapping."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.harmonics import alm_lmax, filter_alm, random_alm
from cmbml.sky.maps import Fields
from cmbml.sky.spectra import Spectra

Lensing = Literal["none", "spectra", "remap"]
Alm = NDArray[np.complexfloating[Any, Any]]

# Accuracy of the interpolation at the deflected positions, relative: well below single precision's effect on a map.
_EPSILON = 1e-5
# How far beyond the unlensed band limit the grid resolves multipoles; higher ones alias into the wanted ones. The tail
# of lensing is steep: 512 leaves 1e-4 of TT. BB is far weaker: 1000 would leave 8e-3 of it at l < 200 and 1e-2 around
# 1500; 2600 leaves 1e-4 (lmax 191 and 767), for a third more time at lmax 1535.
_GRID_MARGIN = {"I": 512, "IQU": 2600}


class CmbError(ValueError):
    """Spectra that cannot give the realisation asked for."""


def theory_prefix(lensing: Lensing) -> str:
    """Return what the names of the spectra begin with that the CMB of a sky has: `lensed_` or `unlensed_`."""
    return "unlensed_" if lensing == "none" else "lensed_"


def needed_lmax(lmax: int, fields: Fields, lensing: Lensing) -> int:
    """Return the lmax that spectra must reach for a realisation up to `lmax`.

    Remapping draws the unlensed sky further out, since lensing carries power across multipoles. What the cut leaves
    out of CAMB's lensed spectra (Planck's best fit, lmax 191 to 2047) is at most 8e-4 of TT with the margin of
    intensity, and with that of polarisation 5e-4 of TT and EE and, up to lmax 1535, 1% of BB: B modes come from E
    modes around l = 1000 to 3000.

    Args:
        lmax: highest multipole of the realisation.
        fields: `I` or `IQU`.
        lensing: how it is lensed.
    """
    if lensing != "remap":
        return lmax
    return lmax + max(700, 2 * lmax // 5) if fields == "I" else max(lmax + 1400, 2500)


def realise(
    spectra: Spectra, rng: np.random.Generator, lmax: int, fields: Fields, lensing: Lensing, threads: int = 1
) -> Alm:
    """Draw a CMB sky: no beam, no pixel window, neither monopole nor dipole.

    Every component has its own stream of random numbers, which goes through l in rising order. So with the same `rng` a
    higher lmax adds small scales to the same large ones, I and IQU hold the same temperature, and every kind of
    lensing shows the same sky. Remapped skies agree as far as the lenses that a higher lmax adds leave them alone.

    Args:
        spectra: theory, reaching `needed_lmax`.
        rng: source of randomness; a fixed amount is taken from it.
        lmax: highest multipole.
        fields: `I` for T alone, `IQU` for T, E, B.
        lensing: `none`: Gaussian with the unlensed spectra; `spectra`: Gaussian with the lensed spectra (B modes
            included); `remap`: a Gaussian unlensed sky, deflected by a lensing potential correlated with it.
        threads: CPU threads; they do not change a bit of the result.

    Returns:
        `(1 or 3, n_alm)`, complex64, uK_CMB: T; or T, E, B.

    Raises:
        CmbError: the spectra end too early, or are no covariance.
    """
    drawn_lmax = needed_lmax(lmax, fields, lensing)
    _check_reach(spectra, lmax, drawn_lmax)
    streams = {
        name: np.random.default_rng(seed) for name, seed in zip("TEBP", rng.integers(2**63, size=4), strict=True)
    }
    prefix = "lensed_" if lensing == "spectra" else "unlensed_"
    correlated = ("TP" if lensing == "remap" else "T") + ("E" if fields == "IQU" else "")
    sky = _draw(spectra, prefix, correlated, streams, drawn_lmax)
    if lensing == "remap":
        return _remap(sky, lmax, threads)
    if fields == "I":
        return sky["T"][None]
    sky |= _draw(spectra, prefix, "B", streams, drawn_lmax)
    return np.stack([sky["T"], sky["E"], sky["B"]])


def _check_reach(spectra: Spectra, lmax: int, drawn_lmax: int) -> None:
    if spectra.lmax < drawn_lmax:
        message = (
            f"spectra end at l = {spectra.lmax}; this realisation up to l = {lmax} needs them up to l = {drawn_lmax}: "
            "compute them further, or choose lensing=spectra, which needs no margin"
        )
        raise CmbError(message)


def _draw(
    spectra: Spectra, prefix: str, names: str, streams: dict[str, np.random.Generator], lmax: int
) -> dict[str, Alm]:
    """Draw correlated Gaussian fields: each l has its covariance, whose Cholesky factor mixes unit draws.

    A field's coefficients use its own stream and those of the fields named before it.
    """
    factor = _cholesky(spectra, prefix, names, lmax)
    unit = [random_alm(streams[name], lmax, dtype=np.complex64)[0] for name in names]
    sky = {}
    for i, name in enumerate(names):
        sky[name] = filter_alm(unit[0], factor[i, 0])
        for j in range(1, i + 1):
            sky[name] += filter_alm(unit[j], factor[i, j])
    return sky


def _cholesky(spectra: Spectra, prefix: str, names: str, lmax: int) -> NDArray[np.float64]:
    """Return the lower Cholesky factor of the covariance at each l, `(n, n, lmax + 1)`.

    A field without power (B modes before lensing) has a row of zeros.
    """
    n = len(names)
    covariance = np.zeros((n, n, lmax + 1))
    for i, first in enumerate(names):
        for j, second in enumerate(names[: i + 1]):
            covariance[i, j] = covariance[j, i] = _spectrum(spectra, prefix, first, second)[: lmax + 1]
    factor = np.zeros_like(covariance)
    for i in range(n):
        for j in range(i + 1):
            rest = covariance[i, j] - np.sum(factor[i, :j] * factor[j, :j], axis=0)
            if i != j:
                factor[i, j] = np.divide(rest, factor[j, j], out=np.zeros_like(rest), where=factor[j, j] > 0)
            elif (rest[2:] < -1e-9 * covariance[i, i, 2:]).any() or (covariance[i, i, 2:] < 0).any():
                ell = 2 + int(np.argmin(rest[2:]))
                message = f"the {prefix}spectra of {', '.join(names)} are no covariance at l = {ell}"
                raise CmbError(message)
            else:
                factor[i, i] = np.sqrt(np.maximum(rest, 0))
    factor[:, :, :2] = 0.0
    return factor


def _spectrum(spectra: Spectra, prefix: str, first: str, second: str) -> NDArray[np.float64]:
    """Return the spectrum of a pair of fields out of T, E, B and P (the lensing potential)."""
    pair = first + second
    if "P" in pair:
        return spectra["P" + pair.replace("P", "", 1)]
    return spectra[prefix + {"ET": "TE"}.get(pair, pair)]


def _remap(sky: dict[str, Alm], lmax: int, threads: int) -> Alm:
    """Deflect an unlensed sky along the gradient of its lensing potential (Reinecke et al. 2023, arXiv:2304.10431).

    The lensed field is evaluated on a Gauss-Legendre grid, whose quadrature is exact for all that the band limits
    leave, so that nothing is iterated.

    Args:
        sky: T, P and perhaps E, `(n_alm,)` each; there are no unlensed B modes.
        lmax: highest multipole of the result.
        threads: CPU threads.

    Returns:
        `(1 or 3, alm_size(lmax))`, complex64.
    """
    # Here, not above: only this way of lensing needs it.
    from lenspyx.remapping.utils_geom import Geom

    lmax_unlensed = alm_lmax(sky["T"].size)
    margin = _GRID_MARGIN["IQU" if "E" in sky else "I"]
    grid = Geom.get_thingauss_geometry((lmax_unlensed + lmax + margin) // 2, 2)
    rings = {"theta": grid.theta, "nphi": grid.nph, "phi0": grid.phi0, "ringstart": grid.ofs, "nthreads": threads}
    ell = np.arange(lmax_unlensed + 1.0)
    # Positions need double precision: single would blur them by a few per cent of the deflection's own accuracy.
    gradient = filter_alm(sky["P"].astype(np.complex128)[None], np.sqrt(ell * (ell + 1)))
    deflection = ducc0.sht.synthesis(alm=gradient, spin=1, lmax=lmax_unlensed, mode="GRAD_ONLY", **rings)
    positions = ducc0.misc.get_deflected_angles(deflect=deflection.T, calc_rotation="E" in sky, **rings)
    del gradient, deflection
    spins = [(sky["T"], 0)] + ([(sky["E"], 2)] if "E" in sky else [])

    def evaluate(field: tuple[Alm, int]) -> NDArray[np.float32]:
        return _evaluate(*field, positions)

    with ThreadPoolExecutor(min(threads, len(spins))) as pool:
        lensed = list(pool.map(evaluate, spins))
    weights = np.repeat(grid.weight, grid.nph.astype(np.int64)).astype(np.float32)
    out = [
        ducc0.sht.adjoint_synthesis(map=np.multiply(values, weights, out=values), spin=spin, lmax=lmax, **rings)
        for values, (_, spin) in zip(lensed, spins, strict=True)
    ]
    alm = np.concatenate(out)
    alm[:, [0, 1, lmax + 1]] = 0.0
    return alm


def _evaluate(alm: Alm, spin: int, positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Evaluate a field at the deflected positions, its polarisation turned along with them.

    Args:
        alm: T (spin 0) or E (spin 2), `(n_alm,)`, complex64.
        spin: 0 or 2.
        positions: `(n_pix, 2)`: colatitude and longitude, radian; for spin 2 `(n_pix, 3)`, with the turning angle.

    Returns:
        `(1, n_pix)`: I; or `(2, n_pix)`: Q, U.
    """
    # One thread: ducc0's FFT rounds otherwise with one than with several (the number of several does not matter).
    common = {"lmax": alm_lmax(alm.size), "loc": positions[:, :2], "epsilon": _EPSILON, "nthreads": 1}
    if spin == 0:
        values: NDArray[np.float32] = ducc0.sht.synthesis_general(alm=alm[None], spin=0, **common)
        return values
    polarisation = np.empty(len(positions), dtype=np.complex64)
    values = polarisation.view(np.float32).reshape(-1, 2).T
    ducc0.sht.synthesis_general(alm=alm[None], spin=2, mode="GRAD_ONLY", map=values, **common)
    ducc0.misc.lensing_rotate(polarisation, positions[:, 2].astype(np.float32), spin, 1)
    return values
