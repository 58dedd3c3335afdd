"""Judge error bars as they were given: of maps, of patches, and of the spectra that some methods tell beside them."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.error_bars import error_bars_figure
from cmbml.figures.recovered import recovered_figure
from cmbml.figures.report.inserts import inserts
from cmbml.figures.results import Section
from cmbml.methods.base import ChannelName
from cmbml.metrics.bandpowers import true_bandpowers
from cmbml.metrics.footing import map_window, to_conventions, unit_factor
from cmbml.metrics.patches import BANDS
from cmbml.metrics.pixel import Regions, State
from cmbml.metrics.recovered import (
    HEADS,
    LEVELS,
    PUBLISHED_LMAX,
    RECOVERED_METRICS,
    WITHIN,
    recovered,
    recovered_lines,
    recovered_of,
)
from cmbml.metrics.scores import Score
from cmbml.metrics.uncertainty import (
    BANDPOWER_METRICS,
    PIT_METRICS,
    RIGHT,
    UNCERTAINTY_METRICS,
    brightness_classes,
    error_bar_rows,
    error_bar_table,
    error_state,
    sweep_uncertainty,
    uncertainty_metrics,
)
from cmbml.settings import settings
from cmbml.sky.case import Bandpowers, require_map
from cmbml.sky.centres import tiles
from cmbml.sky.harmonics import alm_lmax, filter_components, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.patches import Patches
from cmbml.stages.analysis.figures import write_both
from cmbml.stages.analysis.judges import Judge, score_book
from cmbml.stages.analysis.metrics import AS_GIVEN, BY_PATCHES, OnPixels, spec_of
from cmbml.stages.assets import (
    BANDPOWERS,
    CLEANED_MAP,
    CMB_ALM,
    CMB_PATCHES,
    FREQ,
    MASK,
    OBS_MAP,
    OBS_PATCHES,
    PREDICTION_SPEC,
    RECOVERED_FIGURE,
    RECOVERED_FIGURE_PDF,
    RECOVERED_MARKDOWN,
    RECOVERED_PAGE,
    SCORE_STACK,
    SPLIT,
    UNCERTAINTY_FIGURE,
    UNCERTAINTY_FIGURE_PDF,
    UNCERTAINTY_MAP,
    UNCERTAINTY_MARKDOWN,
)

T = TypeVar("T")
TILE_NSIDE = 3
"""Of the tiles by which patches are left out: 20 degrees wide, as patches are."""


@settings
class ErrorBars(OnPixels):
    """Compare a method's errors with its error bars, if these are at the resolution and in the frame of the dataset.

    Attributes:
        tracer: the channel by whose brightness pixels are sorted into fifths; None: the one of the highest frequency.
        channels: the instrument.
    """

    tracer: ChannelName | None = None
    channels: Mapping[str, Channel]
    reads: ClassVar = (CLEANED_MAP, PREDICTION_SPEC, CMB_ALM, MASK)
    may_read: ClassVar = (UNCERTAINTY_MAP, OBS_MAP, BANDPOWERS)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of each field and region, as given, and of the spectra of patches."""
        given, spec = io.read_optional(UNCERTAINTY_MAP), spec_of(io.read(PREDICTION_SPEC))
        sigma = None if given is None else require_map(given)
        if sigma is None or (sigma.spec.nside, sigma.spec.frame) != (self.maps.nside, spec.frame):
            return
        cleaned, truth = require_map(io.read(CLEANED_MAP)), io.read(CMB_ALM)
        n_comp = min(len(truth), len(cleaned.values))
        own = map_window(spec, alm_lmax(truth.shape[-1]), n_comp, pixel_windows=self.maps.pixel_windows)
        tracer = traced(io, OBS_MAP, self.tracer, self.channels)
        regions, dipole = self.parts_of_the_sky(io, tracer)
        alm = filter_components(truth[:n_comp], own)
        seen = synthesise(alm, cleaned.spec.nside, io.threads)
        prediction = to_conventions(cleaned, "uK_CMB").values
        bars = np.multiply(sigma.values, unit_factor(sigma.spec.unit, "uK_CMB"), dtype=np.float32)
        for i, field in enumerate(cleaned.spec.fields[:n_comp]):
            t, p = (dipole.remove(values[i]) if field == "I" else values[i] for values in (seen, prediction))
            yield from of_regions(sweep_uncertainty(t, p, bars[i], regions), AS_GIVEN, field)
        if (told := io.read_optional(BANDPOWERS)) is not None:
            truths = true_bandpowers(told, alm, io.threads)
            yield from of_spectra(told, truths)
            # Whoever tells of which patches the spectra are tells where these lie.
            yield from of_recovered(told, truths, tiles(np.asarray(told.centres), TILE_NSIDE))


