"""Files that many units read, kept in memory by each process."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT_BYTES, LIMIT_FILES = 1_000_000_000, 128


class ReadCache:
    """Keep what was read from the files used last, as long as they are unchanged and fit below a limit.

    Args:
        limit_bytes: how much may be kept, counted by the sizes of the files.
        limit_files: how many. What all units share is a few files a channel; a spectrum for each simulation only looks
            shared, and would be kept by the thousand.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES, limit_files: int = LIMIT_FILES) -> None:
        self.limit_bytes, self.limit_files, self.size = limit_bytes, limit_files, 0
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
        if found is not None:
            self.size -= self.kept.pop(path)[0][0]
        value = reader(path)
        self.kept[path] = (state, value)
        self.size += state[0]
        while self.size > self.limit_bytes or len(self.kept) > self.limit_files:
            _, ((size, _), _) = self.kept.popitem(last=False)
            self.size -= size
        return value
