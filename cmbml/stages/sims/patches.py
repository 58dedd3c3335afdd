"""Draw patches of sky that no map of the whole sky holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.patch_file import PatchFile
from cmbml.settings import later, settings
from cmbml.sims.cmb import Lensing, theory_prefix
from cmbml.sims.flat_sky import DustOfPatches, FlatSky, draw_patch
from cmbml.sky.flat import flat_spectra
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError
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
        dust: where their dust is taken from; None: it is drawn as `sky` says.
        dust_of: the same of single splits, by name: what is taught by generated dust is asked about real dust.
    """

    cases: DrawnPatches
    sky: FlatSky
    number: PositiveInt
    lensing: Lensing
    l_edges: tuple[float, ...]
    dust: DustOfPatches | None = None
    dust_of: Mapping[str, DustOfPatches] | None = later(None)
    reads: ClassVar = (THEORY_SPECTRA,)
    writes: ClassVar = (CMB_PATCHES, OBS_PATCHES, COMPONENT_SPECTRA)
    version: ClassVar = 2  # clusters end at the same angle, whatever the pixels
    per: ClassVar = (SPLIT, SIM)

    def check(self, space: Space) -> None:
        """Look whether there are such patches, and such splits.

        Raises:
            ConfigError: dust is given for a split that there is not.
        """
        self.cases.spec()
        for split in self.dust_of or ():
            space.require(SPLIT, split, f"patches.dust_of.{split}")

    def disk_bytes(self) -> int:
        """Four bytes for each pixel of each channel and of the CMB."""
        return 4 * self.number * self.cases.grid.n_pixels**2 * (1 + len(self.cases.spec().shown))

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the files that dust is taken from."""
        dust = self._dust(key)
        return () if dust is None else dust.files

    def _dust(self, key: Key) -> DustOfPatches | None:
        """Return where the dust of a split is taken from."""
        return (self.dust_of or {}).get(key[SPLIT], self.dust)

    def _given(self, dust: DustOfPatches) -> NDArray[np.float64]:
        """Read the patches of dust, `(n, n_pixels, n_pixels)`, uK_CMB at 353 GHz."""
        grid, found = self.cases.grid, []
        for path in dust.files:
            patches = PatchFile().read(path)
            spec = patches.spec
            pixels = (spec.height, spec.width, *np.round(spec.pixel_arcmin, 3))
            wanted = (grid.n_pixels, grid.n_pixels, *np.round([grid.pixel_arcmin] * 2, 3))
            if pixels != wanted:
                message = (
                    f"{path} holds patches of {spec.height} x {spec.width} pixels of {spec.pixel_arcmin[0]:g}', and "
                    f"{grid.n_pixels} of {grid.pixel_arcmin:g}' are drawn: set patches.grid.n_pixels and pixel_arcmin"
                )
                raise MapError(message)
            found.append(patches.values[:, 0].astype(np.float64) * dust.factor(spec.maps.unit))
        values = np.concatenate(found)
        if not (values > 0).all():
            message = (
                f"{', '.join(map(str, dust.files))}: {int((values <= 0).sum())} pixels hold no dust; it is above zero"
            )
            raise MapError(message)
        return values

    def process(self, io: UnitIO) -> None:
        """Draw patch after patch, write.

        Raises:
            MapError: the dust that is given has other pixels, or is not above zero.
        """
        spec, rng, grid = self.cases.spec(), io.rng("patches"), self.cases.grid
        channels: Mapping[str, Channel] = spec.channels
        theory = io.read(THEORY_SPECTRA)
        c_ell = theory[theory_prefix(self.lensing) + "TT"]
        shape = (self.number, 1, grid.n_pixels, grid.n_pixels)
        seen = {name: np.empty(shape, np.float32) for name in channels}
        cmb, spectra = np.empty(shape, np.float32), []
        target = list(channels).index(self.cases.target_channel)
        latitudes = np.degrees(np.arcsin(2 * rng.random(self.number) - 1))
        source = self._dust(io.key)
        given = None if source is None else self._given(source)
        for number, latitude in enumerate(latitudes):
            drawn = source is None or (source.part < 1 and rng.random() >= source.part)
            dust = None if drawn or given is None else given[rng.integers(len(given))]
            parts = draw_patch(self.sky, channels, c_ell, float(latitude), grid, rng, dust)
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
