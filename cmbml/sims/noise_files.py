"""HEALPix files of a mission's variance maps and noise simulations, in the mission's own orderings and units."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from cmbml.sims.noise_spectrum import NoiseError
from cmbml.sky.maps import UNSEEN, n_bad_pixels

KELVIN_UNITS = {"kcmb": 1e6, "k": 1e6, "mkcmb": 1e3, "mk": 1e3, "ukcmb": 1.0, "uk": 1.0}


@dataclass(frozen=True)
class RawMaps:
    """The header of a HEALPix FITS file: what can be known before its pixels are read.

    Attributes:
        path: the file.
        nside: resolution.
        nested: whether pixels are in NESTED order.
        columns: column name -> unit, in the file's order.
    """

    path: Path
    nside: int
    nested: bool
    columns: Mapping[str, str]

    def read(self, names: list[str], nside: int) -> NDArray[np.float32]:
        """Read columns and average them down to `nside`.

        Args:
            names: columns.
            nside: resolution of the result, at most that of the file.

        Returns:
            `(len(names), n_pix)`, RING, in the file's unit.

        Raises:
            NoiseError: pixels are NaN or UNSEEN.
        """
        out = np.empty((len(names), 12 * nside**2), dtype=np.float32)
        with fits.open(self.path, memmap=True) as file:
            for row, name in zip(out, names, strict=True):
                values = np.asarray(file[1].data[name], dtype=np.float32).ravel()
                bad = n_bad_pixels(values)
                if bad:
                    message = f"{self.path}: {bad} of {values.size} pixels of {name} are NaN or UNSEEN ({UNSEEN:g})"
                    raise NoiseError(message)
                if self.nside == nside:
                    row[:] = hp.reorder(values, n2r=True) if self.nested else values
                    continue
                nested = values if self.nested else hp.reorder(values, r2n=True)
                row[:] = hp.reorder(nested.reshape(len(row), -1).mean(axis=1, dtype=np.float64), n2r=True)
        return out


def inspect(path: Path) -> RawMaps:
    """Read the header of a HEALPix FITS file.

    Raises:
        NoiseError: the file is missing, unreadable or not a HEALPix map.
    """
    if not path.is_file():
        message = f"noise file {path} does not exist"
        raise NoiseError(message)
    try:
        with fits.open(path, memmap=True) as file:
            header, columns = file[1].header, file[1].columns
            units = {column.name: (column.unit or "") for column in columns}
            length = header["NAXIS2"] * int(re.sub(r"\D.*", "", columns[0].format) or 1)
    except (OSError, IndexError, TypeError, AttributeError) as error:
        message = f"{path} cannot be read as a FITS table: {error}"
        raise NoiseError(message) from error
    nside, ordering = header.get("NSIDE"), str(header.get("ORDERING", "")).strip().upper()
    if ordering not in {"RING", "NESTED", "NEST"}:
        message = f"{path}: header keyword ORDERING is {ordering!r}; it must be RING or NESTED"
        raise NoiseError(message)
    if not isinstance(nside, int) or length != 12 * nside**2:
        message = f"{path}: NSIDE is {nside}, but the columns hold {length} pixels; a map has 12 nside^2"
        raise NoiseError(message)
    return RawMaps(path, nside, ordering != "RING", units)


def unit_factor(unit: str, power_of: int, mjy_per_k: float | None, where: str) -> float:
    """Return the factor that brings a unit, or its square, to uK_CMB, or uK_CMB^2.

    Args:
        unit: the unit in the header, in one of the mission's spellings: `Kcmb^2`, `(K_CMB)^2`, `(MJy/sr)^2`, ...
        power_of: 1 for maps, 2 for variances.
        mjy_per_k: MJy/sr per K_CMB of the channel, where known.
        where: what to call the file in an error.

    Raises:
        NoiseError: the unit is not known, or is not a square where one is needed.

    Example:
        >>> unit_factor("(K_CMB)^2", 2, None, "a file")
        1000000000000.0
    """
    squared = re.fullmatch(r"(.*?)(?:\^|\*\*)?2", unit.replace(" ", ""))
    base = re.sub(r"[()_]", "", (squared[1] if squared else unit).replace(" ", "")).lower()
    factor = KELVIN_UNITS.get(base)
    if base == "mjy/sr" and mjy_per_k is not None:
        factor = 1e6 / mjy_per_k
    if factor is None or (2 if squared else 1) != power_of:
        wanted = "K_CMB, mK_CMB, uK_CMB or (with mjy_per_k given for the channel) MJy/sr" + " squared" * (power_of == 2)
        message = f"{where} has unit {unit!r}; it must be {wanted}"
        raise NoiseError(message)
    return factor**power_of
