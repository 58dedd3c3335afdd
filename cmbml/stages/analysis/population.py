"""Judge generated patches: how far they are from real ones, in units of how far halves of the sky are apart."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.core.asset import Asset
from cmbml.core.errors import ConfigError
from cmbml.core.executor import Executor
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.figures.population import example_draws, pixel_histograms, power_distributions, shape_bands, spectra_bands
from cmbml.figures.report.inserts import inserts
from cmbml.figures.results import Section, TextTable
from cmbml.metrics.population import (
    LEAST_VARIETY,
    POWER,
    STATISTICS,
    Compared,
    Population,
    Range,
    against_itself,
    bands,
    between_halves,
    collapsed,
    compare,
    far_apart,
    measure,
    nearest,
    scale_numbers,
)
from cmbml.metrics.scores import Score, ScoreError
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.centres import tiles
from cmbml.sky.maps import SkyMap
from cmbml.sky.patches import Patches, axes_of
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import (
    CLEANED_MAP,
    DUST_PATCHES,
    METHOD,
    PAGE_PARTS,
    POPULATION,
    POPULATION_EXAMPLES,
    POPULATION_PIXELS,
    POPULATION_SCALES,
    POPULATION_SHAPES,
    POPULATION_SPECTRA,
    POPULATION_TABLE,
    SIM,
    SPLIT,
)

log = logging.getLogger(f"cmbml.{__name__}")
Float = NDArray[np.float64]
Scales = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
FOOTING = "patches"
"""The footing of these scores."""
VARIETY = [metric.name for metric in STATISTICS].index("variety")


def squares(field: SkyMap | Patches, what: str) -> Patches:
    """Return a field that is a set of square patches.

    Args:
        field: patches.
        what: whose, for messages.

    Raises:
        ScoreError: it is something else.
    """
    if not isinstance(field, Patches) or field.spec.height != field.spec.width:
        message = f"{what} is no set of square patches: stages=population is for what main_generate.py has made"
        raise ScoreError(message)
    return field


def logs_of(patches: Patches, what: str) -> Float:
    """Return the decimal logarithm of patches, `(n_patch, side, side)`.

    Raises:
        ScoreError: pixels have none.
    """
    values = patches.values[:, 0].astype(np.float64)
    if not (values > 0).all():
        message = f"{int((~(values > 0)).sum())} pixels of {what} are not above zero, and have no logarithm"
        raise ScoreError(message)
    found: Float = np.log10(values)
    return found


@dataclass(frozen=True)
class _Set:
    """A set of patches, and what is measured of it."""

    patches: Patches
    logs: Float
    measured: Population

    @classmethod
    def of(cls, field: SkyMap | Patches, what: str, limits: Range, tile_nside: int) -> "_Set":
        patches = squares(field, what)
        logs = logs_of(patches, what)
        side, numbers = float(np.radians(patches.spec.sides_deg[1])), tiles(patches.centres, tile_nside)
        return cls(patches, logs, measure(logs, side, limits, numbers))


def _require_alike(drawn: Patches, real: Patches, what: str) -> None:
    if wrong := drawn.spec.difference(real.spec, "height", "width", "pixel_arcmin", "projection"):
        message = f"the patches of {what} are not such as the real ones: {wrong}"
        raise ScoreError(message)


@settings
class JudgePopulation(Judge):
    """Compare a set of generated patches with the real set of its split.

    The floors are what the real set scores against itself with its tiles drawn again.

    Attributes:
        scales: multipoles at which the distribution of the power is compared.
        tile_nside: of the tiles that are drawn again: 3 makes them 20 degrees wide.
        n_boot: how often they are.
    """

    scales: Scales
    tile_nside: PositiveInt = 3
    n_boot: PositiveInt = 200
    reads: ClassVar = (CLEANED_MAP, DUST_PATCHES)
    own_skies: ClassVar = True

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give every statistic."""
        truth, answer = io.read(DUST_PATCHES), io.read(CLEANED_MAP)
        limits = Range.of(logs_of(truth, "the real set"))
        real = _Set.of(truth, "the real set", limits, self.tile_nside).measured
        found = _Set.of(answer, io.key[METHOD], limits, self.tile_nside)
        _require_alike(found.patches, truth, io.key[METHOD])
        rng = io.rng("bootstrap")
        found_values = compare(found.measured, real, self.scales, 1, rng).values
        floors = against_itself(real, self.scales, self.n_boot, rng).values
        if collapsed(found_values[VARIETY]):
            log.warning("%s", collapse_note(io.key[METHOD], found_values[VARIETY]))
        at = [(metric, "all patches") for metric in STATISTICS]
        at += [(POWER, f"l = {real.ell[i]:.0f}") for i in scale_numbers(real.ell, self.scales)]
        for (metric, region), value, floor in zip(at, found_values, floors, strict=True):
            yield Score(metric, FOOTING, "I", region, float(value), floor=float(floor), count=found.measured.n_patch)


