"""Maps in velocity channels as FITS: cubes of ours, and those that somebody else wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import healpy as hp
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.fits_file import refusing_truncated
from cmbml.handlers.healpix_map import read_spec, spec_cards
from cmbml.handlers.raw_map import read_raw_columns, read_raw_header
from cmbml.sky.maps import MapError
from cmbml.sky.velocity import CubeSpec, VelocityAxis, VelocityCube

KELVIN = {"K": 1.0, "mK": 1e-3, "uK": 1e-6}
"""Units of brightness temperature, and what they are in K."""
KM_S = {"km/s": 1.0, "km s-1": 1.0, "m/s": 1e-3, "m s-1": 1e-3}
"""Units of velocity, and what they are in km/s."""
VELOCITY_KEYWORDS = ("VELOCITY", "VLSR", "VELO")
"""What may say in a slice's header which velocity it is of."""


class CubeFile(AssetHandler[VelocityCube]):
    """An image `(n_channel, n_pix)`, K, single precision, HEALPix RING order along its first FITS axis.

    The second FITS axis is radio velocity in the local standard of rest (CTYPE2 = VRAD, SPECSYS = LSRK, km/s); a table
    CHANNELS repeats its centres, and has the noise of each channel.
    """

    suffix: ClassVar[str] = ".fits"

    def read(self, path: Path) -> VelocityCube:
        """Read a cube that this handler wrote.

        Raises:
            MapError: a keyword is missing or impossible, or pixels hold no number.
            ValueError: the file is cut short.
        """
        with refusing_truncated(), fits.open(path, memmap=False) as hdus:
            header, values = hdus[0].header, hdus[0].data
            if values is None or values.ndim != 2 or "CHANNELS" not in hdus:
                message = "the file has no cube of velocity channels"
                raise MapError(message)
            noise = tuple(float(sigma) for sigma in hdus["CHANNELS"].data["NOISE"])
            native = values.astype(np.float32)
            try:
                axis = VelocityAxis(low_km_s=header["VLOW"], high_km_s=header["VHIGH"], number=len(native))
            except KeyError as error:
                message = f"its header lacks {error}"
                raise MapError(message) from error
        native.flags.writeable = False
        return VelocityCube(native, CubeSpec(maps=read_spec(header), axis=axis, noise_k=noise))

    def write(self, path: Path, value: VelocityCube, stamp: Stamp) -> None:
        """Write a cube; the bytes depend on it and the stamp alone."""
        axis, spec = value.spec.axis, value.spec.maps
        image = fits.PrimaryHDU(value.values.astype(">f4"))
        cards = [
            ("CTYPE1", "HEALPIX", "pixels of the sphere, RING order"),
            ("CTYPE2", "VRAD", "radio velocity"),
            ("CUNIT2", "km/s", ""),
            ("CRPIX2", 1.0, ""),
            ("CRVAL2", float(axis.centres[0]), "[km/s] centre of the first channel"),
            ("CDELT2", axis.width_km_s, "[km/s] width of a channel"),
            ("VLOW", axis.low_km_s, "[km/s] lower edge of the first channel"),
            ("VHIGH", axis.high_km_s, "[km/s] upper edge of the last channel"),
            ("SPECSYS", "LSRK", "local standard of rest"),
            ("RESTFRQ", 1.420405751768e9, "[Hz] rest frequency of the line"),
            ("BUNIT", spec.unit, "brightness temperature"),
            ("TUNIT1", spec.unit, ""),
        ]
        image.header.extend([*cards, *spec_cards(spec, stamp)])
        columns = [
            fits.Column("VELOCITY", "D", unit="km/s", array=axis.centres),
            fits.Column("NOISE", "D", unit=spec.unit, array=np.array(value.spec.noise_k)),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="CHANNELS")
        fits.HDUList([image, table]).writeto(path)


@dataclass(frozen=True)
class RawCube:
    """A cube that somebody else wrote.

    Attributes:
        values: `(n_channel, ...)`, K, by rising velocity; HEALPix maps in RING order.
        velocities: centres, km/s, `(n_channel,)`; None where the file does not say.
    """

    values: NDArray[np.float32]
    velocities: NDArray[np.float64] | None


def kelvin(unit: str, name: str) -> float:
    """Return what brings brightness temperatures to K.

    Raises:
        MapError: the unit is none of K, mK, uK.
    """
    if unit.strip() not in KELVIN:
        message = (
            f"{name} is in '{unit}', and brightness temperatures are in {', '.join(KELVIN)}: say which it is in "
            "hydrogen.source.unit, or convert it"
        )
        raise MapError(message)
    return KELVIN[unit.strip()]


