"""HEALPix maps that somebody else wrote: any ordering, unit and column layout that can be told for certain."""

from pathlib import Path

import healpy as hp
import numpy as np
from astropy.io import fits

from cmbml.handlers.fits_file import refusing_truncated
from cmbml.sky.maps import MapError, n_bad_pixels

UNITS = {
    "uK_CMB": 1.0,
    "uK": 1.0,
    "uKcmb": 1.0,
    "muK": 1.0,
    "mK_CMB": 1e3,
    "mK": 1e3,
    "K_CMB": 1e6,
    "Kcmb": 1e6,
    "K": 1e6,
}


def read_raw_columns(path: Path, fields: tuple[int | str, ...] = (0,)) -> tuple[np.ndarray, list[str]]:
    """Read columns of a foreign HEALPix FITS map, in RING order.

    Args:
        path: the file.
        fields: column numbers or names.

    Returns:
        `(n_field, n_pix)` float64, and the unit that the header gives each column, possibly empty.

    Raises:
        MapError: the file is no full HEALPix map, its ordering is not stated, or pixels hold no number.
    """
    try:
        with refusing_truncated(), fits.open(path, memmap=False) as hdus:
            data = _table(hdus, fields)
            header = hdus[1].header
            columns = [np.asarray(data.field(field), dtype=np.float64).ravel() for field in fields]
            numbers = [data.names.index(field) if isinstance(field, str) else field for field in fields]
    except (OSError, IndexError, KeyError, TypeError, ValueError) as error:
        message = f"{path} cannot be read as a HEALPix map: {error}"
        raise MapError(message) from error
    values = np.stack(columns)
    if not hp.isnpixok(values.shape[1]):
        message = f"{path} has {values.shape[1]} pixels, which is no full HEALPix map"
        raise MapError(message)
    ordering = str(header.get("ORDERING", "")).strip().upper()
    if ordering not in {"RING", "NESTED", "NEST"}:
        message = f"{path} does not say in ORDERING whether its pixels are RING or NESTED"
        raise MapError(message)
    if bad := n_bad_pixels(values):
        message = f"{path}: {bad} of {values.size} pixel values are NaN, infinite or UNSEEN; fill or mask them first"
        raise MapError(message)
    if ordering != "RING":
        values = hp.reorder(values, n2r=True).reshape(values.shape)
    return values, [str(header.get(f"TUNIT{number + 1}", "")) for number in numbers]


def _table(hdus: fits.HDUList, fields: tuple[int | str, ...]) -> fits.FITS_rec:
    if len(hdus) < 2 or hdus[1].data is None:
        message = "it holds no table"
        raise MapError(message)
    data = hdus[1].data
    for field in fields:
        if field not in data.names and field not in range(len(data.names)):
            message = f"it has no column {field}, but {', '.join(data.names)}, counted from 0"
            raise MapError(message)
    return data


def read_raw_map(path: Path, fields: tuple[int | str, ...] = (0,), unit: str | None = None) -> np.ndarray:
    """Read columns of a foreign HEALPix FITS map as thermodynamic temperature.

    Args:
        path: the file.
        fields: column numbers or names.
        unit: the unit of the columns; what the header says where None.

    Returns:
        `(n_field, n_pix)`, uK_CMB, RING order.

    Raises:
        MapError: the file cannot be used, or its unit is no thermodynamic temperature.
    """
    values, stated = read_raw_columns(path, fields)
    return values * np.array([unit_scale(unit or found, path) for found in stated])[:, None]


def unit_scale(unit: str, path: Path) -> float:
    """Return what a unit is worth in uK_CMB.

    Raises:
        MapError: the unit is not a thermodynamic temperature.
    """
    plain = unit.strip().replace(" ", "")
    if plain in UNITS:
        return UNITS[plain]
    message = f"{path}: unit '{unit}' is not known to be a thermodynamic temperature; allowed are {', '.join(UNITS)}"
    raise MapError(message)
