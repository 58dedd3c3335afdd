"""Say whether a split is one of the frozen benchmarks, map by map."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.frozen import compare, probe
from cmbml.settings import settings
from stages.assets import BENCHMARK, CMB_MAP, FREQ, OBS_MAP, SIM, SPLIT

TRUTH = "truth"


@settings
class IdentifyBenchmark(Executor):
    """Compare the maps of a split with what is frozen of the benchmark that the dataset is said to be.

    Attributes:
        benchmark: its name; None where the dataset is none.
        folder: where the frozen lists are.
    """

    benchmark: str | None = None
    folder: Path
    reads: ClassVar = (CMB_MAP, OBS_MAP)
    writes: ClassVar = (BENCHMARK,)
    per: ClassVar = (SPLIT,)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether there is such a list.

        Raises:
            ValueError: there is none.
        """
        if self.benchmark is not None and not self._list.is_file():
            known = ", ".join(sorted(path.stem for path in self.folder.glob("*.yaml")))
            message = (
                f"benchmark={self.benchmark}: nothing is frozen under that name in {self.folder}; there are {known}"
            )
            raise ValueError(message)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the frozen list."""
        return () if self.benchmark is None else (self._list,)

    @property
    def _list(self) -> Path:
        return self.folder / f"{self.benchmark}.yaml"

    def process(self, io: UnitIO) -> None:
        """Probe every map, compare, write what was found."""
        if self.benchmark is None:
            io.write(BENCHMARK, {"name": None, "verdict": "this dataset is none of the frozen benchmarks"})
            return
        frozen = yaml.safe_load(self._list.read_text())["maps"].get(io.key[SPLIT])
        if frozen is None:
            verdict = f"the split '{io.key[SPLIT]}' of {self.benchmark} is not frozen: it is there to learn from"
            io.write(BENCHMARK, {"name": None, "verdict": verdict})
            return
        found = probes_of(io)
        agrees, verdict = compare(self.benchmark, frozen, found)
        io.write(BENCHMARK, {"name": self.benchmark if agrees else None, "verdict": verdict})


def probes_of(io: UnitIO) -> dict[str, dict[str, Any]]:
    """Return simulation -> channel, or `truth` -> what is kept of the map."""
    found: dict[str, dict[str, Any]] = {}
    for key, sky in io.read_all(CMB_MAP):
        found.setdefault(key[SIM], {})[TRUTH] = probe(sky.values.astype(np.float32))
    for key, sky in io.read_all(OBS_MAP):
        found[key[SIM]][key[FREQ]] = probe(sky.values.astype(np.float32))
    return found
