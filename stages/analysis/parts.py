"""Score the parts of a method's error: lost signal, foregrounds, noise, and chance correlations of linear methods."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.table import Table
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.coupling import ModeCoupling, linear_bins
from cmbml.metrics.footing import map_window
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.residual import linear_parts, part_rms, part_spectra
from cmbml.metrics.spectral import decouplings
from cmbml.settings import settings
from cmbml.sky.harmonics import alm_lmax, cut_alm, filter_components, synthesise
from stages.analysis.metrics import spec_of
from stages.assets import (
    CHANCE_PART,
    CMB_ALM,
    FOREGROUND_PART,
    MASK,
    MASK_APODISED,
    METHOD,
    MODE_COUPLING,
    NOISE_PART,
    PARTS_RMS,
    PARTS_SPECTRA,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    SIGNAL_PART,
    SIM,
    SPLIT,
)


@settings
class ScoreParts(Executor):
    """Say how large each part of the error is, under the method's own beam, and what spectrum it has.

    Attributes:
        lmax: highest multipole of the spectra.
        bin_width: of their bins, in multipoles.
        pixel_windows: folder of HEALPix pixel window files, for maps that are averaged over pixels.
    """

    lmax: PositiveInt
    bin_width: PositiveInt
    pixel_windows: Path | None = None
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

    def process(self, io: UnitIO) -> None:
        """Take the truth from the signal, score, write."""
        spec, top = spec_of(io.read(PREDICTION_SPEC)), alm_lmax(io.read(PREDICTION_ALM).shape[-1])
        found = [io.read(asset).values for asset in (SIGNAL_PART, FOREGROUND_PART, NOISE_PART)]
        n_comp = len(found[0])
        own = map_window(spec, top, n_comp, pixel_windows=self.pixel_windows)
        truth = synthesise(filter_components(cut_alm(io.read(CMB_ALM)[:n_comp], top), own), spec.nside, io.threads)
        chance = io.read_optional(CHANCE_PART)
        parts = linear_parts(truth, *found, None if chance is None else chance.values)
        mask = io.read(MASK).values[0] > 0.5
        io.write(PARTS_RMS, Table(part_rms(parts, mask, MonopoleDipole.outside(mask))))
        weight = io.read(MASK_APODISED).values[0]
        squared = np.square(weight, dtype=np.float64)
        kernels = io.read(MODE_COUPLING)[: 1 if n_comp == 1 else 3]
        coupling = ModeCoupling(w2=squared.mean(), w4=np.square(squared).mean(), kernels=kernels)
        decoupled = decouplings(coupling, linear_bins(2, self.lmax, self.bin_width), own)
        dipole = MonopoleDipole.outside(weight > 0)
        table = part_spectra(parts, weight, coupling, decoupled, own, dipole, io.threads)
        io.write(PARTS_SPECTRA, Table(table))
