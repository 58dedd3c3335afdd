"""What is kept of frozen maps: enough to tell them from any others, on any machine.

The last bit of an exponential differs between processors, so that a hash of the bytes says "the same" with certainty
and "another" without. Beside it stand, for each map, a standard deviation and a projection on signs drawn from a fixed
seed, which another map of the same kind hits to a thousandth by chance once in a thousand.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-3
"""Of the projection, in standard deviations of what another map would give, and of the standard deviation itself."""

HASH = "sha256"
"""Where the hash of all maps of a simulation stands, beside their names."""

LISTS = Path(__file__).parent / "frozen_lists"
"""A file for each benchmark, `NAME.yaml`: split -> simulation -> what `probe` keeps of it."""

Probe = Mapping[str, Any]


def probe(maps: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Return what is kept of a simulation.

    Args:
        maps: name -> `(n_field, n_pix)`, single precision.

    Returns:
        Name -> standard deviation and projection; and the SHA-256 of all.

    Example:
        >>> one = probe({"truth": np.arange(12, dtype=np.float32)[None]})
        >>> sorted(one), one["truth"][0]
        (['sha256', 'truth'], 3.45205)
    """
    digest, found = hashlib.sha256(), {}
    for name, values in sorted(maps.items()):
        signs = np.random.default_rng(0).integers(0, 2, values.size) * 2.0 - 1
        std = float(values.std(dtype=np.float64))
        projection = float(signs @ values.ravel().astype(np.float64)) / (std * values.size**0.5)
        digest.update(f"{name} {values.shape}".encode())
        digest.update(values.astype("<f4").tobytes())
        found[name] = [float(f"{std:.6g}"), round(projection, 5)]
    return {HASH: digest.hexdigest(), **found}


def compare(name: str, frozen: Mapping[str, Probe], found: Mapping[str, Probe]) -> tuple[bool, str]:
    """Say whether simulations are those that were frozen.

    Args:
        name: of the benchmark.
        frozen: simulation -> what is kept of it.
        found: the same of the simulations at hand.

    Returns:
        Whether they are, and how one knows.
    """
    missing = [f"{sim}/{part}" for sim in frozen for part in frozen[sim] if part not in found.get(sim, {})]
    beyond = [f"{sim}/{part}" for sim in found for part in found[sim] if part not in frozen.get(sim, {})]
    if missing or beyond:
        what = f"lacks {missing[0]}" if missing else f"has {beyond[0]}, which is not in it"
        return False, f"not {name}, although it is called so: it {what}"
    exact = [sim for sim in frozen if frozen[sim][HASH] == found[sim][HASH]]
    places = [(sim, part) for sim in frozen for part in frozen[sim] if part != HASH]
    other = [
        f"{sim}/{part}" for sim, part in places if sim not in exact and not _alike(frozen[sim][part], found[sim][part])
    ]
    if other:
        how = f"{len(other)} of {len(places)} maps differ, first {other[0]}"
        return False, f"not {name}, although it is called so: {how}"
    how = "byte for byte" if len(exact) == len(frozen) else f"as another machine rounds ({len(exact)} to the byte)"
    return True, f"{name}, all {len(frozen)} simulations and {len(places)} maps compared: {how}"


def _alike(mine: tuple[float, float], its: tuple[float, float]) -> bool:
    return abs(mine[0] / its[0] - 1) < TOLERANCE and abs(mine[1] - its[1]) < TOLERANCE
