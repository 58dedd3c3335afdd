"""The C library's memory, which a training on the CPU asks for and gives back some hundred times a step."""

import ctypes
import platform

# From glibc's <malloc.h>; `mallopt` takes nothing else.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEPT_BYTES = 2**31 - 1
GROWTH_BYTES = 512 * 2**20


def keep_memory() -> None:
    """Keep memory that is freed for what is asked for next, in the whole process.

    glibc returns large arrays to the system at once, which then hands out fresh pages, each zeroed at its first touch:
    7 to 18 per cent of a UNet5's training step at nside 64. Does nothing where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, GROWTH_BYTES)):
        library.mallopt(parameter, value)
