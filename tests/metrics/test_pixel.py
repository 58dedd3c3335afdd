import math
import random
from itertools import pairwise

import healpy as hp
import numpy as np
import pytest

from cmbml.metrics import pixel
from cmbml.metrics.floors import variances
from cmbml.metrics.footing import Footing, map_window, to_footing, windows
from cmbml.metrics.pixel import MonopoleDipole, Regions, State, combine, pixel_metrics, sweep
from cmbml.metrics.scores import ScoreError
from cmbml.sky.harmonics import analyse, filter_alm, filter_components, random_alm, synthesise
from cmbml.sky.maps import MapSpec

NSIDE, LMAX, N_PIX = 128, 256, 12 * 128**2
METRICS = ("bias", "mae", "rmse", "nrmse", "psnr_union", "psnr_truth", "r2", "response")


def latitude(nside):
    return np.rad2deg(np.pi / 2 - hp.pix2ang(nside, np.arange(12 * nside**2))[0])


@pytest.fixture(scope="module")
def mask():
    return np.abs(latitude(NSIDE)) > 3


@pytest.fixture(scope="module")
def regions(mask):
    return Regions.of(mask, skies={"polar": np.abs(latitude(NSIDE)) > 50})


@pytest.fixture(scope="module")
def truth_alm():
    ell = np.arange(LMAX + 1)
    return filter_alm(random_alm(np.random.default_rng(3), LMAX), 100 / np.sqrt(np.maximum(ell * (ell + 1), 1)))


@pytest.fixture(scope="module")
def maps(truth_alm):
    truth = synthesise(truth_alm, NSIDE)[0]
    return truth, 1.02 * truth + np.random.default_rng(4).normal(1.0, 20.0, N_PIX)


def score(truth, prediction, regions, region="mask"):
    return pixel_metrics(sweep(truth, prediction, regions)[region])


def test_definitions_as_scikit_image_and_scikit_learn_have_them(maps, mask, regions):
    t, p = (values[mask] for values in maps)
    mse = np.mean((t - p) ** 2)
    union, own = max(t.max(), p.max()) - min(t.min(), p.min()), np.ptp(t)
    wanted = {
        "bias": np.mean(p - t),
        "mae": np.mean(np.abs(p - t)),
        "rmse": np.sqrt(mse),
        "nrmse": np.linalg.norm(t - p) / np.linalg.norm(t),
        "psnr_union": 10 * np.log10(union**2 / mse),
        "psnr_truth": 10 * np.log10(own**2 / mse),
        "r2": 1 - np.sum((t - p) ** 2) / np.sum((t - t.mean()) ** 2),
        "response": np.polyfit(t, p, 1)[0],
    }
    found = score(*maps, regions)
    assert tuple(found) == METRICS
    assert found == pytest.approx(wanted, rel=1e-12)


def test_white_noise_scores_what_theory_says(maps, regions):
    sigma = 20.0
    truth, noise = maps[0], np.random.default_rng(8).normal(0, sigma, N_PIX)
    for name, n_pix in regions.n_pix.items():
        state = sweep(truth, truth + noise, regions)[name]
        found, rms = pixel_metrics(state), math.sqrt(float(state.totals[4] / state.n))
        # Relative standard deviations: (pi / 2 - 1)^1/2 n^-1/2 of the MAE and (2 n)^-1/2 of the RMSE; 4 of them.
        assert found["mae"] == pytest.approx(sigma * math.sqrt(2 / math.pi), rel=4 * math.sqrt(0.571 / n_pix))
        tolerance = 4 / math.sqrt(2 * n_pix)
        assert found["rmse"] == pytest.approx(sigma, rel=tolerance)
        assert found["nrmse"] == pytest.approx(sigma / rms, rel=tolerance)
        span = state.highs[0] - state.lows[0]
        assert found["psnr_truth"] == pytest.approx(20 * math.log10(span / sigma), abs=20 * math.log10(1 + tolerance))
        assert abs(found["bias"]) < 4 * sigma / math.sqrt(n_pix)


FOOTINGS = [Footing(name="deconvolved"), Footing(name="60", fwhm_arcmin=60.0), Footing(name="120", fwhm_arcmin=120.0)]


