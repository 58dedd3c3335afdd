from itertools import pairwise

import numpy as np
import pytest

from cmbml.figures.spectra import Curve, log_bins, pseudo_spectra, spectra_figure
from cmbml.sky.harmonics import analyse, filter_components, power, random_alm, synthesise
from cmbml.sky.masks import apodise

NSIDE, LMAX = 32, 64
ELL = np.arange(LMAX + 1)
THEORY = np.where(ELL >= 2, 1e3 * 2 * np.pi / np.maximum(ELL * (ELL + 1), 1), 0.0)


def sky(seed, n_comp=1):
    alm = random_alm(np.random.default_rng(seed), LMAX, n_comp)
    return filter_components(alm, np.sqrt(np.stack([THEORY] * n_comp)))


@pytest.mark.parametrize("n_comp", [1, 3])
def test_full_sky_spectra_are_those_of_the_coefficients(n_comp):
    alm = sky(0, n_comp)
    found = pseudo_spectra(synthesise(alm, NSIDE)[None], np.ones(12 * NSIDE**2), LMAX)[0]
    np.testing.assert_allclose(found[:, 2:], power(alm)[:, 2:], rtol=5e-3)


def test_inside_a_mask_white_noise_keeps_its_level_and_an_offset_does_not_leak():
    """White noise times a mask has the expected spectrum sigma^2 <w^2> 4 pi / n_pix at every multipole, exactly."""
    n_pix, n_map, sigma = 12 * NSIDE**2, 60, 7.0
    z = 1 - 2 * (np.arange(n_pix) + 0.5) / n_pix
    weight = apodise(np.abs(z) > 0.2, 300.0, "C1")
    maps = np.random.default_rng(5).normal(1e3, sigma, (n_map, 1, n_pix))
    found = pseudo_spectra(maps, weight, LMAX)[:, 0, 2:]
    level = np.average(found, axis=1, weights=2 * ELL[2:] + 1) / (sigma**2 * 4 * np.pi / n_pix)
    # 60 maps of some 3000 modes: 0.3 %; the uneven grid adds about as much.
    assert level.mean() == pytest.approx(1.0, abs=0.01)


def test_bins_tile_the_multipoles():
    for lmax in (4, 64, 1024):
        edges = log_bins(lmax)
        assert edges[0] == 2
        assert edges[-1] == lmax + 1
        assert (np.diff(edges) > 0).all()


@pytest.fixture(scope="module")
def polarised_figure():
    truth = pseudo_spectra(synthesise(sky(1, 3), NSIDE)[None], np.ones(12 * NSIDE**2), LMAX)[0]
    curves = [
        Curve(label="30 (28.4 GHz)", cl=3 * truth, colour="red"),
        Curve(label="no noise", cl=0 * truth, colour="red", dashes=":"),
    ]
    theory = {"TT": THEORY, "EE": THEORY}
    return truth, spectra_figure("a title", theory, Curve(label="CMB", cl=truth, colour="black"), curves)


def test_drawn_values_are_the_binned_spectra(polarised_figure):
    truth, figure = polarised_figure
    edges = log_bins(LMAX)
    for column, axes in enumerate((figure.axes[0], figure.axes[2])):
        lines = {line.get_label(): line for line in axes.lines}
        for i, (low, high) in enumerate(pairwise(edges)):
            ell = np.arange(low, high)
            modes = 2 * ell + 1
            mean = np.sum(modes * ell * (ell + 1) * truth[column, low:high]) / np.sum(modes) / (2 * np.pi)
            centre = np.sum(modes * ell) / np.sum(modes)
            assert lines["CMB"].get_xydata()[i] == pytest.approx((centre, mean))
            assert lines["30 (28.4 GHz)"].get_xydata()[i] == pytest.approx((centre, 3 * mean))


def test_labels_and_units_are_written(polarised_figure):
    figure = polarised_figure[1]
    assert figure.get_suptitle() == "a title"
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["TT", "", "EE", ""]
    assert r"\mu\mathrm{K}^2_{\mathrm{CMB}}" in figure.axes[0].get_ylabel()
    assert "multipole" in figure.axes[1].get_xlabel()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["theory", "CMB", "30 (28.4 GHz)"]


def test_realised_over_theory_scatters_as_cosmic_variance(polarised_figure):
    figure = polarised_figure[1]
    edges = log_bins(LMAX)
    for axes in (figure.axes[1], figure.axes[3]):
        ratio = axes.lines[-1].get_ydata()
        pull = (ratio - 1) / np.sqrt(2 / (edges[1:] ** 2 - edges[:-1] ** 2))
        # About 20 bins of unit scatter; the skewness of the lowest adds to it.
        assert 0.5 < pull.std() < 1.6


def test_spectra_do_not_depend_on_threads():
    maps = synthesise(sky(2), NSIDE)[None]
    weight = np.ones(12 * NSIDE**2)
    assert np.array_equal(pseudo_spectra(maps, weight, LMAX, 1), pseudo_spectra(maps, weight, LMAX, 2))


def test_loose_transforms_are_good_enough():
    """Against transforms that have converged, on a map with power beyond lmax."""
    rng = np.random.default_rng(3)
    maps = synthesise(sky(3), NSIDE) + rng.normal(0, 5, (1, 12 * NSIDE**2))
    exact = power(analyse(maps, LMAX, accuracy=1e-10))
    found = pseudo_spectra(maps[None], np.ones(12 * NSIDE**2), LMAX)[0]
    np.testing.assert_allclose(found[:, 2:], exact[:, 2:], rtol=5e-3)
