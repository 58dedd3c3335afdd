"""The sky in front of the cosmic microwave background: what each channel sees of the Galaxy and of other galaxies.

What every model of it must be able to do, and how a channel sees what it emits. The models: `embedded_sky`, which makes
its own templates from a seed, and `pysm_sky`, any presets of PySM 3.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.settings import Nside, settings
from cmbml.sims.components import Band
from cmbml.sky.bandpass import BandError
from cmbml.sky.beams import pixel_window, signal_lmax
from cmbml.sky.harmonics import analyse, filter_components, iterated_analysis, require_band_limit, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields

MAX_NSIDE = 8192
NO_VARIETY = (
    "this sky does not vary (sky.variety=null), and simulations are to have skies of their own; "
    "give it a variety, or let them share it: vary=shared"
)


class SkyError(ValueError):
    """A sky that cannot be made as it was asked for."""


class SkyModel(ABC):
    """Foregrounds, without the CMB."""

    @abstractmethod
    def check(self, nside: int, fields: Fields) -> None:
        """Say before any work whether the sky can be made; loads no template and asks no network.

        Raises:
            SkyError: it cannot, and why.
        """

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Return the user's own files on which the result hangs."""

    @abstractmethod
    def fetch(self, channels: Sequence[Channel], nside: int) -> tuple[Path, ...]:
        """Download all that emission in these channels needs; return the files."""

    @abstractmethod
    def emissions(
        self, channels: Sequence[Channel], nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> Iterator[NDArray[np.float32]]:
        """Make, one after the other, the maps that detectors with these bandpasses and no beam would see.

        Args:
            channels: give the bandpasses.
            nside: resolution of the maps and of the templates.
            fields: `I` or `IQU`.
            seed: root of all randomness of the sky.
            threads: CPU threads; they do not change a bit of the result.

        Yields:
            `(n_field, n_pix)`, uK_CMB, RING, Galactic, HEALPix's sign of U.

        Raises:
            SkyError: the sky cannot be made.
        """

    def emission(
        self, channel: Channel, nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> NDArray[np.float32]:
        """Make the map of one channel; see `emissions`."""
        return next(iter(self.emissions([channel], nside, fields, seed, threads)))

    @abstractmethod
    def parts(self) -> "dict[str, SkyModel]":
        """Return each component as a sky of its own, by its name."""

    @abstractmethod
    def varied(self, seed: int) -> "SkyModel":
        """Draw from a seed another sky of the same kind, with other morphology and spectra, as plain settings.

        Raises:
            SkyError: the settings say that it does not vary.
        """


@settings
class Grid:
    """On what grid foregrounds are emitted, and on what they are seen.

    Attributes:
        nside: of the dataset.
        nside_sky: of the emission; at least `nside`.
        lmax: highest multipole kept.
        fields: `I`, or `IQU`.
        pixel_windows: folder of HEALPix pixel window files; None to sample the signal at pixel centres.
    """

    nside: Nside
    nside_sky: Nside
    lmax: PositiveInt
    fields: Fields
    pixel_windows: Path | None = None

    def check(self) -> None:
        """Look whether the resolutions fit together.

        Raises:
            MapError, SkyError: they do not.
        """
        require_band_limit(self.lmax, self.nside)
        if self.nside_sky < self.nside:
            message = f"scenario.nside_sky={self.nside_sky} is below nside={self.nside}; it must be at least that"
            raise SkyError(message)


def seen(
    model: SkyModel, seed: int, channels: Sequence[Channel], grid: Grid, threads: int = 1
) -> Iterator[NDArray[np.float32]]:
    """Make, one after the other, a sky's maps as channels see them: beam, band limit and resolution of a dataset.

    Args:
        model: the sky.
        seed: root of all its randomness.
        channels: their bandpasses and beams.
        grid: of the emission and of the maps.
        threads: CPU threads; they do not change a bit of the result.

    Yields:
        `(n_field, n_pix)`, uK_CMB.
    """
    n_comp = len(grid.fields)
    pixels = pixel_window(grid.pixel_windows, grid.nside, grid.lmax, n_comp)
    # Where the grid is fine enough, sums over pixels are as exact as what lies beyond the band limit lets any analysis
    # be, 3e-6 of a map (and 1e-5 of its spectrum); where it is not, least squares is better by far.
    fine = 2 * grid.lmax <= 3 * grid.nside_sky
    for channel, values in zip(
        channels, model.emissions(channels, grid.nside_sky, grid.fields, seed, threads), strict=True
    ):
        window = channel.beam(grid.lmax, n_comp) * pixels
        lmax = signal_lmax(window)
        alm = (
            iterated_analysis(values, lmax, 0, threads)
            if fine
            else analyse(values.astype(np.float64), lmax, threads, accuracy=1e-6, max_iterations=20)
        )
        yield synthesise(filter_components(alm, window[:, : lmax + 1]), grid.nside, threads).astype(np.float32)


def band_of(channel: Channel) -> Band:
    """Return what a channel receives.

    Raises:
        SkyError: its table holds no bandpass.
    """
    try:
        return Band.of(channel)
    except BandError as error:
        raise SkyError(str(error)) from error


def check_grid(nside: int, fields: Fields) -> None:
    """Look whether a sky can be made on such a grid.

    Raises:
        SkyError: it cannot.
    """
    if not 1 <= nside <= MAX_NSIDE or nside & (nside - 1):
        message = f"a sky of nside {nside} cannot be made: it must be a power of two up to {MAX_NSIDE}"
        raise SkyError(message)
    if fields not in ("I", "IQU"):
        message = f"a sky has fields I or IQU, not {fields}"
        raise SkyError(message)
