"""Draw how methods compare."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from pydantic import PositiveInt

from cmbml.core.asset import Asset
from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.comparison import mean_residual_figure, spectra_comparison, transfer_figure
from cmbml.figures.prediction import prediction_figure
from cmbml.figures.results import PredictionMaps, TheoryBand
from cmbml.figures.scores import distributions_figure
from cmbml.metrics.footing import Footing, map_window, to_footing
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.scores import ScoreBook
from cmbml.settings import PositiveFloat, settings
from cmbml.sims.cmb import Lensing, theory_prefix
from cmbml.sky.harmonics import Alm, alm_lmax
from cmbml.sky.maps import MapSpec
from cmbml.sky.spectra import d_ell
from cmbml.stages.analysis.judges import stacks_of
from cmbml.stages.analysis.metrics import spec_of
from cmbml.stages.assets import (
    CMB_ALM,
    COMPARED_SPECTRA_FIGURE,
    COMPARED_SPECTRA_FIGURE_PDF,
    COSMOLOGY,
    DISTRIBUTIONS_FIGURE,
    DISTRIBUTIONS_FIGURE_PDF,
    MASK,
    METHOD,
    PREDICTION_ALM,
    PREDICTION_FIGURE,
    PREDICTION_FIGURE_PDF,
    PREDICTION_SPEC,
    RESIDUAL_FIGURE,
    RESIDUAL_FIGURE_PDF,
    RESIDUAL_MEAN,
    SCORE_STACK,
    SIM,
    SPECTRA_STACK,
    SPLIT,
    THEORY_BAND,
    THEORY_SPECTRA,
    TRANSFER_FIGURE,
    TRANSFER_FIGURE_PDF,
)
from cmbml.stages.maps import Maps


@settings
class BandOfTheories(Executor):
    """Gather how much the theory spectra differ over the cosmologies of a split.

    Attributes:
        split: whose cosmologies; all there are, if it has none.
        lensing: how the CMB was lensed.
        lmax: where the band ends.
        most: how many cosmologies are read: a scatter is known well from a thousand.
    """

    split: str
    lmax: PositiveInt
    lensing: Lensing
    most: PositiveInt = 1000
    may_read: ClassVar = (THEORY_SPECTRA,)
    writes: ClassVar = (THEORY_BAND,)

    def process(self, io: UnitIO) -> None:
        """Read the spectra, write the mean and the scatter of D_l."""
        name = theory_prefix(self.lensing) + "TT"
        every = io.along(THEORY_SPECTRA, COSMOLOGY)
        ours = [cosmology for cosmology in every if cosmology.partition("_")[0] == self.split]
        only = {COSMOLOGY: (ours or every)[: self.most]}
        found = [d_ell(spectra[name][: self.lmax + 1]) for _, spectra in io.read_all(THEORY_SPECTRA, only)]
        curves = np.stack(found) if found else np.zeros((0, 0))
        mean = curves.mean(axis=0) if len(curves) else np.zeros(0)
        std = curves.std(axis=0) if len(curves) else np.zeros(0)
        io.write(THEORY_BAND, Table({"ell": np.arange(mean.size), "mean": mean, "std": std}))


@settings
class DrawPrediction(Executor):
    """Draw one method's map of one simulation beside the truth.

    Attributes:
        footing: where they are compared.
        maps: what the maps of the dataset are.
        limit_uk: end of the colour scale.
    """

    footing: Footing
    maps: Maps
    limit_uk: PositiveFloat
    reads: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC, CMB_ALM, MASK)
    writes: ClassVar = (PREDICTION_FIGURE, PREDICTION_FIGURE_PDF)
    per: ClassVar = (METHOD, SPLIT, SIM)

    def process(self, io: UnitIO) -> None:
        """Bring both to the footing, draw, write."""
        alms = io.read(PREDICTION_ALM), io.read(CMB_ALM)
        names = io.key[METHOD], io.key[SIM]
        mask = io.read(MASK).values[0]
        spec, where = spec_of(io.read(PREDICTION_SPEC)), (self.footing, self.maps.nside, self.maps.pixel_windows)
        maps = prediction_maps(names, alms, spec, mask, *where, io.threads)
        write_both(io, (PREDICTION_FIGURE, PREDICTION_FIGURE_PDF), prediction_figure(maps, self.limit_uk))


def prediction_maps(
    names: tuple[str, str],
    alms: tuple[Alm, Alm],
    spec: MapSpec,
    mask: np.ndarray,
    footing: Footing,
    nside: int,
    pixel_windows: Path | None,
    threads: int,
) -> PredictionMaps:
    """Bring a prediction and the truth to a footing, without monopole and dipole, for a figure of intensity.

    Args:
        names: of the method and the simulation.
        alms: of the prediction and of the truth.
        spec: what the prediction was.
        mask: `(n_pix,)`.
        footing: where they are compared.
        nside: of the maps.
        pixel_windows: folder of HEALPix pixel window files, for maps that are averaged over pixels.
        threads: CPU threads.
    """
    own = map_window(spec, alm_lmax(alms[1].shape[-1]), len(alms[0]), pixel_windows=pixel_windows)
    truth, prediction = to_footing(alms[0], spec, alms[1], footing, nside, threads, own)
    dipole = MonopoleDipole.outside(mask > 0.5)
    return PredictionMaps(
        method=names[0],
        simulation=names[1],
        footing=footing.name,
        truth=dipole.remove(truth[0]),
        prediction=dipole.remove(prediction[0]),
        mask=mask,
    )


def theory_band(table: Table) -> TheoryBand | None:
    """Return the band of theories; None where there are not two of them."""
    if not len(table) or not np.any(table["std"]):
        return None
    return TheoryBand(**{name: np.asarray(table[name])[2:] for name in ("ell", "mean", "std")})


@settings
class DrawComparison(Executor):
    """Draw all methods beside one another: distributions of a metric, spectra, transfer functions, mean residuals.

    Attributes:
        metric: whose distribution is drawn.
        controls: methods that set no axis and no colour scale.
        memory_controls: the same, of those that only remember their training.
    """

    metric: str = "rmse"
    controls: tuple[str, ...] = ()
    memory_controls: tuple[str, ...] = ()
    reads: ClassVar = (SCORE_STACK, SPECTRA_STACK, RESIDUAL_MEAN, MASK, THEORY_BAND)
    writes: ClassVar = (
        DISTRIBUTIONS_FIGURE,
        DISTRIBUTIONS_FIGURE_PDF,
        COMPARED_SPECTRA_FIGURE,
        COMPARED_SPECTRA_FIGURE_PDF,
        TRANSFER_FIGURE,
        TRANSFER_FIGURE_PDF,
        RESIDUAL_FIGURE,
        RESIDUAL_FIGURE_PDF,
    )
    per: ClassVar = (SPLIT,)

    def process(self, io: UnitIO) -> None:
        """Read all scores, draw, write."""
        scores, spectra = stacks_of(io, SCORE_STACK), stacks_of(io, SPECTRA_STACK)
        methods, book = list(scores), ScoreBook(scores)
        controls = (*self.controls, *self.memory_controls)
        label = book.metrics[self.metric].axis_label
        distributions = distributions_figure(scores, methods, self.metric, label=label)
        band = theory_band(io.read(THEORY_BAND))
        write_both(io, (DISTRIBUTIONS_FIGURE, DISTRIBUTIONS_FIGURE_PDF), distributions)
        compared = spectra_comparison(spectra, methods, band, controls=controls)
        write_both(io, (COMPARED_SPECTRA_FIGURE, COMPARED_SPECTRA_FIGURE_PDF), compared)
        write_both(io, (TRANSFER_FIGURE, TRANSFER_FIGURE_PDF), transfer_figure(spectra, methods))
        mask = io.read(MASK).values[0]
        residuals = {key[METHOD]: found for key, found in io.read_all(RESIDUAL_MEAN)}
        figure = mean_residual_figure(
            {method: found.values[0] for method, found in residuals.items() if found.values[0].size == mask.size},
            mask,
            simulations=len(book.sims),
            footing="each method's own beam",
            controls=controls,
        )
        write_both(io, (RESIDUAL_FIGURE, RESIDUAL_FIGURE_PDF), figure)


def write_both(io: UnitIO, assets: tuple[Asset[Figure], Asset[Figure]], figure: Figure) -> None:
    """Write a figure as a picture and as PDF."""
    for asset in assets:
        io.write(asset, figure)
