"""Large arrays that are read a part at a time, straight from the disk."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.array import in_file_order


class MappedArray(AssetHandler[NDArray[Any]]):
    """One array, value for value, that stays on the disk until it is looked at; never a pickle."""

    suffix: ClassVar[str] = ".npy"
    mapped: ClassVar[bool] = True

    def read(self, path: Path) -> NDArray[Any]:
        """Map the array into memory, read-only.

        Raises:
            ValueError: the file is cut short, or no array of plain numbers.
        """
        try:
            value: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, EOFError, SyntaxError) as error:
            message = f"it is no whole file of one array of numbers ({error})"
            raise ValueError(message) from error
        return value

    def write(self, path: Path, value: NDArray[Any], stamp: Stamp) -> None:  # noqa: ARG002
        """Write the array; the format has no place for the stamp."""
        np.save(path, in_file_order(value), allow_pickle=False)


class MappedArrays(Sequence[NDArray[Any]]):
    """The rows of many files' arrays, one after the other; each is mapped anew when it is asked for.

    A program may hold but a thousand files open. What is sent to another process is their names.

    Args:
        paths: the files.
        counts: rows of each.
    """

    def __init__(self, paths: Sequence[Path], counts: Sequence[int]) -> None:
        self.paths = list(paths)
        self.ends = list(accumulate(counts))

    @classmethod
    def of(cls, arrays: Iterable[NDArray[Any]]) -> "MappedArrays":
        """Return the rows of arrays that a `MappedArray` has read, which are closed.

        Raises:
            TypeError: one of them stands in no file.
        """
        paths, counts = [], []
        for array in arrays:
            if not isinstance(array, np.memmap) or array.filename is None:
                message = f"an array of shape {array.shape} stands in no file"
                raise TypeError(message)
            paths.append(Path(array.filename))
            counts.append(len(array))
        return cls(paths, counts)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, number: Any) -> Any:  # noqa: ANN401
        if isinstance(number, slice):
            start, stop, step = number.indices(len(self))
            if (start, step) != (0, 1):
                message = f"rows from the first on can be taken, not {number}"
                raise IndexError(message)
            counts = [min(end, stop) - begin for begin, end in pairwise((0, *self.ends)) if begin < stop]
            return MappedArrays(self.paths[: len(counts)], counts)
        if not 0 <= number < len(self):
            raise IndexError(number)
        file = bisect_right(self.ends, number)
        return MappedArray().read(self.paths[file])[number - (self.ends[file - 1] if file else 0)]
