"""Judge dust foretold from hydrogen by its correlation with the true dust, on cutouts of either half of a sky."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from typing import Any, ClassVar

import healpy as hp
import numpy as np
from astropy.table import Table, vstack
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.hydrogen import Band, correlation_figure, cutouts_figure, wins_figure
from cmbml.metrics.correlation import (
    BROAD_BINS,
    METRICS,
    Bootstrap,
    Correlations,
    correlations,
    cutout_scores,
    over_tiles,
    wins,
)
from cmbml.metrics.scores import Place, Score
from cmbml.settings import Nside, settings
from cmbml.sky.case import require_map
from cmbml.sky.cutouts import Cutouts
from cmbml.sky.maps import MapError, SkyMap
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import (
    CLEANED_MAP,
    CORRELATION_FIGURE,
    CORRELATION_SUMMARY,
    CORRELATION_TABLE,
    CUTOUT_SCORES,
    CUTOUTS_FIGURE,
    DUST_MAP,
    HI_CUBE,
    HI_MASK,
    METHOD,
    RESAMPLED,
    SIM,
    SKY,
    SPLIT,
    WINS_FIGURE,
)
from cmbml.stages.space import sky_among

Float = NDArray[np.float64]
HALVES = ("test half", "training half")
"""The regions of the scores, by the number that a cutout has in the column `half`."""
FOOTING = "cutouts"
BINS = tuple(BROAD_BINS)


@settings
class ScoreCutouts(Executor):
    """Correlate cutouts of a method's map with those of the dust, and of the integrated intensity beside it.

    All methods are judged on the same cutouts of a simulation.

    Attributes:
        cutouts: which they are.
        number: of cutouts in each half.
        tiles: HEALPix resolution of the tiles that intervals are drawn from; 2: 48 tiles of 29 degrees a side.
    """

    cutouts: Cutouts
    number: PositiveInt = 1000
    tiles: Nside = 2
    reads: ClassVar = (CLEANED_MAP, DUST_MAP, HI_CUBE, HI_MASK)
    writes: ClassVar = (CUTOUT_SCORES,)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Draw centres, cut, correlate, write a row for each cutout."""
        answer, dust = require_map(io.read(CLEANED_MAP)), io.read(DUST_MAP)
        if wrong := answer.spec.difference(dust.spec, "nside", "frame"):
            message = f"the map that was foretold is not like that of the dust: {wrong}"
            raise MapError(message)
        mask, cube = io.read(HI_MASK).values[0], io.read(HI_CUBE)
        maps = np.stack([dust.values[0], answer.values[0], cube.integrated])
        tables = []
        for half in range(len(HALVES)):
            centres = self.centres(io, half, mask, dust)
            images = self.cutouts.cut(maps, mask, centres, dust.spec)[0].astype(np.float64)
            width = self.cutouts.fundamental
            mine, reference = (correlations(images[:, 0], images[:, i], self.cutouts.pixel_rad, width) for i in (1, 2))
            tables.append(self._table(half, centres, mine, reference))
        io.write(CUTOUT_SCORES, vstack(tables, metadata_conflicts="silent"))

    def centres(self, io: UnitIO, half: int, mask: NDArray[np.floating], dust: SkyMap) -> Float:
        """Return the centres of one half, `(number, 3)`: the same for all methods."""
        where = (self.cutouts.test_half, self.cutouts.train_half)[half]
        rng = io.rng(f"cutouts of the {HALVES[half]}", per=(SPLIT, SIM))
        candidates = self.cutouts.centres(3 * self.number, where, dust.spec, rng)
        return self.cutouts.visible(self.number, candidates, mask, dust.spec)

    def _table(self, half: int, centres: Float, mine: Correlations, reference: Correlations) -> Table:
        tile = hp.ang2pix(self.tiles, centres[:, 0], centres[:, 1], lonlat=True)
        columns = dict(zip(("lon", "lat", "angle"), centres.T, strict=True))
        columns |= {"half": np.full(len(centres), half), "tile": tile}
        for prefix, found in (("", mine), ("reference_", reference)):
            columns |= {f"{prefix}r": found.broad, f"{prefix}power_r": found.power, f"{prefix}narrow": found.narrow}
        return Table(columns, meta={"LMEAN": " ".join(f"{ell:.3f}" for ell in mine.ell)})


def sky_seen(io: UnitIO, split: str, sim: str) -> str:
    """Return the sky of a simulation, of a unit that reads DUST_MAP."""
    return sky_among(io.along(DUST_MAP, SKY), split, sim)


