"""How the spectra of recovered patches compare with the true ones, patch by patch (Aylor et al. 2019, figure 7).

The paper divides by the mean of the true spectra, so that its bands hold the scatter of the CMB itself; here each patch
is compared with its own truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.scores import LOW, Metric, ScoreBook

Float = NDArray[np.float64]
LEVELS = {"d_ell_ratio_p2": 2.5, "d_ell_ratio_p16": 16.0, "d_ell_ratio_p50": 50.0}
LEVELS |= {"d_ell_ratio_p84": 84.0, "d_ell_ratio_p97": 97.5}
"""Metrics that are percentiles over patches: the median, and the ends of the 68 % and 95 % bands."""
WITHIN = 0.01
"""An error that the paper calls recovered."""
PUBLISHED_LMAX = 1400.0
"""Up to which the paper's network cleans most patches to 1 %: it prints 700, in units of half the true multipoles."""
SPECTRUM_RATIO = Metric("d_ell_ratio", "D_l over the true one", "", 1.0)
RECOVERED_METRICS = (
    SPECTRUM_RATIO,
    Metric("d_ell_ratio_error", "its scatter, by tiles of the sky", "", LOW),
    *(Metric(name, f"D_l over the true one, {level:g} % of patches below", "", 1.0) for name, level in LEVELS.items()),
    Metric("d_ell_within", "patches whose D_l is within 1 %", "", 1.0),
)
"""What `recovered` gives of every bin, in its order."""


def recovered(found: Float, truth: Float, tiles: NDArray[np.integer]) -> Float:
    """Compare the spectra of patches.

    Args:
        found: `(n_patch, n_bin)`, D_l of recovered patches.
        truth: the same of the true ones.
        tiles: `(n_patch,)`, which patches overlap and are left out together.

    Returns:
        `(n_metric, n_bin)`, `RECOVERED_METRICS`: the ratio of the sums over patches, its standard error by a jackknife
        over tiles (NaN with fewer than two), percentiles over patches, and the part of patches within 1 %.
    """
    _, which = np.unique(tiles, return_inverse=True)
    number = int(which.max()) + 1
    sums = np.stack([[np.bincount(which, column, number) for column in of.T] for of in (found, truth)])
    totals = sums.sum(axis=2)
    ratio = totals[0] / totals[1]
    error = np.full_like(ratio, np.nan)
    if number > 1:
        left = totals[:, :, None] - sums
        without = left[0] / left[1]
        error = np.sqrt((number - 1) * ((without - without.mean(axis=1, keepdims=True)) ** 2).mean(axis=1))
    ratios = found / truth
    bands = np.percentile(ratios, list(LEVELS.values()), axis=0)
    within = (np.abs(ratios - 1) < WITHIN).mean(axis=0)
    return np.stack([ratio, error, *bands, within])


@dataclass(frozen=True)
class Recovered:
    """The spectra that a method recovers, over simulations.

    Attributes:
        footing: where they were compared.
        edges: `(n_bin, 2)`, multipoles at which bins begin and end.
        values: metric -> `(n_sim, n_bin)`.
    """

    footing: str
    edges: Float
    values: Mapping[str, Float]

    @property
    def mean(self) -> Mapping[str, Float]:
        """Metric -> mean over simulations, `(n_bin,)`."""
        return {name: np.nanmean(of, axis=0) for name, of in self.values.items()}

    @property
    def scatter(self) -> Float:
        """Standard error of the mean ratio, `(n_bin,)`: from skies where there are several, else from tiles."""
        ratios = self.values[SPECTRUM_RATIO.name]
        if len(ratios) > 1:
            spread: Float = np.nanstd(ratios, axis=0, ddof=1) / np.sqrt(len(ratios))
            return spread
        alone: Float = self.values["d_ell_ratio_error"][0]
        return alone


def recovered_of(book: ScoreBook, field: str = "I") -> dict[str, Recovered]:
    """Gather what was scored of recovered spectra; of a method that was scored at several footings, the last."""
    out = {}
    for method, stack in book.stacks.items():
        rows = stack.where(field=field, metric="d_ell_within")
        for footing in dict.fromkeys(rows.words["footing"].tolist()):
            here = stack.where(field=field, footing=footing)
            regions = rows.where(footing=footing).words["region"].tolist()
            regions.sort(key=lambda region: float(region.removeprefix("l ").split("-")[0]))
            values = {
                metric.name: np.stack(
                    [here.where(region=region, metric=metric.name).numbers["value"][:, 0] for region in regions], axis=1
                )
                for metric in RECOVERED_METRICS
            }
            edges = np.array([[float(end) for end in region.removeprefix("l ").split("-")] for region in regions])
            out[method] = Recovered(footing, edges, values)
    return out


HEADS = ("method", "where", "bins", "rms of ratio - 1 (%)", "largest (%)", "its scatter (%)", "patches within 1 % (%)")


def recovered_lines(found: Mapping[str, Recovered]) -> Sequence[Sequence[str]]:
    """Lay out how well spectra are recovered up to l = 1400 under `HEADS`, and below it what the paper prints."""
    lines = []
    for method, one in found.items():
        low = one.edges[:, 1] <= PUBLISHED_LMAX
        low = low if low.any() else np.ones_like(low)
        mean, where = one.mean, one.edges[low]
        off = 100 * (mean[SPECTRUM_RATIO.name][low] - 1)
        numbers = (np.sqrt(np.mean(off**2)), np.abs(off).max(), 100 * np.sqrt(np.mean(one.scatter[low] ** 2)))
        cells = (*(f"{value:.2g}" for value in numbers), f"{100 * mean['d_ell_within'][low].mean():.0f}")
        lines.append([method, one.footing, f"l = {where[0, 0]:.0f}-{where[-1, 1]:.0f}", *cells])
    return [*lines, ["ResUNet, as published", "20 degrees, 143, 353, 545 GHz", "l < 1400", "", "", "", "most"]]
