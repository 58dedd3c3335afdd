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
from cmbml.sky.units import UnitError, microkelvin


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

    def factor(self, column: str, power: int, mjy_per_k: float | None) -> float:
        """Return what brings a column to uK_CMB, or with `power` 2 to uK_CMB^2.

        Raises:
            NoiseError: its unit cannot be converted.
        """
        try:
            return microkelvin(self.columns[column], power, mjy_per_k)
        except UnitError as error:
            message = f"column {column} of {self.path}: {error}"
            raise NoiseError(message) from error

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
