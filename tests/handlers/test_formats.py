"""Tables, spectra, arrays, YAML and figures."""

import pickle
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


@pytest.mark.parametrize("value", [value for handler, value in EXAMPLES if isinstance(handler, Array)])
def test_array_bit_for_bit(tmp_path: Path, value: np.ndarray) -> None:
    Array().write(tmp_path / "a.npy", value, STAMP)
    found = Array().read(tmp_path / "a.npy")
    assert found.dtype == value.dtype
    assert found.tobytes() == value.tobytes()


def test_array_is_never_a_pickle(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        Array().write(tmp_path / "a.npy", np.array([{}], dtype=object), STAMP)
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps([1, 2]))
    for name in ("b.npy", "c.npy"):
        with pytest.raises(ValueError, match="pickle"):
            Array().read(tmp_path / name)


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


def test_yaml_keeps_numbers_and_order(tmp_path: Path) -> None:
    before = {"z": 0.1 + 0.2, "a": 2.1005e-9, "n": 3, "flag": True}
    YamlFile().write(tmp_path / "p.yaml", before, STAMP)
    found = YamlFile().read(tmp_path / "p.yaml")
    assert found == before
    assert list(found) == ["z", "a", "n", "flag"]
    assert "stage stage" in (tmp_path / "p.yaml").read_text()


@pytest.mark.parametrize(("text", "words"), [("", "no mapping"), ("- 1", "no mapping"), ("a: [1", "no YAML")])
def test_yaml_that_is_no_mapping(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        YamlFile().read(tmp_path / "p.yaml")


def test_yaml_holds_plain_values_only(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(ValueError, match="no YAML"):
        YamlFile().read(tmp_path / "p.yaml")


def test_figure_is_a_picture_that_says_who_made_it(tmp_path: Path) -> None:
    PngFigure().write(tmp_path / "f.png", figure(), STAMP)
    content = (tmp_path / "f.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert b"stage 0123456789abcdef" in content
    with pytest.raises(TypeError, match="not read back"):
        PngFigure().read(tmp_path / "f.png")