def read_slices(paths: Sequence[Path], column: int | str = 0, unit: str | None = None) -> RawCube:
    """Read one file for each velocity channel, in their order.

    Raises:
        MapError: one is missing, or of another nside or frame than the first, or in no unit of temperature, or
            velocities in the headers do not rise.
    """
    if missing := [path.name for path in paths if not path.is_file()]:
        few = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        message = f"{len(missing)} of {len(paths)} slices of the cube are missing in {paths[0].parent}: {few}"
        raise MapError(message)
    first, rows, velocities = read_raw_header(paths[0]), [], []
    for path in paths:
        header = read_raw_header(path)
        if (header.nside, header.coordsys) != (first.nside, first.coordsys):
            message = (
                f"{path.name} has nside {header.nside} and frame {header.coordsys or 'not said'}, and {paths[0].name} "
                f"{first.nside} and {first.coordsys or 'not said'}: all slices must be alike"
            )
            raise MapError(message)
        values, units = read_raw_columns(path, (column,))
        rows.append((values[0] * kelvin(unit or units[0], path.name)).astype(np.float32))
        velocities.append(_velocity_of(path))
    known = None if None in velocities else np.array(velocities, dtype=float)
    if known is not None and not (np.diff(known) > 0).all():
        worst = int(np.argmin(np.diff(known)))
        message = (
            f"velocities must rise from slice to slice: {paths[worst].name} is at {known[worst]:g} km/s and "
            f"{paths[worst + 1].name}, the next one, at {known[worst + 1]:g}"
        )
        raise MapError(message)
    return RawCube(np.stack(rows), known)


def read_columns(path: Path, number: int, unit: str | None = None) -> RawCube:
    """Read one file with a column for each velocity channel.

    Raises:
        MapError: it has another number of columns, or is in no unit of temperature.
    """
    there = len(read_raw_header(path).units)
    if there != number:
        message = f"{path} has {there} columns, and the cube {number} velocity channels: name the range that it is of"
        raise MapError(message)
    values, units = read_raw_columns(path, tuple(range(number)))
    factors = np.array([kelvin(unit or own, f"{path}, column {i}") for i, own in enumerate(units)])
    return RawCube((values * factors[:, None]).astype(np.float32), None)


def read_image(path: Path, unit: str | None = None) -> RawCube:
    """Read a cube as an image: `(n_channel, n_pix)` in HEALPix order, or `(n_channel, height, width)` of a patch.

    The velocities are those of the header (CRVAL, CDELT, CRPIX, CUNIT of its last axis that is longer than 1). Channels
    of falling velocity are turned round.

    Raises:
        MapError: it is no such image, or in no unit of temperature.
    """
    with refusing_truncated(), fits.open(path, memmap=False) as hdus:
        header, data = hdus[0].header, hdus[0].data
        if data is None or np.squeeze(data).ndim not in (2, 3):
            message = f"{path} holds no image of velocity channels"
            raise MapError(message)
        sides = [int(header[f"NAXIS{number}"]) for number in range(1, data.ndim + 1)]
        number = max(i for i, side in enumerate(sides, start=1) if side > 1)
        values = np.squeeze(data).astype(np.float32) * np.float32(
            kelvin(unit or str(header.get("BUNIT", "")), str(path))
        )
        velocities = _velocities(header, number, len(values), path)
        ordering, frame_of_pixels = str(header.get("ORDERING", "")).strip().upper(), values.ndim == 2
    if frame_of_pixels:
        if not hp.isnpixok(values.shape[1]):
            message = f"{path} has {values.shape[1]} pixels, which is no full HEALPix map"
            raise MapError(message)
        if ordering not in {"RING", "NESTED", "NEST"}:
            message = f"{path} does not say in ORDERING whether its pixels are RING or NESTED"
            raise MapError(message)
        if ordering != "RING":
            values = np.asarray(hp.reorder(values, n2r=True), dtype=np.float32).reshape(values.shape)
    if velocities is not None and len(velocities) > 1 and velocities[1] < velocities[0]:
        values, velocities = values[::-1], velocities[::-1]
    return RawCube(values, velocities)


def _velocities(header: fits.Header, axis: int, number: int, path: Path) -> NDArray[np.float64] | None:
    """Return the velocities that a header states, km/s; None where it does not."""
    if f"CDELT{axis}" not in header:
        return None
    # Some telescopes shout.
    unit = str(header.get(f"CUNIT{axis}", "")).strip().lower()
    if unit and unit not in KM_S:
        message = f"{path}: its velocities are in '{unit}', which is none of {', '.join(KM_S)}"
        raise MapError(message)
    places = np.arange(number) + 1 - header.get(f"CRPIX{axis}", 1.0)
    # FITS' own default is m/s.
    found: NDArray[np.float64] = (header[f"CRVAL{axis}"] + places * header[f"CDELT{axis}"]) * KM_S.get(unit, 1e-3)
    return found


def _velocity_of(path: Path) -> float | None:
    """Return which velocity a slice says that it is of, km/s."""
    with fits.open(path) as hdus:
        for header in (hdu.header for hdu in hdus):
            for keyword in VELOCITY_KEYWORDS:
                if keyword in header:
                    return float(header[keyword])
    return None
