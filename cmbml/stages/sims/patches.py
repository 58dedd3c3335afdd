"""Draw patches of sky that no map of the whole sky holds."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from astropy.table import Table
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sims.cmb import Lensing, theory_prefix
from cmbml.sims.flat_sky import FlatSky, draw_patch
from cmbml.sky.flat import flat_spectra
from cmbml.sky.instrument import Channel
from cmbml.sky.patches import Patches
from cmbml.stages.assets import CMB_PATCHES, COMPONENT_SPECTRA, FREQ, OBS_PATCHES, SIM, SPLIT, THEORY_SPECTRA
from cmbml.stages.tasks.drawn_patches import DrawnPatches


@settings
class DrawPatches(Executor):
    """Draw the patches of one simulation: what each channel sees, the CMB asked for, and how bright each component is.

    Their latitudes are those of centres that are uniform on the sphere, and say how bright dust is; nothing else in a
    patch depends on where it lies.

    Attributes:
        cases: what the patches are.
        sky: what is on them.
        number: of patches in a simulation.
        lensing: of the CMB: patches are Gaussian, with lensed spectra unless it is `none`.
        l_edges: bins of the components' spectra.
    """

    cases: DrawnPatches
    sky: FlatSky
    number: PositiveInt
    lensing: Lensing
    l_edges: tuple[float, ...]
    reads: ClassVar = (THEORY_SPECTRA,)
    writes: ClassVar = (CMB_PATCHES, OBS_PATCHES, COMPONENT_SPECTRA)
    per: ClassVar = (SPLIT, SIM)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether there are such patches."""
        self.cases.spec()

    def disk_bytes(self) -> int:
        """Four bytes for each pixel of each channel and of the CMB."""
        return 4 * self.number * self.cases.grid.n_pixels**2 * (1 + len(self.cases.spec().shown))

    def process(self, io: UnitIO) -> None:
        """Draw patch after patch, write."""
        spec, rng, grid = self.cases.spec(), io.rng("patches"), self.cases.grid
        channels: Mapping[str, Channel] = spec.channels
        theory = io.read(THEORY_SPECTRA)
        c_ell = theory[theory_prefix(self.lensing) + "TT"]
        shape = (self.number, 1, grid.n_pixels, grid.n_pixels)
        seen = {name: np.empty(shape, np.float32) for name in channels}
        cmb, spectra = np.empty(shape, np.float32), []
        target = list(channels).index(self.cases.target_channel)
        latitudes = np.degrees(np.arcsin(2 * rng.random(self.number) - 1))
        for number, latitude in enumerate(latitudes):
            parts = draw_patch(self.sky, channels, c_ell, float(latitude), grid, rng)
            cmb[number, 0] = parts["cmb"][target]
            total = np.zeros_like(parts["cmb"])
            for part in parts.values():
                total += part
            for image, name in zip(total, channels, strict=True):
                seen[name][number, 0] = image
            spectra.append({name: part[target] for name, part in parts.items()})
        centres = np.stack([np.zeros(self.number), latitudes, np.zeros(self.number)], axis=1)
        io.write(CMB_PATCHES, Patches(cmb, spec.asked, centres))
        for name, images in seen.items():
            io.write(OBS_PATCHES, Patches(images, spec.shown[name], centres), {FREQ: name})
        io.write(COMPONENT_SPECTRA, _component_table(spectra, latitudes, np.array(self.l_edges), grid.pixel_rad))


def _component_table(
    parts: list[dict[str, np.ndarray]], latitudes: np.ndarray, l_edges: np.ndarray, pixel_rad: tuple[float, float]
) -> Table:
    """Return a row per patch: D_l of each component, in the channel under whose beam the CMB is asked for."""
    spectra = {
        name: flat_spectra(np.stack([patch[name] for patch in parts]), l_edges, pixel_rad).d_ell for name in parts[0]
    }
    return Table({"latitude": latitudes} | spectra)
