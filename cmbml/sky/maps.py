"""A HEALPix map together with what must be known to use it."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Fields = Literal["I", "IQU"]
Frame = Literal["G", "C", "E"]
UNSEEN = -1.6375e30


class MapError(ValueError):
    """A map that is not what its description says, or not what was asked for."""


@dataclass(frozen=True, kw_only=True)
class MapSpec:
    """What a map is: everything that a number per pixel does not say by itself.

    Attributes:
        nside: HEALPix resolution; the map has 12 nside^2 pixels in RING order.
        fields: `I`, or `IQU`.
        unit: an astropy unit string, such as `uK_CMB`.
        lmax: the highest multipole that the signal holds; None where it is not band-limited (noise, raw templates).
        beam: `none`, `gaussian` (then `fwhm_arcmin` says how wide) or `window` (a tabulated window function).
        fwhm_arcmin: full width at half maximum of the beam, arcmin; 0 without a beam.
        pixel_window: whether the signal is averaged over pixels (True) or sampled at their centres (False).
        frame: `G` Galactic, `C` equatorial (ICRS), `E` ecliptic.
        polconv: `COSMO` (HEALPix) or `IAU`: the sign of U.
    """

    nside: int
    fields: Fields = "I"
    unit: str = "uK_CMB"
    lmax: int | None = None
    beam: Literal["none", "gaussian", "window"] = "none"
    fwhm_arcmin: float = 0.0
    pixel_window: bool = False
    frame: Frame = "G"
    polconv: Literal["COSMO", "IAU"] = "COSMO"

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return 12 * self.nside**2

    def with_(self, **changes: Any) -> "MapSpec":  # noqa: ANN401
        """Return the same description with some entries changed."""
        return replace(self, **changes)

    def difference(self, other: "MapSpec", *names: str) -> str:
        """Say in words in which of `names` two descriptions differ; empty where they agree.

        Example:
            >>> MapSpec(nside=32).difference(MapSpec(nside=64), "nside", "unit")
            'nside is 32, not 64'
        """
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return ", ".join(f"{name} is {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs)


@dataclass(frozen=True)
class SkyMap:
    """A HEALPix map in RING order.

    Attributes:
        values: `(n_field, n_pix)`, in `spec.unit`; NaN or UNSEEN nowhere.
        spec: what the values are.
    """

    values: NDArray[np.floating[Any]]
    spec: MapSpec

    def __post_init__(self) -> None:
        """Check that the array is the map that the description promises.

        Raises:
            MapError: the shape is wrong, or a pixel is not finite.
        """
        wanted = (len(self.spec.fields), self.spec.n_pix)
        if self.values.shape != wanted:
            message = (
                f"nside {self.spec.nside} and fields {self.spec.fields} mean shape {wanted}, not {self.values.shape}"
            )
            raise MapError(message)
        bad = n_bad_pixels(self.values)
        if bad:
            message = f"{bad} of {self.values.size} pixel values are NaN, infinite or UNSEEN"
            raise MapError(message)


def n_bad_pixels(values: NDArray[np.floating[Any]]) -> int:
    """Count the pixels that hold no number: NaN, infinite, or HEALPix's UNSEEN.

    Example:
        >>> n_bad_pixels(np.array([1.0, np.nan, UNSEEN]))
        2
    """
    # One pass in the common, healthy case: a NaN or an infinity makes min or max not finite.
    low, high = values.min(), values.max()
    if np.isfinite(low) and np.isfinite(high) and low > 0.99 * UNSEEN:
        return 0
    return int(np.count_nonzero(~np.isfinite(values) | (values <= 0.99 * UNSEEN)))
