"""Plain arrays as NumPy files."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cmbml.core.handler import AssetHandler, Stamp


class Array(AssetHandler[NDArray[Any]]):
    """One array, bit for bit; never a pickle."""

    suffix: ClassVar[str] = ".npy"

    def read(self, path: Path) -> NDArray[Any]:
        """Read the array."""
        value: NDArray[Any] = np.load(path, allow_pickle=False)
        value.flags.writeable = False
        return value

    def write(self, path: Path, value: NDArray[Any], stamp: Stamp) -> None:  # noqa: ARG002
        """Write the array; the format has no place for the stamp."""
        np.save(path, value, allow_pickle=False)
