"""The network that is shown nothing of the CMB: its samples, and its faces."""

import numpy as np
import pytest
import torch
from test_ilc_methods import LMAX, NAMES, NSIDE, at_common_beam, method, sky

from cmbml.methods.base import MethodError
from cmbml.methods.faces import FaceFrame, FacePadding, faces_of_planes, planes_of_faces
from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.methods.ilc.parametric import Parametric, Prior
from cmbml.methods.ilc.transforms import analysed
from cmbml.methods.planes import from_plane, to_faces
from cmbml.methods.spnet.examples import CmbFree
from cmbml.methods.spnet.network import FaceUNet
from cmbml.methods.training.cost import gflop
from cmbml.methods.training.data import Turned
from cmbml.sky.case import Observation
from cmbml.sky.harmonics import Alm, analyse, filter_alm, power, synthesise
from cmbml.sky.maps import Fields, SkyMap


def examples(kind: str = "needlet", **settings: object) -> CmbFree:
    return CmbFree(name="cmb_free", estimate=method(kind, uncertainty=False), **settings)  # type: ignore[arg-type]


def moved(ours: CmbFree, observation: Observation, cmb: Alm) -> tuple[tuple[Alm, Alm], tuple[Alm, Alm]]:
    """Return channels and estimate, and both with three times as much CMB and the same weights."""
    spec, estimate = observation.spec, ours.estimate
    alm, found = estimate.combined(observation, 1)
    changes = []
    for component, channels in enumerate(alm):
        plan = estimate.plan(spec, component)
        _, weights = estimate.find(channels, plan, 1)
        changes.append(estimate.apply(cmb[component], plan, weights, 1))
    return (alm, found), (alm + 3 * cmb, found + 3 * np.stack(changes))


@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_nothing_of_the_cmb_is_shown(fields: Fields) -> None:
    """With weights that are kept, another CMB changes the estimate and no feature."""
    observation, parts = sky(fields)
    ours = examples()
    cmb = ours.estimate._coefficients(parts["cmb"], observation.spec, 1)
    shown, with_more = (ours._differences(observation.spec, *each) for each in moved(ours, observation, cmb))
    # The CMB's own maps, for scale; maps are single precision, and foregrounds a hundred times the CMB.
    alone = ours._differences(observation.spec, cmb, np.zeros_like(cmb[:, 0]))
    assert np.std(with_more - shown) < 1e-4 * np.std(alone)


def test_every_multipole_of_the_cmb_is_kept_whatever_the_network_answers() -> None:
    """A network of random weights, whose reply is as large as the estimate."""
    observation, parts = sky()
    ours, spec = examples(), observation.spec
    torch.manual_seed(1)
    network = FaceUNet(widths=(8, 12)).build(len(ours.estimate.channels), 1)
    torch.nn.init.normal_(network.head.weight)
    cmb = ours.estimate._coefficients(parts["cmb"], spec, 1)
    cases = moved(ours, observation, cmb)
    scale = np.std(ours._differences(spec, *cases[0]), axis=(2, 3), keepdims=True)
    answers, size = [], 0.0
    for alm, found in cases:
        with torch.no_grad():
            reply = network(torch.from_numpy(ours._differences(spec, alm, found) / scale))[:, :1].numpy()
        reply *= (size := size or np.std(synthesise(found, NSIDE)) / np.std(reply))
        answers.append(synthesise(found, NSIDE) - ours.correction(reply, spec))
    # The added CMB under the common beam, as a sharp channel has it.
    asked, kept = 3 * cmb[:, -1], analysed(answers[1] - answers[0], LMAX, 1)
    ell = np.arange(2, LMAX + 1)
    response = (power(kept, asked)[0] / power(asked)[0])[ell]
    np.testing.assert_allclose(response, 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["needlet", "harmonic"])
def test_a_right_reply_gives_the_cmb(kind: str) -> None:
    observation, _ = sky()
    ours = examples(kind)
    features, target = ours.pair(observation)
    np.testing.assert_array_equal(features, ours.features(observation))
    np.testing.assert_array_equal(target, ours.target(observation))
    answer = ours.completed(target, np.full_like(target, 7.0), observation)
    truth = at_common_beam(observation)
    # HEALPix's own quadrature at 2 nside, after six steps, and single precision of maps of a hundred uK.
    assert np.std(answer.value.values - truth) < 1e-4 * np.std(truth)
    assert answer.sigma is not None
    assert (answer.sigma.values == 7.0).all()
    assert answer.value.spec == ours.accepts(observation.spec)
    nothing = ours.completed(np.zeros_like(target), None, observation)
    first = ours.estimate.clean(observation, None, 1).value  # type: ignore[arg-type]
    np.testing.assert_allclose(nothing.value.values, first.values, rtol=1e-5, atol=1e-3)


