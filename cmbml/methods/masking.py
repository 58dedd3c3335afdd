"""Masks that methods are given as files."""

from collections.abc import Mapping
from pathlib import Path

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import MethodError
from cmbml.sky.maps import SkyMap
from cmbml.sky.masks import degrade_mask


def read_mask(path: Path) -> NDArray[np.float64]:
    """Read a mask in RING order, `(n_pix,)`: 1 where a HEALPix file is above a half, else 0.

    Raises:
        MethodError: there is no such file.
    """
    if not path.is_file():
        message = f"the mask {path} is not there; check the method's settings"
        raise MethodError(message)
    mask: NDArray[np.float64] = (hp.read_map(path, dtype=np.float64) > 0.5).astype(np.float64)
    return mask


def masked(maps: Mapping[str, SkyMap], path: Path | None) -> Mapping[str, SkyMap]:
    """Set maps to zero where a mask does not keep at least half of a pixel; None: leave them as they are."""
    if path is None:
        return maps
    mask = read_mask(path)
    found = {}
    for name, sky in maps.items():
        kept = degrade_mask(mask, sky.spec.nside, 0.5)
        found[name] = SkyMap(np.where(kept, sky.values, 0).astype(sky.values.dtype), sky.spec)
    return found