def traced(io: UnitIO, asset: Asset[T], tracer: str | None, channels: Mapping[str, Channel]) -> T | None:
    """Read the channel in which dust is brightest; None where observations are not there.

    Args:
        io: of a unit that may read observations.
        asset: which these are.
        tracer: which channel; None: the one of the highest frequency that there is.
        channels: the instrument.
    """
    there = [name for name in io.along(asset, FREQ) if tracer in {None, name}]
    if not there:
        return None
    highest = max(there, key=lambda name: channels[name].freq_ghz)
    return next((found for _, found in io.read_all(asset, {FREQ: [highest]})), None)


def of_regions(states: Mapping[str, State], footing: str, field: str) -> Iterator[Score]:
    """Give the metrics of each region; the histogram of PITs of the whole and of classes of brightness alone."""
    whole = next(iter(states))
    for region, state in states.items():
        found = uncertainty_metrics(state)
        more = PIT_METRICS if region == whole or region.startswith("dust") else ()
        for metric in (*UNCERTAINTY_METRICS, *more):
            yield Score(metric, footing, field, region, found[metric.name], count=state.n)


def of_spectra(told: Bandpowers, truth: np.ndarray) -> Iterator[Score]:
    """Give the metrics of each bin of the spectra of a simulation's patches, and of all bins in their own sigmas.

    Args:
        told: by a method.
        truth: D_l of the true patches, `(n_patch, n_bin)`.
    """
    error = told.d_ell - truth
    bins = list(zip(told.l_edges[:-1], told.l_edges[1:], strict=True))
    for k, (low, high) in enumerate(bins):
        found = uncertainty_metrics(error_state(error[:, k], told.sigma[:, k]))
        for metric, value in zip(BANDPOWER_METRICS, found.values(), strict=False):
            yield Score(metric, BY_PATCHES, "I", f"l {low:.0f}-{high:.0f}", value, count=len(error))
    whole = uncertainty_metrics(error_state(error.ravel(), told.sigma.ravel()))
    for metric in (*BANDPOWER_METRICS[:3], *PIT_METRICS):
        yield Score(metric, BY_PATCHES, "I", "all bins", whole[metric.name], count=error.size)


def of_recovered(told: Bandpowers, truth: np.ndarray, where: np.ndarray) -> Iterator[Score]:
    """Give how the spectra of a simulation's patches compare with the true ones, in each bin.

    Args:
        told: by a method.
        truth: D_l of the true patches, `(n_patch, n_bin)`.
        where: `(n_patch,)`, the tile that each patch is in.
    """
    bins = list(zip(told.l_edges[:-1], told.l_edges[1:], strict=True))
    for metric, values in zip(RECOVERED_METRICS, recovered(told.d_ell, truth, where), strict=True):
        for (low, high), value in zip(bins, values, strict=True):
            yield Score(metric, BY_PATCHES, "I", f"l {low:.0f}-{high:.0f}", float(value), count=len(truth))


