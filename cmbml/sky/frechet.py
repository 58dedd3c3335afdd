"""How far two populations of vectors are apart, as far as their means and covariances tell."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.flat import flat_spectra, ring_edges

Float = NDArray[np.float64]
FAINTEST = 1e-30
"""C_l below which an image counts as empty: what has collapsed to one value has a logarithm, too."""


def frechet_distance(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)): the Frechet distance of Gaussians, squared.

    Aylor et al. (arXiv:1909.06467, eq. 1) call it d_F; Dowson and Landau (1982, J. Multivariate Anal. 12, 450).

    Args:
        first: `(n_first, n)`, n_first > 1.
        second: `(n_second, n)`.
    """
    one, two = (np.asarray(values, np.float64) for values in (first, second))
    shift = one.mean(axis=0) - two.mean(axis=0)
    cov_one, cov_two = (np.atleast_2d(np.cov(values, rowvar=False)) for values in (one, two))
    # The trace of (S_1 S_2)^(1/2) is that of the root of the symmetric product, whose eigenvalues are real.
    values, vectors = np.linalg.eigh(cov_one)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov_two @ root)
    cross = np.sqrt(np.clip(product, 0, None)).sum()
    return float(shift @ shift + np.trace(cov_one) + np.trace(cov_two) - 2 * cross)


def log_spectra(images: NDArray[Any], side_rad: float, window: Float | None = None) -> tuple[Float, Float]:
    """Return the mean multipole of each ring, `(n_bin,)`, and log10 C_l of images, `(n_image, n_bin)`.

    Args:
        images: `(n_image, n_pixels, n_pixels)`.
        side_rad: of an image, rad.
        window: `(n_pixels, n_pixels)`; a Hann window where None.
    """
    shape, pixel = images.shape[-2:], (side_rad / images.shape[-1],) * 2
    found = flat_spectra(images, ring_edges(shape, pixel), pixel, window=window)
    return found.l_mean, np.log10(np.maximum(found.c_ell, FAINTEST))
