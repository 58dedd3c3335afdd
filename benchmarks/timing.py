"""How benchmarks take times."""

import time
from collections.abc import Callable

import numpy as np


def median_seconds(part: Callable[[], object], repeats: int = 3) -> float:
    """Return the median seconds of a few calls."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        part()
        times.append(time.perf_counter() - started)
    return float(np.median(times))
