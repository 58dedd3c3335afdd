"""Judge filled holes, and draw them."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.holes import FilledHole, filled_holes_figure
from cmbml.figures.report.inserts import inserts
from cmbml.metrics.footing import map_window
from cmbml.metrics.holes import (
    COLOUR_METRICS,
    ENERGY_SCORE,
    HOLE_METRICS,
    colour_metrics,
    energy_score,
    hole_metrics,
    hole_regions,
    hole_uncertainty,
    pixels_around,
    square_patch,
)
from cmbml.metrics.scores import Score
from cmbml.metrics.uncertainty import ERROR_BAR_METRICS
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.case import require_map
from cmbml.sky.harmonics import Alm, alm_lmax, filter_components, synthesise
from cmbml.sky.holes import Hole, separate_holes
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import PatchSpec, cut
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import (
    CLEANED_MAP,
    CMB_ALM,
    HOLE_MASK,
    HOLE_PICTURES,
    METHOD,
    PAGE_PICTURES,
    SAMPLES,
    SIM,
    SPLIT,
    UNCERTAINTY_MAP,
)
from cmbml.stages.maps import Maps

IN_HOLES = "the map's beam"
"""The footing of these scores."""
PATCH_REGIONS = ("patches", "holes in patches")


def true_map(alm: Alm, spec: MapSpec, maps: Maps, threads: int) -> NDArray[np.float64]:
    """Return the true CMB as a map sees it, without noise, `(n_field, n_pix)`."""
    n_comp = min(len(alm), len(spec.fields))
    window = map_window(spec, alm_lmax(alm.shape[-1]), n_comp, pixel_windows=maps.pixel_windows)
    return synthesise(filter_components(alm[:n_comp], window), spec.nside, threads).astype(np.float64)


@settings
class InHoles(Judge):
    """Compare what was filled in with the true CMB under the map's beam.

    Attributes:
        maps: what the maps of the dataset are.
        patch_deg: side of the patches around holes whose pictures are compared, too, deg.
    """

    maps: Maps
    patch_deg: PositiveFloat = 10.0
    reads: ClassVar = (CLEANED_MAP, HOLE_MASK, CMB_ALM)
    may_read: ClassVar = (UNCERTAINTY_MAP, SAMPLES)
    own_skies: ClassVar = True

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of each field, in all holes, by distance from the edge, by radius, and of patches."""
        filled = require_map(io.read(CLEANED_MAP))
        given = io.read_optional(UNCERTAINTY_MAP)
        drawn = io.read_optional(SAMPLES) or ()
        truth = true_map(io.read(CMB_ALM), filled.spec, self.maps, io.threads)
        observed = io.read(HOLE_MASK).values[0] > 0.5
        regions = list(hole_regions(observed))
        patches = pixels_around(filled.spec, observed, self.patch_deg)
        for i, field in enumerate(filled.spec.fields[: len(truth)]):
            variance = float(truth[i].var())
            pictures = colour_metrics(truth[i], filled.values[i].astype(np.float64), patches) if patches else []
            for region, found in zip(PATCH_REGIONS, pictures, strict=False):
                for metric, value in zip(COLOUR_METRICS, found, strict=True):
                    yield Score(metric, IN_HOLES, field, region, value, count=len(patches))
            for region, pixels in regions:
                t, f = truth[i][pixels], filled.values[i][pixels].astype(np.float64)
                for metric, value in zip(HOLE_METRICS, hole_metrics(t, f, variance), strict=True):
                    yield Score(metric, IN_HOLES, field, region, value, count=pixels.size)
                if given is not None:
                    sigma = given.values[i][pixels].astype(np.float64)
                    for metric, value in zip(ERROR_BAR_METRICS, hole_uncertainty(t, f, sigma), strict=True):
                        yield Score(metric, IN_HOLES, field, region, value, count=pixels.size)
                if len(drawn) > 1:
                    samples = np.stack([one.values[i][pixels] for one in drawn])
                    yield Score(ENERGY_SCORE, IN_HOLES, field, region, energy_score(t, samples), count=pixels.size)


@settings
class DrawHoles(Executor):
    """Draw some holes of the first simulation: what is true, what is known, and what every method fills in.

    Attributes:
        maps: what the maps of the dataset are.
        patch_deg: side of the patches, deg.
        holes: how many, from the smallest to the largest that a patch can hold.
    """

    maps: Maps
    patch_deg: PositiveFloat = 10.0
    holes: PositiveInt = 3
    reads: ClassVar = (CLEANED_MAP, HOLE_MASK, CMB_ALM)
    may_read: ClassVar = (UNCERTAINTY_MAP,)
    writes: ClassVar = (HOLE_PICTURES, PAGE_PICTURES)
    per: ClassVar = (SPLIT,)

    def process(self, io: UnitIO) -> None:
        """Choose, cut, draw."""
        only = {SIM: io.along(CMB_ALM, SIM)[:1]}
        mask = next(found for _, found in io.read_all(HOLE_MASK, only))
        alm = next(found for _, found in io.read_all(CMB_ALM, only))
        filled = {key[METHOD]: require_map(found) for key, found in io.read_all(CLEANED_MAP, only)}
        sigmas = {key[METHOD]: require_map(found) for key, found in io.read_all(UNCERTAINTY_MAP, only)}
        # Of intensity alone; the truth under the maps' beam, as they see it.
        spec, observed = next(iter(filled.values())).spec.with_(fields="I"), mask.values[0] > 0.5
        truth = true_map(alm, spec, self.maps, io.threads)[0]
        patch, drawn = square_patch(spec, self.patch_deg), []
        for hole in self._chosen(separate_holes(observed)):
            centre = np.array([[*hole.centre, 0.0]])
            known = cut(observed[np.newaxis].astype(np.float32), patch, centre, "nearest")[0, 0] > 0.5
            title = f"radius {hole.radius_deg:.2g} deg, l = {hole.centre[0] % 360:.0f}, b = {hole.centre[1]:.0f}"
            images = (
                {name: _image(sky.values[0], patch, centre) for name, sky in of.items()} for of in (filled, sigmas)
            )
            drawn.append(FilledHole(title, _image(truth, patch, centre), known, *images))
        figure = filled_holes_figure(drawn, self.patch_deg)
        io.write(HOLE_PICTURES, figure)
        caption = (
            f"Holes of {only[SIM][0]} as every method fills them, patches of {self.patch_deg:g} degrees; below each "
            "its error in the hole, and how large it says that is"
        )
        io.write(PAGE_PICTURES, inserts({caption: figure}))

    def _chosen(self, holes: list[Hole]) -> list[Hole]:
        """Return holes of all sizes; the smallest there is where all are too large."""
        by_size = sorted(holes, key=lambda hole: hole.radius_deg)
        fitting = [hole for hole in by_size if hole.reach_deg < self.patch_deg / 2] or by_size[:1]
        places = np.unique(np.linspace(0, len(fitting) - 1, self.holes).round().astype(int))
        return [fitting[place] for place in places]


def _image(values: NDArray[Any], patch: PatchSpec, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut one patch from a map, `(n_pix,)`."""
    found: NDArray[np.float64] = cut(values[np.newaxis], patch, centre)[0, 0].astype(np.float64)
    return found
