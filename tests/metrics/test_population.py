"""Statistics of populations of patches, against closed forms and independent counts."""

import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.linalg import sqrtm
from scipy.special import erfc

from cmbml.metrics.population import (
    STATISTICS,
    Range,
    against_itself,
    bands,
    between_halves,
    blocks_of,
    collapsed,
    compare,
    distances,
    far_apart,
    intersection,
    kolmogorov_smirnov,
    measure,
    minkowski,
    nearest,
    symmetric,
)
from cmbml.metrics.scores import ScoreError
from cmbml.sky.flat import gaussian_patches
from cmbml.sky.frechet import frechet_distance, log_spectra

SIDE = np.radians(20.0)
N = 32
NAMES = [metric.name for metric in STATISTICS]


def fields(number: int, seed: int, slope: float = 2.5, n: int = N) -> np.ndarray:
    """Gaussian fields whose C_l falls as a power law, of unit variance, about."""
    ell = np.arange(1, 3000)
    c_ell = np.concatenate([[0], ell**-slope * np.exp(-((ell / 200) ** 2))])
    images = gaussian_patches(c_ell, number, (n, n), (SIDE / n, SIDE / n), np.random.default_rng(seed))[:, 0]
    return images / images.std()


def population(
    number: int = 40, seed: int = 0, slope: float = 2.5, tiles: np.ndarray | None = None, scale: float = 0.3
):
    logs = scale * fields(number, seed, slope) - 1
    return measure(logs, SIDE, Range(-2.5, 0.5), np.arange(number) if tiles is None else tiles)


# Minkowski functionals


def gaussian_minkowski(nu: np.ndarray, tau: float) -> np.ndarray:
    """Return the Minkowski functionals of a Gaussian field, `(3, n)` (Schmalzing and Gorski 1998, MNRAS 297, 355).

    Args:
        nu: thresholds, in standard deviations above the mean, `(n,)`.
        tau: half of the variance of the gradient over that of the field, in 1/length^2.
    """
    fall = np.exp(-(nu**2) / 2)
    return np.stack(
        [erfc(nu / np.sqrt(2)) / 2, np.sqrt(tau) / 8 * fall, tau * nu * fall / (2 * np.pi) ** 1.5],
    )


def test_functionals_of_gaussian_fields_are_those_of_theory() -> None:
    """To the scatter of the mean over patches; what a pixel is too coarse for is below it: tau is a hundredth."""
    n, number, scale = 128, 60, 6.0
    rng = np.random.default_rng(3)
    white = rng.standard_normal((number, n, n))
    images = np.stack([ndimage.gaussian_filter(image, scale, mode="wrap", truncate=6) for image in white])
    images /= images.std()
    nu = np.linspace(-2.5, 2.5, 11)
    found = minkowski(images, nu)
    # Of white noise under a Gaussian of that width, <|grad u|^2> / <u^2> = 1 / scale^2.
    wanted = gaussian_minkowski(nu, 1 / (2 * scale**2))
    error = found.std(axis=0) / np.sqrt(number)
    assert (np.abs(found.mean(axis=0) - wanted) < 4 * error + 0.02 * np.abs(wanted).max(axis=1, keepdims=True)).all()
    # And that is no wide gate: the functionals differ from zero by far more.
    assert (np.abs(wanted).max(axis=1) > 10 * error.max(axis=1)).all()


def test_functionals_of_shapes_are_counted() -> None:
    y, x = np.mgrid[:80, :80] - 39.5
    disk, ring = np.hypot(x, y) <= 20, (np.hypot(x, y) <= 20) & (np.hypot(x, y) >= 10)
    found = minkowski(np.stack([disk, ring]).astype(float), np.array([0.5]))[..., 0]
    np.testing.assert_allclose(found[:, 0], [disk.mean(), ring.mean()])
    # A quarter of the contour per area, and each pixel of it stands for pi / 4 of its length.
    np.testing.assert_allclose(found[:, 1], [2 * np.pi * 20 / 4 / 6400, 2 * np.pi * 30 / 4 / 6400], rtol=0.06)
    np.testing.assert_allclose(found[:, 2] * 79**2, [1, 0], atol=1e-12)


