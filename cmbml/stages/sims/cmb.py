"""Make one realisation of the CMB: the truth that methods are scored against."""

from pathlib import Path
from typing import ClassVar

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import Nside, settings
from cmbml.sims.cmb import Lensing, realise
from cmbml.sky.beams import pixel_window, pixel_window_files
from cmbml.sky.harmonics import filter_components, require_band_limit, synthesise
from cmbml.sky.maps import Fields, MapSpec, SkyMap
from cmbml.stages.assets import CMB_ALM, CMB_MAP, SIM, SPLIT, THEORY_SPECTRA


@settings
class RealiseCmb(Executor):
    """Draw a CMB sky from the theory spectra, as harmonic coefficients and as a map without a beam.

    Attributes:
        nside: of the map.
        lmax: highest multipole, at most 3 nside - 1.
        fields: `I`, or `IQU`.
        lensing: `none` (unlensed), `spectra` (Gaussian, from lensed spectra) or `remap` (an unlensed sky, deflected).
        pixel_windows: folder of HEALPix pixel window files, to average the signal over pixels; None to sample it at
            their centres.
    """

    nside: Nside
    lmax: PositiveInt
    fields: Fields
    lensing: Lensing
    pixel_windows: Path | None = None
    reads: ClassVar = (THEORY_SPECTRA,)
    writes: ClassVar = (CMB_ALM, CMB_MAP)
    per: ClassVar = (SPLIT, SIM)
    version: ClassVar = 2

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether the map can hold the multipoles."""
        require_band_limit(self.lmax, self.nside)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the pixel window's file."""
        return pixel_window_files(self.pixel_windows, self.nside)

    def disk_bytes(self) -> int:
        """One map and its coefficients."""
        return len(self.fields) * (48 * self.nside**2 + 4 * self.lmax**2)

    def process(self, io: UnitIO) -> None:
        """Draw the sky and write it."""
        spectra = io.read(THEORY_SPECTRA)
        alm = realise(spectra, io.rng("cmb"), self.lmax, self.fields, self.lensing, io.threads)
        window = pixel_window(self.pixel_windows, self.nside, self.lmax, len(self.fields))
        values = synthesise(filter_components(alm, window), self.nside, io.threads)
        spec = MapSpec(
            nside=self.nside, fields=self.fields, lmax=self.lmax, pixel_window=self.pixel_windows is not None
        )
        io.write(CMB_ALM, alm)
        io.write(CMB_MAP, SkyMap(values, spec))
