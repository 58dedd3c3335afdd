"""Judge the spectra of filled maps: over the whole sky, against the spectrum of the very sky that they are of."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from cmbml.core.unit_io import UnitIO
from cmbml.metrics.footing import map_window
from cmbml.metrics.scores import Metric, Score
from cmbml.settings import settings
from cmbml.sky.case import require_map
from cmbml.sky.harmonics import alm_lmax, filter_components, iterated_analysis, power
from cmbml.sky.spectra import bin_spectrum
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import CLEANED_MAP, CMB_ALM, HOLE_MASK, HOLED_NOISE, HOLED_NOISE_SPECTRA
from cmbml.stages.maps import Maps

WHOLE_SKY = "whole sky"
"""The footing of these scores: no mask, the map's own beam."""
FILLED_SPECTRUM = Metric("spectrum_ratio", "spectrum of the filled map / expected", "", 1.0)


@settings
class FilledSpectra(Judge):
    """Compare the full-sky spectrum of a filled map with that of the true CMB under its beam and of the noise in it.

    One over all simulations where fillings have the statistics of the sky; below it where they are too smooth.

    Attributes:
        maps: what the maps of the dataset are.
        l_edges: multipoles at which bins begin and end; those beyond the maps' band limit are left out.
        noise_in_holes: whether fillings hold noise (`method.with_noise`).
    """

    maps: Maps
    l_edges: Annotated[tuple[int, ...], Field(min_length=2)]
    noise_in_holes: bool = False
    reads: ClassVar = (CLEANED_MAP, HOLE_MASK, HOLED_NOISE, HOLED_NOISE_SPECTRA, CMB_ALM)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the ratio of each spectrum in each bin."""
        filled, alm = require_map(io.read(CLEANED_MAP)), io.read(CMB_ALM)
        correlated, known = io.read(HOLED_NOISE_SPECTRA), io.read(HOLE_MASK).values[0] > 0.5
        n_comp, lmax = min(len(alm), len(filled.values)), correlated.shape[-1] - 1
        window = map_window(filled.spec, alm_lmax(alm.shape[-1]), n_comp, pixel_windows=self.maps.pixel_windows)
        truth = power(filter_components(alm[:n_comp].astype(np.complex128), window))[:, : lmax + 1]
        there = np.ones(known.size) if self.noise_in_holes else known.astype(np.float64)
        variance = (io.read(HOLED_NOISE).values.astype(np.float64) ** 2 * there).mean(axis=1) * 4 * np.pi / known.size
        # E and B share the noise of Q and U.
        white = variance if n_comp == 1 else np.array([variance[0], *[variance[1:].mean()] * 2])
        noise = white[:, None] + correlated * there.mean()
        found = power(iterated_analysis(filled.values.astype(np.float64), lmax, threads=io.threads))
        edges = np.array([edge for edge in self.l_edges if edge <= lmax + 1])
        for name, top, bottom in zip(("TT", "EE", "BB"), found, truth + noise, strict=False):
            ratios = bin_spectrum(top, edges) / bin_spectrum(bottom, edges)
            for (low, high), ratio in zip(pairwise(edges), ratios, strict=True):
                yield Score(FILLED_SPECTRUM, WHOLE_SKY, name, f"l {low}-{high - 1}", float(ratio))
