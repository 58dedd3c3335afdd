"""Score a cleaned map multipole by multipole."""

from typing import ClassVar

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.coupling import ModeCoupling, linear_bins, mode_coupling
from cmbml.metrics.footing import map_window
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.spectral import decouplings, masked_alm, pseudo_spectra, spectra_scores
from cmbml.settings import settings
from cmbml.sims.cmb import Lensing, theory_prefix
from cmbml.sky.harmonics import alm_lmax, cut_alm, filter_components, synthesise
from cmbml.sky.maps import Fields
from cmbml.stages.analysis.metrics import spec_of
from cmbml.stages.assets import (
    CMB_ALM,
    MASK_APODISED,
    METHOD,
    MODE_COUPLING,
    PREDICTION_ALM,
    PREDICTION_SPEC,
    SIM,
    SPECTRA_SCORES,
    SPLIT,
    THEORY_SPECTRA,
)
from cmbml.stages.maps import Maps


@settings
class CoupleModes(Executor):
    """Work out, once per mask, how it mixes multipoles, and how the removal of monopole and dipole does.

    Attributes:
        lmax: highest multipole of the spectra.
        fields: `I`, or `IQU`.
    """

    lmax: PositiveInt
    fields: Fields
    reads: ClassVar = (MASK_APODISED,)
    writes: ClassVar = (MODE_COUPLING,)

    def disk_bytes(self) -> int:
        """The matrices."""
        return (3 if self.fields == "IQU" else 1) * 8 * (self.lmax + 1) ** 2

    def process(self, io: UnitIO) -> None:
        """Compute and write the kernels."""
        weight = io.read(MASK_APODISED).values[0]
        coupling = mode_coupling(weight, self.lmax, self.fields == "IQU", io.threads, removal=True)
        io.write(MODE_COUPLING, coupling.kernels)


@settings
class ScoreSpectra(Executor):
    """Compare the binned spectra of truth and prediction: as quoted, and decoupled from the mask.

    Attributes:
        lmax: highest multipole of the spectra.
        bin_width: of the bins, in multipoles.
        maps: what the maps of the dataset are.
        lensing: how its CMB was lensed, which says what theory it was drawn from.
        iterations: of the analyses.
    """

    lmax: PositiveInt
    bin_width: PositiveInt
    maps: Maps
    lensing: Lensing
    iterations: NonNegativeInt = 3
    reads: ClassVar = (PREDICTION_ALM, PREDICTION_SPEC, CMB_ALM, MASK_APODISED, MODE_COUPLING)
    may_read: ClassVar = (THEORY_SPECTRA,)
    writes: ClassVar = (SPECTRA_SCORES,)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def process(self, io: UnitIO) -> None:
        """Mask, analyse, compare, write a row per kind, field and bin."""
        spec, prediction, truth = spec_of(io.read(PREDICTION_SPEC)), io.read(PREDICTION_ALM), io.read(CMB_ALM)
        n_comp, top = len(prediction), alm_lmax(prediction.shape[-1])
        own = map_window(spec, top, n_comp, pixel_windows=self.maps.pixel_windows)
        seen = filter_components(cut_alm(truth[:n_comp], top), own)
        weight = io.read(MASK_APODISED).values[0]
        maps = synthesise(np.stack([seen, prediction]), self.maps.nside, io.threads)
        dipole = MonopoleDipole.outside(weight > 0)
        masked = [masked_alm(values, weight, self.lmax, dipole, self.iterations, io.threads) for values in maps]
        coupling = ModeCoupling.of(weight, io.read(MODE_COUPLING)[: 1 if n_comp == 1 else 3])
        decoupled = decouplings(coupling, linear_bins(2, self.lmax, self.bin_width), own)
        pseudo = pseudo_spectra(masked[0], masked[1])
        io.write(SPECTRA_SCORES, spectra_scores(pseudo, coupling, decoupled, own, self._theory(io, n_comp)))

    def _theory(self, io: UnitIO, n_comp: int) -> np.ndarray | None:
        spectra = io.read_optional(THEORY_SPECTRA)
        if spectra is None:
            return None
        prefix = theory_prefix(self.lensing)
        return np.stack([spectra[prefix + name] for name in ("TT", "EE", "BB")[:n_comp]])
