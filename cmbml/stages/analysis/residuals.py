"""Judge what is left in cleaned maps: their shapes and those of their residuals, and what foregrounds remain."""

import logging
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.report.inserts import inserts
from cmbml.figures.residuals import foregrounds_figure, shapes_figure
from cmbml.figures.simulation import nearest_channel
from cmbml.metrics.coupling import octave_bins
from cmbml.metrics.footing import Footing, map_window, windows
from cmbml.metrics.foregrounds import ALL, PREFIX, chance_correlation, component_metric, correlation_with
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.scores import Place, Score
from cmbml.metrics.shapes import FUNCTIONALS, THRESHOLDS, curves, shape_gaps, shapes
from cmbml.metrics.spectral import masked_alm
from cmbml.settings import PositiveFloat, settings
from cmbml.sims.downloads import DownloadError
from cmbml.sims.foregrounds import Grid, SkyError, seen
from cmbml.sky.harmonics import alm_lmax, cut_alm, derivatives, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.masks import degrade_mask
from cmbml.stages.analysis.figures import write_both
from cmbml.stages.analysis.judges import Judge, score_book, stacks_of
from cmbml.stages.analysis.metrics import AS_GIVEN, spec_of
from cmbml.stages.assets import (
    CMB_ALM,
    COMPONENT_ALM,
    FOREGROUNDS_FIGURE,
    FOREGROUNDS_FIGURE_PDF,
    MASK,
    MASK_APODISED,
    METHOD,
    PAGE_PICTURES,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    SCORE_STACK,
    SHAPES,
    SHAPES_FIGURE,
    SHAPES_FIGURE_PDF,
    SHAPES_STACK,
    SIM,
    SKY,
    SKY_RECIPE,
    SPLIT,
)
from cmbml.stages.maps import Maps
from cmbml.stages.sims.sky import model_from

log = logging.getLogger(f"cmbml.{__name__}")
LEAST_NSIDE = 64
"""At which shapes are sampled at least: coarse maps have too few pixels for fifty thresholds."""
FIELD = "I"


@settings
class ScoreShapes(Executor):
    """Measure the Minkowski functionals of truth, map and residual, of intensity, at one footing inside the mask.

    They are sampled at half of the dataset's nside: derivatives are exact at any point, so that means lose little;
    truth and map are looked at in the same places.

    Attributes:
        footing: where both are compared.
        maps: what the maps of the dataset are.
    """

    footing: Footing
    maps: Maps
    reads: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC, CMB_ALM, MASK)
    writes: ClassVar = (SHAPES,)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Bring both to the footing, differentiate, measure, write."""
        spec, prediction, truth = spec_of(io.read(PREDICTION_SPEC)), io.read(PREDICTION_ALM)[:1], io.read(CMB_ALM)[:1]
        nside, lmax = max(self.maps.nside // 2, LEAST_NSIDE), alm_lmax(truth.shape[-1])
        own = map_window(spec, lmax, 1, pixel_windows=self.maps.pixel_windows)
        scale = windows(spec, self.footing, lmax, 1, own)
        top = scale.top(float(np.finfo(truth.dtype).eps))
        at = [
            filter_components(cut_alm(alm, top), window[:, : top + 1])[0].astype(np.complex128)
            for alm, window in ((truth, scale.truth), (prediction, scale.prediction))
        ]
        mask = degrade_mask(io.read(MASK).values[0] > 0.5, nside, 0.999)
        dipole = MonopoleDipole.outside(mask)
        fields = []
        for alm in (at[0], at[1] - at[0]):
            field = derivatives(alm, nside, io.threads)
            field[0] = dipole.remove(field[0])
            fields.append(field[:, mask])
        io.write(SHAPES, shapes(*fields))


@settings
class JudgeShapes(Judge):
    """Say how far the shapes of a cleaned map and of its residual are from the truth's.

    Attributes:
        footing: where they were measured.
    """

    footing: Footing
    reads: ClassVar = (SHAPES,)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the largest gap of each functional."""
        for metric, (gap, floor) in shape_gaps(io.read(SHAPES)).items():
            yield Score(metric, self.footing.name, FIELD, "mask", gap, floor=floor, count=THRESHOLDS.size)


@settings
class MaskComponents(Executor):
    """Make each foreground of a sky by itself, as one channel sees it, and keep its masked coefficients.

    Nothing comes of skies of which nobody knows the recipe, or whose templates are not here.

    Attributes:
        channels: the instrument.
        reference_ghz: the channel nearest to this sees them.
        lmax: highest multipole.
    """

    channels: Mapping[str, Channel]
    reference_ghz: PositiveFloat
    lmax: PositiveInt
    reads: ClassVar = (MASK_APODISED,)
    may_read: ClassVar = (SKY_RECIPE,)
    may_write: ClassVar = (COMPONENT_ALM,)
    per: ClassVar = (SKY,)

    def disk_bytes(self) -> int:
        """Coefficients of eight components or so."""
        return 32 * self.lmax**2

    def process(self, io: UnitIO) -> None:
        """Emit each component, mask, analyse, write."""
        recipe = io.read_optional(SKY_RECIPE)
        if recipe is None:
            return
        model, grid = model_from(recipe), Grid(**recipe["grid"])
        name = nearest_channel({name: channel.freq_ghz for name, channel in self.channels.items()}, self.reference_ghz)
        weight = io.read(MASK_APODISED).values[0]
        dipole, found = MonopoleDipole.outside(weight > 0), []
        missing = [path for path in model.files() if not path.exists()]
        try:
            if missing:
                message = f"{missing[0]} is not here"
                raise SkyError(message)  # noqa: TRY301
            for part in model.parts().values():
                values = next(iter(seen(part, recipe["seed"], [self.channels[name]], grid, io.threads)))[:1]
                found.append(masked_alm(values, weight, self.lmax, dipole, 0, io.threads)[0])
        except (SkyError, DownloadError) as error:
            log.warning("no correlation with the foregrounds of sky %s: %s", io.key[SKY], error)
            return
        io.write(COMPONENT_ALM, np.stack(found).astype(np.complex64))