def tilt(alm: Alm) -> Alm:
    return filter_alm(alm, np.arange(LMAX + 1) + 1.0)


def test_without_the_truth_the_estimate_is_the_target() -> None:
    """What is learnt from is the error and the CMB, tilted, and the answer is brought back."""
    observation, _ = sky()
    ours = examples(truth=False, tilt=1.0)
    blind = Observation(observation.spec, observation.shown)
    features, target = ours.pair(blind)
    # What is shown is tilted as what is asked: a network that looks at pixels can answer any combination of channels.
    plain = from_plane(examples().features(observation)[0]).astype(float)
    shown = np.concatenate([synthesise(tilt(analyse(row[None], LMAX)), NSIDE) for row in plain])
    np.testing.assert_allclose(from_plane(features[0]), shown, atol=1e-3 * np.std(shown))
    _, found = ours.estimate.combined(observation, 1)
    tilted = tilt(found)
    np.testing.assert_allclose(from_plane(target[0]), synthesise(tilted, NSIDE), atol=1e-4 * np.std(target))
    # All that is shown subtracted: nothing is left of the estimate.
    left = ours.completed(target, None, blind).value.values
    assert np.std(left) < 1e-4 * np.std(ours.completed(np.zeros_like(target), None, blind).value.values)
    assert examples().tells_sigma
    assert not ours.tells_sigma
    assert not examples(tilt=1.0).tells_sigma


def test_what_other_methods_answer_is_shown_less_the_estimate() -> None:
    observation, _ = sky()
    other = method("harmonic", uncertainty=False)
    ours, spec = examples(others={"harmonic": other}), observation.spec
    assert ours.shapes(spec)[0] == (7, 4 * NSIDE, 3 * NSIDE)
    shown = from_plane(ours.features(observation)[0])
    np.testing.assert_array_equal(shown[:6], from_plane(examples().features(observation)[0]))
    first, second = (each.clean(observation, None, 1).value.values for each in (ours.estimate, other))  # type: ignore[arg-type]
    np.testing.assert_allclose(shown[6], (second - first)[0], atol=1e-3 * np.std(shown[6]))
    narrow = method("harmonic", uncertainty=False, fwhm_arcmin=150.0)
    with pytest.raises(MethodError, match=r"others.narrow.*its fwhm_arcmin is 150.0, not 180"):
        examples(others={"narrow": narrow}).accepts(spec)


def test_of_an_estimate_of_intensity_no_more_is_corrected() -> None:
    wide = Prior(mean=0.0, spread=1.0)
    priors = ("dust_index", "dust_temperature_k", "synchrotron_index", "ame_peak")
    estimate = Parametric(
        name="laws", channels=NAMES, fwhm_arcmin=180.0, bands=CosineNeedlets(peaks=(30, 60)), uncertainty=False,
        **(dict.fromkeys(priors, wide) | {"dust_temperature_k": Prior(mean=20.0, spread=1.0)}), em_steps=2,
    )  # fmt: skip
    ours = CmbFree(name="cmb_free", estimate=estimate)
    both, alone = sky("IQU")[0], sky("I")[0]
    assert ours.shapes(both.spec) == ours.shapes(alone.spec)
    features, target = ours.pair(both)
    assert (features.shape[1:], target.shape[1:]) == ours.shapes(both.spec)
    answer = ours.completed(target, None, both).value
    assert answer.spec.fields == "I"
    truth = at_common_beam(both)[:1]
    assert np.std(answer.values - truth) < 1e-4 * np.std(truth)


def test_scales_are_shown_one_by_one() -> None:
    observation, _ = sky()
    whole, apart = examples(), examples(bands=CosineNeedlets(peaks=(20, 45)))
    n_scale = len(apart._windows(observation.spec))
    assert n_scale == 3
    assert apart.shapes(observation.spec)[0] == (6 * n_scale, 4 * NSIDE, 3 * NSIDE)
    found, one = (from_plane(each.features(observation)[0]) for each in (apart, whole))
    windows = apart._windows(observation.spec)
    alm = analyse(one[2:3].astype(float), LMAX)
    for scale in range(n_scale):
        again = synthesise(filter_alm(alm, windows[scale]), NSIDE)[0]
        np.testing.assert_allclose(found[2 * n_scale + scale], again, atol=1e-3 * np.std(again))


