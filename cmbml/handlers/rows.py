"""Small tables that are written and read by the thousand, and such tables on top of one another."""

import csv
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.tables import Columns, Stack


class Rows(AssetHandler[Columns]):
    """A table as CSV, numbers to their last bit: a hundred rows take a tenth of the time that ECSV takes.

    Args:
        *words: the columns that hold words; all others hold numbers.
    """

    suffix: ClassVar[str] = ".csv"

    def __init__(self, *words: str) -> None:
        self.words = words

    def read(self, path: Path) -> Columns:
        """Read a table.

        Raises:
            ValueError: it is cut short, or a number is none.
        """
        with path.open(encoding="utf-8", newline="") as file:
            heads, *lines = csv.reader(file) or [[]]
        if any(len(line) != len(heads) for line in lines):
            message = f"{path}: {len(heads)} columns, and not as many cells in every line; the file is cut short"
            raise ValueError(message)
        columns = zip(*lines, strict=True) if lines else ((),) * len(heads)
        return {
            name: np.array(column, dtype=str if name in self.words else np.float64)
            for name, column in zip(heads, columns, strict=True)
        }

    def write(self, path: Path, value: Columns, stamp: Stamp) -> None:  # noqa: ARG002
        """Write a table.

        Raises:
            ValueError: a column of words holds numbers, or the reverse.
        """
        columns = {name: np.asarray(column) for name, column in value.items()}
        if wrong := [name for name, column in columns.items() if (column.dtype.kind in "US") != (name in self.words)]:
            message = f"the columns {', '.join(wrong)} hold numbers where words are expected, or words for numbers"
            raise ValueError(message)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


class StackFile(AssetHandler[Stack]):
    """Tables on top of one another, as numpy's archive; `numpy.load` opens it, and no pickle is in it.

    What is the same for all simulations is kept once.
    """

    suffix: ClassVar[str] = ".npz"

    def read(self, path: Path) -> Stack:
        """Read tables.

        Raises:
            ValueError: the file is no such archive.
        """
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        sims = arrays.pop("sims")
        arrays.pop("stamp")
        parts: dict[str, dict[str, NDArray[Any]]] = {"words": {}, "numbers": {}, "facts": {}}
        for name, values in arrays.items():
            part, _, column = name.partition("/")
            parts[part][column] = values
        n_row = len(next(iter(parts["words"].values()), ()))
        numbers = {name: np.broadcast_to(values, (len(sims), n_row)) for name, values in parts["numbers"].items()}
        return Stack(sims, parts["words"], numbers, parts["facts"])

    def write(self, path: Path, value: Stack, stamp: Stamp) -> None:
        """Write tables."""
        arrays: dict[str, NDArray[Any]] = {"sims": value.sims}
        arrays |= {f"words/{name}": column for name, column in value.words.items()}
        arrays |= {f"numbers/{name}": _once(values) for name, values in value.numbers.items()}
        arrays |= {f"facts/{name}": of for name, of in value.facts.items()}
        arrays["stamp"] = np.array(json.dumps({"stage": stamp.stage, "fingerprint": stamp.fingerprint[:32]}))
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)


def _once(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one row of what is the same in all."""
    first = values[:1]
    return first if np.array_equal(values, np.broadcast_to(first, values.shape), equal_nan=True) else values
