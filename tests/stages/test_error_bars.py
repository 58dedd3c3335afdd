"""The judge of spectra, and the figure of error bars."""

import math

import numpy as np
import pytest

from cmbml.figures.error_bars import error_bars_figure
from cmbml.metrics.bandpowers import true_bandpowers
from cmbml.metrics.scores import ScoreError
from cmbml.metrics.uncertainty import RIGHT
from cmbml.sky.case import Bandpowers
from cmbml.sky.centres import rings
from cmbml.sky.flat import flat_spectra, gaussian_patches, multipoles, ring_edges
from cmbml.sky.harmonics import random_alm, synthesise
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.patches import Patches, PatchSpec, cut_exactly
from cmbml.stages.analysis.error_bars import of_recovered, of_spectra

SHAPE, PIXEL = (24, 24), (0.01, 0.01)


def test_samples_of_the_exact_posterior_cover_the_true_spectra() -> None:
    """Of Gaussian patches under white noise; spectra of many modes are nearly Gaussian, those of few are not."""
    number, passes, depth = 150, 40, 0.5
    rng, ell = np.random.default_rng(5), multipoles(SHAPE, PIXEL)
    c_ell = 1e-4 / (1 + np.arange(2000) / 100) ** 2
    truth = gaussian_patches(c_ell, number, SHAPE, PIXEL, rng, margin=1.0)[:, 0]
    power = np.interp(ell, np.arange(2000), c_ell, left=0, right=0) / PIXEL[0] ** 2
    power[0, 0] = 0
    gain = power / (power + depth**2)
    mean = np.fft.irfft2(np.fft.rfft2(truth + depth * rng.standard_normal(truth.shape)) * gain, s=SHAPE)
    edges = ring_edges(SHAPE, PIXEL, 3.0)
    white = rng.standard_normal((number, passes, *SHAPE))
    samples = mean[:, None] + np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(gain) * depth, s=SHAPE)
    drawn, wanted = (flat_spectra(images, edges, PIXEL).d_ell for images in (samples, truth))
    told = Bandpowers(edges, drawn.mean(axis=1), drawn.std(axis=1, ddof=1))
    scores = {(s.region, s.metric.name): s for s in of_spectra(told, wanted)}
    # 40 samples know mean and scatter to so much that 66.8 and 94.2 % lie inside (Student's t of 39 degrees); each of
    # 150 x 4 spectra is one draw: four sigma, and as much again for spectra that are not Gaussian.
    for name, part in (("coverage68", 0.668), ("coverage95", 0.942)):
        slack = 4 * math.sqrt(part * (1 - part) / (4 * number))
        assert scores["all bins", name].value == pytest.approx(part, abs=slack + 0.02)
    last = f"l {edges[-2]:.0f}-{edges[-1]:.0f}"
    ratios = {
        s.region: s.value for s in of_recovered(told, wanted, np.arange(number)) if s.metric.name == "d_ell_ratio"
    }
    assert ratios[last] == pytest.approx(drawn[..., -1].mean() / wanted[:, -1].mean())
    assert scores[last, "coverage68"].count == number
    assert scores[last, "crps_d_ell"].value < scores[last, "crps_d_ell_constant"].value * 1.05


def test_true_spectra_are_those_of_the_patches_that_were_answered() -> None:
    """From the map and from its coefficients alike."""
    spec = MapSpec(nside=32, lmax=60)
    patch = PatchSpec(maps=spec, height=16, width=16, pixel_arcmin=(110.0, 110.0))
    alm = random_alm(np.random.default_rng(1), 60, 1)
    centres = rings(patch, 0.4)
    edges = ring_edges((16, 16), (math.radians(110 / 60),) * 2, 2.0)
    told = Bandpowers(edges, np.zeros((len(centres), len(edges) - 1)), np.ones(1), patch, centres)
    images = np.stack([image[0] for image in cut_exactly(alm, patch, centres)])
    wanted = flat_spectra(images, edges, (math.radians(110 / 60),) * 2).d_ell
    np.testing.assert_allclose(true_bandpowers(told, alm, 1), wanted, rtol=1e-6)
    sky = SkyMap(synthesise(alm, 32), spec)
    np.testing.assert_allclose(true_bandpowers(told, sky, 1), wanted, rtol=1e-3)
    np.testing.assert_allclose(true_bandpowers(told, Patches(images[:, None], patch, centres), 1), wanted)
    with pytest.raises(ScoreError, match="nobody has said of which patches"):
        true_bandpowers(Bandpowers(edges, told.d_ell, told.sigma), sky, 1)


def test_figure_shows_what_there_is() -> None:
    values = {"coverage68": 0.7, "coverage95": 0.9, "crps": 1.0, "crps_constant": 2.0} | {
        f"pit{k}": 0.1 for k in range(10)
    }
    rows = [("a", "as given", region, values) for region in ("mask", "b0-5", "dust 1/2", "dust 2/2")]
    figure = error_bars_figure([*rows, ("a", "spectra of patches", "l 10-20", values)], ["a", "b"], RIGHT)
    by_class, _, by_ell, worth = figure.axes
    assert [line.get_ydata().tolist() for line in by_class.lines[:2]] == [[70, 70], [90, 90]]
    assert by_ell.lines[0].get_xdata().tolist() == [15]
    assert worth.lines[0].get_ydata().tolist() == [50, 50]
    assert error_bars_figure(rows, ["a"], RIGHT).axes[2].texts[0].get_text() == "no method tells spectra"