@settings
class JudgeForegrounds(Judge):
    """Correlate the residual of intensity, as given, with each foreground, in bins of half an octave.

    Attributes:
        maps: what the maps of the dataset are.
        lmax: highest multipole.
    """

    maps: Maps
    lmax: PositiveInt
    reads: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC, CMB_ALM, MASK_APODISED)
    may_read: ClassVar = (COMPONENT_ALM, SKY_RECIPE)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the correlation with each component, and with all of them together, in every bin."""
        components = io.read_optional(COMPONENT_ALM)
        if components is None:
            return
        recipe = io.read(SKY_RECIPE)
        names = [*model_from(recipe).parts(), ALL]
        spec, prediction, truth = spec_of(io.read(PREDICTION_SPEC)), io.read(PREDICTION_ALM)[:1], io.read(CMB_ALM)[:1]
        top = alm_lmax(prediction.shape[-1])
        own = map_window(spec, top, 1, pixel_windows=self.maps.pixel_windows)
        error = prediction - filter_components(cut_alm(truth, top), own)
        weight = io.read(MASK_APODISED).values[0]
        residual = synthesise(error, self.maps.nside, io.threads)
        dipole = MonopoleDipole.outside(weight > 0)
        alm = masked_alm(residual, weight, self.lmax, dipole, 0, io.threads)[0].astype(np.complex128)
        wide = np.concatenate([components, components.sum(axis=0, keepdims=True)]).astype(np.complex128)
        edges = octave_bins(self.lmax)
        squared = np.square(weight, dtype=np.float64)
        chance = chance_correlation(float(squared.mean() ** 2 / np.square(squared).mean()), edges)
        for name, row in zip(names, correlation_with(alm, wide, edges), strict=True):
            for low, high, r, floor in zip(edges[:-1], edges[1:], row, chance, strict=True):
                region = f"l {low}-{high - 1}"
                yield Score(
                    component_metric(name), AS_GIVEN, FIELD, region, float(r), floor=0.0, noise_floor=float(floor)
                )


@settings
class DrawResiduals(Executor):
    """Draw the shapes of all methods' maps and residuals, and what these have in common with each foreground."""

    reads: ClassVar = (SHAPES_STACK, SCORE_STACK)
    writes: ClassVar = (SHAPES_FIGURE, SHAPES_FIGURE_PDF, PAGE_PICTURES)
    may_write: ClassVar = (FOREGROUNDS_FIGURE, FOREGROUNDS_FIGURE_PDF)
    per: ClassVar = (SPLIT,)

    def disk_bytes(self) -> int:
        """Two figures, each three times."""
        return 1_500_000

    def process(self, io: UnitIO) -> None:
        """Read all, draw, write."""
        stacks = stacks_of(io, SHAPES_STACK)
        methods = list(stacks)
        found = {method: curves({**stack.words, **stack.numbers}) for method, stack in stacks.items()}
        first = next(iter(stacks.values()))
        expected = curves({**first.words, **first.numbers}, "gaussian")
        figure = shapes_figure(THRESHOLDS, {name: expected["truth", name].mean(axis=0) for name in FUNCTIONALS}, found)
        write_both(io, (SHAPES_FIGURE, SHAPES_FIGURE_PDF), figure)
        pictures = {
            "Minkowski functionals at 50 thresholds: the truth, how far maps are from it, and residuals, each in "
            "standard deviations of its own. Means over simulations": figure
        }
        if panels := self._correlations(io):
            edges, chance, of = panels
            figure = foregrounds_figure(edges, chance, of, methods)
            write_both(io, (FOREGROUNDS_FIGURE, FOREGROUNDS_FIGURE_PDF), figure)
            caption = (
                "Correlation of residuals with each foreground. Mean and spread over simulations; grey: what chance "
                "gives. It says what a residual is made of, not how large it is"
            )
            pictures[caption] = figure
        io.write(PAGE_PICTURES, inserts(pictures))

    def _correlations(
        self, io: UnitIO
    ) -> tuple[np.ndarray, np.ndarray, dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]] | None:
        """Return edges of bins, what chance gives, and component -> method -> mean and spread over simulations."""
        book = score_book(io)
        label = component_metric("").label
        metrics = [metric for name, metric in book.metrics.items() if name.startswith(PREFIX)]
        metrics = [metric for metric in metrics if metric.label.startswith(label)]
        if not metrics:
            return None
        places = [place for place in book.places if place.metric == metrics[0].name]
        bins = sorted({tuple(int(end) for end in place.region.removeprefix("l ").split("-")) for place in places})
        of: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        chance = np.full(len(bins), np.nan)
        for metric in metrics:
            rows: dict[str, np.ndarray] = {}
            for number, (low, high) in enumerate(bins):
                place = Place(AS_GIVEN, FIELD, f"l {low}-{high}", metric.name)
                for method, values in book.at(place).items():
                    rows.setdefault(method, np.full((len(book.sims), len(bins)), np.nan))[:, number] = values
                for values in book.at(place, "noise_floor").values():
                    chance[number] = np.nanmean(values)
            of[metric.label.removeprefix(label)] = {
                method: (np.nanmean(values, axis=0), np.nanstd(values, axis=0)) for method, values in rows.items()
            }
        edges = np.array([low for low, _ in bins] + [bins[-1][1] + 1])
        return edges, chance, of
