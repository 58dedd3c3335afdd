"""What can go wrong while a network works, said so that a user can mend it."""

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessException

from cmbml.methods.base import MethodError

_MEMORY = re.compile(r"OutOfMemoryError|MemoryError|out of memory|can't allocate memory|signal SIGKILL")


@contextmanager
def out_of_memory(setting: str, size: int, shares: int = 1) -> Iterator[None]:
    """Answer memory that is used up with the batch size to try.

    Args:
        setting: where the size of batches is set.
        size: what it is.
        shares: how many devices share it evenly.

    Raises:
        MethodError: it is used up.
    """
    try:
        yield
    except (RuntimeError, MemoryError, ProcessException) as error:
        text = f"{type(error).__name__}: {error}"
        if not _MEMORY.search(text):
            raise
        less = size // shares // 2 * shares
        advice = f"try {setting}={less}" if less else "take a smaller network, or hardware.device=cpu"
        message = f"the memory is used up with {setting}={size}; {advice} ({text.strip().splitlines()[-1]})"
        raise MethodError(message) from error


@contextmanager
def told_by_processes() -> Iterator[None]:
    """Raise here what a method has raised in a process that it started.

    Raises:
        MethodError: as it was raised there.
    """
    try:
        yield
    except ProcessException as error:
        found = re.search(r"^[\w.]*MethodError: (.*)\Z", str(error), re.DOTALL | re.MULTILINE)
        if found is None:
            raise
        raise MethodError(found.group(1).strip()) from error


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the program as it does elsewhere: Lightning ignores it from then on, and exits by itself.

    Raises:
        KeyboardInterrupt: the user has pressed Ctrl-C.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if main:
            signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from error


@contextmanager
def relayed(report: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Give what takes lines in other processes, and passes them on in this one."""
    queue = multiprocessing.get_context("spawn").SimpleQueue()

    def pass_on() -> None:
        for line in iter(queue.get, None):
            report(line)

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield queue.put
    finally:
        queue.put(None)
        thread.join()


def require_finite(arrays: dict[str, torch.Tensor], names: list[str], trouble: str) -> None:
    """Check what a network is shown.

    Args:
        arrays: what it is -> `(batch, ...)`.
        names: of the simulations of the batch.
        trouble: what came of it.

    Raises:
        MethodError: one holds what is no number.
    """
    for what, values in arrays.items():
        whole = torch.isfinite(values).flatten(1).all(dim=1).tolist()
        if bad := [name for name, fine in zip(names, whole, strict=True) if not fine]:
            message = f"{trouble}: the {what} of {', '.join(bad)} holds values that are no numbers; look at those maps"
            raise MethodError(message)
