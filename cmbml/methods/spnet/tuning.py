"""How much of a network's correction to subtract, found on the very sky that is cleaned, without its truth.

A correction that was made without the CMB is independent of it. So the least variance of the cleaned map, counted in
units of the CMB's own, is where the correction fits best (McCarthy et al. 2024, arXiv:2404.03557). Every number that
is found so takes about one of the CMB's modes away, as the weights of an internal linear combination do; few can be.
"""

from dataclasses import replace
from typing import Annotated, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.methods.ilc.needlets import Bands
from cmbml.methods.ilc.transforms import analysed
from cmbml.methods.spnet.examples import CmbFree
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.case import Answer, ObservationSpec
from cmbml.sky.harmonics import filter_components, inner, power, synthesise
from cmbml.sky.maps import SkyMap
from cmbml.sky.masks import smooth

Maps = NDArray[np.float64]
WIDTH = 5
"""Over how many multipoles on each side the spectrum of the cleaned map is averaged."""


@final
@settings
class Tuning:
    """A gain for each zone and scale, near one.

    Attributes:
        prior: standard deviation of the gains about one, as validation skies scatter.
        zones: parts of the sky, of equal area, by how large the correction is around a pixel.
        bands: scales; None: all in one.
        left_out: the part of the sky where the correction is largest; nothing is found there, nor changed.
        smoothing_deg: full width at half maximum to which zones are made soft.
    """

    prior: PositiveFloat = 0.3
    zones: PositiveInt = 1
    bands: Bands | None = None
    left_out: Annotated[float, Field(ge=0, lt=1)] = 0.2
    smoothing_deg: PositiveFloat = 5.0

    def applied(
        self,
        examples: CmbFree,
        replies: NDArray[np.float32],
        answer: Answer[SkyMap],
        spec: ObservationSpec,
    ) -> Answer[SkyMap]:
        """Tune an answer, and write the gains into its notes.

        Args:
            examples: how replies become answers.
            replies: of which the answer was made.
            answer: the cleaned map.
            spec: what was cleaned.
        """
        cleaned, promised = answer.value.values.astype(np.float64), answer.value.spec
        values, gains = self.tuned(cleaned, examples.correction(replies, spec), examples.estimate.lmax(spec))
        told = "; ".join(" ".join(f"{gain:.2f}" for gain in group.ravel()) for group in gains)
        return replace(answer, value=SkyMap(values.astype(np.float32), promised), notes={**answer.notes, "GAINS": told})

    def tuned(self, cleaned: Maps, correction: Maps, lmax: int, threads: int = 1) -> tuple[Maps, Maps]:
        """Change how much of a correction has been subtracted.

        The gains have the mean of their posterior, for a Gaussian CMB of the cleaned map's own spectrum.

        Args:
            cleaned: `(n_field, n_pix)`, the map from which all of it has been subtracted.
            correction: the same shape.
            lmax: highest multipole of both.
            threads: CPU threads; they do not change a bit of the result.

        Returns:
            The map, and the gains, `(n_group, n_zone, n_scale)`; groups are intensity and polarisation.
        """
        nside = round(np.sqrt(cleaned.shape[1] / 12))
        windows = np.ones((1, lmax + 1)) if self.bands is None else self.bands.windows(lmax, nside)
        alm = analysed(correction, lmax, threads)
        # Squared, so that the scales add up to the whole.
        scales = [
            synthesise(filter_components(alm, np.stack([window**2] * len(alm))), nside, threads) for window in windows
        ]
        zones = self._zones(correction, threads)
        seen = zones.sum(axis=0)
        parts = np.stack([zone * scale for zone in zones for scale in scales])
        shown = analysed(seen * cleaned, lmax, threads)
        basis = np.stack([analysed(seen * part, lmax, threads) for part in parts])
        out, gains = cleaned.copy(), []
        for group in ([0], [1, 2])[: 1 + (len(cleaned) > 1)]:
            whitened = filter_components(shown[group], _weights(shown[group]))
            rows = [filter_components(row[group], _weights(shown[group])) for row in basis]
            products = np.array([[inner(one, other) for other in rows] for one in rows])
            against = np.array([inner(row, whitened) for row in rows])
            change = np.linalg.solve(products + np.eye(len(rows)) / self.prior**2, -against)
            out[group] += np.tensordot(change, parts[:, group], 1)
            gains.append(1 - change.reshape(len(zones), len(scales)))
        return out, np.stack(gains)

    def _zones(self, correction: Maps, threads: int) -> Maps:
        """Return soft zones, `(n_zone, n_pix)`, from the least correction to the largest that is not left out."""
        size = smooth((correction**2).sum(axis=0), 60 * self.smoothing_deg, threads)
        edges = np.quantile(size, (1 - self.left_out) * np.linspace(0, 1, self.zones + 1)[1:])
        number = np.searchsorted(edges, size)
        return np.stack(
            [smooth((number == zone).astype(float), 60 * self.smoothing_deg, threads) for zone in range(self.zones)]
        )


def _weights(alm: NDArray[np.complex128]) -> Maps:
    """Return one over the root of the smoothed spectra, `(n_comp, lmax + 1)`; zero for the monopole and the dipole."""
    found = np.atleast_2d(power(alm))[: len(alm)]
    ell = np.arange(found.shape[1])
    modes = np.where(ell > 1, 2 * ell + 1.0, 0.0)
    box = np.ones(2 * WIDTH + 1)
    mean = np.array(
        [np.convolve(modes * row, box, "same") / np.maximum(np.convolve(modes, box, "same"), 1) for row in found]
    )
    return np.where((ell > 1) & (mean > 0), 1 / np.sqrt(np.maximum(mean, np.finfo(float).tiny)), 0.0)