def collapse_note(method: str, variety: float) -> str:
    """Say that a generator has collapsed."""
    return (
        f"{method} has collapsed: the variance between its patches is {variety:.3g} of that between real ones "
        f"(below {LEAST_VARIETY:g})"
    )


@settings
class ComparePopulations(Executor):
    """Put all generators beside real patches of the half that was learnt from and of the other: a table and figures.

    The first set of each split is compared.

    Attributes:
        learnt: the split that generators have learnt from.
        other: one that they have not.
        scales: multipoles at which the distribution of the power is compared.
        tile_nside: of the tiles that are drawn again: 3 makes them 20 degrees wide.
        n_boot: how often they are.
        shown: patches of each set in the figure of examples.
    """

    learnt: str
    other: str
    scales: Scales
    tile_nside: PositiveInt = 3
    n_boot: PositiveInt = 200
    shown: PositiveInt = 8
    reads: ClassVar = (CLEANED_MAP, DUST_PATCHES)
    writes: ClassVar = (
        POPULATION,
        POPULATION_TABLE,
        POPULATION_EXAMPLES,
        POPULATION_PIXELS,
        POPULATION_SPECTRA,
        POPULATION_SCALES,
        POPULATION_SHAPES,
        PAGE_PARTS,
    )

    def disk_bytes(self) -> int:
        """Five figures, twice."""
        return 3_000_000

    def restricts(self) -> dict[Any, tuple[str, ...]]:
        """Look at the first set of two splits alone."""
        return {SPLIT: (self.learnt, self.other), SIM: ("sim0000",)}

    def check(self, space: Space) -> None:
        """Look whether both splits are there.

        Raises:
            ConfigError: one is not, or both are one.
        """
        for name, split in (("learnt", self.learnt), ("other", self.other)):
            space.require(SPLIT, split, f"stages.populations.{name}={split}")
        if self.learnt == self.other:
            message = (
                f"stages.populations.learnt and .other are both '{self.learnt}': how far apart halves are is the unit"
            )
            raise ConfigError(message)

    def process(self, io: UnitIO) -> None:
        """Measure all sets, compare, draw."""
        truths = {key[SPLIT]: found for key, found in io.read_all(DUST_PATCHES)}
        limits = Range.of(*(logs_of(patches, "a real set") for patches in truths.values()))
        real = {split: _Set.of(truths[split], split, limits, self.tile_nside) for split in (self.learnt, self.other)}
        drawn: dict[str, dict[str, _Set]] = {}
        for key, found in io.read_all(CLEANED_MAP):
            one = _Set.of(found, key[METHOD], limits, self.tile_nside)
            _require_alike(one.patches, truths[self.learnt], key[METHOD])
            drawn.setdefault(key[METHOD], {})[key[SPLIT]] = one
        rng = io.rng("bootstrap")
        rows = [*self._real_rows(real, rng), *self._drawn_rows(real, drawn, rng)]
        io.write(POPULATION, Table(rows))
        copies = self._copies(real, drawn)
        sections = self._sections(rows, copies)
        io.write(POPULATION_TABLE, "\n".join(section.markdown() for section in sections))
        figures = self._figures(io, real, drawn, limits)
        for asset, (_, figure) in figures.items():
            io.write(asset, figure)
        io.write(PAGE_PARTS, inserts(dict(figures.values()), sections))

    def _names(self, ell: Float) -> list[str]:
        return [m.name for m in STATISTICS] + [f"{POWER.name}_l{ell[i]:.0f}" for i in scale_numbers(ell, self.scales)]

    def _rows(self, name: str, against: str, names: list[str], found: Compared) -> Iterator[dict[str, Any]]:
        for statistic, value, low, high in zip(names, found.values, found.low, found.high, strict=True):
            row: dict[str, Any] = {"set": name, "against": against, "statistic": statistic}
            yield row | {"value": float(value), "low": float(low), "high": float(high)}

    def _real_rows(self, real: dict[str, _Set], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        names = self._names(real[self.learnt].measured.ell)
        for split, one in real.items():
            itself = against_itself(one.measured, self.scales, self.n_boot, rng)
            yield from self._rows("real, tiles drawn again", split, names, itself)
            halves = between_halves(one.measured, self.scales, self.n_boot, rng)
            yield from self._rows("real, halves of the tiles", split, names, halves)
        first, second = real[self.learnt].measured, real[self.other].measured
        apart = compare(first, second, self.scales, self.n_boot, rng)
        yield from self._rows(f"real, {self.learnt}", self.other, names, apart)
        # Ratios of variances are not the same the other way round.
        yield from self._rows(
            f"real, {self.other}", self.learnt, names, compare(second, first, self.scales, self.n_boot, rng)
        )

    def _drawn_rows(
        self, real: dict[str, _Set], drawn: dict[str, dict[str, _Set]], rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        for method, sets in drawn.items():
            for split, one in sets.items():
                names = self._names(one.measured.ell)
                found = compare(one.measured, real[split].measured, self.scales, self.n_boot, rng)
                yield from self._rows(method, split, names, found)

    def _copies(self, real: dict[str, _Set], drawn: dict[str, dict[str, _Set]]) -> dict[str, tuple[float, float]]:
        """Return, by set, median and least distance to the nearest real patch that was learnt from, dex.

        Real patches are compared with those of which they share nothing.
        """
        learnt = real[self.learnt]
        found = {}
        if np.isfinite(learnt.patches.centres).all():
            width = float(np.hypot(*learnt.patches.spec.sides_deg))
            apart = far_apart(axes_of(learnt.patches.centres)[:, 0], width)
            if apart.any(axis=1).all():
                found["real, elsewhere in the same half"] = nearest(learnt.logs, learnt.logs, apart)[0]
        found[f"real, {self.other}"] = nearest(real[self.other].logs, learnt.logs)[0]
        for method, sets in drawn.items():
            one = sets.get(self.learnt) or next(iter(sets.values()))
            found[method] = nearest(one.logs, learnt.logs)[0]
        return {name: (float(np.median(values)), float(values.min())) for name, values in found.items()}

    def _sections(self, rows: list[dict[str, Any]], copies: dict[str, tuple[float, float]]) -> list[Section]:
        """Lay all out: in units of how far the halves are apart, values and intervals, and the nearest real patches."""
        names = list(dict.fromkeys(row["statistic"] for row in rows))
        at = {(row["set"], row["against"], row["statistic"]): row for row in rows}
        sets = list(dict.fromkeys((row["set"], row["against"]) for row in rows))
        halves = {n: _shortfall(n, at[f"real, {self.learnt}", self.other, n]["value"]) for n in names}
        ratios = {
            which: [_shortfall(n, at[*which, n]["value"]) / halves[n] if halves[n] else np.nan for n in names]
            for which in sets
        }
        fallen = [collapse_note(name, at[name, against, "variety"]["value"]) for name, against in sets]
        fallen = [note for note, which in zip(fallen, sets, strict=True) if collapsed(at[*which, "variety"]["value"])]
        heads = ["set", "against", *names]
        return [
            Section(
                title=f"In units of how far {self.learnt} is from {self.other}",
                note="Below 1, and bold: nearer to real patches than the two halves of the real sky are to each other. "
                "Of the histogram, what is not shared; of the variety, |ln| of the ratio of variances."
                + "".join(f" **{note}**" for note in fallen),
                table=TextTable(
                    heads=heads,
                    lines=[[*which, *(f"{ratio:.2f}" for ratio in ratios[which])] for which in sets],
                    marked=[[False, False, *(bool(round(ratio, 2) < 1) for ratio in ratios[which])] for which in sets],
                ),
                words=2,
            ),
            Section.plain(
                "How far generated patches are from real ones",
                "In brackets: 95 % of a bootstrap over tiles of the sky (of generated patches, over patches).",
                heads,
                [
                    [
                        *which,
                        *(
                            f"{found['value']:.3g} ({found['low']:.3g} … {found['high']:.3g})"
                            for found in (at[*which, n] for n in names)
                        ),
                    ]
                    for which in sets
                ],
                words=2,
            ),
            Section.plain(
                "Nearest real patch that was learnt from, in any orientation",
                "A generator that copies is much nearer than real patches are to one another.",
                ["set", "median rms difference (dex)", "least"],
                [[name, f"{median:.3f}", f"{least:.3f}"] for name, (median, least) in copies.items()],
            ),
        ]

    def _figures(
        self, io: UnitIO, real: dict[str, _Set], drawn: dict[str, dict[str, _Set]], limits: Range
    ) -> dict[Asset[Figure], tuple[str, Figure]]:
        """Draw figures 1 to 5, against the half that was learnt from; return asset -> caption and figure."""
        learnt, rng = real[self.learnt], io.rng("figures")
        spec, ell = learnt.patches.spec, learnt.measured.ell
        unit, side = spec.maps.unit, spec.sides_deg[1]
        one = {method: sets.get(self.learnt) or next(iter(sets.values())) for method, sets in drawn.items()}
        titles = {f"real, {split}": found for split, found in real.items()} | one
        some = {
            title: [found.logs[i] for i in rng.permutation(found.measured.n_patch)[: self.shown]]
            for title, found in titles.items()
        }
        examples = example_draws(some, side, unit)
        name = f"real, {self.learnt}"
        resampled = [_density(learnt.measured.resampled(rng), limits) for _ in range(self.n_boot)]
        shared = {m: compare(s.measured, learnt.measured, self.scales, 1, rng).values[0] for m, s in one.items()}
        known = (name, _density(learnt.measured, limits), np.std(resampled, axis=0))
        densities = {method: (_density(s.measured, limits), float(shared[method])) for method, s in one.items()}
        pixels = pixel_histograms(limits.bins, known, densities, unit)

        def both(of: str) -> tuple[tuple[str, Float, Float], dict[str, Float]]:
            mine = bands(learnt.measured, of, self.n_boot, rng)
            theirs = {method: bands(s.measured, of, 1, rng).percentiles for method, s in one.items()}
            return (name, mine.percentiles, mine.errors), theirs

        spectra = spectra_bands(ell, *both("spectra"), unit)
        thresholds = limits.scaled(limits.thresholds)
        outlines = shape_bands(thresholds, *both("shapes"), spec.pixel_arcmin[1] / 60)
        at = {
            f"$\\ell$ = {ell[i]:.0f}": {t: found.measured.spectra[:, i] for t, found in ({name: learnt} | one).items()}
            for i in scale_numbers(ell, self.scales)
        }
        against = f"those of the half that was learnt from ({self.learnt})"
        return {
            POPULATION_EXAMPLES: ("Real and generated patches, taken at random (figure 1 of the paper)", examples),
            POPULATION_PIXELS: (f"Pixels of generated patches beside {against} (figure 2)", pixels),
            POPULATION_SPECTRA: (f"Spectra of generated patches beside {against} (figure 3)", spectra),
            POPULATION_SCALES: (
                f"Power of generated patches at {len(at)} scales beside {against} (figure 4)",
                power_distributions(at, name, unit),
            ),
            POPULATION_SHAPES: (f"Minkowski functionals of generated patches beside {against} (figure 5)", outlines),
        }


def _density(population: Population, limits: Range) -> Float:
    """Return the density of pixels in the bins between the limits."""
    counts = population.counts.sum(axis=0)
    found: Float = counts[1:-1] / counts.sum() / np.diff(limits.bins)
    return found


def _shortfall(name: str, value: float) -> float:
    """Return a number that is zero for populations which are alike."""
    if name == "histogram":
        return 1 - value
    return abs(float(np.log(value))) if name == "variety" and value > 0 else value
