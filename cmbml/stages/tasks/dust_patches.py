"""Nothing is shown, and patches of dust are asked for, such as a sky has them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt

from cmbml.core.asset import Asset
from cmbml.core.space import Axis
from cmbml.core.unit_io import UnitIO
from cmbml.methods.generators.case import Draws
from cmbml.settings import settings
from cmbml.sims.dust_patches import DustSource, PatchLayout
from cmbml.sky.case import CaseSpec
from cmbml.sky.patches import PatchSpec
from cmbml.stages.assets import DUST_PATCHES, SIM, SPLIT
from cmbml.stages.tasks.cases import Cases


@settings
class DustPatches(Cases):
    """Sets of patches. A simulation is a set of them.

    Attributes:
        source: the map that real patches are cut from.
        layout: where they lie, and what they are.
        number: how many are drawn for each set; as many as the split has real ones where None.
        seed: another one draws other patches.
    """

    source: DustSource
    layout: PatchLayout
    number: PositiveInt | None = None
    seed: NonNegativeInt = 0
    shown: ClassVar[tuple[Asset[Any], ...]] = ()
    asked: ClassVar = DUST_PATCHES

    def spec(self) -> CaseSpec[PatchSpec]:
        """Describe the patches by what the config says of them."""
        return CaseSpec({}, self.layout.patch_spec(self.source.spec))

    def read(self, io: UnitIO, at: Mapping[Axis, str] | None = None) -> Draws:
        """Say how many patches are wanted, and from which seed."""
        seed = int(io.rng(f"draws {self.seed}", at, per=(SPLIT, SIM)).integers(2**63))
        return Draws(self.spec(), {}, number=self.number or self.layout.count(io.key[SPLIT]), seed=seed)

    def disk_bytes(self) -> int:
        """Return how large a set is; of the halves, the larger one's."""
        splits = (*self.layout.halves, "all")
        number = self.number or max(self.layout.count(split) for split in splits)
        return 4 * number * self.layout.n_pixels**2