@pytest.mark.parametrize("beam", [0.0, 60.0])
@pytest.mark.parametrize("footing", FOOTINGS, ids=lambda footing: footing.name)
def test_white_noise_of_a_map_at_every_footing(footing, beam, truth_alm, mask, regions):
    """Residual variance: sum (2 l + 1) / 4 pi N f_l^2 / b_l^2 for noise added behind the map's own beam."""
    sigma = 20.0
    spec = MapSpec(nside=NSIDE, lmax=LMAX, beam="gaussian" if beam else "none", fwhm_arcmin=beam)
    signal = synthesise(filter_components(truth_alm, map_window(spec, LMAX, 1)), NSIDE)
    noise = np.random.default_rng(9).normal(0, sigma, (1, N_PIX))
    prediction_alm = analyse(signal + noise, LMAX)
    truth, prediction = to_footing(prediction_alm, spec, truth_alm, footing, NSIDE, 1)
    fit = MonopoleDipole.outside(mask)
    state = sweep(fit.remove(truth[0]), fit.remove(prediction[0]), regions)["mask"]
    found, rms = pixel_metrics(state), math.sqrt(float(state.totals[4] / state.n))

    spectrum = sigma**2 * 4 * np.pi / N_PIX * windows(spec, footing, LMAX, 1).prediction[0] ** 2
    expected = math.sqrt(variances(spectrum))
    weights = (2 * np.arange(LMAX + 1) + 1) * spectrum
    modes = weights.sum() ** 2 / (weights * spectrum).sum()
    # 4 standard deviations of the rms from so many modes on the unmasked sky, and 1 % for the quadrature of the pixels.
    tolerance = 4 / math.sqrt(2 * modes * mask.mean()) + 0.01
    assert found["rmse"] == pytest.approx(expected, rel=tolerance)
    assert found["mae"] == pytest.approx(math.sqrt(2 / math.pi) * expected, rel=tolerance)
    assert found["nrmse"] == pytest.approx(expected / rms, rel=tolerance)
    span = state.highs[0] - state.lows[0]
    assert found["psnr_truth"] == pytest.approx(20 * math.log10(span / expected), abs=20 * math.log10(1 + tolerance))
    assert found["r2"] == pytest.approx(1 - (expected / rms) ** 2, abs=3 * tolerance * (expected / rms) ** 2)


