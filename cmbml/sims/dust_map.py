"""Thermal dust whose brightness is read from a map: of reddening, of optical depth, or of dust itself."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from cmbml.settings import PositiveFloat, settings
from cmbml.sky.bandpass import BandError
from cmbml.sky.interpolation import bilinear
from cmbml.sky.maps import Frame

UK_RJ_PER_UNIT = {"mag": 828.0, "tau": 1.234e7, "uK_RJ": 1.0}
"""What one unit of a map is at 353 GHz, uK_RJ: of E(B-V), of the optical depth at 353 GHz, of dust itself.

E(B-V) = 1.49e4 tau_353 and a temperature of 19.6 K (Planck 2013 results XI, arXiv:1312.1300): tau B_353(19.6 K) is 3.17
MJy/sr a magnitude, and 1 MJy/sr at 353 GHz is 261 uK_RJ.
"""


@settings
class DustMap:
    """A map of dust, such as Planck's E(B-V).

    Attributes:
        file: a FITS file with one full-sky HEALPix map: a column of a table, or the array of the first header.
        column: which, of a table.
        unit: `mag` of E(B-V), `tau` at 353 GHz, or `uK_RJ` of dust at 353 GHz.
        frame: of the map: `G` Galactic, `C` equatorial, `E` ecliptic.
        nested: whether its pixels are in NESTED order.
        most: what is brighter is cut off there, in the map's unit: compact sources are no dust.
    """

    file: Path
    column: int = 0
    unit: Literal["mag", "tau", "uK_RJ"] = "mag"
    frame: Frame = "G"
    nested: bool = False
    most: PositiveFloat = 50.0

    def check(self) -> None:
        """Look whether the file is there.

        Raises:
            BandError: it is not.
        """
        if not self.file.is_file():
            message = f"sky.dust.brightness.file={self.file}: there is no such file"
            raise BandError(message)

    def intensity(self, nside: int) -> NDArray[np.float32]:
        """Return the brightness at 353 GHz, `(n_pix,)`, uK_RJ, Galactic, positive; bilinear between pixels."""
        return _intensity(self, nside)


def read_full_sky(file: Path, column: int, nested: bool) -> NDArray[np.float64]:
    """Read one full-sky map, `(n_pix,)`, RING, in whatever unit and frame it is.

    Args:
        file: a FITS file: the array of the first header, or a column of a table.
        column: which, of a table.
        nested: whether its pixels are in NESTED order.

    Raises:
        BandError: it is none, or has pixels without a number.
    """
    with fits.open(file) as hdus:
        image = hdus[0].data
        values = image if image is not None else hdus[1].data.field(column)
        values = np.asarray(values, np.float64).ravel()
    if not hp.isnpixok(values.size) or not np.isfinite(values).all() or (values <= -1e20).any():
        message = f"{file} holds no full-sky HEALPix map: {values.size} values, or pixels without a number"
        raise BandError(message)
    return hp.reorder(values, n2r=True) if nested else values


@lru_cache(2)
def _intensity(found: DustMap, nside: int) -> NDArray[np.float32]:
    values = read_full_sky(found.file, found.column, found.nested)
    # Turned by interpolation, not in harmonics: cut at any band limit, the Galactic plane would ring over the rest.
    vectors = np.stack(hp.pix2vec(nside, np.arange(12 * nside**2)))
    there = hp.Rotator(coord=["G", found.frame])(vectors) if found.frame != "G" else vectors
    kept = np.clip(values, max(float(np.percentile(values, 0.1)), 1e-12), found.most)[np.newaxis]
    out = bilinear(kept, there)[0] * UK_RJ_PER_UNIT[found.unit]
    intensity: NDArray[np.float32] = out.astype(np.float32)
    intensity.flags.writeable = False
    return intensity
