"""Files that many units read, kept in memory by each process."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT_BYTES = 1_000_000_000


class ReadCache:
    """Keep what was read from the files used last, as long as they are unchanged and fit below a limit.

    Args:
        limit_bytes: how much may be kept, counted by the sizes of the files.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.kept: OrderedDict[Path, tuple[tuple[int, int], Any]] = OrderedDict()

    def read(self, path: Path, reader: Callable[[Path], Any]) -> Any:  # noqa: ANN401
        """Return what a file holds. The value is shared: whoever gets it must not change it.

        Args:
            path: the file.
            reader: reads it.
        """
        status = path.stat()
        state = (status.st_size, status.st_mtime_ns)
        found = self.kept.get(path)
        if found is not None and found[0] == state:
            self.kept.move_to_end(path)
            return found[1]
        value = reader(path)
        self.kept[path] = (state, value)
        self.kept.move_to_end(path)
        while sum(size for (size, _), _ in self.kept.values()) > self.limit_bytes:
            self.kept.popitem(last=False)
        return value
