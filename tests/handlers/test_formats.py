"""The same values make the same bytes, in every format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.array import Array
from cmbml.handlers.figure import PngFigure
from cmbml.handlers.table import EcsvTable, FitsTable, SpectraTable
from cmbml.handlers.yaml_file import YamlFile
from cmbml.sky.spectra import Spectra

STAMP = Stamp("stage", "0123456789abcdef" * 4)
RNG = np.random.default_rng(0)
NUMBERS = {"l": np.arange(7), "cl": RNG.normal(size=7), "pair": RNG.normal(size=(7, 2))}


def figure() -> Figure:
    made = Figure(figsize=(1, 1))
    made.subplots().plot([1, 2])
    return made


EXAMPLES: list[tuple[AssetHandler[Any], Any]] = [
    (Array(), RNG.normal(size=(2, 3))),
    (Array(), (RNG.normal(size=5) + 1j).astype(np.complex64)),
    (FitsTable(), Table(NUMBERS, meta={"HASMEAN": True})),
    (EcsvTable(), Table({"name": ["a", "b"], "score": [0.1, 1 / 3]})),
    (SpectraTable(), Spectra({"TT": RNG.normal(size=9), "EE": RNG.normal(size=9)})),
    (YamlFile(), {"h0": 67.32, "a_s": 2.1005e-9, "list": [1, "two"]}),
    (PngFigure(), figure()),
]


@pytest.mark.parametrize(("handler", "value"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_same_bytes_twice(tmp_path: Path, handler: AssetHandler[Any], value: Any) -> None:
    paths = [tmp_path / f"{name}{handler.suffix}" for name in ("first", "second")]
    for path in paths:
        handler.write(path, value, STAMP)
    assert paths[0].read_bytes() == paths[1].read_bytes()
