"""Compute the theory spectra of one universe."""

from typing import ClassVar

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sims.cmb import Lensing, needed_lmax
from cmbml.sims.cosmology import Cosmology
from cmbml.sims.spectrum import CambSettings, theory_spectra
from cmbml.sky.maps import Fields
from cmbml.stages.assets import COSMOLOGY, COSMOLOGY_PARAMETERS, THEORY_SPECTRA


@settings
class ComputeSpectra(Executor):
    """Run CAMB once per cosmology.

    Attributes:
        lmax: highest multipole of the maps.
        fields: `I`, or `IQU`.
        lensing: how the CMB will be lensed, which decides how far beyond `lmax` the spectra must reach.
        camb: accuracy and margins.
    """

    lmax: PositiveInt
    fields: Fields
    lensing: Lensing
    camb: CambSettings = CambSettings()
    reads: ClassVar = (COSMOLOGY_PARAMETERS,)
    writes: ClassVar = (THEORY_SPECTRA,)
    per: ClassVar = (COSMOLOGY,)

    def disk_bytes(self) -> int:
        """About a dozen columns of float64."""
        return 100 * (self.lmax + 2000)

    def process(self, io: UnitIO) -> None:
        """Read the parameters, compute and write the spectra."""
        cosmology = Cosmology(**io.read(COSMOLOGY_PARAMETERS))
        lmax = needed_lmax(self.lmax, self.fields, self.lensing)
        io.write(THEORY_SPECTRA, theory_spectra(cosmology, lmax, self.camb))
