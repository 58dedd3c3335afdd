"""The needlet and the harmonic engine on coefficients: theory, response, bias."""

import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.covariance import constrained_weights
from cmbml.methods.ilc.engine import Demands, Scale, apply_weights, clean_scales, plan_scales
from cmbml.methods.ilc.harmonic import spectra
from cmbml.methods.ilc.needlets import CosineNeedlets, GaussianNeedlets, StandardNeedlets, TopHatBands
from cmbml.methods.ilc.transforms import analysed
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import alm_size, filter_alm, power, random_alm, synthesise

NSIDE, LMAX = 32, 64
GAINS = np.array([1.0, 2.0, 5.0, 20.0])
NOISE = np.array([0.3, 0.2, 0.5, 2.0])
MIXING = np.ones((4, 1))
FAMILIES = {
    "cosine": CosineNeedlets(peaks=(15, 40)),
    "gaussian": GaussianNeedlets(fwhm_arcmin=(900, 400)),
    "standard": StandardNeedlets(base=2.0, first=16, n_scale=4),
    "top hats": TopHatBands(edges=(20, 40)),
}


def planned(windows: np.ndarray, tolerance: float = 0.01, n_channel: int = 4, **demands: object) -> tuple[Scale, ...]:
    beams = np.ones((n_channel, windows.shape[1]))
    names = [f"c{i}" for i in range(n_channel)]
    return plan_scales(windows, beams, NSIDE, names, Demands(tolerance=tolerance, beam_criterion=1e-3, **demands))


def observed(seed: int = 0) -> dict[str, np.ndarray]:
    """Draw coefficients of each part of a sky, `(n_channel, n_alm)`."""
    rng = np.random.default_rng(seed)
    return {
        "cmb": np.repeat(random_alm(rng, LMAX), 4, axis=0),
        "foreground": GAINS[:, None] * 10 * random_alm(rng, LMAX),
        "noise": NOISE[:, None] * random_alm(rng, LMAX, 4),
    }


@pytest.mark.parametrize("bands", FAMILIES.values(), ids=FAMILIES)
def test_response_to_the_cmb_is_one_at_every_scale(bands: object) -> None:
    scales = planned(bands.windows(LMAX, NSIDE))
    _, weights = clean_scales(sum(observed().values()), scales, MIXING, 1)
    assert len(weights) == len(scales)
    for found in weights:
        np.testing.assert_allclose(found.values.sum(axis=0), 1, atol=1e-10)


@pytest.mark.parametrize("bands", FAMILIES.values(), ids=FAMILIES)
def test_sky_of_cmb_alone_comes_through(bands: object) -> None:
    """The weights of a real sky applied to a CMB: what remains is the analysis, good to its quadrature."""
    parts = observed()
    _, weights = clean_scales(sum(parts.values()), planned(bands.windows(LMAX, NSIDE)), MIXING, 1)
    found = apply_weights(parts["cmb"], weights, 1)
    assert np.abs(found - parts["cmb"][0]).max() < 1e-4


def test_nulled_component_is_gone() -> None:
    parts = observed()
    mixing = np.stack([np.ones(4), GAINS / 20], axis=1)
    scales = planned(FAMILIES["cosine"].windows(LMAX, NSIDE), n_nulled=1)
    _, weights = clean_scales(sum(parts.values()), scales, mixing, 1)
    found = apply_weights(parts["foreground"], weights, 1)
    assert np.abs(found).max() < 1e-8 * np.abs(parts["foreground"]).max()
    plain = clean_scales(sum(parts.values()), planned(FAMILIES["cosine"].windows(LMAX, NSIDE)), MIXING, 1)[1]
    assert np.abs(apply_weights(parts["foreground"], plain, 1)).max() > 1e-5 * np.abs(parts["foreground"]).max()


def test_weights_applied_to_the_same_sky_give_the_same_map_and_parts_add_up() -> None:
    parts = observed()
    whole, weights = clean_scales(sum(parts.values()), planned(FAMILIES["cosine"].windows(LMAX, NSIDE)), MIXING, 1)
    np.testing.assert_allclose(apply_weights(sum(parts.values()), weights, 1), whole, atol=1e-10)
    np.testing.assert_allclose(sum(apply_weights(part, weights, 1) for part in parts.values()), whole, atol=1e-6)


