"""Tables as FITS (exact, quick) or ECSV (to be read by people), and power spectra as such tables."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.io import fits
from astropy.table import Table

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.fits_file import refusing_truncated
from cmbml.sky.spectra import Spectra


class FitsTable(AssetHandler[Table]):
    """A table of numbers, bit for bit."""

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> Table:
        """Read a table.

        Raises:
            ValueError: the file is cut short.
        """
        with refusing_truncated():
            return Table.read(path, hdu=1, format="fits")

    def write(self, path: Path, value: Table, stamp: Stamp) -> None:
        """Write a table; its `meta` entries become header keywords."""
        hdu = fits.table_to_hdu(value)
        hdu.header["STAGE"], hdu.header["FPRINT"] = stamp.stage, stamp.fingerprint[:32]
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


class EcsvTable(AssetHandler[Table]):
    """A table as text that people and other programs can read."""

    suffix: ClassVar[str] = ".ecsv"

    def read(self, path: Path) -> Table:
        """Read a table."""
        return Table.read(path, format="ascii.ecsv")

    def write(self, path: Path, value: Table, stamp: Stamp) -> None:
        """Write a table."""
        marked = value.copy()
        marked.meta = dict(value.meta) | {"stage": stamp.stage, "fingerprint": stamp.fingerprint[:32]}
        marked.write(path, format="ascii.ecsv")


class SpectraTable(AssetHandler[Spectra]):
    """Power spectra C_l, one column each, one row per multipole from l = 0 on."""

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> Spectra:
        """Read spectra, float64."""
        table = FitsTable().read(path)
        return Spectra({name: np.asarray(table[name], dtype=np.float64) for name in table.colnames})

    def write(self, path: Path, value: Spectra, stamp: Stamp) -> None:
        """Write spectra."""
        FitsTable().write(path, Table(dict(value.cl)), stamp)
