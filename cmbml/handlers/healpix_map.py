"""HEALPix maps as FITS, with a header that says what the numbers are."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.fits_file import refusing_truncated
from cmbml.sky.maps import MapError, MapSpec, SkyMap

COLUMNS = {"I": "I_STOKES", "Q": "Q_STOKES", "U": "U_STOKES"}
FITS_BLOCK = 2880


class HealpixMap(AssetHandler[SkyMap]):
    """A full-sky map in RING order, single precision, in the layout that healpy and the Planck archive use."""

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> SkyMap:
        """Read a map that this handler wrote, values `(n_field, n_pix)` float32.

        Raises:
            MapError: a keyword is missing or impossible, or pixels hold no number.
            ValueError: the file is cut short.
        """
        columns, spec = _read(path)
        if len(columns) != len(spec.fields):
            message = f"POLAR means the columns {spec.fields}, and the table has {len(columns)}"
            raise MapError(message)
        return SkyMap(columns, spec)

    def write(self, path: Path, value: SkyMap, stamp: Stamp) -> None:
        """Write a map; the bytes depend on the map and the stamp alone."""
        _write(path, [COLUMNS[field] for field in value.spec.fields], value.values, value.spec, stamp)


class MapSamples(AssetHandler[tuple[SkyMap, ...]]):
    """Several maps of one kind in one file, a column for each field of each: I_STOKES_0, I_STOKES_1, ..."""

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> tuple[SkyMap, ...]:
        """Read maps that this handler wrote, values `(n_field, n_pix)` float32.

        Raises:
            MapError: a keyword is missing or impossible, or pixels hold no number.
            ValueError: the file is cut short.
        """
        columns, spec = _read(path)
        n_field = len(spec.fields)
        return tuple(SkyMap(columns[i : i + n_field], spec) for i in range(0, len(columns), n_field))

    def write(self, path: Path, value: tuple[SkyMap, ...], stamp: Stamp) -> None:
        """Write maps; the bytes depend on them and the stamp alone."""
        spec = value[0].spec
        names = [f"{COLUMNS[field]}_{number}" for number in range(len(value)) for field in spec.fields]
        _write(path, names, np.concatenate([one.values for one in value]), spec, stamp)


def _read(path: Path) -> tuple[NDArray[np.float32], MapSpec]:
    """Return the columns of a file, `(n_column, n_pix)`, and what they are."""
    with refusing_truncated(), fits.open(path, memmap=False) as hdus:
        if len(hdus) < 2:
            message = "the file has no table; it is cut short or is no HEALPix map"
            raise MapError(message)
        header, data = hdus[1].header, hdus[1].data
        spec = read_spec(header)
        if (n_pix := data.field(0).size) != spec.n_pix:
            message = f"NSIDE {spec.nside} means {spec.n_pix} pixels, and the table has {n_pix}"
            raise MapError(message)
        values = np.empty((len(data.names), spec.n_pix), dtype=np.float32)
        for i, column in enumerate(values):
            column.reshape(data.field(i).shape)[:] = data.field(i)
    # What is read may be kept for others to read: nobody may change it.
    values.flags.writeable = False
    return values, spec


def _write(path: Path, names: list[str], columns: NDArray[np.float32], spec: MapSpec, stamp: Stamp) -> None:
    """Write columns `(n_column, n_pix)`."""
    width = 1024 if spec.n_pix % 1024 == 0 else 1
    table = np.empty(spec.n_pix // width, dtype=[(name, ">f4", (width,)) for name in names])
    for name, values in zip(names, columns, strict=True):
        table[name] = values.reshape(-1, width)
    # astropy writes the header; its writing of the table would copy and swap it row by row.
    hdu = fits.BinTableHDU(table[:0], name="MAP")
    hdu.header["NAXIS2"] = len(table)
    for i in range(len(names)):
        hdu.header[f"TUNIT{i + 1}"] = spec.unit
    hdu.header.extend(spec_cards(spec, stamp))
    primary = fits.HDUList([fits.PrimaryHDU(), hdu])[0].header
    with path.open("wb") as stream:
        stream.write((primary.tostring() + hdu.header.tostring()).encode("ascii"))
        stream.write(table.data)
        stream.write(bytes(-table.nbytes % FITS_BLOCK))


def spec_cards(spec: MapSpec, stamp: Stamp) -> list[tuple[str, object, str]]:
    """Return the header cards that describe a map."""
    return [
        ("PIXTYPE", "HEALPIX", "HEALPix pixelisation"),
        ("ORDERING", "RING", "pixel ordering: RING or NESTED"),
        ("NSIDE", spec.nside, "resolution parameter"),
        ("FIRSTPIX", 0, "first pixel"),
        ("LASTPIX", spec.n_pix - 1, "last pixel"),
        ("INDXSCHM", "IMPLICIT", "all pixels, in order"),
        ("OBJECT", "FULLSKY", "sky coverage"),
        ("COORDSYS", spec.frame, "G Galactic, C equatorial, E ecliptic"),
        ("POLAR", spec.fields == "IQU", "polarisation included"),
        ("POLCCONV", spec.polconv, "polarisation convention: COSMO or IAU"),
        ("BEAMTYPE", spec.beam, "none, gaussian or window (tabulated)"),
        ("FWHM", spec.fwhm_arcmin, "[arcmin] beam full width at half maximum"),
        ("LMAX", -1 if spec.lmax is None else spec.lmax, "highest multipole; -1: not band-limited"),
        ("PIXWIN", spec.pixel_window, "T: averaged over pixels, F: at their centres"),
        ("CREATOR", "cmbml", "software"),
        ("STAGE", stamp.stage, "stage that made the file"),
        ("FPRINT", stamp.fingerprint[:32], "fingerprint of the unit"),
        *((keyword, text, "") for keyword, text in stamp.notes.items()),
    ]


def read_spec(header: fits.Header) -> MapSpec:
    """Read the description of a map from its header.

    Raises:
        MapError: a keyword is missing, or says what this project does not write.
    """
    try:
        if header["ORDERING"] != "RING":
            message = f"ORDERING is {header['ORDERING']}, and RING is needed; import the map to have it reordered"
            raise MapError(message)
        return MapSpec(
            nside=int(header["NSIDE"]),
            fields="IQU" if header["POLAR"] else "I",
            unit=str(header["TUNIT1"]),
            lmax=None if header["LMAX"] < 0 else int(header["LMAX"]),
            beam=header["BEAMTYPE"],
            fwhm_arcmin=float(header["FWHM"]),
            pixel_window=bool(header["PIXWIN"]),
            frame=header["COORDSYS"],
            polconv=header["POLCCONV"],
        )
    except KeyError as error:
        message = f"its header lacks {error}"
        raise MapError(message) from error
