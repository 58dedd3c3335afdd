"""Template fitting in the manner of SEVEM (Leach et al. 2008, arXiv:0805.0269; Planck 2018 IV, arXiv:1807.06208).

Templates are differences of two channels at one beam, so that they hold foregrounds and no CMB, and maps from elsewhere
that hold none. From each channel that is to be cleaned, the combination of templates is taken away that leaves the
least variance outside the Galaxy.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, final

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.methods.base import ChannelName, ChannelNames, MethodError
from cmbml.methods.ilc.harmonic import weighted
from cmbml.methods.ilc.linear import Coefficients, LinearMethod, Maps
from cmbml.methods.ilc.transforms import power_per_pixel
from cmbml.methods.ilc.uncertainty import LEAST_VARIANCE
from cmbml.methods.masking import read_mask
from cmbml.settings import settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import ObservationSpec
from cmbml.sky.harmonics import synthesise
from cmbml.sky.masks import degrade_mask

Pixels = NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """How one component is cleaned.

    Attributes:
        rows: index of each channel that is cleaned.
        differences: `(n_template, n_row)`, what templates are made of: 1 and -1 for two channels, 1 for a map from
            elsewhere.
        windows: `(n_template, lmax + 1)`, what brings a template from the common beam to the widest of its own.
        blend: `(n_cleaned, lmax + 1)`, how cleaned channels are averaged; adds up to one at each l.
        fitted: `(n_pix,)`, where templates are fitted.
    """

    rows: tuple[int, ...]
    differences: Maps
    windows: Maps
    blend: Maps
    fitted: Pixels


@final
@settings
class TemplateFit(LinearMethod[Plan, Maps]):
    """Take away from some channels the templates that other channels make.

    Attributes:
        cleaned: channels that are cleaned, and then averaged by their noise, multipole by multipole.
        templates: pairs of channels, whose differences are the templates.
        galactic_cut_deg: |b| below which templates are not fitted.
        mask: HEALPix file, above a half where templates are to be fitted; None: by latitude alone.
    """

    cleaned: ChannelNames
    templates: Annotated[tuple[tuple[ChannelName, ChannelName], ...], Field(min_length=1)]
    galactic_cut_deg: Annotated[float, Field(ge=0, lt=90)] = 10.0
    mask: Path | None = None
    left_out: ClassVar[float] = 0.25

    def files(self) -> tuple[Path, ...]:
        """Return the templates from elsewhere, and the mask."""
        return (*super().files(), *(() if self.mask is None else (self.mask,)))

    def plan(self, spec: ObservationSpec, component: int) -> Plan:
        """Settle the templates, where they are fitted, and the average of what is cleaned."""
        self._require_names()
        index = {name: i for i, name in enumerate(self.channels)}
        rows = tuple(index[name] for name in self.cleaned)
        factors = self.rebeaming(spec, component)
        beams = self.beams(spec, component)
        common = gaussian_window(self.fwhm_arcmin, self.lmax(spec), spin=2 * (component > 0))
        seen = np.where(factors > 0, np.minimum(beams / common, 1.0), 0.0)
        differences = np.zeros((len(self.templates) + len(spec.templates), len(seen)))
        for row, (first, second) in zip(differences, self.templates, strict=False):
            row[index[first]], row[index[second]] = 1, -1
        differences[len(self.templates) :, len(self.channels) :] = np.eye(len(spec.templates))
        windows = np.stack([seen[row != 0].min(axis=0) for row in differences])
        fitted = self._fitted(spec.asked.nside)
        if fitted.sum() <= 10 * len(differences):
            message = (
                f"the mask leaves {fitted.sum()} pixels to fit {len(differences)} templates in; give a smaller one"
            )
            raise MethodError(message)
        return Plan(rows, differences, windows, self._blend(spec, component, list(rows)), fitted)

    def simpler(self, spec: ObservationSpec) -> tuple["TemplateFit", ...]:  # noqa: ARG002
        """Return the method without its last template, unless no more are left than tell dust from synchrotron."""
        return (replace(self, templates=self.templates[:-1]),) if len(self.templates) > 2 else ()

    def _require_names(self) -> None:
        named = {*self.cleaned, *(name for pair in self.templates for name in pair)}
        if unlisted := sorted(named - set(self.channels)):
            message = f"method.cleaned and method.templates name channels that method.channels lacks: {unlisted}"
            raise MethodError(message)
        if self.nulled:
            message = f"{self.name} fits templates and nulls no components; leave method.nulled empty, or use an ILC"
            raise MethodError(message)

    def _fitted(self, nside: int) -> Pixels:
        latitude = 90 - np.rad2deg(hp.pix2ang(nside, np.arange(12 * nside**2))[0])
        fitted: Pixels = np.abs(latitude) >= self.galactic_cut_deg
        return fitted if self.mask is None else fitted & degrade_mask(read_mask(self.mask), nside, 0.5)

    def _blend(self, spec: ObservationSpec, component: int, rows: list[int]) -> Maps:
        """Average by the noise at the common beam."""
        factors = self.rebeaming(spec, component)[rows]
        chosen = [spec.channels[self.channels[i]] for i in rows]
        depth = np.array([channel.depth("Q" if component else "I") for channel in chosen])[:, None]
        if len(rows) > 1 and not depth.all():
            silent = [self.channels[i] for i, found in zip(rows, depth[:, 0], strict=True) if not found]
            message = (
                f"{self.name} averages the channels of method.cleaned by their noise, and that of {', '.join(silent)} "
                "is not known, or zero; give its depth_uk_arcmin, or clean one channel"
            )
            raise MethodError(message)
        depth[depth == 0] = 1.0  # a channel alone needs no weight
        weight = np.divide(1, depth * factors, out=np.zeros_like(factors), where=factors > 0) ** 2
        total = weight.sum(axis=0)
        if not total.all():
            message = (
                f"no channel of method.cleaned sees anything at l = {int(np.flatnonzero(total == 0)[0])}; lower "
                "method.lmax_per_nside, or clean a channel with a narrower beam"
            )
            raise MethodError(message)
        blend: Maps = weight / total
        return blend

    def find(self, alm: Coefficients, plan: Plan, threads: int) -> tuple[Coefficients, Maps]:
        """Fit the templates to each channel; return what is cleaned, and the weights `(n_row, lmax + 1)`."""
        nside = round(np.sqrt(plan.fitted.size / 12))
        templates = [
            weighted(alm, row[:, None] * window) for row, window in zip(plan.differences, plan.windows, strict=True)
        ]
        maps = synthesise(np.stack([*templates, *alm[list(plan.rows)]])[:, None], nside, threads)[:, 0, plan.fitted]
        coefficients = fit(maps[: len(templates)], maps[len(templates) :])
        weights = np.zeros((len(alm), plan.blend.shape[1]))
        for row, blend, found in zip(plan.rows, plan.blend, coefficients, strict=True):
            weights[row] += blend
            weights -= blend * np.einsum("t,tr,tl->rl", found, plan.differences, plan.windows)
        return weighted(alm, weights), weights

    def apply(self, alm: Coefficients, plan: Plan, weights: Maps, threads: int) -> Coefficients:  # noqa: ARG002
        """Combine other coefficients with weights that were found before."""
        return weighted(alm, weights)

    def noise_variance(self, plan: Plan, weights: Maps, noise: Maps) -> Maps:  # noqa: ARG002
        """Propagate the noise, which is the same everywhere."""
        return np.full(12, power_per_pixel((weights**2 * noise).sum(axis=0)) + LEAST_VARIANCE)


def fit(templates: Maps, maps: Maps) -> Maps:
    """Return the coefficients of least squares, up to a constant, `(n_map, n_template)`.

    Args:
        templates: `(n_template, n_pix)`.
        maps: `(n_map, n_pix)`.
    """
    centred = templates - templates.mean(axis=1, keepdims=True)
    scale = 1 / np.maximum(centred.std(axis=1), np.finfo(float).tiny)
    unit = centred * scale[:, None]
    # Sums over pixels by einsum, whose order does not depend on the threads of a linear algebra library.
    normal = np.einsum("ap,bp->ab", unit, unit)
    right = np.einsum("ap,mp->am", unit, maps)
    coefficients: Maps = (np.linalg.lstsq(normal, right, rcond=1e-14)[0] * scale[:, None]).T
    return coefficients