@settings
class PatchErrorBars(Judge):
    """Compare errors with error bars on patches that were drawn flat, by latitude and by brightness.

    Attributes:
        tracer: the channel by whose brightness pixels are sorted into fifths; None: the one of the highest frequency.
        channels: the instrument.
    """

    tracer: ChannelName | None = None
    channels: Mapping[str, Channel]
    reads: ClassVar = (CLEANED_MAP, CMB_PATCHES)
    may_read: ClassVar = (UNCERTAINTY_MAP, OBS_PATCHES, BANDPOWERS)
    own_skies: ClassVar = True

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of all pixels, of bands, of fifths, and of the spectra of patches."""
        given, truth, answer = io.read_optional(UNCERTAINTY_MAP), io.read(CMB_PATCHES), io.read(CLEANED_MAP)
        if given is None:
            return
        if not isinstance(answer, Patches):
            return
        t, p, s = (np.asarray(field.values)[:, 0].ravel() for field in (truth, answer, given))
        latitude = np.abs(truth.centres[:, 1])
        of_pixels = np.repeat(latitude, t.size // len(latitude))
        bands = {band: (of_pixels >= low) & (of_pixels <= high) for band, (low, high) in BANDS.items()}
        tracer = traced(io, OBS_PATCHES, self.tracer, self.channels)
        everywhere = np.ones(t.size, bool)
        if tracer is not None:
            bands |= brightness_classes(np.asarray(tracer.values)[:, 0].ravel(), everywhere)
        yield from of_regions(sweep_uncertainty(t, p, s, Regions.of_members(bands)), AS_GIVEN, "I")
        if (told := io.read_optional(BANDPOWERS)) is not None:
            truths = true_bandpowers(told, truth, io.threads)
            yield from of_spectra(told, truths)
            yield from of_recovered(told, truths, np.arange(len(truths)))


@settings
class CompareErrorBars(Executor):
    """Put the error bars of all methods that tell them side by side: a table, and a figure of coverages and PITs."""

    reads: ClassVar = (SCORE_STACK,)
    may_write: ClassVar = (UNCERTAINTY_MARKDOWN, UNCERTAINTY_FIGURE, UNCERTAINTY_FIGURE_PDF)
    per: ClassVar = (SPLIT,)

    def disk_bytes(self) -> int:
        """A table, and a figure twice."""
        return 300_000

    def process(self, io: UnitIO) -> None:
        """Read all scores, write; nothing where no method tells error bars."""
        book = score_book(io)
        rows: Any = error_bar_rows(book)
        if not rows:
            return
        io.write(UNCERTAINTY_MARKDOWN, error_bar_table(rows))
        figure = error_bars_figure([(row.method, *row.place, row.values) for row in rows], list(book.stacks), RIGHT)
        write_both(io, (UNCERTAINTY_FIGURE, UNCERTAINTY_FIGURE_PDF), figure)


@settings
class CompareRecovered(Executor):
    """Put the spectra that methods recover on patches beside the true ones, and beside what was published."""

    reads: ClassVar = (SCORE_STACK,)
    may_write: ClassVar = (RECOVERED_FIGURE, RECOVERED_FIGURE_PDF, RECOVERED_MARKDOWN, RECOVERED_PAGE)
    per: ClassVar = (SPLIT,)

    def disk_bytes(self) -> int:
        """A figure three times."""
        return 600_000

    def process(self, io: UnitIO) -> None:
        """Read all scores, write; nothing where no method tells spectra."""
        book = score_book(io)
        found = recovered_of(book)
        if not found:
            return
        drawn = {}
        for method, one in found.items():
            mean = one.mean
            bands = np.stack([mean[name] for name in LEVELS])
            drawn[method] = (one.edges, mean[RECOVERED_METRICS[0].name], one.scatter, bands)
        figure = recovered_figure(drawn, list(book.stacks), (PUBLISHED_LMAX, WITHIN))
        write_both(io, (RECOVERED_FIGURE, RECOVERED_FIGURE_PDF), figure)
        section = Section.plain(
            "Spectra that are recovered on patches",
            "Ratio of the sums over patches to the true ones, up to l = 1400 where there are such bins. Its scatter is "
            "the standard error over simulations, or over tiles of the sky where there is one. The paper prints "
            "l < 700, and its multipoles are half of the true ones.",
            HEADS,
            recovered_lines(found),
            words=3,
        )
        io.write(RECOVERED_MARKDOWN, section.markdown())
        io.write(
            RECOVERED_PAGE,
            inserts({"Recovered over true spectra of patches (figure 7 of the paper)": figure}, [section]),
        )
