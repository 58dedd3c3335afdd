"""A map as a notebook wants it: with a picture, an astropy quantity, and healpy's layout."""

import re
from typing import Any, Self

import numpy as np
from astropy import units
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.figures.maps import Panel, maps_figure, observation_scale
from cmbml.figures.style import amplitude_scale, mask_scale, symmetric_scale
from cmbml.sky import maps
from cmbml.sky.maps import MapError


class SkyMap(maps.SkyMap):
    """A HEALPix map in RING order: `values`, `(n_field, n_pix)`, in `spec.unit`, and `spec`, what they are.

    Example:
        >>> sky = SkyMap(np.zeros((1, 48)), maps.MapSpec(nside=2))
        >>> sky.quantity.unit, sky.to_healpy().shape
        (Unit("uK"), (48,))
    """

    @classmethod
    def of(cls, found: maps.SkyMap) -> Self:
        """Return a map of the framework as one for notebooks; the values are not copied."""
        return cls(found.values, found.spec)

    @property
    def unit(self) -> units.UnitBase:
        """The unit, as astropy knows it: a temperature in uK_CMB is one in uK.

        `units.thermodynamic_temperature(143 * units.GHz, 2.7255 * units.K)` is then the equivalency with MJy/sr.
        """
        return units.Unit(re.sub(r"_?CMB", "", self.spec.unit)) if self.spec.unit else units.dimensionless_unscaled

    @property
    def quantity(self) -> units.Quantity:
        """The values with their unit, `(n_field, n_pix)`."""
        return units.Quantity(self.values, self.unit)

    def to_healpy(self) -> NDArray[np.float64]:
        """Return the map as healpy takes it, in `spec.unit`: `(n_pix,)`, or `(3, n_pix)` of I, Q, U; RING order."""
        values = self.values.astype(np.float64)
        return values[0] if len(values) == 1 else values

    def plot(self, field: str = "I", limit: float | None = None, title: str = "") -> Figure:
        """Draw a field in the Mollweide projection.

        Args:
            field: `I`, `Q` or `U`.
            limit: end of a symmetric colour scale, in `spec.unit`; by default one that suits the map: 300 uK for the
                CMB, logarithmic where foregrounds outshine it, from lowest to highest of what is never negative.
            title: above the map.

        Returns:
            A matplotlib figure, which a notebook shows and `savefig` writes.

        Raises:
            MapError: the map has no such field, or the scale no such end.
        """
        if limit is not None and not 0 < limit < np.inf:
            message = f"limit={limit}: a number above 0 is needed"
            raise MapError(message)
        if field not in self.spec.fields:
            message = f"the map has no field '{field}'; it has {', '.join(self.spec.fields)}"
            raise MapError(message)
        values = self.values[self.spec.fields.index(field)]
        low, high = float(values.min()), float(values.max())
        if limit is not None:
            scale = symmetric_scale(limit)
        elif low >= 0:
            scale = mask_scale() if high <= 1 and not self.spec.unit else amplitude_scale(values)
        else:
            scale = observation_scale(values, 300.0 if field == "I" else 30.0)
        unit = self.spec.unit or "1"
        return maps_figure(title, [Panel(title=field, values=values, scale=scale, unit=unit)])

    def __repr__(self) -> str:
        spec = self.spec
        beam = f", {spec.fwhm_arcmin:g} arcmin" if spec.fwhm_arcmin else ""
        return f"<SkyMap {spec.fields}, nside {spec.nside}, {spec.unit or 'no unit'}{beam}, frame {spec.frame}>"


def shown(value: Any) -> Any:  # noqa: ANN401
    """Return what was read as a notebook wants it: a map as a `SkyMap` of this module, anything else as it is."""
    return SkyMap.of(value) if isinstance(value, maps.SkyMap) else value
