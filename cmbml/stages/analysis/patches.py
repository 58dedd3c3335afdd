"""Judge cleaned patches, as CENN's authors do."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import ClassVar

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.patches import example_patches, recovered_spectra, residual_spectra
from cmbml.methods.base import ChannelName
from cmbml.metrics.patches import (
    BANDS,
    METRICS,
    PatchScores,
    band_rows,
    band_table,
    joined,
    mean_patches,
    patch_metrics,
    score_patches,
)
from cmbml.metrics.scores import Score
from cmbml.settings import settings
from cmbml.sky.maps import SkyMap
from cmbml.sky.patches import Patches
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import (
    CLEANED_MAP,
    CMB_PATCHES,
    COMPONENT_SPECTRA,
    FREQ,
    METHOD,
    OBS_PATCHES,
    PATCH_EXAMPLES,
    PATCH_MEAN_RESIDUALS,
    PATCH_RESIDUALS_FIGURE,
    PATCH_SCORES,
    PATCH_SPECTRA_FIGURE,
    PATCH_SUMMARY,
    PATCH_TABLE,
    SIM,
    SPLIT,
)


def compared(truth: Patches, answer: SkyMap | Patches, l_edges: Sequence[float]) -> PatchScores:
    """Compare the cleaned patches of a simulation with the true ones.

    Raises:
        ValueError: they are not the same patches, or no patches at all.
    """
    if not isinstance(answer, Patches):
        message = "the answers are maps of the whole sky: compare them with stages=analysis"
        raise ValueError(message)  # noqa: TRY004
    if wrong := answer.spec.difference(truth.spec, "height", "width", "pixel_arcmin", "projection"):
        message = f"the cleaned patches are not those of the truth: {wrong}"
        raise ValueError(message)
    pixel = tuple(np.radians(side / 60) for side in truth.spec.pixel_arcmin)
    return score_patches(truth.values[:, 0], answer.values[:, 0], truth.centres[:, 1], np.array(l_edges), pixel)


@settings
class OnPatches(Judge):
    """Judge patches by their residuals, by latitude.

    Attributes:
        l_edges: bins of the spectra.
        beam: what the footing is called: under whose beam the CMB was asked for.
    """

    l_edges: tuple[float, ...]
    beam: str
    reads: ClassVar = (CLEANED_MAP, CMB_PATCHES)
    own_skies: ClassVar = True

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the metrics of each latitude band."""
        found = compared(io.read(CMB_PATCHES), io.read(CLEANED_MAP), self.l_edges)
        for band in BANDS:
            count, values = patch_metrics(found, band)
            for metric, value in zip(METRICS, values, strict=True):
                yield Score(metric, self.beam, "I", band, value, count=count)