def test_white_noise_of_polarisation_at_a_footing():
    """Each of Q and U has the variance sum (2 l + 1) / 4 pi N f_l^2 with the polarised window."""
    footing, spec = FOOTINGS[1], MapSpec(nside=NSIDE, lmax=LMAX, fields="IQU")
    noise = np.random.default_rng(10).normal(0, 20.0, (3, N_PIX))
    nothing = np.zeros((3, (LMAX + 1) * (LMAX + 2) // 2), dtype=complex)
    truth, prediction = to_footing(analyse(noise, LMAX), spec, nothing, footing, NSIDE, 1)
    everywhere = Regions.of(np.ones(N_PIX, dtype=bool))
    expected = np.sqrt(variances(400 * 4 * np.pi / N_PIX * windows(spec, footing, LMAX, 3).prediction ** 2))
    for i in (1, 2):
        # 4 standard deviations for some 15,000 modes, and 1 % for the quadrature.
        assert score(truth[i], prediction[i], everywhere)["rmse"] == pytest.approx(expected[i], rel=0.033)


def test_a_multiplicative_bias(maps, mask, regions):
    truth, kept = maps[0], maps[0][mask]
    found = score(truth, 0.9 * truth, regions)
    assert found["nrmse"] == pytest.approx(0.1, rel=1e-12)
    assert found["r2"] == pytest.approx(1 - 0.01 * np.mean(kept**2) / np.var(kept), rel=1e-12)
    assert found["mae"] == pytest.approx(0.1 * np.abs(kept).mean(), rel=1e-12)
    assert found["bias"] == pytest.approx(-0.1 * kept.mean(), rel=1e-9)
    assert found["response"] == pytest.approx(0.9, rel=1e-12)


def test_the_truth_scores_perfectly(maps, regions):
    found = score(maps[0], maps[0], regions)
    assert [found[name] for name in ("bias", "mae", "rmse", "nrmse")] == [0.0] * 4
    assert found["r2"] == found["response"] == 1.0
    assert found["psnr_union"] == found["psnr_truth"] == math.inf


def test_what_is_not_defined_is_nan_and_not_an_error(regions):
    zero = np.zeros(N_PIX)
    found = score(zero, zero, regions)
    assert found["rmse"] == 0
    assert all(math.isnan(found[name]) for name in ("nrmse", "psnr_union", "r2", "response"))
    assert all(math.isnan(value) for value in pixel_metrics(State()).values())


def test_regions(mask, regions):
    b = np.abs(latitude(NSIDE))
    wanted = {
        "mask": mask,
        "b0-5": mask & (b < 5),
        "b5-30": mask & (b >= 5) & (b < 29.9999),
        "b30-90": mask & (b >= 29.9999),
        "sky:polar": b > 50,
    }
    assert dict(regions.n_pix) == {name: member.sum() for name, member in wanted.items()}
    values = np.random.default_rng(1).standard_normal(N_PIX)
    for name, state in sweep(values, values, regions).items():
        assert state.n == regions.n_pix[name]
        assert float(state.totals[3]) == pytest.approx(values[wanted[name]].sum(), abs=1e-9)


def test_latitude_is_galactic_in_every_frame(mask):
    everywhere = np.ones(N_PIX, dtype=bool)
    regions = Regions.of(everywhere, frame="C")
    pole = hp.Rotator(coord=["G", "C"])([0.0, 0.0, 1.0])
    disc = hp.query_disc(NSIDE, pole, np.deg2rad(10))
    ones = np.isin(np.arange(N_PIX), disc).astype(float)
    states = sweep(ones, ones, regions)
    assert float(states["b30-90"].totals[3]) == len(disc)
    assert regions.n_pix["b5-30"] == pytest.approx(Regions.of(everywhere).n_pix["b5-30"], rel=5e-3)


@pytest.mark.parametrize("n_chunks", [2, 3, 7])
def test_any_chunking_in_any_order_gives_the_same_bits(maps, mask, n_chunks, monkeypatch):
    monkeypatch.setattr(pixel, "BLOCK", 1000)
    regions = Regions.of(mask)
    whole = sweep(*maps, regions)
    edges = np.linspace(0, len(regions.blocks), n_chunks + 1).astype(int)
    parts = [sweep(*maps, regions, slice(a, b)) for a, b in pairwise(edges)]
    random.Random(n_chunks).shuffle(parts)
    for name, state in whole.items():
        assert combine(part[name] for part in parts) == state
    grouped = combine([combine(part["mask"] for part in parts[:1]), combine(part["mask"] for part in parts[1:])])
    assert pixel_metrics(grouped) == pixel_metrics(whole["mask"])


def test_single_precision_maps_are_summed_in_double(maps, regions):
    single = [values.astype(np.float32) for values in maps]
    found = score(*single, regions)
    assert found == pytest.approx(score(*(values.astype(float) for values in single), regions), rel=1e-15)


def test_an_empty_mask_is_refused(mask):
    nothing = np.zeros(N_PIX, dtype=bool)
    for refused in (lambda: Regions.of(nothing), lambda: MonopoleDipole.outside(nothing)):
        with pytest.raises(ScoreError, match="mask is empty"):
            refused()
    few = nothing.copy()
    few[:3] = True
    with pytest.raises(ScoreError, match=r"3 pixels .* cannot tell"):
        MonopoleDipole.outside(few)
    with pytest.raises(ScoreError, match="sky mask 'small' has 12 pixels"):
        Regions.of(mask, skies={"small": np.ones(12, dtype=bool)})


def test_an_empty_latitude_band_has_no_score():
    regions = Regions.of(np.abs(latitude(NSIDE)) > 20)
    states = sweep(np.ones(N_PIX), np.ones(N_PIX), regions)
    assert (regions.n_pix["b0-5"], states["b0-5"].n) == (0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_with_nan_is_refused(maps, regions, bad):
    broken = maps[1].copy()
    broken[-1] = bad
    with pytest.raises(ScoreError, match=r"0 pixels of the truth and 1 of the prediction"):
        sweep(maps[0], broken, regions)


def test_another_nside_is_refused(maps, regions):
    with pytest.raises(ScoreError, match="use one nside"):
        sweep(maps[0], np.zeros(12), regions)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_monopole_and_dipole_are_removed_as_healpy_does(maps, mask, dtype):
    x, y, z = hp.pix2vec(NSIDE, np.arange(N_PIX))
    sky = (maps[0] + 100 + 30 * x - 20 * y + 10 * z).astype(dtype)
    found = MonopoleDipole.outside(mask).remove(sky)
    assert found.dtype == dtype
    masked = np.where(mask, sky.astype(float), hp.UNSEEN)
    wanted = hp.remove_dipole(masked)
    np.testing.assert_allclose(found[mask], wanted[mask], atol=2e-5 if dtype is np.float64 else 1e-4)
    monopole, dipole = hp.fit_dipole(masked)
    np.testing.assert_allclose(MonopoleDipole.outside(mask).fit(sky), [monopole, *dipole], atol=2e-5)
