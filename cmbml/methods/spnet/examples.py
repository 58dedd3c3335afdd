"""Channels from which the CMB is cancelled, and what is to be subtracted from a first estimate of it.

McCarthy, Hill, Coulton & Hogg (2024, arXiv:2404.03557): an internal linear combination leaves the CMB as it is. What
lies between it and a channel holds no CMB, and yet most of what there is to be known of the foregrounds. A network that
sees nothing else may say what the combination has left of them: whatever it answers, the CMB's response stays 1.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.methods.base import MethodError
from cmbml.methods.cmbnncs.examples import WholeSkies
from cmbml.methods.ilc.linear import Coefficients, LinearMethod
from cmbml.methods.ilc.needlet import multipole_power
from cmbml.methods.ilc.needlets import Bands
from cmbml.methods.ilc.transforms import analysed
from cmbml.methods.planes import from_plane, plane_shape, to_plane
from cmbml.methods.trained import describe, known
from cmbml.settings import later, settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.harmonics import alm_lmax, cut_alm, filter_alm, filter_components, synthesise
from cmbml.sky.maps import MapSpec, SkyMap

Float32 = NDArray[np.float32]
Maps = NDArray[np.float64]


@final
@settings
class CmbFree(WholeSkies):
    """Show what lies between each channel and a first estimate of the CMB, as planes; ask what to subtract from that.

    Each difference is taken where both have something to tell: at the channel's beam if that is wider than the
    estimate's, and at the estimate's otherwise; nothing is above the band limit of the estimate.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        estimate: a linear method that leaves the CMB as it is. Of one that gives intensity alone, no more is corrected.
        others: more linear methods that leave the CMB as it is; what lies between the answer of each and the estimate
            is shown, too. They may know what no pixel tells: what fits all of this one sky. Of what gives intensity
            alone, nothing is shown beside E and B. None: no more.
        bands: scales, in each of which the differences are shown by themselves; None: all in one.
        truth: whether the target is the error of the estimate. If not, it is the estimate itself, of which the features
            can tell nothing but the error, as the CMB is independent of them: so skies are learnt from whose CMB nobody
            knows, by the least variance of the cleaned map.
        tilt: power of l + 1 that all that is shown and the target are multiplied by, and replies divided. Without the
            truth, the CMB is what hides the error; with 1, its modes count about alike up to l = 1000.
    """

    estimate: LinearMethod[Any, Any]
    others: Mapping[str, LinearMethod[Any, Any]] | None = later(None)
    bands: Bands | None = None
    truth: bool = later(default=True)
    tilt: Annotated[float, Field(ge=0, le=4)] = later(0.0)
    linear: ClassVar[bool] = False
    keeps_shown: ClassVar[bool] = True

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Ask the estimate, and look whether the others give the same: beam and band limit.

        Raises:
            MethodError: one of them gives something else.
        """
        promised = self.estimate.accepts(spec)
        for name, other in (self.others or {}).items():
            if wrong := other.accepts(spec).difference(promised, "fwhm_arcmin", "lmax"):
                message = f"method.examples.others.{name} and method.examples.estimate are to be compared: its {wrong}"
                raise MethodError(message)
        return promised

    def channels_shown(self, spec: ObservationSpec) -> tuple[str, ...]:  # noqa: ARG002
        """Return the channels of the estimate."""
        return self.estimate.channels

    def shapes(self, spec: ObservationSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(n_channel n_scale n_field, 4 nside, 3 nside)` and `(n_field, 4 nside, 3 nside)`."""
        n_field, plane = len(self.estimate.accepts(spec).fields), plane_shape(spec.asked.nside)
        n_shown = (len(self.estimate.channels) + len(self.others or {})) * len(self._windows(spec))
        return (n_shown * n_field, *plane), (n_field, *plane)

    def _windows(self, spec: ObservationSpec) -> Maps:
        """Return the windows of the scales, `(n_scale, lmax + 1)`."""
        lmax = self.estimate.lmax(spec)
        windows = np.ones((1, lmax + 1)) if self.bands is None else self.bands.windows(lmax, spec.asked.nside)
        return windows * multipole_power(lmax, self.tilt)

    def features(self, case: Observation, chosen: None = None) -> Float32:  # noqa: ARG002
        """Lay the differences out: all scales of the first channel, then of the second, ...; one sample."""
        alm, found = self.estimate.combined(case, 1)
        return self._differences(case.spec, alm, found, self._answers(case))

    def _answers(self, case: Observation) -> list[Coefficients]:
        return [other.combined(case, 1)[1] for other in (self.others or {}).values()]

    def _differences(
        self, spec: ObservationSpec, alm: Coefficients, found: Coefficients, answers: Sequence[Coefficients] = ()
    ) -> Float32:
        n_comp, n_channel, _ = alm.shape
        common = self._common(spec)
        beams = np.stack([self.estimate.beams(spec, component) for component in range(n_comp)])
        there = np.stack([self.estimate.rebeaming(spec, component) > 0 for component in range(n_comp)])
        share = np.where(there, np.minimum(beams / common[:, np.newaxis], 1.0), 0.0)
        rows = [filter_components(alm[:, i] - found, share[:, i]) for i in range(n_channel)]
        rows += [np.concatenate([answer - found[: len(answer)], 0 * found[len(answer) :]]) for answer in answers]
        maps = [
            synthesise(filter_components(row, np.broadcast_to(window, common.shape)), spec.asked.nside)
            for row in rows
            for window in self._windows(spec)
        ]
        return to_plane(np.concatenate(maps).astype(np.float32))[np.newaxis]

    def _common(self, spec: ObservationSpec) -> Maps:
        """Return the beam of the estimate, `(n_comp, lmax + 1)`."""
        promised, lmax = self.estimate.accepts(spec), self.estimate.lmax(spec)
        spins = (0, 2, 2)[: len(promised.fields)]
        return np.stack([gaussian_window(self.estimate.fwhm_arcmin, lmax, spin) for spin in spins])

    def target(self, case: Observation, chosen: None = None) -> Float32:  # noqa: ARG002
        """Lay out the error of the estimate, or the estimate itself."""
        return self._wanted(case, self.estimate.combined(case, 1)[1])

    def _wanted(self, case: Observation, found: Coefficients) -> Float32:
        spec = case.spec
        if self.truth:
            asked = known(case)
            # Averaged over pixels or not, as the channels are. What is above the limit would be taken for what is not.
            whole = analysed(
                asked.values[: len(found)].astype(np.float64), asked.spec.lmax or 3 * asked.spec.nside - 1, 1
            )
            found = found - filter_components(cut_alm(whole, self.estimate.lmax(spec)), self._common(spec))
        return to_plane(synthesise(self._tilted(found, self.tilt), spec.asked.nside).astype(np.float32))[np.newaxis]

    def _tilted(self, alm: Coefficients, power: float) -> Coefficients:
        return filter_alm(alm, multipole_power(alm_lmax(alm.shape[-1]), power)) if power else alm

    def pair(self, case: Observation, chosen: None = None) -> tuple[Float32, Float32]:  # noqa: ARG002
        """Return features and target with one estimate."""
        alm, found = self.estimate.combined(case, 1)
        return self._differences(case.spec, alm, found, self._answers(case)), self._wanted(case, found)

    def completed(self, replies: Float32, sigma: Float32 | None, case: Observation) -> Answer[SkyMap]:
        """Subtract the reply from the estimate."""
        promised = self.accepts(case.spec)
        first = synthesise(self.estimate.combined(case, 1)[1], promised.nside)
        value = SkyMap((first - self.correction(replies, case.spec)).astype(np.float32), promised)
        return Answer(value, None if sigma is None else SkyMap(from_plane(sigma[0]), promised))

    def correction(self, replies: Float32, spec: ObservationSpec) -> Maps:
        """Return what replies subtract from the estimate, `(n_field, n_pix)`, uK_CMB."""
        found = from_plane(replies[0]).astype(np.float64)
        if not self.tilt:
            return found
        return synthesise(self._tilted(analysed(found, self.estimate.lmax(spec), 1), -self.tilt), spec.asked.nside)

    @property
    def tells_sigma(self) -> bool:
        """Whether targets scatter as the estimate's error does: neither the CMB nor a tilted map do."""
        return self.truth and not self.tilt

    def answer(self, replies: Float32, sigma: Float32 | None, spec: ObservationSpec) -> Answer[SkyMap]:
        """Refuse: a correction is nothing without what it corrects."""
        del replies, sigma, spec
        message = "what is subtracted from an estimate is nothing without the maps that it was made from"
        raise MethodError(message)

    def describe(self, spec: ObservationSpec) -> dict[str, object]:
        """Say what the observations are."""
        return describe(spec, self.estimate.channels)
