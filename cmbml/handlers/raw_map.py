"""HEALPix maps that somebody else wrote: any ordering, unit and column layout that can be told for certain."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from cmbml.handlers.fits_file import refusing_truncated
from cmbml.sky.maps import UNSEEN, Frame, MapError, n_bad_pixels
from cmbml.sky.units import microkelvin

Columns = tuple[int | str, ...]

FRAMES: dict[str, Frame] = {
    **dict.fromkeys(("G", "GALACTIC"), "G"),
    **dict.fromkeys(("C", "CELESTIAL", "EQUATORIAL", "ICRS", "FK5", "J2000"), "C"),
    **dict.fromkeys(("E", "ECLIPTIC"), "E"),
}
"""What missions write in COORDSYS."""


@dataclass(frozen=True)
class RawHeader:
    """The header of a foreign map: what can be known before its pixels are read.

    Attributes:
        path: the file.
        nside: resolution, from the number of pixels.
        nested: whether pixels are in NESTED order.
        units: column -> what its unit is said to be, possibly empty; in the file's order.
        coordsys: what COORDSYS says, possibly empty.
        polcconv: what POLCCONV says, possibly empty: COSMO or IAU.
        fwhm_arcmin: of the beam, of files that say what FWHM is by BEAMTYPE, as this project's do; None where unknown.
        pixel_window: whether PIXWIN says that the signal is averaged over pixels; None where it says nothing.
    """

    path: Path
    nside: int
    nested: bool
    units: Mapping[str, str]
    coordsys: str
    polcconv: str
    fwhm_arcmin: float | None
    pixel_window: bool | None

    def names(self, columns: Columns) -> list[str]:
        """Return the names of columns that are given by name or number.

        Raises:
            MapError: one is not there.
        """
        there = list(self.units)
        for column in columns:
            if column not in there and column not in range(len(there)):
                message = f"it has no column {column}, but {', '.join(there)}, counted from 0"
                raise MapError(message)
        return [there[column] if isinstance(column, int) else column for column in columns]

    def unit_factors(
        self, columns: Columns, unit: str | None = None, mjy_per_k: float | None = None
    ) -> NDArray[np.float64]:
        """Return what brings columns to uK_CMB, `(n_column,)`.

        Args:
            columns: numbers or names.
            unit: of all columns; what the header says where None.
            mjy_per_k: MJy/sr per K_CMB over the channel's band, where known.

        Raises:
            MapError: a column is not there, or its unit cannot be converted.
        """
        try:
            return np.array([microkelvin(unit or self.units[name], 1, mjy_per_k) for name in self.names(columns)])
        except MapError as error:
            message = f"{self.path} cannot be read as a map of temperature: {error}"
            raise MapError(message) from error

    def taken_as(self, columns: Columns, unit: str | None) -> str:
        """Say what the file is taken to be in."""
        return f"{self.path}, taken as {unit or self.units[self.names(columns)[0]]}"

    def frame(self, wanted: Frame | None, setting: str) -> Frame:
        """Return the frame that the header and a setting agree on: Galactic where neither says anything.

        Args:
            wanted: what the setting says; None where it leaves it to the header.
            setting: its name.

        Raises:
            MapError: they contradict each other, or the header says what is not known.
        """
        found = FRAMES.get(self.coordsys.upper())
        if found is None and self.coordsys and wanted is None:
            message = (
                f"{self.path} says COORDSYS={self.coordsys}, which is none of {', '.join(FRAMES)}; say in {setting} "
                "whether it is G Galactic, C equatorial or E ecliptic"
            )
            raise MapError(message)
        if found is not None and wanted not in {None, found}:
            message = (
                f"{self.path} says COORDSYS={self.coordsys}, and {setting}={wanted}: they contradict each other; "
                f"set {setting}={found}, or correct the header"
            )
            raise MapError(message)
        return found or wanted or "G"


def read_raw_header(path: Path) -> RawHeader:
    """Read the header of a foreign HEALPix FITS map.

    Raises:
        MapError: the file is no full HEALPix map, or its ordering is not stated.
    """
    return _read(path, ())[0]


def read_raw_columns(
    path: Path, fields: Columns = (0,), unknown: bool = False, fill: float | None = None
) -> tuple[NDArray[np.float64], list[str]]:
    """Read columns of a foreign HEALPix FITS map, in RING order.

    Three columns are I, Q and U; U gets HEALPix's sign where POLCCONV says that it has the other one.

    Args:
        path: the file.
        fields: column numbers or names.
        unknown: whether pixels may be NaN, infinite or UNSEEN; they all come as NaN then.
        fill: what pixels that are UNSEEN, as a mask leaves them, are set to; None: they may not be.

    Returns:
        `(n_field, n_pix)` float64, and the unit that the header gives each column, possibly empty.

    Raises:
        MapError: the file is no full HEALPix map, its ordering is not stated, or pixels hold no number.
    """
    header, values = _read(path, fields)
    if fill is not None:
        values = np.where(np.isfinite(values) & (values <= 0.99 * UNSEEN), fill, values)
    if unknown:
        values = np.where(np.isfinite(values) & (values > 0.99 * UNSEEN), values, np.nan)
    elif bad := n_bad_pixels(values):
        message = f"{path}: {bad} of {values.size} pixel values are NaN, infinite or UNSEEN; fill or mask them first"
        raise MapError(message)
    if header.nested:
        values = hp.reorder(values, n2r=True).reshape(values.shape)
    if header.polcconv == "IAU" and len(fields) == 3:
        values[2] *= -1
    return values, [header.units[name] for name in header.names(fields)]


def read_raw_map(
    path: Path,
    fields: Columns = (0,),
    unit: str | None = None,
    mjy_per_k: float | None = None,
    unknown: bool = False,
    fill: float | None = None,
) -> NDArray[np.float64]:
    """Read columns of a foreign HEALPix FITS map as thermodynamic temperature.

    Args:
        path: the file.
        fields: column numbers or names.
        unit: the unit of the columns; what the header says where None.
        mjy_per_k: MJy/sr per K_CMB over the channel's band, where known.
        unknown: whether pixels may be NaN, infinite or UNSEEN; they all come as NaN then.
        fill: what pixels that are UNSEEN are set to, in the file's unit; None: they may not be.

    Returns:
        `(n_field, n_pix)`, uK_CMB, RING order.

    Raises:
        MapError: the file cannot be used, or its unit is no thermodynamic temperature.
    """
    factors = read_raw_header(path).unit_factors(fields, unit, mjy_per_k)
    values: NDArray[np.float64] = read_raw_columns(path, fields, unknown, fill)[0] * factors[:, None]
    return values


def _read(path: Path, fields: Columns) -> tuple[RawHeader, NDArray[np.float64]]:
    """Read a header and columns, `(n_field, n_pix)`, in the file's order."""
    try:
        # Only what is asked for is read, of files that may be larger than the memory.
        with refusing_truncated(), fits.open(path, memmap=not fields) as hdus:
            table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU) and hdu.columns), None)
            if table is None:
                message = "it holds no table"
                raise MapError(message)
            card, columns = table.header, table.columns
            n_pix = card["NAXIS2"] * int(np.prod(columns.dtype[0].shape))
            ordering = str(card.get("ORDERING", "")).strip().upper()
            header = RawHeader(
                path=path,
                nside=round(np.sqrt(n_pix / 12)),
                nested=ordering != "RING",
                units={column.name: str(column.unit or "") for column in columns},
                coordsys=str(card.get("COORDSYS", "")).strip(),
                polcconv=str(card.get("POLCCONV", "")).strip().upper(),
                fwhm_arcmin=float(card["FWHM"]) if card.get("BEAMTYPE") in {"none", "gaussian"} else None,
                pixel_window=card.get("PIXWIN"),
            )
            wanted = [table.data.field(name) for name in header.names(fields)]
            values = np.array([np.asarray(column, dtype=np.float64).ravel() for column in wanted])
    except (OSError, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{path} cannot be read as a HEALPix map: {error}"
        raise MapError(message) from error
    if not hp.isnpixok(n_pix):
        message = f"{path} has {n_pix} pixels, which is no full HEALPix map"
        raise MapError(message)
    if ordering not in {"RING", "NESTED", "NEST"}:
        message = f"{path} does not say in ORDERING whether its pixels are RING or NESTED"
        raise MapError(message)
    return header, values
