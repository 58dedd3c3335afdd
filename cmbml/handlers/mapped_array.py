"""Large arrays that are read a part at a time, straight from the disk."""

from collections.abc import Sequence
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
    """The arrays of many files, each mapped anew when it is asked for, as a program may hold but a thousand files open.

    What is sent to another process is their names.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: Any) -> Any:  # noqa: ANN401
        return MappedArray().read(self.paths[number])
