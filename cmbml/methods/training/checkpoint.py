"""Checkpoints that are whole or not there, and hold no pickled code."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from cmbml.methods.base import MethodError


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint under a passing name, flush it, and give it its own name; so an earlier one is never lost."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401, ARG002
        """Write a checkpoint.

        Raises:
            MethodError: the disk is full or may not be written; the checkpoint before is still there.
        """
        full = Path(path)
        part = full.with_name(f".{full.name}.part")
        try:
            full.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(full)
        # PyTorch tells of a short write by a RuntimeError.
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            message = (
                f"cannot write the checkpoint {full}: {error}; free some space, or point system.root at another disk. "
                "The checkpoint before it is whole: the same command goes on from there"
            )
            raise MethodError(message) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything that may stand in it.

    Raises:
        MethodError: it is not whole, or holds more than weights and numbers.
    """
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    # What a damaged file makes PyTorch raise depends on where the damage is.
    except Exception as error:
        message = (
            f"the checkpoint {path} cannot be read ({type(error).__name__}); delete {path.parent} to train from the "
            "start"
        )
        raise MethodError(message) from error
    return found
