"""The detectors: what each channel of an instrument sees, how sharply and how well."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sky.beams import gaussian_window, read_window


def white_depth(noise: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the white noise level whose variance is the mean of that of a map, uK_CMB arcmin, `(n_field,)`.

    Args:
        noise: `(n_field, n_pix)`, uK_CMB: noise, or its standard deviation in each pixel.
    """
    pixel_arcmin = np.rad2deg(np.sqrt(4 * np.pi / noise.shape[1])) * 60
    depth: NDArray[np.float64] = np.sqrt(np.mean(np.square(noise, dtype=np.float64), axis=1)) * pixel_arcmin
    return depth


@settings
class Channel:
    """One frequency channel.

    Attributes:
        freq_ghz: centre frequency; where a delta bandpass stands.
        fwhm_arcmin: full width at half maximum of the Gaussian beam.
        depth_uk_arcmin: white noise level of intensity, uK_CMB arcmin.
        depth_p_uk_arcmin: the same for Q and U; sqrt(2) times that of intensity by default.
        knee_multipole: where the low-frequency noise equals the white noise.
        slope: N_l = white (1 + (knee / l)^slope).
        bandpass: a text table (GHz, response); None for a delta function at `freq_ghz`.
        window: a table of the beam's window function, used in place of the Gaussian.
    """

    freq_ghz: PositiveFloat
    fwhm_arcmin: NonNegativeFloat
    depth_uk_arcmin: NonNegativeFloat
    depth_p_uk_arcmin: NonNegativeFloat | None = None
    knee_multipole: NonNegativeFloat = 0.0
    slope: PositiveFloat = 1.0
    bandpass: Path | None = None
    window: Path | None = None

    def depth(self, field: str) -> float:
        """Return the white noise level of a field, uK_CMB arcmin."""
        if field == "I":
            return self.depth_uk_arcmin
        return self.depth_uk_arcmin * 2**0.5 if self.depth_p_uk_arcmin is None else self.depth_p_uk_arcmin

    @property
    def beam_kind(self) -> Literal["none", "gaussian", "window"]:
        """What the header of a map that this channel has seen calls its beam."""
        if self.window is not None:
            return "window"
        return "gaussian" if self.fwhm_arcmin else "none"

    def files(self) -> tuple[Path, ...]:
        """Return the tables that the channel is read from."""
        return tuple(path for path in (self.bandpass, self.window) if path is not None)

    def beam(self, lmax: int, n_comp: int) -> NDArray[np.float64]:
        """Return the beam window of each component (T; or T, E, B), `(n_comp, lmax + 1)`."""
        if self.window is not None:
            return np.repeat(read_window(self.window, lmax)[None], n_comp, axis=0)
        return np.stack([gaussian_window(self.fwhm_arcmin, lmax, spin=2 * (i > 0)) for i in range(n_comp)])
