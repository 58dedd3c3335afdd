"""Masks: 1 where a sky is to be trusted, 0 where not."""

from typing import Any, Literal

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import analyse, filter_alm, synthesise
from cmbml.sky.maps import MapError

Mask = NDArray[np.bool_]


def smooth(values: NDArray[np.floating[Any]], fwhm_arcmin: float, threads: int = 1) -> NDArray[np.float64]:
    """Smooth a map `(n_pix,)` with a Gaussian beam."""
    nside = hp.npix2nside(values.size)
    sigma = np.deg2rad(fwhm_arcmin / 60) / np.sqrt(8 * np.log(2))
    lmax = min(2 * nside, int(np.ceil(5 / sigma)))  # the window is below 4e-6 from there on
    alm = analyse(values.astype(np.float64)[None], lmax, threads, accuracy=1e-4, max_iterations=5)
    smoothed: NDArray[np.float64] = synthesise(filter_alm(alm, gaussian_window(fwhm_arcmin, lmax)), nside, threads)[0]
    return smoothed


def source_mask(values: NDArray[np.floating[Any]], fwhm_arcmin: float, n_sigma: float, threads: int = 1) -> Mask:
    """Find what stands out of its surroundings on the scale of the beam.

    Args:
        values: `(n_pix,)`, foregrounds of one channel, in any unit.
        fwhm_arcmin: the channel's beam.
        n_sigma: threshold, in robust standard deviations of the same latitude band, so that the rough Galactic plane
            is not taken for sources throughout.
        threads: CPU threads.

    Returns:
        `(n_pix,)`, False within one beam (and at least one pixel) of a source.
    """
    nside = hp.npix2nside(values.size)
    pixel_arcmin = np.rad2deg(hp.nside2resol(nside)) * 60
    width = max(fwhm_arcmin, 2 * pixel_arcmin)
    detail = values - smooth(values, 2 * width, threads)
    vectors = hp.pix2vec(nside, np.arange(values.size))
    sine = np.abs(vectors[2])
    keep = np.ones(values.size, dtype=bool)
    bands = np.digitize(sine, np.linspace(0, 1, 11)[1:-1])
    for band in range(10):
        inside = np.flatnonzero(bands == band)
        spread = 1.4826 * np.median(np.abs(detail[inside] - np.median(detail[inside])))
        for pixel in inside[detail[inside] > n_sigma * spread]:
            keep[hp.query_disc(nside, [axis[pixel] for axis in vectors], np.deg2rad(width / 60), inclusive=False)] = (
                False
            )
    return keep


def galactic_mask(
    maps: list[NDArray[np.floating[Any]]], keep: Mask, sky_fraction: float, smoothing_deg: float, threads: int = 1
) -> Mask:
    """Leave out the brightest foregrounds until the wanted part of the sky is left.

    A pixel is as bad as it is in its worst channel, where channels are compared by the rank of their brightness.

    Args:
        maps: foregrounds of each channel, `(n_pix,)` each, in any unit.
        keep: `(n_pix,)`, False where something else is masked already.
        sky_fraction: part of the sky that the result keeps, to a pixel.
        smoothing_deg: full width at half maximum to which brightness is smoothed before it is ranked.
        threads: CPU threads.

    Returns:
        `(n_pix,)`.

    Raises:
        MapError: `keep` alone leaves less than the wanted part.
    """
    if keep.mean() < sky_fraction:
        message = (
            f"the point-source mask leaves {keep.mean():.3f} of the sky, less than mask.sky_fraction={sky_fraction}; "
            "raise mask.source_sigma"
        )
        raise MapError(message)
    ranks = [np.argsort(np.argsort(smooth(values, 60 * smoothing_deg, threads))) for values in maps]
    worst = np.max(ranks, axis=0).astype(np.float64)
    worst[~keep] = np.inf
    order = np.argsort(worst, kind="stable")
    mask = np.zeros(keep.size, dtype=bool)
    mask[order[: round(sky_fraction * keep.size)]] = True
    return mask


def degrade_mask(values: NDArray[np.floating[Any]], nside: int, threshold: float) -> Mask:
    """Bring a mask `(n_pix,)` to another nside: a pixel is kept if at least `threshold` of it is."""
    kept: Mask = hp.ud_grade(values.astype(np.float64), nside) >= threshold
    return kept


def apodise(mask: Mask, width_arcmin: float, shape: Literal["C1", "C2"]) -> NDArray[np.float64]:
    """Soften the edge of a mask.

    The weight depends on the distance d to the nearest masked pixel through x = sqrt((1 - cos d) / (1 - cos width)):
    `C1` x - sin(2 pi x) / 2 pi, `C2` (1 - cos(pi x)) / 2 for x < 1, and 1 beyond (Grain et al. 2009, as in NaMaster).

    Args:
        mask: `(n_pix,)`.
        width_arcmin: distance at which the weight is 1; 0 for a hard edge.
        shape: of the edge.

    Returns:
        `(n_pix,)`, between 0 and 1; 0 wherever the mask is.
    """
    hard = mask.astype(np.float64)
    if width_arcmin == 0 or mask.all():
        return hard
    nside = hp.npix2nside(mask.size)
    masked = np.flatnonzero(~mask)
    around = hp.get_all_neighbours(nside, masked)
    rim = masked[((around >= 0) & mask[around]).any(axis=0)]
    kept = np.flatnonzero(mask)
    # sqrt(2 (1 - cos d)) is the length of the chord, so that x is a ratio of chords.
    width = 2 * np.sin(np.deg2rad(width_arcmin / 60) / 2)
    tree = cKDTree(np.stack(hp.pix2vec(nside, rim), axis=1))
    chord = tree.query(np.stack(hp.pix2vec(nside, kept), axis=1), distance_upper_bound=width)[0]
    x = np.ones(mask.size)
    x[kept] = np.minimum(chord / width, 1.0)
    edge = x - np.sin(2 * np.pi * x) / (2 * np.pi) if shape == "C1" else 0.5 * (1 - np.cos(np.pi * x))
    return np.where(mask, edge, 0.0)
