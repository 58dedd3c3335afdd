"""Make one realisation of the CMB: the truth that methods are scored against."""

from pathlib import Path
from typing import ClassVar

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sims.cmb import Lensing, realise
from cmbml.sky.beams import pixel_window
from cmbml.sky.harmonics import filter_components, synthesise
from cmbml.sky.maps import SkyMap
from cmbml.stages.assets import CMB_ALM, CMB_MAP, SIM, SPLIT, THEORY_SPECTRA
from cmbml.stages.maps import Maps


@settings
class RealiseCmb(Executor):
    """Draw a CMB sky from the theory spectra, as harmonic coefficients and as a map without a beam.

    Attributes:
        maps: what the maps of the dataset are.
        lmax: highest multipole, at most 3 nside - 1.
        lensing: `none` (unlensed), `spectra` (Gaussian, from lensed spectra) or `remap` (an unlensed sky, deflected).
    """

    maps: Maps
    lensing: Lensing
    reads: ClassVar = (THEORY_SPECTRA,)
    writes: ClassVar = (CMB_ALM, CMB_MAP)
    per: ClassVar = (SPLIT, SIM)
    version: ClassVar = 2

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether the map can hold the multipoles."""
        self.maps.check()

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the pixel window's file."""
        return self.maps.window_files()

    def disk_bytes(self) -> int:
        """One map and its coefficients."""
        return self.maps.n_bytes + 4 * self.maps.lmax**2 * len(self.maps.fields)

    def process(self, io: UnitIO) -> None:
        """Draw the sky and write it."""
        spectra = io.read(THEORY_SPECTRA)
        maps = self.maps
        alm = realise(spectra, io.rng("cmb"), maps.lmax, maps.fields, self.lensing, io.threads)
        window = pixel_window(maps.pixel_windows, maps.nside, maps.lmax, len(maps.fields))
        values = synthesise(filter_components(alm, window), maps.nside, io.threads)
        io.write(CMB_ALM, alm)
        io.write(CMB_MAP, SkyMap(values, maps.spec))
