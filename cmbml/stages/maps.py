"""What the maps of a dataset are: said once, and handed to every stage that makes or reads them."""

from pathlib import Path

from pydantic import PositiveInt

from cmbml.settings import Nside, settings
from cmbml.sky.beams import pixel_window_files
from cmbml.sky.harmonics import require_band_limit
from cmbml.sky.maps import Fields, MapSpec


@settings
class Maps:
    """The maps of a dataset, whatever channel they are of.

    Attributes:
        nside: their HEALPix resolution.
        lmax: highest multipole of the signal, at most 3 nside - 1.
        fields: `I`, or `IQU`.
        pixel_windows: folder of HEALPix pixel window files, where the signal is averaged over pixels; None where it is
            sampled at their centres.
    """

    nside: Nside
    lmax: PositiveInt
    fields: Fields = "I"
    pixel_windows: Path | None = None

    @property
    def spec(self) -> MapSpec:
        """Describe a map without a beam, in uK_CMB and Galactic coordinates."""
        return MapSpec(
            nside=self.nside, fields=self.fields, lmax=self.lmax, pixel_window=self.pixel_windows is not None
        )

    @property
    def n_bytes(self) -> int:
        """Size of a map on disk: four bytes for each pixel and field."""
        return 48 * self.nside**2 * len(self.fields)

    def window_files(self) -> tuple[Path, ...]:
        """Return the file of the pixel window, if there is one."""
        return pixel_window_files(self.pixel_windows, self.nside)

    def check(self) -> None:
        """Look whether maps of this resolution can hold the multipoles.

        Raises:
            MapError: they cannot.
        """
        require_band_limit(self.lmax, self.nside)