def _found(table: Table, half: int, prefix: str = "") -> Correlations:
    """Return the correlations of one half."""
    rows = table[np.asarray(table["half"]) == half]
    ell = np.array(table.meta["LMEAN"].split(), float)
    broad, power, narrow = (np.asarray(rows[f"{prefix}{name}"], float) for name in ("r", "power_r", "narrow"))
    return Correlations(broad, power, ell, narrow)


@settings
class OnCutouts(Judge):
    """Judge by the mean correlation over cutouts, in the half that was learnt from, and in the other one."""

    reads: ClassVar = (CUTOUT_SCORES, DUST_MAP)

    def sky(self, io: UnitIO) -> str:
        """Return the sky whose dust it is, which simulations may share; it is none of those of foregrounds."""
        return f"hydrogen of {sky_seen(io, io.key[SPLIT], io.key[SIM])}"

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of each half."""
        table = io.read(CUTOUT_SCORES)
        for half, region in enumerate(HALVES):
            mine, reference = _found(table, half), _found(table, half, "reference_")
            for metric, value in zip(METRICS, cutout_scores(mine, reference), strict=True):
                yield Score(metric, FOOTING, "I", region, value, count=len(mine.broad))


@settings
class CompareDust(Executor):
    """Put all methods side by side: correlations with their intervals, wins, curves, examples.

    Attributes:
        cutouts: as they were judged.
        reference: what the integrated intensity is called.
        examples: how many cutouts of the test half are drawn.
        draws: of the bootstrap.
    """

    cutouts: Cutouts
    reference: str = "integrated intensity"
    examples: PositiveInt = 3
    draws: PositiveInt = 1000
    reads: ClassVar = (CUTOUT_SCORES, CLEANED_MAP, DUST_MAP, HI_MASK)
    writes: ClassVar = (
        CORRELATION_TABLE,
        CORRELATION_SUMMARY,
        CORRELATION_FIGURE,
        WINS_FIGURE,
        CUTOUTS_FIGURE,
        RESAMPLED,
    )
    per: ClassVar = (SPLIT,)
    version: ClassVar[int] = 2

    def process(self, io: UnitIO) -> None:
        """Read all scores, summarise, draw."""
        tables: dict[str, list[Table]] = {}
        for key, table in io.read_all(CUTOUT_SCORES):
            found = Table(table, copy=True)
            # The same tile of another sky is another one.
            sky = io.along(DUST_MAP, SKY).index(sky_seen(io, key[SPLIT], key[SIM]))
            found["tile"] = np.asarray(found["tile"]) + 10_000 * sky
            tables.setdefault(key[METHOD], []).append(found)
        joined = {method: vstack(parts, metadata_conflicts="silent") for method, parts in sorted(tables.items())}
        rows, panels = [], {}
        first = next(iter(joined.values()))
        for half, region in enumerate(HALVES):
            tile = np.asarray(first["tile"])[np.asarray(first["half"]) == half]
            reference = _found(first, half, "reference_")
            methods = {self.reference: reference} | {name: _found(table, half) for name, table in joined.items()}
            where = (self.cutouts.test_half, self.cutouts.train_half)[half]
            title = f"{region} ({where})"
            panels[title] = {name: self._band(io, found.narrow, tile) for name, found in methods.items()}
            rows += [self._row(io, name, region, found, reference, tile) for name, found in methods.items()]
        io.write(RESAMPLED, {"pieces": "tiles of the sky", "rows": list(self._intervals(io, joined))})
        io.write(CORRELATION_SUMMARY, Table(rows))
        io.write(CORRELATION_TABLE, _markdown(rows))
        io.write(CORRELATION_FIGURE, correlation_figure(_found(first, 0).ell, panels, self.reference))
        mine, reference_r = {n: _found(t, 0).broad for n, t in joined.items()}, _found(first, 0, "reference_").broad
        higher = {name: wins(found, reference_r).sum(axis=0).tolist() for name, found in mine.items()}
        io.write(WINS_FIGURE, wins_figure(reference_r, mine, higher, BINS, self.reference))
        io.write(CUTOUTS_FIGURE, self._examples(io, first))

    def _intervals(self, io: UnitIO, joined: dict[str, Table]) -> Iterator[dict[str, Any]]:
        """Give the interval of each mean correlation, and by how much each method is worse than each other one."""
        for half, region in enumerate(HALVES):
            tile = next(np.asarray(of["tile"])[np.asarray(of["half"]) == half] for of in joined.values())
            broad = {name: _found(table, half).broad for name, table in joined.items()}
            for i, metric in enumerate(METRICS[: len(BINS)]):
                place = asdict(Place(FOOTING, "I", region, metric.name))
                for name, other in product(broad, ("", *broad)):
                    if name == other:
                        continue
                    values = broad[name][:, i]
                    if other:
                        values = metric.badness(values) - metric.badness(broad[other][:, i])
                    found = self._bootstrap(io, values, tile)
                    ends = {end: float(getattr(found, end)) for end in ("value", "low", "high")}
                    yield {"place": place, "method": name, "other": other, "number": found.n_tiles, **ends}

    def _bootstrap(self, io: UnitIO, values: Float, tile: NDArray[np.integer]) -> Bootstrap:
        return over_tiles(values, tile, io.rng("bootstrap over tiles"), self.draws)

    def _band(self, io: UnitIO, narrow: Float, tile: NDArray[np.integer]) -> Band:
        found = self._bootstrap(io, narrow, tile)
        return Band(found.value, found.sigma)

    def _row(
        self,
        io: UnitIO,
        name: str,
        region: str,
        mine: Correlations,
        reference: Correlations,
        tile: NDArray[np.integer],
    ) -> dict[str, float | int | str]:
        """Return one line: means, their intervals, scatter, wins, and the difference from the reference."""
        means = self._bootstrap(io, mine.broad, tile)
        gains = self._bootstrap(io, mine.broad - reference.broad, tile)
        better = wins(mine.broad, reference.broad)
        row: dict[str, float | int | str] = {"method": name, "region": region, "n": len(better), "tiles": means.n_tiles}
        for i, label in enumerate(BINS):
            row |= {
                label: float(means.value[i]),
                f"{label}_low": float(means.low[i]),
                f"{label}_high": float(means.high[i]),
                f"{label}_scatter": float(mine.broad[:, i].std()),
                f"{label}_power": float(mine.power[:, i].mean()),
                f"{label}_gain": float(gains.value[i]),
                f"{label}_gain_low": float(gains.low[i]),
                f"{label}_gain_high": float(gains.high[i]),
                f"{label}_wins": int(better[:, i].sum()),
            }
        return row

    def _examples(self, io: UnitIO, table: Table) -> Figure:
        """Draw cutouts of the test half: the first ones of the first simulation."""
        only = {SIM: [io.along(CLEANED_MAP, SIM)[0]]}
        answers = {key[METHOD]: require_map(found) for key, found in io.read_all(CLEANED_MAP, only)}
        # Skies are in the order of the simulations that see them.
        dust, mask = (next(iter(io.read_all(asset)))[1] for asset in (DUST_MAP, HI_MASK))
        chosen = table[np.asarray(table["half"]) == 0][: self.examples]
        centres = np.stack([np.asarray(chosen[name], float) for name in ("lon", "lat", "angle")], axis=1)
        maps = {"dust": dust} | answers
        values = np.concatenate([of.values for of in maps.values()])
        images, _ = self.cutouts.cut(values, mask.values[0], centres, dust.spec)
        rows = {
            f"l = {lon:.0f}, b = {lat:.0f}": dict(zip(maps, row, strict=True))
            for (lon, lat, _), row in zip(centres, images, strict=True)
        }
        return cutouts_figure(rows, self.cutouts.spec(dust.spec).widest_deg)


def _markdown(rows: list[dict[str, float | int | str]]) -> str:
    """Lay out the comparison, the published one below it."""
    heads = "| method | half | r50 | r150 | of power | r50 - integrated | r150 - integrated | wins r50 | wins r150 |"
    lines = [heads, "|" + "---|" * (heads.count("|") - 1)]
    for row in rows:
        cells = [str(row["method"]), str(row["region"])]
        cells += [f"{row[b]:.3f} ({row[f'{b}_low']:.3f} to {row[f'{b}_high']:.3f})" for b in BINS]
        cells += [" / ".join(f"{row[f'{b}_power']:.3f}" for b in BINS)]
        cells += [
            f"{row[f'{b}_gain']:+.3f} ({row[f'{b}_gain_low']:+.3f} to {row[f'{b}_gain_high']:+.3f})" for b in BINS
        ]
        cells += [f"{row[f'{b}_wins']} of {row['n']}" for b in BINS]
        lines.append(f"| {' | '.join(cells)} |")
    tiles = {str(row["region"]): row["tiles"] for row in rows}
    said = " and ".join(f"{number} tiles of the sky in the {region}" for region, number in tiles.items())
    lines += [
        "",
        "r is that of single Fourier modes, averaged over those with l < 100 (r50) and 100 < l < 200 (r150), and over "
        f"cutouts; in brackets 95 % intervals of a bootstrap over {said}. Published, on the real sky: the U-Net is "
        "higher than the integrated intensity in 764 (r50) and 889 (r150) of 1000 cutouts of the test half.",
        "",
    ]
    return "\n".join(lines)
