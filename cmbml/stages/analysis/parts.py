"""Score the parts of a method's error: lost signal, foregrounds, noise, and chance correlations of linear methods."""

from typing import ClassVar

import numpy as np
from astropy.table import Table
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.parts import parts_figure
from cmbml.figures.report.inserts import inserts
from cmbml.metrics.coupling import ModeCoupling, linear_bins
from cmbml.metrics.footing import Footing, map_window
from cmbml.metrics.parts import footing_rms
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.residual import linear_parts, part_rms, part_spectra
from cmbml.metrics.spectral import decouplings
from cmbml.settings import settings
from cmbml.sky.harmonics import alm_lmax, cut_alm, filter_components, synthesise
from cmbml.stages.analysis.figures import write_both
from cmbml.stages.analysis.metrics import AS_GIVEN, spec_of
from cmbml.stages.assets import (
    CHANCE_PART,
    CMB_ALM,
    FOREGROUND_PART,
    MASK,
    MASK_APODISED,
    METHOD,
    MODE_COUPLING,
    NOISE_PART,
    PARTS_FIGURE,
    PARTS_FIGURE_PDF,
    PARTS_PICTURE,
    PARTS_RMS,
    PARTS_SPECTRA,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    SIGNAL_PART,
    SIM,
    SPLIT,
)
from cmbml.stages.maps import Maps


@settings
class ScoreParts(Executor):
    """Say how large each part of the error is, at every footing and as given, and what spectrum it has as given.

    Attributes:
        footings: where maps are compared.
        maps: what the maps of the dataset are.
        lmax: highest multipole of the spectra.
        bin_width: of their bins, in multipoles.
    """

    footings: tuple[Footing, ...]
    maps: Maps
    lmax: PositiveInt
    bin_width: PositiveInt
    reads: ClassVar = (
        SIGNAL_PART,
        FOREGROUND_PART,
        NOISE_PART,
        CMB_ALM,
        PREDICTION_ALM,
        PREDICTION_SPEC,
        MASK,
        MASK_APODISED,
        MODE_COUPLING,
    )
    may_read: ClassVar = (CHANCE_PART,)
    writes: ClassVar = (PARTS_RMS, PARTS_SPECTRA)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 3

    def process(self, io: UnitIO) -> None:
        """Take the truth from the signal, score, write."""
        spec, top = spec_of(io.read(PREDICTION_SPEC)), alm_lmax(io.read(PREDICTION_ALM).shape[-1])
        signal, foregrounds, noise = (io.read(asset).values for asset in (SIGNAL_PART, FOREGROUND_PART, NOISE_PART))
        n_comp = len(signal)
        own = map_window(spec, top, n_comp, pixel_windows=self.maps.pixel_windows)
        alm, chance = io.read(CMB_ALM), io.read_optional(CHANCE_PART)
        truth = synthesise(filter_components(cut_alm(alm[:n_comp], top), own), spec.nside, io.threads)
        parts = linear_parts(truth, signal, foregrounds, noise, None if chance is None else chance.values)
        mask = io.read(MASK).values[0] > 0.5
        given = part_rms(parts, mask, MonopoleDipole.outside(mask))
        given = {"footing": np.full(len(given["part"]), AS_GIVEN)} | given
        whole = map_window(spec, alm_lmax(alm.shape[-1]), n_comp, pixel_windows=self.maps.pixel_windows)
        rows = footing_rms(parts, alm, spec, self.footings, whole, mask, self.maps.nside, io.threads)
        io.write(PARTS_RMS, {name: np.concatenate([given[name], rows[name]]) for name in given})
        weight = io.read(MASK_APODISED).values[0]
        coupling = ModeCoupling.of(weight, io.read(MODE_COUPLING)[: 1 if n_comp == 1 else 3])
        decoupled = decouplings(coupling, linear_bins(2, self.lmax, self.bin_width), own)
        dipole = MonopoleDipole.outside(weight > 0)
        table = part_spectra(parts, weight, coupling, decoupled, own, dipole, io.threads)
        io.write(PARTS_SPECTRA, Table(table))


@settings
class DrawParts(Executor):
    """Draw the spectra of the parts of the errors of I, decoupled from the mask, of all methods that have parts."""

    may_read: ClassVar = (PARTS_SPECTRA,)
    writes: ClassVar = (PARTS_FIGURE, PARTS_FIGURE_PDF, PARTS_PICTURE)
    per: ClassVar = (SPLIT,)

    def disk_bytes(self) -> int:
        """A figure, three times."""
        return 300_000

    def process(self, io: UnitIO) -> None:
        """Average over simulations one by one, draw, write."""
        totals: dict[str, dict[str, np.ndarray]] = {}
        numbers: dict[str, int] = {}
        ell: dict[str, np.ndarray] = {}
        for key, table in io.read_all(PARTS_SPECTRA):
            rows = table[(table["kind"] == "master") & (table["field"] == "TT")]
            method, of = key[METHOD], totals.setdefault(key[METHOD], {})
            numbers[method] = numbers.get(method, 0) + 1
            for part in dict.fromkeys(map(str, rows["part"])):
                here = rows[rows["part"] == part]
                ell[method] = np.asarray(here["l_eff"], dtype=np.float64)
                of[part] = of.get(part, 0) + np.asarray(here["d_part"], dtype=np.float64)
        means = {
            method: (ell[method], {part: total / numbers[method] for part, total in of.items()})
            for method, of in sorted(totals.items())
        }
        figure = parts_figure(means, simulations=max(numbers.values(), default=0))
        write_both(io, (PARTS_FIGURE, PARTS_FIGURE_PDF), figure)
        caption = (
            "Spectra of the parts of each error, decoupled from the mask and divided by the beam: means over "
            "simulations. Parts may be correlated"
        )
        io.write(PARTS_PICTURE, inserts({caption: figure}))