def test_weights_follow_the_sky() -> None:
    """Foregrounds of other spectra in the two hemispheres, and two channels: local weights null either."""
    rng = np.random.default_rng(1)
    north = 1 / (1 + np.exp(-20 * np.linspace(1, -1, 12 * NSIDE**2)))
    field, cmb = synthesise(random_alm(rng, 40), NSIDE)[0], random_alm(rng, LMAX)
    gains = np.array([[1.0, 3.0], [3.0, 1.0]])
    maps = 10 * field * (gains[0][:, None] * north + gains[1][:, None] * (1 - north))
    alm = np.concatenate([analysed(sky[None], LMAX, 1) for sky in maps]) + cmb + 0.3 * random_alm(rng, LMAX, 2)
    windows = TopHatBands().windows(LMAX, NSIDE)
    errors = [
        power(clean_scales(alm, planned(windows, tolerance, 2), np.ones((2, 1)), 1)[0] - cmb[0]).sum()
        for tolerance in (5e-3, 1e-6)
    ]
    assert errors[0] < 0.3 * errors[1]


def test_local_mean_is_no_variance() -> None:
    """Offsets of the channels, however large, do not change the weights of a scale that is averaged widely."""
    alm = sum(observed().values())
    shifted = alm.copy()
    shifted[:, 0] += [1e6, -2e6, 3e6, 5e6]
    scales = planned(FAMILIES["cosine"].windows(LMAX, NSIDE), tolerance=1e-3)
    plain, moved = (clean_scales(each, scales, MIXING, 1)[1] for each in (alm, shifted))
    for first, second in zip(plain, moved, strict=True):
        np.testing.assert_allclose(first.values, second.values, atol=1e-6)


def test_kernel_narrower_than_the_sky_gives_the_bias_that_was_asked_for() -> None:
    """Over 100 skies of white CMB and white foregrounds, what is lost, 1 - <out cmb> / <cmb cmb>, is the tolerance."""
    n_channel, tolerance = 4, 0.02
    lmax, nside = 47, 32
    beams = np.ones((n_channel, lmax + 1))
    windows = TopHatBands().windows(lmax, nside)
    demands = Demands(tolerance=tolerance, beam_criterion=1e-3)
    scales = plan_scales(windows, beams, nside, "abcd", demands)
    losses = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        cmb = random_alm(rng, lmax)
        rest = 5 * random_alm(rng, lmax, n_channel)
        out, _ = clean_scales(cmb + rest, scales, np.ones((n_channel, 1)), 1)
        # The best weights are known here, and have no bias: comparing with theirs takes most of the scatter away.
        best = cmb[0] + rest.mean(axis=0)
        losses.append(cross((best - out)[None], cmb) / cross(cmb, cmb))
    mean, error = np.mean(losses), np.std(losses) / np.sqrt(len(losses))
    assert error < 0.1 * tolerance
    assert mean == pytest.approx(tolerance, abs=3 * error + 0.1 * tolerance)


def cross(alm: np.ndarray, other: np.ndarray) -> float:
    found = power(alm, other)[0]
    return float((found * (2 * np.arange(found.size) + 1)).sum())


def test_mask_keeps_the_plane_out_of_the_covariance() -> None:
    """Weights with a masked plane are those of the sky without it."""
    rng = np.random.default_rng(3)
    latitude = np.linspace(1, -1, 12 * NSIDE**2)
    mask = (np.abs(latitude) > 0.6).astype(float)
    parts = observed(3)
    plane = synthesise(random_alm(rng, 15), NSIDE) * np.exp(-((latitude / 0.15) ** 2))
    alm = sum(parts.values())
    bright = alm + 1e2 * np.array([5.0, 1.0, 3.0, 0.1])[:, None] * analysed(plane, LMAX, 1)
    scales = planned(TopHatBands().windows(LMAX, NSIDE), 0.002)
    masked = clean_scales(bright, scales, MIXING, 1, mask)[1]
    clean, plain = (clean_scales(each, scales, MIXING, 1)[1] for each in (alm, bright))
    with_mask, without = (np.abs(each[0].values - clean[0].values).max() for each in (masked, plain))
    assert with_mask < 0.2 * without


