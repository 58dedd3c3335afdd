"""Checkpoints that are whole or not there, and hold no pickled code."""

import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import copy
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from cmbml.methods.base import MethodError


class WholeCheckpoints(TorchCheckpointIO):
    """Write checkpoints beside the training, from a copy, one after the other.

    Each is written under a passing name, flushed, and given its own name; so an earlier one is never lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writing: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401
        """Copy a checkpoint, and begin to write it once the one before is written.

        Args:
            checkpoint: what goes into it.
            path: where it stands.
            storage_options: other paths where it stands, too, written after that one; None: there are none.

        Raises:
            MethodError: the one before could not be written.
        """
        self.wait()
        kept = _copied(checkpoint)
        pool = ThreadPoolExecutor(1, "checkpoint")
        self._writing = pool.submit(_write, kept, [Path(path), *(storage_options or ())])
        pool.shutdown(wait=False)

    def look(self) -> None:
        """Raise what has become of the writing, if that is over.

        Raises:
            MethodError: the disk is full or may not be written; the checkpoint before is still there.
        """
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            MethodError: the disk is full or may not be written; the checkpoint before is still there.
        """
        if self._writing is None:
            return
        # An interrupt ends this, and not what is waited for.
        wait([self._writing])
        writing, self._writing = self._writing, None
        writing.result()

    def teardown(self) -> None:
        """Wait until the last checkpoint is written, or has failed: what ended the training is what counts."""
        if self._writing is not None:
            wait([self._writing])


def _copied(value: Any) -> Any:  # noqa: ANN401
    """Copy what may change while the training goes on, tensors to the CPU's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        found = copy(value)  # with what PyTorch has attached to it
        found.update({name: _copied(entry) for name, entry in value.items()})
        return found
    return type(value)(map(_copied, value)) if isinstance(value, list | tuple) else value


def _write(checkpoint: dict[str, Any], paths: list[Path]) -> None:
    for full in paths:
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
