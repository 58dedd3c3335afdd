"""Plain arrays as NumPy files."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.handler import AssetHandler, Stamp


def in_file_order(value: NDArray[Any]) -> NDArray[Any]:
    """Return an array in C order and little-endian, as formats want it that write memory as it lies.

    The bytes of a file then depend on the values alone: not on a transposed or sliced view, or on where they came from.

    Args:
        value: of any shape, layout and byte order.

    Returns:
        The same values, in the same shape; `value` itself where it lies so already.

    Example:
        >>> in_file_order(np.zeros((2, 3), ">f4").T).flags.c_contiguous
        True
    """
    return np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")


class Array(AssetHandler[NDArray[Any]]):
    """One array, value for value; never a pickle."""

    suffix: ClassVar[str] = ".npy"

    def read(self, path: Path) -> NDArray[Any]:
        """Read the array."""
        value: NDArray[Any] = np.load(path, allow_pickle=False)
        value.flags.writeable = False
        return value

    def write(self, path: Path, value: NDArray[Any], stamp: Stamp) -> None:  # noqa: ARG002
        """Write the array; the format has no place for the stamp."""
        np.save(path, in_file_order(value), allow_pickle=False)