def test_threads_do_not_change_a_bit() -> None:
    alm, scales = sum(observed().values()), planned(FAMILIES["gaussian"].windows(LMAX, NSIDE))
    assert clean_scales(alm, scales, MIXING, 1)[0].tobytes() == clean_scales(alm, scales, MIXING, 3)[0].tobytes()


def test_channels_of_the_paper_by_their_beams() -> None:
    """nside 512: 8, 5, 4 and 4 channels, on maps of 256, 512, 512 and 512; Gaussians of 145.8, 26.3, 14.2, 19.5 deg."""
    fwhm = [65.0, 55.0, 43.0, 32.4, 22.3, 22.0, 21.5, 20.6]
    windows = CosineNeedlets(peaks=(200, 715, 1025)).windows(1024, 512)
    beams = np.stack([gaussian_window(each, 1024) for each in fwhm])
    scales = plan_scales(
        windows, beams, 512, [str(each) for each in fwhm], Demands(tolerance=1e-3, beam_criterion=1e-3)
    )
    assert [len(scale.channels) for scale in scales] == [8, 5, 4, 4]
    assert [scale.nside for scale in scales] == [256, 512, 512, 512]
    for scale, degrees in zip(scales, (145.8, 26.3, 14.2, 19.5), strict=True):
        np.testing.assert_allclose(scale.kernel, gaussian_window(60 * degrees, scale.kernel.size - 1), atol=3e-3)


def test_scale_with_fewer_channels_than_constraints() -> None:
    beams = np.stack([gaussian_window(fwhm, LMAX) for fwhm in (60, 600, 700)])
    windows = TopHatBands(edges=(20,)).windows(LMAX, NSIDE)
    demands = Demands(tolerance=0.1, beam_criterion=1e-3, n_nulled=1)
    with pytest.raises(MethodError, match=r"scale 1 .* needs more channels than the 1 nulled .* has 1: a of a, b, c"):
        plan_scales(windows, beams, NSIDE, "abc", demands)


def test_too_few_modes_for_the_tolerance() -> None:
    windows = TopHatBands(edges=(20,)).windows(LMAX, NSIDE)
    with pytest.raises(MethodError, match=r"scale 0 .* has 200 modes on 0.50 of the sky; 4 channels .* need 300"):
        planned(windows, 0.01, sky_fraction=0.5, refuse_few_modes=True)
    assert len(planned(windows, 0.01, sky_fraction=0.5)) == 2


def test_mask_that_covers_what_is_averaged() -> None:
    mask = np.zeros(12 * NSIDE**2)
    mask[: mask.size // 8] = 1
    scales = planned(TopHatBands().windows(LMAX, NSIDE), 0.05)
    with pytest.raises(MethodError, match=r"the mask leaves .* lower method\.bias_tolerance"):
        clean_scales(sum(observed().values()), scales, MIXING, 1, mask)


def test_scale_windows_split_into_means_and_deviations() -> None:
    for scale in planned(FAMILIES["gaussian"].windows(LMAX, NSIDE)):
        total = scale.deviations_window.copy()
        total[: scale.means_window.size] += scale.means_window
        np.testing.assert_allclose(total, scale.window, atol=1e-15)
        assert filter_alm(np.ones(alm_size(scale.lmax)), total).size


def test_weights_of_a_scale_are_those_of_its_covariance() -> None:
    """Averaged over the whole sky, a scale's weights are the harmonic ones of its band."""
    alm = sum(observed().values())
    scales = planned(TopHatBands(edges=(20,)).windows(LMAX, NSIDE), 1e-7)
    _, weights = clean_scales(alm, scales, MIXING, 1)
    modes = 2.0 * np.arange(LMAX + 1) + 1
    for found, part in zip(weights, (slice(1, 20), slice(20, LMAX + 1)), strict=True):
        covariance = (spectra(alm)[:, :, part] * modes[part]).sum(axis=2) / modes[part].sum()
        expected = constrained_weights(covariance[None], MIXING)[0][0]
        np.testing.assert_allclose(found.values, expected[:, None] * np.ones(found.values.shape[1]), atol=2e-3)
