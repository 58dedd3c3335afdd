"""Random numbers that depend on what they are for, never on who draws them or when."""

import hashlib

import numpy as np

from cmbml.core.space import Key


def seed_for(root_seed: int, purpose: str, key: Key) -> int:
    """Return a 128-bit seed from the SHA-256 of the root seed, the purpose and the point.

    Example:
        >>> seed_for(0, "noise", Key()) == seed_for(0, "noise", Key())
        True
        >>> seed_for(0, "noise", Key()) == seed_for(1, "noise", Key())
        False
    """
    place = ";".join(f"{axis.name}={value}" for axis, value in key.items)
    digest = hashlib.sha256(f"{root_seed}|{purpose}|{place}".encode()).digest()
    return int.from_bytes(digest[:16], "little")


def generator(root_seed: int, purpose: str, key: Key) -> np.random.Generator:
    """Return the random generator for one purpose at one point."""
    return np.random.Generator(np.random.PCG64(seed_for(root_seed, purpose, key)))
