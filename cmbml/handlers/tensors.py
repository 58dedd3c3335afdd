"""Named arrays with a description, as a safetensors file: what a network has learnt."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cmbml.core.handler import AssetHandler, Stamp
from cmbml.handlers.array import in_file_order

Tensors = tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]]
ENTRY = "cmbml"


class TensorFile(AssetHandler[Tensors]):
    """Arrays and a mapping of plain values; no pickle, so that a file from anywhere can be opened safely."""

    suffix: ClassVar[str] = ".safetensors"

    def read(self, path: Path) -> Tensors:
        """Read the arrays and the description.

        Raises:
            ValueError: the file is cut short, no safetensors file, or none that this package has written.
        """
        if not path.exists():
            raise FileNotFoundError(path)
        try:
            with safe_open(path, framework="numpy") as stream:
                about = dict(json.loads((stream.metadata() or {})[ENTRY])["value"])
                return {name: stream.get_tensor(name) for name in stream.keys()}, about  # noqa: SIM118
        except SafetensorError as error:
            message = f"it is no whole safetensors file ({error})"
            raise ValueError(message) from error
        except (KeyError, TypeError, ValueError) as error:
            message = "it does not say what its weights are for: it was not written by cmbml"
            raise ValueError(message) from error

    def write(self, path: Path, value: Tensors, stamp: Stamp) -> None:
        """Write the arrays and the description."""
        arrays, about = value
        marked = {"stage": stamp.stage, "fingerprint": stamp.fingerprint[:32], "value": about}
        # safetensors writes memory as it lies: weights with their channels innermost would come back permuted.
        laid_out = {name: in_file_order(array) for name, array in arrays.items()}
        # One entry only: safetensors writes several in an order that changes from run to run.
        path.touch()
        mode = path.stat().st_mode
        save_file(laid_out, path, metadata={ENTRY: json.dumps(marked, sort_keys=True)})
        # It leaves a file that nobody else may read, whatever the user has files to be.
        path.chmod(mode)
