"""Spectra of patches with their standard deviations, as FITS tables."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.io import fits

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.fits_file import refusing_truncated
from cmbml.handlers.healpix_map import read_spec, spec_cards
from cmbml.handlers.patch_file import CODES
from cmbml.sky.case import Bandpowers
from cmbml.sky.maps import MapError
from cmbml.sky.patches import PatchSpec


class BandpowerFile(AssetHandler[Bandpowers]):
    """A table with a row per patch: its place, D_l and standard deviation in each bin; and one of the bins' edges.

    What the patches are stands in the header, where somebody has said it.
    """

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> Bandpowers:
        """Read spectra that this handler wrote.

        Raises:
            MapError: a table or a keyword is missing.
            ValueError: the file is cut short.
        """
        with refusing_truncated(), fits.open(path, memmap=False) as hdus:
            try:
                table, header = hdus["BANDPOWERS"].data, hdus[0].header
                edges = np.asarray(hdus["BINS"].data["L_EDGE"], float)
                d_ell, sigma = (np.asarray(table[name], float).reshape(len(table), -1) for name in ("D_ELL", "SIGMA"))
                if "PROJ" not in header:
                    return Bandpowers(edges, d_ell, sigma)
                patch = PatchSpec(
                    maps=read_spec(header),
                    height=header["HEIGHT"],
                    width=header["WIDTH"],
                    pixel_arcmin=(header["PIXROW"], header["PIXCOL"]),
                    projection={code: name for name, code in CODES.items()}[header["PROJ"]],
                )
            except KeyError as error:
                message = f"the file holds no bandpowers: it lacks or misuses {error}"
                raise MapError(message) from error
            centres = np.stack([np.asarray(table[name], float) for name in ("LON", "LAT", "ANGLE")], axis=1)
        return Bandpowers(edges, d_ell, sigma, patch, centres)

    def write(self, path: Path, value: Bandpowers, stamp: Stamp) -> None:
        """Write spectra; the bytes depend on them and the stamp alone."""
        n_patch, n_bin = value.d_ell.shape
        centres = np.full((n_patch, 3), np.nan) if value.centres is None else value.centres
        columns = [
            fits.Column(name, "D", unit="deg", array=of)
            for name, of in zip(("LON", "LAT", "ANGLE"), centres.T, strict=True)
        ]
        columns += [
            fits.Column(name, f"{n_bin}D", array=of) for name, of in (("D_ELL", value.d_ell), ("SIGMA", value.sigma))
        ]
        table = fits.BinTableHDU.from_columns(columns, name="BANDPOWERS")
        bins = fits.BinTableHDU.from_columns([fits.Column("L_EDGE", "D", array=value.l_edges)], name="BINS")
        first = fits.PrimaryHDU()
        first.header["STAGE"], first.header["FPRINT"] = stamp.stage, stamp.fingerprint[:32]
        if (patch := value.patch) is not None:
            first.header["HEIGHT"], first.header["WIDTH"] = patch.height, patch.width
            first.header["PIXROW"] = (patch.pixel_arcmin[0], "[arcmin]")
            first.header["PIXCOL"] = (patch.pixel_arcmin[1], "[arcmin]")
            first.header["PROJ"] = CODES[patch.projection]
            first.header["TUNIT1"] = (patch.maps.unit, "of the maps; D_l is in its square")
            first.header.update(fits.Header(spec_cards(patch.maps, stamp)))
        fits.HDUList([first, table, bins]).writeto(path)
