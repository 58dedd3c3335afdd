"""Judge filled holes."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from cmbml.core.unit_io import UnitIO
from cmbml.metrics.footing import map_window
from cmbml.metrics.holes import HOLE_METRICS, hole_metrics, hole_regions, hole_uncertainty
from cmbml.metrics.scores import Score
from cmbml.metrics.uncertainty import UNCERTAINTY_METRICS
from cmbml.settings import settings
from cmbml.sky.case import require_map
from cmbml.sky.harmonics import alm_lmax, filter_components, synthesise
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import CLEANED_MAP, CMB_ALM, HOLE_MASK, UNCERTAINTY_MAP
from cmbml.stages.maps import Maps

IN_HOLES = "the map's beam"
"""The footing of these scores."""


@settings
class InHoles(Judge):
    """Compare what was filled in with the true CMB under the map's beam.

    Attributes:
        maps: what the maps of the dataset are.
    """

    maps: Maps
    reads: ClassVar = (CLEANED_MAP, HOLE_MASK, CMB_ALM)
    may_read: ClassVar = (UNCERTAINTY_MAP,)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of each field, in all holes and by distance from the edge."""
        filled, alm = require_map(io.read(CLEANED_MAP)), io.read(CMB_ALM)
        given = io.read_optional(UNCERTAINTY_MAP)
        n_comp, lmax = min(len(alm), len(filled.values)), alm_lmax(alm.shape[-1])
        window = map_window(filled.spec, lmax, n_comp, pixel_windows=self.maps.pixel_windows)
        truth = synthesise(filter_components(alm[:n_comp], window), filled.spec.nside, io.threads).astype(np.float64)
        regions = list(hole_regions(io.read(HOLE_MASK).values[0] > 0.5))
        for i, field in enumerate(filled.spec.fields[:n_comp]):
            variance = float(truth[i].var())
            for region, pixels in regions:
                t, f = truth[i][pixels], filled.values[i][pixels].astype(np.float64)
                for metric, value in zip(HOLE_METRICS, hole_metrics(t, f, variance), strict=True):
                    yield Score(metric, IN_HOLES, field, region, value, count=pixels.size)
                if given is not None:
                    sigma = given.values[i][pixels].astype(np.float64)
                    for metric, value in zip(UNCERTAINTY_METRICS, hole_uncertainty(t, f, sigma), strict=True):
                        yield Score(metric, IN_HOLES, field, region, value, count=pixels.size)
