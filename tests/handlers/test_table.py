"""Tables and spectra are exact, and say who made them."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from cmbml.core.handler import Stamp
from cmbml.handlers.table import EcsvTable, FitsTable, SpectraTable
from cmbml.sky.spectra import Spectra

STAMP = Stamp("stage", "0123456789abcdef" * 4)
RNG = np.random.default_rng(0)
NUMBERS = {"l": np.arange(7), "cl": RNG.normal(size=7), "pair": RNG.normal(size=(7, 2))}


def test_fits_table_keeps_columns_and_keywords(tmp_path: Path) -> None:
    FitsTable().write(tmp_path / "t.fits", Table(NUMBERS, meta={"HASMEAN": True}), STAMP)
    found = FitsTable().read(tmp_path / "t.fits")
    assert found.colnames == list(NUMBERS)
    assert all(np.array_equal(found[name], NUMBERS[name]) for name in NUMBERS)
    assert found.meta["HASMEAN"] is True
    assert found.meta["STAGE"] == "stage"
    assert found.meta["FPRINT"] == "0123456789abcdef" * 2


def test_ecsv_table_is_exact_and_says_who_made_it(tmp_path: Path) -> None:
    before = Table({"name": ["a", "b"], "score": [0.1, 1 / 3]})
    EcsvTable().write(tmp_path / "t.ecsv", before, STAMP)
    found = EcsvTable().read(tmp_path / "t.ecsv")
    assert list(found["score"]) == list(before["score"])
    assert list(found["name"]) == ["a", "b"]
    assert found.meta["stage"] == "stage"
    assert before.meta == {}


def test_spectra_bit_for_bit(tmp_path: Path) -> None:
    before = Spectra({"TT": RNG.normal(size=9), "EE": RNG.normal(size=9)})
    SpectraTable().write(tmp_path / "s.fits", before, STAMP)
    found = SpectraTable().read(tmp_path / "s.fits")
    assert list(found.cl) == ["TT", "EE"]
    assert all(found.cl[name].tobytes() == before.cl[name].tobytes() for name in before.cl)


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.9])
def test_truncated_table_is_refused(tmp_path: Path, part: float) -> None:
    path = tmp_path / "s.fits"
    SpectraTable().write(path, Spectra({"TT": RNG.normal(size=999)}), STAMP)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises((ValueError, OSError)):
        SpectraTable().read(path)