def test_wide_channels_are_not_sharpened() -> None:
    """A channel of 200 arcmin is shown at its own beam, not at the estimate's of 180: its noise stays white."""
    observation, parts = sky()
    ours, spec = examples(), observation.spec
    noise = {
        name: parts["noise"][name] if name == "30" else SkyMap(0 * m.values, m.spec)
        for name, m in parts["noise"].items()
    }
    alm = ours.estimate._coefficients(noise, spec, 1)
    shown = from_plane(ours._differences(spec, alm, np.zeros_like(alm[:, 0]))[0])[0]
    white = parts["noise"]["30"].values[0]
    modes = (LMAX + 1) ** 2
    # White noise of all modes up to the band limit, of which there are 4,225: their scatter is 1 %.
    assert np.std(shown) == pytest.approx(np.std(white) * np.sqrt(modes / white.size), rel=0.05)


def test_a_correction_is_nothing_without_the_maps() -> None:
    observation, _ = sky()
    with pytest.raises(MethodError, match="nothing without the maps"):
        examples().answer(np.zeros((1, 1, 4 * NSIDE, 3 * NSIDE), np.float32), None, observation.spec)
    blind = Observation(observation.spec, observation.shown)
    with pytest.raises(MethodError, match="without its true answer"):
        examples().target(blind)


def test_frames_are_those_of_the_slow_way_and_so_are_gradients() -> None:
    planes = torch.randn(2, 3, 32, 24, dtype=torch.float64)
    faces = faces_of_planes(planes)
    assert torch.equal(planes_of_faces(faces), planes)
    np.testing.assert_array_equal(
        faces.unflatten(0, (2, 12)).transpose(1, 2).numpy(), to_faces(from_plane(planes.numpy()))
    )
    first, second = (faces.clone().requires_grad_() for _ in range(2))
    quick = FaceFrame()(first)
    slow = FacePadding(8, 1)(second.unflatten(0, (2, 12)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(quick, slow)
    weights = torch.randn_like(quick)
    gradients = [torch.autograd.grad((weights * found).sum(), of)[0] for found, of in ((quick, first), (slow, second))]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("borders", ["neighbours", "zeros"])
def test_a_fresh_network_corrects_nothing_and_sees_across_borders(borders: str) -> None:
    network = FaceUNet(widths=(4, 6), borders=borders).build(2, 1)  # type: ignore[arg-type]
    planes = torch.randn(1, 2, 32, 24)
    assert not network(planes).any()
    torch.nn.init.ones_(network.head.weight)
    # The faces 0 and 4 adjoin: a pixel of the one changes what is found in the other where neighbours are seen.
    moved = faces_of_planes(planes).clone()
    moved[0, :, 0, :] += 5.0
    moved[0, :, :, 0] += 5.0
    moved[0, :, -1, :] += 5.0
    moved[0, :, :, -1] += 5.0
    change = (network(planes_of_faces(moved)) - network(planes)).detach()
    changed = {face for face in range(12) if faces_of_planes(change)[face].abs().max() > 1e-6}
    assert changed == ({0} if borders == "zeros" else {0, 1, 2, 3, 4, 5, 8})


def test_it_is_counted_without_memory() -> None:
    """Two convolutions of 3 x 3 at each of two levels and back, by hand, in multiplications and additions."""
    with torch.device("meta"):
        network = FaceUNet(widths=(4, 6)).build(2, 1)
    fine, coarse = 768, 192
    pairs = 9 * (fine * (2 * 4 + 4 * 4) + coarse * (4 * 6 + 6 * 6) + fine * (8 * 4 + 4 * 4))
    assert gflop(network, (2, 32, 24)) == pytest.approx(2e-9 * (pairs + coarse * 6 * 4 * 4 + fine * 4))


def test_planes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MethodError, match="not on arrays of shape"):
        FaceUNet().require_shape(64, 64)
    with pytest.raises(MethodError, match="cannot be halved 4 times"):
        FaceUNet(widths=(2, 2, 2, 2, 2)).require_shape(32, 24)


def test_features_and_targets_are_turned_together() -> None:
    rng = np.random.default_rng(1)
    target = rng.standard_normal((3, 1, 32, 24)).astype(np.float32)
    features = np.concatenate([target, 2 * target], axis=1)
    turn = lambda values, number: examples().turned(values, number, 1)  # noqa: E731
    pairs, again, other = (Turned(features, target, turn, 16, seed) for seed in (1, 1, 2))
    seen = set()
    for epoch in range(20):
        shown, asked, number = pairs[3 * epoch + 1]
        assert number == 1
        np.testing.assert_array_equal(shown, np.concatenate([asked, 2 * asked]))
        np.testing.assert_array_equal(shown, again[3 * epoch + 1][0])
        assert np.array_equal(np.sort(asked.ravel()), np.sort(target[1].ravel()))
        seen.add(asked.tobytes())
    assert len(seen) > 8
    assert any(not np.array_equal(pairs[3 * e + 1][0], other[3 * e + 1][0]) for e in range(3))