@settings
class ScorePatches(Executor):
    """Measure spectra, mean and rms of the residuals of one simulation's patches.

    Attributes:
        l_edges: bins of the spectra.
    """

    l_edges: tuple[float, ...]
    reads: ClassVar = (CLEANED_MAP, CMB_PATCHES)
    writes: ClassVar = (PATCH_SCORES, PATCH_MEAN_RESIDUALS)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Compare, write."""
        truth, answer = io.read(CMB_PATCHES), io.read(CLEANED_MAP)
        found = compared(truth, answer, self.l_edges)
        latitude = truth.centres[:, 1]
        columns = {"latitude": found.latitude, "mean": found.mean, "rms": found.rms}
        columns |= dict(zip(("input", "output", "residual"), found.d_ell, strict=True))
        io.write(PATCH_SCORES, Table(columns, meta={"LMEAN": " ".join(f"{ell:.3f}" for ell in found.l_mean)}))
        residual = (answer.values - truth.values)[:, 0]
        means = mean_patches([(residual, latitude)])
        counts = {
            b: int(((found.latitude >= low) & (found.latitude <= high)).sum()) for b, (low, high) in BANDS.items()
        }
        nothing = np.zeros(residual.shape[1:])
        io.write(PATCH_MEAN_RESIDUALS, np.stack([means.get(band, nothing) * counts[band] for band in BANDS]))


@settings
class ComparePatches(Executor):
    """Put all methods side by side: a table, spectra, residuals by latitude, examples.

    Attributes:
        reference: the channel that is shown beside the CMB.
    """

    reference: ChannelName
    reads: ClassVar = (PATCH_SCORES, PATCH_MEAN_RESIDUALS, CLEANED_MAP, CMB_PATCHES, OBS_PATCHES)
    may_read: ClassVar = (COMPONENT_SPECTRA,)
    writes: ClassVar = (PATCH_SUMMARY, PATCH_TABLE, PATCH_SPECTRA_FIGURE, PATCH_RESIDUALS_FIGURE, PATCH_EXAMPLES)
    per: ClassVar = (SPLIT,)

    def process(self, io: UnitIO) -> None:
        """Read all scores, summarise, draw."""
        scores = _scores(io)
        means = self._mean_residuals(io, scores)
        rows = [row for method, found in scores.items() for row in band_rows(method, found, means[method])]
        io.write(PATCH_TABLE, band_table(rows))
        flat = [{k: v if not isinstance(v, tuple) else v[0] for k, v in asdict(row).items()} for row in rows]
        io.write(PATCH_SUMMARY, Table(flat))
        ell, first = next(iter(scores.values())).l_mean, next(iter(scores.values()))
        truth = first.d_ell[0]
        outputs = {name: (found.d_ell[1].mean(axis=0), found.d_ell[1].std(axis=0)) for name, found in scores.items()}
        io.write(
            PATCH_SPECTRA_FIGURE, recovered_spectra(ell, (truth.mean(0), truth.std(0)), outputs, len(first.latitude))
        )
        bands = {b: (first.latitude >= low) & (first.latitude <= high) for b, (low, high) in BANDS.items()}
        bands = {band: inside for band, inside in bands.items() if inside.any()}
        io.write(
            PATCH_RESIDUALS_FIGURE,
            residual_spectra(
                ell,
                {b: {m: f.d_ell[2][inside].mean(axis=0) for m, f in scores.items()} for b, inside in bands.items()},
                {b: _components(io, *BANDS[b]) for b in bands},
                {b: truth[inside].mean(axis=0) for b, inside in bands.items()},
                {b: int(inside.sum()) for b, inside in bands.items()},
            ),
        )
        io.write(PATCH_EXAMPLES, self._examples(io))

    def _mean_residuals(self, io: UnitIO, scores: dict[str, PatchScores]) -> dict[str, dict[str, float]]:
        """Return, by method and band, the rms of the mean residual patch."""
        totals: dict[str, NDArray[np.float64]] = {}
        for key, found in io.read_all(PATCH_MEAN_RESIDUALS):
            totals[key[METHOD]] = totals.get(key[METHOD], 0) + np.asarray(found, np.float64)
        out: dict[str, dict[str, float]] = {}
        for method, total in totals.items():
            latitude = scores[method].latitude
            out[method] = {}
            for (band, (low, high)), patch in zip(BANDS.items(), total, strict=True):
                count = int(((latitude >= low) & (latitude <= high)).sum())
                out[method][band] = float(np.sqrt(np.mean((patch / max(count, 1)) ** 2)))
        return out

    def _examples(self, io: UnitIO) -> Figure:
        """Draw one patch of each band, of the first simulation, and the worst of the first method."""
        sim = io.along(CMB_PATCHES, SIM)[0]
        truth = next(found for _, found in io.read_all(CMB_PATCHES, {SIM: [sim]}))
        seen = next(found for _, found in io.read_all(OBS_PATCHES, {SIM: [sim], FREQ: [self.reference]}))
        answers = {key[METHOD]: found for key, found in io.read_all(CLEANED_MAP, {SIM: [sim]})}
        latitude = np.abs(truth.centres[:, 1])
        chosen = {}
        for band, (low, high) in list(BANDS.items())[1:]:
            inside = np.flatnonzero((latitude >= low) & (latitude <= high))
            if len(inside):
                chosen[f"|b| {band} deg"] = int(inside[0])
        worst = np.sqrt(np.mean((next(iter(answers.values())).values - truth.values) ** 2, axis=(1, 2, 3)))
        chosen[f"worst for {next(iter(answers))}, |b| = {latitude[worst.argmax()]:.0f} deg"] = int(worst.argmax())
        rows = {}
        for title, number in chosen.items():
            cmb = truth.values[number, 0]
            images = {f"observed, {self.reference} GHz": seen.values[number, 0], "CMB": cmb}
            for method, found in answers.items():
                images |= {method: found.values[number, 0], f"residual, {method}": found.values[number, 0] - cmb}
            rows[title] = images
        return example_patches(rows, truth.spec.sides_deg[0])


def _scores(io: UnitIO) -> dict[str, PatchScores]:
    parts: dict[str, list[PatchScores]] = {}
    for key, table in io.read_all(PATCH_SCORES):
        ell = np.array(table.meta["LMEAN"].split(), float)
        d_ell = np.stack([np.asarray(table[name], float) for name in ("input", "output", "residual")])
        numbers = (np.asarray(table[name], float) for name in ("mean", "rms"))
        parts.setdefault(key[METHOD], []).append(
            PatchScores(np.asarray(table["latitude"], float), ell, d_ell, *numbers)
        )
    return {method: joined(found) for method, found in parts.items()}


def _components(io: UnitIO, low: float, high: float) -> dict[str, NDArray[np.float64]]:
    """Return the mean D_l of each component over the patches of a band."""
    total: dict[str, list[NDArray[np.float64]]] = {}
    for name, values in _component_rows(io, low, high):
        total.setdefault(name, []).append(values)
    return {name: np.mean(np.concatenate(found), axis=0) for name, found in total.items() if name != "cmb"}


def _component_rows(io: UnitIO, low: float, high: float) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for _, table in io.read_all(COMPONENT_SPECTRA):
        latitude = np.abs(np.asarray(table["latitude"], float))
        inside = (latitude >= low) & (latitude <= high)
        for name in table.colnames:
            if name != "latitude" and inside.any():
                yield name, np.asarray(table[name], float)[inside]
