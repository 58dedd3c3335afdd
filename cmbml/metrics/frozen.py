"""What is kept of a frozen map: enough to tell it from any other, on any machine.

The last bit of an exponential differs between processors, so that a hash of the bytes says "the same" with certainty
and "another" without. Beside it stand a standard deviation and a projection on signs drawn from a fixed seed, which
another map of the same kind hits to a thousandth by chance once in a thousand.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-3
"""Of the projection, in standard deviations of what another map would give, and of the standard deviation itself."""

Probes = Mapping[str, Mapping[str, Mapping[str, Any]]]


def probe(values: NDArray[np.float32]) -> dict[str, Any]:
    """Return what is kept of a map.

    Args:
        values: `(n_field, n_pix)`, single precision.

    Example:
        >>> one = probe(np.arange(12, dtype=np.float32)[None])
        >>> sorted(one), round(one["std"], 3)
        (['projection', 'sha256', 'std'], 3.452)
    """
    little = values.astype("<f4")
    signs = np.random.default_rng(0).integers(0, 2, values.size) * 2.0 - 1
    std = float(values.std(dtype=np.float64))
    return {
        "sha256": hashlib.sha256(little.tobytes()).hexdigest(),
        "std": std,
        "projection": float(signs @ little.ravel().astype(np.float64)) / (std * values.size**0.5),
    }


def compare(name: str, frozen: Probes, found: Probes) -> tuple[bool, str]:
    """Say whether maps are those that were frozen.

    Args:
        name: of the benchmark.
        frozen: simulation -> map -> what is kept of it.
        found: the same of the maps at hand.

    Returns:
        Whether they are, and a sentence.
    """
    missing = [f"{sim}/{part}" for sim in frozen for part in frozen[sim] if part not in found.get(sim, {})]
    beyond = sorted(set(found) - set(frozen))
    if missing or beyond:
        what = f"lacks {missing[0]}" if missing else f"has {beyond[0]}, which is not in it"
        return False, f"not {name}, although it is called so: it {what}"
    pairs = [(f"{sim}/{part}", frozen[sim][part], found[sim][part]) for sim in frozen for part in frozen[sim]]
    other = [place for place, mine, its in pairs if not _alike(mine, its)]
    if other:
        return (
            False,
            f"not {name}, although it is called so: {len(other)} of {len(pairs)} maps differ, first {other[0]}",
        )
    same = sum(mine["sha256"] == its["sha256"] for _, mine, its in pairs)
    how = "byte for byte" if same == len(pairs) else f"to the accuracy of another machine ({same} maps to the byte)"
    return True, f"{name}, {len(frozen)} simulations, {len(pairs)} maps compared: {how}"


def _alike(mine: Mapping[str, Any], its: Mapping[str, Any]) -> bool:
    return mine["sha256"] == its["sha256"] or (
        abs(mine["std"] / its["std"] - 1) < TOLERANCE and abs(mine["projection"] - its["projection"]) < TOLERANCE
    )
