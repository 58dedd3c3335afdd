"""What the error of a cleaned map has in common with each foreground, multipole by multipole."""

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.coupling import Edges
from cmbml.metrics.scores import Metric
from cmbml.sky.harmonics import Alm, power

Float = NDArray[np.float64]
ALL = "all foregrounds"
"""The sum of the components, as one channel sees it."""
PREFIX = "r_"
"""Of the metrics' names."""


def component_metric(component: str) -> Metric:
    """Return the metric of one component: the residual's correlation with it."""
    return Metric(PREFIX + component.replace(" ", "_"), f"residual's correlation with {component}", "", 0.0)


def correlation_with(residual: Alm, components: Alm, edges: Edges) -> Float:
    """Correlate a masked residual with masked components in bins.

    r = sum (2l + 1) C_l^rf / (sum (2l + 1) C_l^rr sum (2l + 1) C_l^ff)^1/2 over a bin. A beam that only one of both has
    is about the same over a bin, and drops out. Nothing is decoupled: so r cannot be beyond 1, and r^2 is the part of
    the residual's power that a multiple of the component explains. r says nothing of how large a residual is.

    Args:
        residual: `(n_alm,)`.
        components: `(n_component, n_alm)`, of the same lmax.
        edges: `(n_bin + 1,)`.

    Returns:
        `(n_component, n_bin)`; NaN where either is nothing.
    """
    modes = 2 * np.arange(edges[-1]) + 1
    both = np.broadcast_to(residual, components.shape)

    def summed(spectra: Float) -> Float:
        found: Float = np.add.reduceat(spectra[..., : edges[-1]] * modes, edges[:-1], axis=-1)
        return found

    scale = np.sqrt(summed(power(residual)) * summed(power(components)))
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Float = summed(power(both, components)) / np.where(scale > 0, scale, np.nan)
    return r


def chance_correlation(sky_fraction: float, edges: Edges) -> Float:
    """Return the rms of r for fields that know nothing of each other, `(n_bin,)`: one over the root of the modes.

    Of foregrounds that are bright in a small part of the sky only, it is larger: fewer modes count.
    """
    chance: Float = 1 / np.sqrt(np.maximum(sky_fraction * (edges[1:] ** 2 - edges[:-1] ** 2), 1.0))
    return chance
