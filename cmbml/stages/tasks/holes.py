"""A map with holes is shown, and the whole map is asked for."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.asset import Asset
from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.methods.holes.case import HOLED, MASK, NOISE, HoledMap
from cmbml.settings import settings
from cmbml.sims.cmb import Lensing, theory_prefix
from cmbml.sky.case import CaseSpec
from cmbml.sky.harmonics import filter_components, synthesise
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.spectra import Spectra
from cmbml.stages.assets import (
    CMB_ALM,
    HOLE_MASK,
    HOLED_MAP,
    HOLED_NOISE,
    HOLED_NOISE_SPECTRA,
    SIM,
    SPLIT,
    THEORY_SPECTRA,
)
from cmbml.stages.modelling.holes import HoleSource
from cmbml.stages.tasks.cases import Cases, only


@settings
class Holes(Cases):
    """Maps of the CMB with holes in them.

    Attributes:
        source: where the maps come from, which says what they are.
        lensing: how the dataset's CMB was lensed, which says what theory it was drawn from.
    """

    source: HoleSource
    lensing: Lensing
    shown: ClassVar[tuple[Asset[Any], ...]] = (HOLED_MAP, HOLE_MASK, HOLED_NOISE, HOLED_NOISE_SPECTRA, THEORY_SPECTRA)
    asked: ClassVar = CMB_ALM

    def spec(self) -> CaseSpec[MapSpec]:
        """Describe the map by what is known of its source."""
        spec = self.source.spec
        return CaseSpec({HOLED: spec, MASK: self.source.mask_spec, NOISE: spec}, spec)

    def read(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> HoledMap:
        """Read the map, its holes, its noise, and what spectra its CMB may have."""
        shown = {
            name: next(found for _, found in io.read_all(asset, only(at)))
            for name, asset in ((HOLED, HOLED_MAP), (MASK, HOLE_MASK), (NOISE, HOLED_NOISE))
        }
        spec, theory = self.spec(), io.read(THEORY_SPECTRA)
        return HoledMap(
            spec,
            shown,
            spectra=spectra_matrix(theory, self.lensing, spec.asked),
            window=self.source.window()[:, : self.source.band_limit + 1],
            correlated=next(found for _, found in io.read_all(HOLED_NOISE_SPECTRA, only(at))),
            # Another one for each simulation, the same for each method.
            seed=int(io.rng("filling of holes", at, per=(SPLIT, SIM)).integers(2**63)),
        )

    def read_asked(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> SkyMap:
        """Return the true CMB under the map's beam."""
        spec, window = self.source.spec, self.source.window()
        truth = next(alm for _, alm in io.read_all(CMB_ALM, only(at)))
        alm = filter_components(truth[: len(window)], window)
        return SkyMap(synthesise(alm, spec.nside, io.threads), spec)

    def disk_bytes(self) -> int:
        """One map."""
        return self.source.maps.n_bytes


def spectra_matrix(theory: Spectra, lensing: Lensing, spec: MapSpec) -> NDArray[np.float64]:
    """Return the covariance C_l of T, or of T, E, B, uK_CMB^2, `(n_comp, n_comp, lmax + 1)`."""
    prefix = theory_prefix(lensing)
    names = ("TT",) if spec.fields == "I" else ("TT", "EE", "BB", "TE")
    cl = {name: theory[prefix + name][: (spec.lmax or 3 * spec.nside - 1) + 1] for name in names}
    if spec.fields == "I":
        return np.asarray(cl["TT"])[None, None]
    zero = np.zeros_like(cl["TT"])
    rows = [[cl["TT"], cl["TE"], zero], [cl["TE"], cl["EE"], zero], [zero, zero, cl["BB"]]]
    return np.array(rows, dtype=np.float64)
