"""Maps of the 21 cm line in velocity channels are shown, and a map of dust is asked for."""

from collections.abc import Mapping
from typing import Any, ClassVar

from cmbml.core.asset import Asset
from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import MethodError
from cmbml.methods.hydrogen.examples import CUBE, MASK
from cmbml.settings import settings
from cmbml.sky.case import Case, CaseSpec
from cmbml.sky.maps import SkyMap
from cmbml.stages.assets import DUST_MAP, HI_CUBE, HI_MASK, SIM, SKY, SPLIT
from cmbml.stages.sims.hydrogen import HydrogenSource
from cmbml.stages.space import sky_among
from cmbml.stages.tasks.cases import Cases


@settings
class VelocityCubes(Cases):
    """Cubes of a whole sky.

    Attributes:
        source: where they come from, which says what they are.
    """

    source: HydrogenSource
    shown: ClassVar[tuple[Asset[Any], ...]] = (HI_CUBE, HI_MASK)
    asked: ClassVar = DUST_MAP

    def spec(self) -> CaseSpec[Any]:
        """Describe cube, mask and dust by the settings of their source."""
        return CaseSpec({CUBE: self.source.cube_spec, MASK: self.source.mask_spec}, self.source.dust_spec)

    def read(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> Case[Any]:
        """Read the cube and the mask of the sky that a simulation sees.

        Raises:
            MethodError: the cube is not what the settings say.
        """
        spec, only = self.spec(), {SKY: [sky_seen(io, at)]}
        cube = next(found for _, found in io.read_all(HI_CUBE, only))
        if wrong := cube.spec.difference(spec.shown[CUBE]):
            message = f"the cube is not what the config says: {wrong}"
            raise MethodError(message)
        return Case(spec, {CUBE: cube, MASK: next(found for _, found in io.read_all(HI_MASK, only))})

    def read_asked(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> SkyMap:
        """Read the dust of the sky that a simulation sees."""
        dust: SkyMap = next(found for _, found in io.read_all(DUST_MAP, {SKY: [sky_seen(io, at)]}))
        return dust

    def disk_bytes(self) -> int:
        """One map."""
        return 48 * self.source.nside**2


def sky_seen(io: UnitIO, at: Mapping[Axis, str] | None = None) -> str:
    """Return the sky of a simulation, of a unit that sees those of a whole split."""
    skies = io.along(HI_CUBE, SKY)
    return skies[0] if len(skies) == 1 else sky_among(skies, io.key[SPLIT], (at or {})[SIM])
