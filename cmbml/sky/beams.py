"""Beam window functions: how a detector blurs the sky, as a function of multipole."""

from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cmbml.sky.maps import MapError

BEAM_LIMIT = 1e-6


def gaussian_window(fwhm_arcmin: float, lmax: int, spin: int = 0) -> NDArray[np.float64]:
    """Return the window b_l of a Gaussian beam, exp(-(l (l + 1) - spin^2) sigma^2 / 2).

    The polarised window follows Challinor et al. 2000 (astro-ph/0008228, eq. 35), as healpy has it.

    Args:
        fwhm_arcmin: full width at half maximum, arcmin; 0 for no beam.
        lmax: highest multipole.
        spin: 0 for temperature, 2 for E and B.

    Returns:
        `(lmax + 1,)`.

    Example:
        >>> float(gaussian_window(60.0, 200)[200].round(4))
        0.3315
    """
    sigma = np.deg2rad(fwhm_arcmin / 60) / np.sqrt(8 * np.log(2))
    ell = np.arange(lmax + 1)
    window: NDArray[np.float64] = np.exp(-0.5 * (ell * (ell + 1) - spin**2) * sigma**2)
    return window


def read_window(path: Path, lmax: int) -> NDArray[np.float64]:
    """Read a tabulated beam window from a FITS or text table.

    A FITS table gives its first column (or the one named TEMPERATURE, or Bl), a text table its last column, from
    l = 0 on.

    Args:
        path: the file.
        lmax: highest multipole wanted.

    Returns:
        `(lmax + 1,)`.

    Raises:
        MapError: the table is too short, or not a window (it does not start near one, or is not finite).
    """
    if path.suffix in {".fits", ".gz"}:
        table = Table.read(path, hdu=1)
        names = [name for name in table.colnames if name.upper() in {"TEMPERATURE", "BL", "T"}] or table.colnames
        window = np.asarray(table[names[0]], dtype=np.float64).ravel()
    else:
        try:
            window = np.loadtxt(path, ndmin=2)[:, -1]
        except ValueError as error:
            message = f"beam window {path} is no table of numbers: {error}"
            raise MapError(message) from error
    if len(window) <= lmax:
        message = f"beam window {path} ends at l = {len(window) - 1}; the scenario needs l = {lmax}"
        raise MapError(message)
    if not np.isfinite(window).all() or not 0.5 < window[0] < 1.5:
        message = f"{path} is no beam window: it must be finite and start near 1, and starts at {window[0]:.4g}"
        raise MapError(message)
    return window[: lmax + 1]


def pixel_window_files(folder: Path | None, nside: int) -> tuple[Path, ...]:
    """Return the file that holds the pixel window of one nside, as HEALPix names it; none without a folder."""
    return () if folder is None else (folder / f"pixel_window_n{nside:04d}.fits",)


def pixel_window(folder: Path | None, nside: int, lmax: int, n_comp: int) -> NDArray[np.float64]:
    """Return the window of averaging over a pixel, for each component (T; or T, E, B).

    Args:
        folder: holds HEALPix's `pixel_window_n????.fits`; None for sampling at pixel centres, whose window is 1.
        nside: resolution.
        lmax: highest multipole.
        n_comp: number of components.

    Returns:
        `(n_comp, lmax + 1)`.
    """
    files = pixel_window_files(folder, nside)
    if not files:
        return np.ones((n_comp, lmax + 1))
    table = Table.read(files[0], hdu=1)
    columns = ["TEMPERATURE", *["POLARIZATION"] * (n_comp - 1)]
    return np.stack([np.asarray(table[name], dtype=np.float64).ravel()[: lmax + 1] for name in columns])


def signal_lmax(window: NDArray[np.float64]) -> int:
    """Return the last multipole that a beam leaves anything of: a millionth, far below single precision of a map.

    Args:
        window: `(n_comp, lmax + 1)`, near 1 at l = 0.
    """
    return int(np.flatnonzero(np.abs(window).max(axis=0) > BEAM_LIMIT)[-1])
