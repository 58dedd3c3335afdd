"""The sixteen turns and reflections of the sphere that leave HEALPix's pixels where they are.

Quarter turns about the poles, the reflection of longitude, and that of latitude: pixels are exchanged, and no value is
interpolated.
"""

from functools import lru_cache

import healpy as hp
import numpy as np
from numpy.typing import NDArray

N_SYMMETRIES = 16


@lru_cache(maxsize=64)
def symmetry(nside: int, number: int) -> NDArray[np.int64]:
    """Return where each pixel's value comes from, `(n_pix,)`, RING.

    Args:
        nside: of the map.
        number: 0 to 15: quarter turns (number % 4), then longitude reflected (number // 4 % 2), then latitude
            (number // 8). 0 leaves all as it is.

    Example:
        >>> bool((symmetry(2, 0) == np.arange(48)).all())
        True
    """
    x, y, z = hp.pix2vec(nside, np.arange(12 * nside**2))
    for _ in range(number % 4):
        x, y = y, -x
    if number // 4 % 2:
        y = -y
    if number // 8:
        z = -z
    pixel: NDArray[np.int64] = hp.vec2pix(nside, x, y, z).astype(np.int64)
    return pixel


def turned(values: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """Turn or reflect maps.

    Args:
        values: `(..., n_field, n_pix)`, I or I, Q, U; RING. A reflection changes the sign of U.
        number: which symmetry.

    Returns:
        The same shape.
    """
    out = values[..., symmetry(round(np.sqrt(values.shape[-1] / 12)), number)]
    if values.shape[-2] == 3:
        out[..., 2, :] *= handedness(number)
    return out


def handedness(number: int) -> int:
    """Return what U is multiplied by: -1 where a symmetry reflects once, 1 where it turns or reflects twice.

    Example:
        >>> [handedness(number) for number in (1, 5, 9, 13)]
        [1, -1, -1, 1]
    """
    return 1 if (number // 4 % 2) == number // 8 else -1
