"""Masks: which pixels they keep, and how softly they end."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.maps import MapError
from cmbml.sky.masks import apodise, degrade_mask, galactic_mask, smooth, source_mask

NSIDE = 32
N_PIX = 12 * NSIDE**2
LATITUDE = 90 - np.rad2deg(hp.pix2ang(NSIDE, np.arange(N_PIX))[0])
GALAXY = np.exp(-np.abs(LATITUDE) / 10)
ALL = np.ones(N_PIX, dtype=bool)


def test_smoothing_agrees_with_healpy() -> None:
    values = np.random.default_rng(0).normal(size=N_PIX)
    expected = hp.smoothing(values, fwhm=np.deg2rad(10), lmax=2 * NSIDE, iter=10)
    assert smooth(values, 600.0) == pytest.approx(expected, abs=1e-3 * expected.std())


@pytest.mark.parametrize("sky_fraction", [0.2, 0.6, 0.8, 0.95])
def test_galactic_mask_keeps_the_fraction_to_a_pixel_and_the_poles_first(sky_fraction: float) -> None:
    mask = galactic_mask([GALAXY, 100 * GALAXY], ALL, sky_fraction, 3.0)
    assert mask.sum() == round(sky_fraction * N_PIX)
    # For a Galaxy that falls off with latitude alone, the mask is a band: |sin b| < 1 - f, to a pixel's width.
    edge = np.rad2deg(np.arcsin(1 - sky_fraction))
    width = np.rad2deg(hp.nside2resol(NSIDE)) * 1.5
    assert mask[np.abs(LATITUDE) > edge + width].all()
    assert not mask[np.abs(LATITUDE) < edge - width].any()


def test_brightness_is_compared_by_rank_so_that_no_channel_outshouts_the_others() -> None:
    northern = 1e-6 * np.exp(LATITUDE / 30)
    mask = galactic_mask([1e6 * GALAXY, northern], ALL, 0.5, 3.0)
    assert not mask[LATITUDE > 75].any()
    assert mask[LATITUDE < -75].all()


def test_what_is_masked_already_stays_masked() -> None:
    keep = ALL.copy()
    keep[:100] = False
    mask = galactic_mask([GALAXY], keep, 0.8, 3.0)
    assert not mask[:100].any()
    assert mask.sum() == round(0.8 * N_PIX)


def test_fraction_that_cannot_be_kept_is_refused() -> None:
    keep = ALL.copy()
    keep[: N_PIX // 2] = False
    with pytest.raises(MapError, match=r"leaves 0.500 of the sky, less than mask.sky_fraction=0.8; raise"):
        galactic_mask([GALAXY], keep, 0.8, 3.0)


def test_sources_are_found_and_little_else() -> None:
    rng = np.random.default_rng(1)
    places = rng.choice(np.flatnonzero(np.abs(LATITUDE) > 20), 20, replace=False)
    delta = np.zeros(N_PIX)
    delta[places] = 1.0
    fwhm = 3 * np.rad2deg(hp.nside2resol(NSIDE)) * 60
    sources = smooth(delta, fwhm)
    background = smooth(rng.normal(size=N_PIX), 3 * fwhm)
    values = 100 * sources / sources.max() + background / background.std()
    keep = source_mask(values, fwhm, 10.0)
    assert not keep[places].any()
    # One beam around each source, twice over for those whose flanks stand out too.
    disc = np.pi * np.deg2rad(fwhm / 60) ** 2 / (4 * np.pi)
    assert 20 * 0.5 * disc < 1 - keep.mean() < 20 * 6 * disc
    assert source_mask(background, fwhm, 10.0).mean() > 0.995


def test_degraded_pixel_is_kept_if_enough_of_it_is() -> None:
    fine = np.ones(12 * 8**2)
    children = hp.nest2ring(8, np.arange(4))
    fine[children[:1]] = 0.0
    coarse = hp.nest2ring(4, 0)
    assert degrade_mask(fine, 4, 0.75)[coarse]
    assert not degrade_mask(fine, 4, 0.76)[coarse]
    assert degrade_mask(fine, 4, 0.76).sum() == 12 * 4**2 - 1
    assert np.array_equal(degrade_mask(fine, 8, 0.5), fine > 0)


@pytest.mark.parametrize("shape", ["C1", "C2"])
def test_edge_follows_its_formula(shape: str) -> None:
    """Against a direct search over all pairs of pixels, with the formulas of Grain et al. 2009."""
    mask = np.abs(LATITUDE) > 15
    width = 12.0
    vectors = np.stack(hp.pix2vec(NSIDE, np.arange(N_PIX)))
    closest = (vectors[:, ~mask].T @ vectors).max(axis=0)
    x = np.minimum(np.sqrt(np.maximum(1 - closest, 0) / (1 - np.cos(np.deg2rad(width)))), 1)
    expected = x - np.sin(2 * np.pi * x) / (2 * np.pi) if shape == "C1" else 0.5 * (1 - np.cos(np.pi * x))
    found = apodise(mask, 60 * width, shape)
    assert found == pytest.approx(np.where(mask, expected, 0), abs=1e-6)
    assert (found[~mask] == 0).all()
    assert (found[np.abs(LATITUDE) > 15 + width + 2] == 1).all()


@pytest.mark.parametrize("mask", [ALL, np.abs(LATITUDE) > 15], ids=["no edge", "hard edge"])
def test_hard_edge_and_full_sky_stay_as_they_are(mask: np.ndarray) -> None:
    assert np.array_equal(apodise(mask, 0.0, "C1"), mask.astype(float))
    assert np.array_equal(apodise(ALL, 60.0, "C2"), ALL.astype(float))


def test_mask_that_hides_everything() -> None:
    assert not apodise(~ALL, 60.0, "C1").any()