def test_connectivity_is_components_less_holes() -> None:
    """Diagonal neighbours count half: the mean of labelling with and without them, on images with empty borders."""
    image = np.zeros((40, 40))
    image[2:-2, 2:-2] = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((36, 36)), 1.0)
    for level in (0.1, 0.2, 0.3):
        inside = image >= level
        numbers = []
        for own, outer in ((np.ones((3, 3)), None), (None, np.ones((3, 3)))):
            components = ndimage.label(inside, own)[1]
            holes = ndimage.label(~inside, outer)[1] - 1
            numbers.append(components - holes)
        found = minkowski(image[None], np.array([level]))[0, 2, 0] * 39**2
        assert found == pytest.approx(np.mean(numbers))


def test_each_threshold_is_counted_by_itself() -> None:
    images = fields(3, 5)
    levels = np.linspace(-1, 1, 7)
    together = minkowski(images, levels)
    for i, level in enumerate(levels):
        np.testing.assert_allclose(minkowski(images, np.array([level]))[..., 0], together[..., i])
        np.testing.assert_allclose(together[:, 0, i], (images >= level).mean(axis=(1, 2)))


# Distances of distributions


def test_frechet_distance_is_that_of_gaussians() -> None:
    """Exact for samples whose moments are what is wanted: shifted, scaled, and mixed by matrices."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((500, 4))
    shift = np.array([1.0, -2.0, 0.0, 0.5])
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(first, first + shift) == pytest.approx(shift @ shift)
    trace, mean = np.trace(np.cov(first, rowvar=False)), first.mean(axis=0)
    assert frechet_distance(first, 3 * first) == pytest.approx(4 * trace + 4 * mean @ mean)
    second = first @ rng.standard_normal((4, 4)) + shift
    one, two = (np.cov(values, rowvar=False) for values in (first, second))
    gap = first.mean(axis=0) - second.mean(axis=0)
    wanted = gap @ gap + np.trace(one + two - 2 * sqrtm(one @ two).real)
    assert frechet_distance(first, second) == pytest.approx(wanted)
    assert frechet_distance(second, first) == pytest.approx(wanted)


def test_frechet_distance_of_samples_tends_to_the_closed_form() -> None:
    """Of N(0, 1) and N(1, 4) in one dimension: 1 + (2 - 1)^2; the scatter of 20,000 draws is a hundredth or so."""
    rng = np.random.default_rng(1)
    found = frechet_distance(rng.normal(0, 1, (20_000, 1)), rng.normal(1, 2, (20_000, 1)))
    assert found == pytest.approx(2, abs=0.1)


def test_histograms_and_distributions() -> None:
    assert intersection(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    assert intersection(np.array([1.0, 1, 0]), np.array([0.0, 1, 1])) == pytest.approx(0.5)
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal(300), rng.standard_normal(200) + 0.5
    assert kolmogorov_smirnov(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)


def test_pixels_beyond_the_real_ones_are_counted_as_lost() -> None:
    real = measure(fields(10, 0), SIDE, Range.of(fields(10, 0)), np.arange(10))
    assert real.counts[:, 0].sum() == real.counts[:, -1].sum() == 0
    assert (real.counts.sum(axis=1) == N * N).all()
    beyond = measure(fields(10, 0) + 100, SIDE, Range.of(fields(10, 0)), np.arange(10))
    assert distances(beyond, real, (100,))[NAMES.index("histogram")] == 0


def test_a_population_is_like_itself_and_unlike_another() -> None:
    one = population()
    found = dict(zip(NAMES, distances(one, one, (100, 250)), strict=False))
    assert found["histogram"] == pytest.approx(1)
    assert found["variety"] == pytest.approx(1)
    for name in set(NAMES) - {"histogram", "variety"}:
        assert found[name] == pytest.approx(0, abs=1e-9)
    alike, rough = (distances(population(seed=s, slope=k), one, (100, 250)) for s, k in ((1, 2.5), (1, 1.5)))
    for name in ("frechet", "frechet_log", "texture_v1", "texture_v2"):
        assert rough[NAMES.index(name)] > 3 * alike[NAMES.index(name)]


def test_texture_does_not_see_how_bright_patches_are() -> None:
    one, brighter = population(scale=0.3), population(scale=0.15)
    found = dict(zip(NAMES, distances(brighter, one, (100,)), strict=False))
    assert found["texture_v0"] < 1e-6 and found["texture_v2"] < 1e-6
    assert found["gap_v0"] > 0.02
    assert found["variety"] == pytest.approx(0.25)


# Intervals


def test_tiles_are_what_is_drawn_again() -> None:
    """Ten copies of each patch hold no more than one: the scatter of a mean is that of as many tiles."""
    number, copies = 30, 10
    logs = np.repeat(0.3 * fields(number, 4) - 1, copies, axis=0)
    limits = Range(-2.5, 0.5)
    by_tile = measure(logs, SIDE, limits, np.repeat(np.arange(number), copies))
    by_patch = measure(logs, SIDE, limits, np.arange(number * copies))
    single = measure(logs[::copies], SIDE, limits, np.arange(number))
    rng = np.random.default_rng(0)
    spreads = [
        np.std([one.resampled(rng).spectra[:, 3].mean() for _ in range(400)]) for one in (by_tile, by_patch, single)
    ]
    assert spreads[0] == pytest.approx(spreads[2], rel=0.15)
    assert spreads[0] / spreads[1] == pytest.approx(np.sqrt(copies), rel=0.15)


def test_intervals_hold_two_draws_of_one_population() -> None:
    rng = np.random.default_rng(5)
    real = population(60, 1)
    itself = against_itself(real, (100,), 50, rng)
    assert (itself.low <= itself.values).all() and (itself.values <= itself.high).all()
    halves = between_halves(real, (100,), 20, rng)
    assert halves.values[NAMES.index("frechet")] > itself.values[NAMES.index("frechet")]
    far = compare(population(60, 2, slope=1.5), real, (100,), 50, rng)
    assert far.low[NAMES.index("frechet")] > itself.high[NAMES.index("frechet")]


def test_bands_hold_the_parts_of_the_patches_that_they_name() -> None:
    one = population(200, 6)
    found = bands(one, "spectra", 30, np.random.default_rng(0))
    inside = (one.spectra > found.percentiles[1]) & (one.spectra < found.percentiles[3])
    assert inside.mean() == pytest.approx(0.68, abs=0.01)
    # The median of a normal distribution scatters by 1.25 sigma / sqrt(n).
    assert np.median(found.errors[2] / one.spectra.std(axis=0)) == pytest.approx(1.25 / np.sqrt(200), rel=0.3)


# What is wrong with a generator


def test_a_generator_that_collapsed_is_found_out() -> None:
    same = np.repeat(0.3 * fields(1, 0) - 1, 20, axis=0) + 1e-3 * np.arange(20)[:, None, None]
    found = distances(measure(same, SIDE, Range(-2.5, 0.5), np.arange(20)), population(), (100,))
    assert collapsed(found[NAMES.index("variety")])
    assert not collapsed(distances(population(seed=9), population(), (100,))[NAMES.index("variety")])
    assert collapsed(float("nan"))
    constant = measure(np.full((5, N, N), -1.0), SIDE, Range(-2.5, 0.5), np.arange(5))
    assert np.isfinite(distances(constant, population(), (100,))).all()


def test_copies_are_found_however_they_are_turned() -> None:
    real = fields(12, 3, n=64)
    turned = np.stack([image[i] for i, image in enumerate(symmetric(real[:8]))])
    found, which = nearest(turned, real)
    np.testing.assert_allclose(found, 0, atol=1e-6)
    assert which.tolist() == list(range(8))
    others, _ = nearest(fields(12, 4, n=64), real)
    assert others.min() > 0.2
    apart = ~np.eye(12, dtype=bool)
    assert nearest(real, real, apart)[0].min() > 0.2


def test_places_are_far_apart_by_their_angle() -> None:
    angles = np.radians([0, 20, 40])
    vectors = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
    np.testing.assert_array_equal(far_apart(vectors, 30), [[False, False, True], [False] * 3, [True, False, False]])


def test_blocks_are_means() -> None:
    image = np.arange(36.0).reshape(1, 6, 6)
    np.testing.assert_allclose(blocks_of(image, 3)[0, 0], [3.5, 5.5, 7.5])
    assert blocks_of(image, 8).shape == (1, 6, 6)


def test_one_patch_is_no_population() -> None:
    with pytest.raises(ScoreError, match="1 patch is no population"):
        population(1)


def test_log_spectra_of_a_wave_peak_at_its_multipole() -> None:
    x = np.arange(64) / 64
    wave = np.cos(2 * np.pi * 10 * x)[None, None, :] * np.ones((1, 64, 1))
    ell, found = log_spectra(wave, SIDE)
    assert ell[found[0].argmax()] == pytest.approx(180, rel=0.02)
    assert len(ell) == 32
