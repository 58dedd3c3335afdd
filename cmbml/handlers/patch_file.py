"""Patches of the sky as FITS images, and files that hold either a map or patches."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.io import fits

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.fits_file import refusing_truncated
from cmbml.handlers.healpix_map import HealpixMap, read_spec, spec_cards
from cmbml.sky.maps import MapError, SkyMap
from cmbml.sky.patches import Patches, PatchSpec, Projection

CODES: dict[Projection, str] = {"gnomonic": "TAN", "plate_carree": "CAR"}
IMAGE = b"NAXIS   =                    4"


class PatchFile(AssetHandler[Patches]):
    """A cube `(n_patch, n_field, height, width)`, single precision, and a table of where each patch lies.

    The header has what is the same for all patches of the world coordinates: projection and pixels; longitude,
    latitude and rotation of each stand in the table CENTRES.
    """

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> Patches:
        """Read patches that this handler wrote.

        Raises:
            MapError: a keyword is missing or impossible, or pixels hold no number.
            ValueError: the file is cut short.
        """
        with refusing_truncated(), fits.open(path, memmap=False) as hdus:
            header, values = hdus[0].header, hdus[0].data
            if values is None or values.ndim != 4 or "CENTRES" not in hdus:
                message = "the file has no cube of patches, or does not say where they lie"
                raise MapError(message)
            try:
                names = {code: name for name, code in CODES.items()}
                spec = PatchSpec(
                    maps=read_spec(header),
                    height=values.shape[2],
                    width=values.shape[3],
                    pixel_arcmin=(header["CDELT2"] * 60, -header["CDELT1"] * 60),
                    projection=names[header["CTYPE1"][-3:]],
                )
            except KeyError as error:
                message = f"its header lacks or misuses {error}"
                raise MapError(message) from error
            table = hdus["CENTRES"].data
            centres = np.stack([np.asarray(table[name], float) for name in ("LON", "LAT", "ANGLE")], axis=1)
            native = values.astype(np.float32)
        native.flags.writeable = False
        return Patches(native, spec, centres)

    def write(self, path: Path, value: Patches, stamp: Stamp) -> None:
        """Write patches; the bytes depend on them and the stamp alone."""
        spec = value.spec
        image = fits.PrimaryHDU(value.values.astype(">f4"))
        axes = {"G": ("GLON", "GLAT"), "C": ("RA--", "DEC-"), "E": ("ELON", "ELAT")}[spec.maps.frame]
        code = CODES[spec.projection]
        sides = (spec.width, spec.height)
        steps = (-spec.pixel_arcmin[1] / 60, spec.pixel_arcmin[0] / 60)
        for number, (name, side, step) in enumerate(zip(axes, sides, steps, strict=True), start=1):
            image.header[f"CTYPE{number}"] = f"{name}-{code}"
            image.header[f"CRPIX{number}"] = (side + 1) / 2
            image.header[f"CDELT{number}"] = (step, "[deg]")
            image.header[f"CUNIT{number}"] = "deg"
        image.header["BUNIT"] = spec.maps.unit
        image.header["TUNIT1"] = spec.maps.unit
        image.header.extend(spec_cards(spec.maps, stamp))
        columns = [
            fits.Column(name, "D", unit="deg", array=column)
            for name, column in zip(("LON", "LAT", "ANGLE"), value.centres.T, strict=True)
        ]
        table = fits.BinTableHDU.from_columns(columns, name="CENTRES")
        fits.HDUList([image, table]).writeto(path)


class FieldFile(AssetHandler[SkyMap | Patches]):
    """A map or patches, whatever a method has given."""

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> SkyMap | Patches:
        """Read what is in the file."""
        with path.open("rb") as stream:
            patches = IMAGE in stream.read(2880)
        return PatchFile().read(path) if patches else HealpixMap().read(path)

    def write(self, path: Path, value: SkyMap | Patches, stamp: Stamp) -> None:
        """Write it in its own format."""
        if isinstance(value, Patches):
            PatchFile().write(path, value, stamp)
        else:
            HealpixMap().write(path, value, stamp)
