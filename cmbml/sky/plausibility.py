"""Whether the numbers of a foreign map can be what they are said to be: most mistakes are by a factor of a thousand."""

import healpy as hp
import numpy as np

from cmbml.sky.harmonics import Map
from cmbml.sky.maps import Frame, MapError

PLANE_DEG = 30.0
"""|b| below which the Galaxy may be as bright as it likes."""

LEAST_UK, MOST_UK = 1.0, 3e4
"""Of the rms of a CMB map outside the plane: the CMB has 20 to 120 uK, however wide the beam; foregrounds left add."""

DUSTY_GHZ, MOST_DUSTY_UK = 400.0, 1e8
"""Above this frequency, dust is up to 1e6 uK_CMB outside the plane."""

WIDEST_ARCMIN = 1800.0
"""The widest beam, 30 degrees: it leaves a millionth at l = 23."""

SAMPLE = 1 << 18


def outside_plane(values: Map, frame: Frame) -> Map:
    """Return what a map holds outside the Galactic plane, in a sample of its pixels.

    Args:
        values: `(n_field, n_pix)`, RING.
        frame: of the map.

    Returns:
        `(n_field, n)`.
    """
    n_pix = values.shape[1]
    # An odd step, so that it does not fall into step with the rings.
    pixels = np.arange(0, n_pix, (n_pix // SAMPLE) | 1)
    theta, phi = hp.pix2ang(hp.npix2nside(n_pix), pixels)
    if frame != "G":
        theta, phi = hp.Rotator(coord=[frame, "G"])(theta, phi)
    return values[:, pixels[np.abs(90 - np.rad2deg(theta)) >= PLANE_DEG]]


def require_plausible(values: Map, frame: Frame, where: str, mend: str, freq_ghz: float = 0.0) -> None:
    """Check that a map is as bright as a sky may be.

    Args:
        values: `(n_field, n_pix)`, uK_CMB: I; or I, Q, U.
        frame: of the map.
        where: the file, and the unit that was taken.
        mend: the setting that says otherwise.
        freq_ghz: of the channel; 0 for a map of the CMB alone.

    Raises:
        MapError: its rms about the mean, outside the plane, is none that a sky has.
    """
    most = MOST_DUSTY_UK if freq_ghz > DUSTY_GHZ else MOST_UK
    for field, found in zip("IQU", outside_plane(values, frame).astype(np.float64).std(axis=1), strict=False):
        least = LEAST_UK if field == "I" else 0.0
        if not least <= found <= most:
            message = (
                f"{where}: the rms of {field} at |b| > {PLANE_DEG:g} degrees is {found:.3g} uK_CMB, and a map of the "
                f"sky has between {least:g} and {most:g}; {mend}"
            )
            raise MapError(message)


def require_error_bars(values: Map, where: str, mend: str) -> None:
    """Check that standard deviations are such, and as large as a map's may be.

    Args:
        values: `(n_field, n_pix)`, uK_CMB.
        where: the file, and the unit that was taken.
        mend: the setting that says otherwise.

    Raises:
        MapError: one is negative, or half of them are too large or too small.
    """
    if (least := float(values.min())) < 0:
        message = f"{where}: a standard deviation is {least:.3g} uK_CMB; it cannot be negative"
        raise MapError(message)
    middle = float(np.median(values))
    if not 1e-3 <= middle <= MOST_UK:
        message = (
            f"{where}: the median standard deviation is {middle:.3g} uK_CMB, and that of a cleaned map lies between "
            f"0.001 and {MOST_UK:g}; {mend}"
        )
        raise MapError(message)


def require_beam(fwhm_arcmin: float, setting: str) -> None:
    """Check that a beam is none in another unit.

    Raises:
        MapError: it is wider than any.
    """
    if fwhm_arcmin > WIDEST_ARCMIN:
        message = (
            f"{setting}={fwhm_arcmin:g} arcmin is wider than {WIDEST_ARCMIN:g} (30 degrees), which leaves nothing of "
            "the CMB; give it in arcminutes"
        )
        raise MapError(message)
