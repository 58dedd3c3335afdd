"""Whole skies as planes, as cmbNNCS shows them to its networks."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import ChannelNames
from cmbml.methods.planes import from_plane, to_plane, turned_plane
from cmbml.methods.trained import Examples, describe, known
from cmbml.settings import NonNegativeFloat, settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.harmonics import analyse, filter_components, synthesise
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.symmetry import N_SYMMETRIES, handedness


@settings
class WholeSkies(Examples):
    """One sample for each simulation: its maps as planes of 4 nside x 3 nside."""

    n_symmetries: ClassVar[int] = N_SYMMETRIES

    def turned(self, values: NDArray[np.float32], number: int, n_field: int) -> NDArray[np.float32]:
        """Move every pixel of the planes to where the symmetry takes it."""
        flat = values.reshape(-1, n_field, values.shape[-2] * values.shape[-1])
        out = np.take(flat, turned_plane(values.shape[-1] // 3, number), axis=-1)
        if n_field == 3:
            out[:, 2] *= handedness(number)
        return out.reshape(values.shape)


@settings
class Planes(WholeSkies):
    """Lay the twelve base faces of every channel out on a plane of 4 nside x 3 nside (Wang et al. 2022).

    Attributes:
        name: where the arrays stand on the axis of arrays.
        channels: which channels a network is shown, in this order.
        target_fwhm_arcmin: beam of the CMB that it shall answer; 0 for none.
    """

    channels: ChannelNames
    target_fwhm_arcmin: NonNegativeFloat = 0.0

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look whether the channels are there."""
        spec.require_channels(self.channels)
        kind = "gaussian" if self.target_fwhm_arcmin else "none"
        return spec.asked.with_(beam=kind, fwhm_arcmin=self.target_fwhm_arcmin)

    def shapes(self, spec: ObservationSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(n_channel n_field, 4 nside, 3 nside)` and `(n_field, 4 nside, 3 nside)`."""
        n_field, plane = len(spec.asked.fields), (4 * spec.asked.nside, 3 * spec.asked.nside)
        return (len(self.channels) * n_field, *plane), (n_field, *plane)

    def features(self, case: Observation, chosen: None = None) -> NDArray[np.float32]:  # noqa: ARG002
        """Stack the planes of all channels; of IQU, I Q U of the first, then of the second, ...; one sample."""
        maps = np.concatenate([case.shown[name].values for name in self.channels])
        return to_plane(maps.astype(np.float32))[np.newaxis]

    def target(self, case: Observation, chosen: None = None) -> NDArray[np.float32]:  # noqa: ARG002
        """Lay the CMB out."""
        asked = known(case)
        values = asked.values
        if self.target_fwhm_arcmin:
            lmax = asked.spec.lmax or 3 * asked.spec.nside - 1
            spins = (0, 2, 2)[: len(asked.spec.fields)]
            beam = np.stack([gaussian_window(self.target_fwhm_arcmin, lmax, spin) for spin in spins])
            values = synthesise(filter_components(analyse(values, lmax), beam), asked.spec.nside)
        return to_plane(values.astype(np.float32))[np.newaxis]

    def answer(
        self, replies: NDArray[np.float32], sigma: NDArray[np.float32] | None, spec: ObservationSpec
    ) -> Answer[SkyMap]:
        """Put the faces back onto the sphere."""
        promised = self.accepts(spec)
        value = SkyMap(from_plane(replies[0]), promised)
        return Answer(value, None if sigma is None else SkyMap(from_plane(sigma[0]), promised))

    def describe(self, spec: ObservationSpec) -> dict[str, object]:
        """Say what the observations are, as far as the arrays depend on it."""
        return describe(spec, self.channels)
