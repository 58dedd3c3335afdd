"""Cut patches of dust from a map of the whole sky."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sims.dust_patches import require_positive
from cmbml.sky.centres import in_frame
from cmbml.sky.patches import Patches, cut
from cmbml.stages.assets import DUST_PATCHES, SIM, SPLIT
from cmbml.stages.tasks.dust_patches import DustPatches


@settings
class CutDust(Executor):
    """Cut the patches of one simulation.

    Attributes:
        cases: what the patches are, and of which map.
    """

    cases: DustPatches
    writes: ClassVar = (DUST_PATCHES,)
    per: ClassVar = (SPLIT, SIM)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether the map is there and holds such patches."""
        self.cases.source.check()
        self.cases.spec()

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the files of the map."""
        return self.cases.source.files()

    def disk_bytes(self) -> int:
        """Return the size of a set."""
        return self.cases.disk_bytes()

    def process(self, io: UnitIO) -> None:
        """Read the map, cut, write."""
        source, layout = self.cases.source, self.cases.layout
        values = source.read(io.seed("dust"), io.threads)
        spec = layout.patch_spec(source.spec)
        centres = layout.centres_of(io.key[SPLIT], io.rng("centres"))
        # Cut in the map's own frame: a map that is turned first would be interpolated, and so smoothed, twice.
        patches = cut(values[np.newaxis], spec, in_frame(centres, source.frame))
        require_positive(patches, source.spec.unit)
        io.write(DUST_PATCHES, Patches(patches, spec, centres))
