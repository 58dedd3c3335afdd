"""Arrays in any layout and byte order, through every format that keeps numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.array import Array
from cmbml.handlers.healpix_map import HealpixMap, MapSamples
from cmbml.handlers.mapped_array import MappedArray
from cmbml.handlers.table import EcsvTable, FitsTable, SpectraTable
from cmbml.handlers.tensors import TensorFile
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.spectra import Spectra

STAMP = Stamp("stage", "0123456789abcdef" * 4)
PLAIN = np.random.default_rng(0).normal(size=(3, 12 * 16**2)).astype(np.float32)
SPEC = MapSpec(nside=16, fields="IQU")
DEEP = PLAIN.reshape(3, 4, 8, 96)

# How the same values may lie in memory.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran order": np.asfortranarray,
    "channels innermost": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "big-endian": lambda a: a.astype(">f4"),
    "big-endian, Fortran order": lambda a: np.asfortranarray(a.astype(">f4")),
    "read-only": lambda a: np.broadcast_to(a, a.shape),
}
# Format -> what it is given, made of an array, and that array again from what it reads.
FORMATS: dict[str, tuple[AssetHandler[Any], np.ndarray, Callable[..., Any], Callable[..., Any]]] = {
    "array": (Array(), DEEP, lambda a: a, lambda v: v),
    "mapped array": (MappedArray(), DEEP, lambda a: a, lambda v: v),
    "tensors": (TensorFile(), DEEP, lambda a: ({"w": a}, {}), lambda v: v[0]["w"]),
    "map": (HealpixMap(), PLAIN, lambda a: SkyMap(a, SPEC), lambda v: v.values),
    "samples of a map": (
        MapSamples(),
        PLAIN,
        lambda a: (SkyMap(a, SPEC), SkyMap(PLAIN, SPEC)),
        lambda v: v[0].values,
    ),
    "FITS table": (FitsTable(), PLAIN, lambda a: Table({"a": a, "b": a[0, :3]}, copy=False), lambda v: v["a"]),
    "ECSV table": (EcsvTable(), PLAIN, lambda a: Table({"a": a[:, 5]}, copy=False), lambda v: v["a"]),
    "spectra": (SpectraTable(), PLAIN, lambda a: Spectra({"TT": a[1], "EE": a[2]}), lambda v: v["EE"]),
}
PART = {"ECSV table": np.s_[:, 5], "spectra": np.s_[2]}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FORMATS)
def test_values_come_back_however_they_lie_in_memory(tmp_path: Path, name: str, layout: str) -> None:
    handler, plain, pack, unpack = FORMATS[name]
    laid = LAYOUTS[layout](plain)
    assert np.array_equal(laid, plain)
    paths = [tmp_path / f"{word}{handler.suffix}" for word in ("laid", "plain")]
    for path, values in zip(paths, (laid, plain), strict=True):
        handler.write(path, pack(values), STAMP)
    found = np.asarray(unpack(handler.read(paths[0])))
    np.testing.assert_array_equal(found, plain[PART.get(name, ...)])
    # And the file tells nothing of it: what follows from it is not made again.
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_scalars_stay_scalars(tmp_path: Path) -> None:
    """A count of batches has no axes."""
    for handler, pack, unpack in ((Array(), lambda a: a, lambda v: v), (TensorFile(), *FORMATS["tensors"][2:])):
        handler.write(tmp_path / "a", pack(np.array(7)), STAMP)
        path = tmp_path / "a" if (tmp_path / "a").exists() else tmp_path / "a.npy"
        found = unpack(handler.read(path))
        assert (found.shape, int(found)) == ((), 7)
        path.unlink()
