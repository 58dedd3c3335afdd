"""Draw the parameters of one universe."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sims.cosmology import CosmologySource
from cmbml.stages.assets import COSMOLOGY, COSMOLOGY_PARAMETERS


@settings
class DrawCosmology(Executor):
    """Draw the cosmology of one simulation, of one split, or of the whole dataset.

    No row of a chain is used twice: rows are dealt like cards to `lanes` players, one per split in the order in which
    the config names them. More simulations, or a split added at the end, leave what is drawn already as it is.

    Attributes:
        source: where parameters come from.
        splits: the splits of the dataset, for their order alone.
        lanes: how many splits there may be.
    """

    source: CosmologySource
    splits: Mapping[str, Any]
    lanes: PositiveInt = 4
    writes: ClassVar = (COSMOLOGY_PARAMETERS,)
    per: ClassVar = (COSMOLOGY,)

    def check(self, space: Space) -> None:
        """Look whether the source can serve every simulation."""
        if len(self.splits) > self.lanes:
            message = (
                f"{len(self.splits)} splits and only {self.lanes} lanes; set stages.cosmology.lanes={len(self.splits)}"
            )
            raise ValueError(message)
        self.source.check(1 + max(self.number(key) for key in space.keys((COSMOLOGY,))))

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the chain's files."""
        return self.source.files()

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Depend on the source and on the card dealt, not on how many simulations there are."""
        return {"source": self.source, "number": self.number(key)}

    def number(self, key: Key) -> int:
        """Return the card dealt to a cosmology: unique over all splits, 0 where there is but one cosmology."""
        if self.source.single:
            return 0
        split, _, sim = key[COSMOLOGY].partition("_")
        return int(sim.removeprefix("sim") or 0) * self.lanes + list(self.splits).index(split)

    def process(self, io: UnitIO) -> None:
        """Draw and write the parameters."""
        drawn = self.source.draw(self.number(io.key), io.rng("cosmology"), io.seed("cosmology"))
        io.write(COSMOLOGY_PARAMETERS, asdict(drawn))
