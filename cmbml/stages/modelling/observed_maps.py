"""The maps of a mission, one file per channel and perhaps two of halves of its data: described, checked, read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmbml.handlers.raw_map import RawHeader, read_raw_header, read_raw_map
from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sky.instrument import Channel, white_depth
from cmbml.sky.maps import Frame, MapError
from cmbml.sky.plausibility import require_beam, require_error_bars

MOST_UNSEEN = 0.01
"""Part of a half's pixels that may be without data."""


@settings
class ObservedMap:
    """The map of one channel; its resolution and its ordering are what its header says.

    What is known of its noise is said in one way: by its depth, by a map of its standard deviation, or by two maps of
    halves of the data. Where nothing is known, the cleaned map has no error bars.

    Attributes:
        file: below the folder of the observations; None for the mean of `halves`.
        columns: numbers or names of its columns: I; or I, Q, U.
        freq_ghz: centre frequency.
        fwhm_arcmin: full width at half maximum of the Gaussian beam.
        window: a table of the beam's window function, used in place of the Gaussian.
        unit: K_CMB, mK_CMB, uK_CMB or MJy/sr; what the header says where None. It holds for what is known of the
            noise, too.
        mjy_per_k: MJy/sr per K_CMB over the channel's band, for a map in MJy/sr. There is no default: at 857 GHz the
            band of Planck gives 2.27, and its centre alone 1.44.
        frame: G Galactic, C equatorial, E ecliptic; what the header says where None, or else G.
        depth_uk_arcmin: white noise level of intensity, uK_CMB arcmin.
        depth_p_uk_arcmin: the same for Q and U; sqrt(2) times that of intensity by default.
        noise_std: a map, below the folder, of the noise's standard deviation; its first columns are read.
        halves: two maps, below the folder, with `columns`, of which `file` is the mean, such as of half missions; half
            their difference is taken for the noise. What is written beside the cleaned map of what all channels have
            in halves is said of `CleanObserved`.
    """

    file: Path | None = None
    columns: tuple[int | str, ...] = (0,)
    freq_ghz: PositiveFloat
    fwhm_arcmin: NonNegativeFloat
    window: Path | None = None
    unit: str | None = None
    mjy_per_k: PositiveFloat | None = None
    frame: Frame | None = None
    depth_uk_arcmin: PositiveFloat | None = None
    depth_p_uk_arcmin: PositiveFloat | None = None
    noise_std: Path | None = None
    halves: tuple[Path, Path] | None = None

    @property
    def noise_is_known(self) -> bool:
        """Whether anything is said of the noise."""
        return any(entry is not None for entry in (self.depth_uk_arcmin, self.noise_std, self.halves))

    @property
    def noise_files(self) -> tuple[Path, ...]:
        """The maps that tell of the noise."""
        return self.halves or ((self.noise_std,) if self.noise_std is not None else ())

    @property
    def sky_files(self) -> tuple[Path, ...]:
        """The maps of the sky: the whole, where there is one, and its halves."""
        return (*(() if self.file is None else (self.file,)), *(self.halves or ()))

    def read(self, folder: Path) -> NDArray[np.float64]:
        """Read the map, `(n_field, n_pix)`, uK_CMB: the whole, or the mean of its halves.

        Raises:
            MapError: it cannot be read.
        """
        if self.file is not None:
            return self._columns(folder / self.file, self.columns)
        first, second = self.read_halves(folder)
        return (first + second) / 2

    def read_halves(self, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read the maps of the halves, `(n_field, n_pix)` each, uK_CMB.

        Half missions have pixels that they did not see. These few get the value of the whole, or of the other half.

        Raises:
            MapError: they cannot be read, have too many such pixels, or are no halves of the whole.
        """
        paths = [folder / path for path in self.halves or ()]
        first, second = (self._columns(path, self.columns, unknown=True) for path in paths)
        whole = None if self.file is None else self._columns(folder / self.file, self.columns)
        fill = (second, first) if whole is None else (whole, whole)
        filled = []
        for path, half, other in zip(paths, (first, second), fill, strict=True):
            unseen = ~np.isfinite(half)
            if unseen.mean() > MOST_UNSEEN or not np.isfinite(other[unseen]).all():
                message = (
                    f"{path}: {np.count_nonzero(unseen)} of {half.size} pixels are without data, more than the "
                    f"{MOST_UNSEEN:.0%} that can be filled from {'the other half' if whole is None else self.file}"
                )
                raise MapError(message)
            filled.append(np.where(unseen, other, half))
        for path, half in zip(paths, filled, strict=True):
            _require_half(half[0], (filled[0] + filled[1])[0] / 2 if whole is None else whole[0], path)
        return filled[0], filled[1]

    def _columns(self, path: Path, columns: tuple[int | str, ...], unknown: bool = False) -> NDArray[np.float64]:
        return read_raw_map(path, columns, self.unit, self.mjy_per_k, unknown)

    def inspect(self, name: str, folder: Path) -> RawHeader:
        """Read the headers, and look whether the maps can be used; return that of the first.

        Args:
            name: of the channel, for messages.
            folder: where the maps are.

        Raises:
            MapError: they cannot.
        """
        place = f"observed.maps.{name}"
        if not self.sky_files:
            message = f"channel {name} has no map: name it in {place}.file, or two halves of it in {place}.halves"
            raise MapError(message)
        for path in (folder / file for file in (*self.sky_files, *self.noise_files)):
            if not path.is_file():
                message = f"the map of channel {name}, {path}, is not there; check observed.folder and {place}"
                raise MapError(message)
        require_beam(self.fwhm_arcmin, f"{place}.fwhm_arcmin")
        headers = [read_raw_header(folder / path) for path in self.sky_files]
        factors = []
        for found in headers:
            try:
                factors.append(found.unit_factors(self.columns, self.unit, self.mjy_per_k))
            except MapError as error:
                message = f"channel {name}: {error}; say more with {place}.unit, .mjy_per_k and .columns"
                raise MapError(message) from error
            found.frame(self.frame, f"{place}.frame")
        for found, factor in zip(headers[1:], factors[1:], strict=True):
            self._require_alike(headers[0], found, not np.array_equal(factors[0], factor), place)
        return headers[0]

    def _require_alike(self, whole: RawHeader, half: RawHeader, other_unit: bool, place: str) -> None:
        """Check that the header of a half, or of the other half, is that of the same map, seen for another time.

        Raises:
            MapError: it is not.
        """
        beams = (whole.fwhm_arcmin, half.fwhm_arcmin)
        frames = tuple(header.frame(self.frame, f"{place}.frame") for header in (whole, half))
        said = {
            "nside": (whole.nside, half.nside, whole.nside != half.nside),
            "unit": (*(header.taken_as(self.columns, self.unit) for header in (whole, half)), other_unit),
            "frame": (*frames, frames[0] != frames[1]),
            "beam": (*(f"{beam:g} arcmin" if beam is not None else "" for beam in beams), beams[0] != beams[1]),
        }
        for what, (one, other, wrong) in said.items():
            if wrong and not (what == "beam" and None in beams):
                message = (
                    f"{place}.halves: {half.path.name} has another {what} than {whole.path.name}: {other}, not {one}; "
                    "halves are maps of the same pixels, unit, frame and beam, from two parts of the data"
                )
                raise MapError(message)

    def channel(self, folder: Path | None = None) -> Channel:
        """Say what a method is told of the channel; a depth of zero where nothing is known of its noise.

        Args:
            folder: where the maps that tell of the noise are; None to tell but whether it is known, without a look.
        """
        depths = (self.depth_uk_arcmin or 0.0, self.depth_p_uk_arcmin)
        if self.noise_files:
            found = np.ones(len(self.columns)) if folder is None else white_depth(self._noise(folder))
            depths = (float(found[0]), float(np.sqrt(np.mean(found[1:] ** 2))) if len(found) > 1 else None)
        return Channel(
            freq_ghz=self.freq_ghz,
            fwhm_arcmin=self.fwhm_arcmin,
            depth_uk_arcmin=depths[0],
            depth_p_uk_arcmin=depths[1],
            window=self.window,
        )

    def _noise(self, folder: Path) -> NDArray[np.float64]:
        """Read the noise, or its standard deviation, `(n_field, n_pix)`, uK_CMB."""
        if self.halves is not None:
            first, second = self.read_halves(folder)
            half = (first - second) / 2
            noise: NDArray[np.float64] = half - half.mean(axis=1, keepdims=True)
            return noise
        path = folder / self.noise_files[0]
        bars = self._columns(path, tuple(range(len(self.columns))))
        require_error_bars(bars, str(path), "say its unit in the header, or in observed.maps.*.unit")
        return bars


def _require_half(half: NDArray[np.float64], whole: NDArray[np.float64], path: Path) -> None:
    """Check that a map is half of another, of which it has all of the sky and half of the noise.

    Its regression on the whole is 1, whatever the noise; of another sky it is 0, and in another unit a power of ten.

    Raises:
        MapError: it is not.
    """
    deviation = whole - whole.mean()
    slope = float(deviation @ half / (deviation @ deviation))
    if not 0.5 <= slope <= 2:
        message = (
            f"{path} holds {slope:.3g} times what the whole map does, where a half of the data holds all of the sky: "
            "it has another unit than it says, or is of another sky"
        )
        raise MapError(message)


def require_one_noise(maps: Mapping[str, ObservedMap]) -> None:
    """Check that the noise of no channel is said in two ways.

    Raises:
        MapError: it is.
    """
    for name, entry in maps.items():
        ways = {"depth_uk_arcmin": entry.depth_uk_arcmin, "noise_std": entry.noise_std, "halves": entry.halves}
        said = [way for way, value in ways.items() if value is not None]
        if len(said) > 1:
            message = f"observed.maps.{name} says its noise by {' and by '.join(said)}; keep one of them"
            raise MapError(message)
        if entry.depth_p_uk_arcmin is not None and entry.depth_uk_arcmin is None:
            message = f"observed.maps.{name}.depth_p_uk_arcmin needs depth_uk_arcmin beside it"
            raise MapError(message)
