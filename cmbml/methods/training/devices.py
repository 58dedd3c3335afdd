"""What networks run on."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from cmbml.methods.base import MethodError
from cmbml.methods.trained import Hardware

Device = Literal["cuda", "mps", "cpu"]
LIGHTNING = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]


def chosen_device(hardware: Hardware, n_devices: int = 1) -> Device:
    """Return the device that is used: `cuda`, `mps` or `cpu`.

    Args:
        hardware: what is asked for.
        n_devices: how many are needed.

    Raises:
        MethodError: the one asked for is not there, or there are fewer.
    """
    there: dict[Device, int] = {
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
        "cpu": n_devices,
    }
    found = [name for name, number in there.items() if number]
    name = found[0] if hardware.device == "auto" else hardware.device
    if name not in found:
        message = f"hardware.device={name}: there is none here; there is {', '.join(found)}"
        raise MethodError(message)
    if there[name] < n_devices:
        message = f"hardware.devices={n_devices}: this machine has {there[name]} of {name}"
        raise MethodError(message)
    return name


@contextmanager
def threads_of(hardware: Hardware) -> Iterator[None]:
    """Let networks use the CPU threads that they may."""
    before = torch.get_num_threads()
    torch.set_num_threads(hardware.threads_used)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice to itself: what matters is reported."""
    levels = [logger.level for logger in LIGHTNING]
    try:
        with warnings.catch_warnings():
            hush()
            yield
    finally:
        for logger, level in zip(LIGHTNING, levels, strict=True):
            logger.setLevel(level)


def hush() -> None:
    """Keep Lightning's advice to itself in all of a process."""
    for logger in LIGHTNING:
        logger.setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    warnings.filterwarnings("ignore", module="torch.*")
