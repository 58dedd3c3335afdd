"""Say whether a split is one of the frozen benchmarks, map by map."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.frozen import LISTS, compare, probe
from cmbml.settings import settings
from cmbml.stages.assets import BENCHMARK, CMB_MAP, FREQ, OBS_MAP, SIM, SPLIT

TRUTH = "truth"


@settings
class IdentifyBenchmark(Executor):
    """Compare the maps of a split with what is frozen of the benchmark that the dataset is said to be.

    It runs over the splits that are frozen: none, where the dataset is not called after a benchmark.

    Attributes:
        benchmark: its name; None where the dataset is none.
    """

    benchmark: str | None
    reads: ClassVar = (CMB_MAP, OBS_MAP)
    writes: ClassVar = (BENCHMARK,)
    per: ClassVar = (SPLIT,)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether there is such a list.

        Raises:
            ValueError: there is none.
        """
        if self.benchmark is not None and not self._list.is_file():
            known = ", ".join(sorted(path.stem for path in LISTS.glob("*.yaml")))
            message = f"no benchmark called {self.benchmark} is frozen; there are {known}"
            raise ValueError(message)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the frozen list."""
        return (self._list,)

    @property
    def _list(self) -> Path:
        return LISTS / f"{self.benchmark}.yaml"

    def process(self, io: UnitIO) -> None:
        """Probe every map, compare, write what was found."""
        frozen = yaml.safe_load(self._list.read_text(encoding="utf-8"))[io.key[SPLIT]]
        agrees, text = compare(str(self.benchmark), frozen, probes_of(io))
        io.write(BENCHMARK, {"agrees": agrees, "verdict": text})


def probes_of(io: UnitIO) -> dict[str, dict[str, Any]]:
    """Return simulation -> what is kept of its truth and of its channels, read one simulation at a time."""
    found = {}
    for key, truth in io.read_all(CMB_MAP):
        maps = {own[FREQ]: sky for own, sky in io.read_all(OBS_MAP, {SIM: [key[SIM]]})} | {TRUTH: truth}
        found[key[SIM]] = probe({name: sky.values.astype(np.float32) for name, sky in maps.items()})
    return found
