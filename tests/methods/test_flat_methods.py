"""The Wiener filter and the ILC on flat patches do what theory says."""

from dataclasses import replace

import numpy as np
import pytest

from cmbml.methods.flat import FlatIlc, FlatWiener
from cmbml.methods.patches import WholePatches
from cmbml.methods.trained import Hardware, Lesson
from cmbml.sky.case import Case, CaseSpec
from cmbml.sky.flat import gaussian_patches
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.patches import Patches, PatchSpec

N, PIXEL = 48, 6.0
SIDES = (np.radians(PIXEL / 60),) * 2
GAINS, NOISE = {"143": 0.5, "217": 1.0, "353": 6.0}, {"143": 4.0, "217": 5.0, "353": 20.0}
CHANNELS = {n: Channel(freq_ghz=float(n), fwhm_arcmin=12.0, depth_uk_arcmin=1.0) for n in GAINS}
SPEC = PatchSpec(
    maps=MapSpec(nside=512, beam="gaussian", fwhm_arcmin=12.0), height=N, width=N, pixel_arcmin=(PIXEL, PIXEL)
)
CASES = CaseSpec(dict.fromkeys(GAINS, SPEC), SPEC, CHANNELS)
NOWHERE = np.zeros((1, 3))


def skies(number: int, seed: int, dust: float = 1.0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw observations `(number, 3, N, N)` and their CMB `(number, 1, N, N)`."""
    rng, ell = np.random.default_rng(seed), np.arange(3000)
    cmb = gaussian_patches(5e3 / (1.0 + ell / 100) ** 3, number, (N, N), SIDES, rng)
    other = dust * gaussian_patches(2e4 / (1.0 + ell / 100) ** 3, number, (N, N), SIDES, rng)
    seen = [cmb + gain * other + noise * NOISE[n] * rng.standard_normal(cmb.shape) for n, gain in GAINS.items()]
    return np.concatenate(seen, axis=1).astype(np.float32), cmb.astype(np.float32)


def learnt(tmp_path, train):
    method = FlatWiener(name="w", examples=WholePatches(name="p", channels=tuple(GAINS)), ring_width=100)
    lesson = Lesson(
        spec=CASES, train=train, valid=([], []), names=[], moments=None, seed=0, workdir=tmp_path, logdir=tmp_path,
        report=lambda _: None,
    )  # fmt: skip
    return method, method.fit(lesson, Hardware(threads=1)).state


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_wiener_filter_is_the_best_that_is_linear(tmp_path) -> None:
    """No other filter of the channels that is the same for all patches leaves less: not when it is moved a little."""
    method, state = learnt(tmp_path, skies(150, 1))
    seen, cmb = skies(60, 2)

    def error(weights: np.ndarray) -> float:
        moved = replace(state, arrays={"weights": weights})
        return rms(np.stack([reply.value for reply in method.predict(moved, seen, Hardware(threads=1))]) - cmb)

    best = state.arrays["weights"]
    found = error(best)
    assert found < 0.5 * rms(seen[:, 1:2] - cmb)
    rng = np.random.default_rng(3)
    for _ in range(10):
        assert error(best + 0.05 * rng.standard_normal(best.shape).astype(np.float32)) > found


def test_wiener_filter_gives_nothing_where_there_is_nothing_to_find(tmp_path) -> None:
    seen, cmb = skies(80, 1)
    method, state = learnt(tmp_path, (seen, np.random.default_rng(5).standard_normal(cmb.shape).astype(np.float32)))
    replies = np.stack([reply.value for reply in method.predict(state, seen[:20], Hardware(threads=1))])
    assert rms(replies) < 0.15


def observed(seen: np.ndarray, cmb: np.ndarray) -> Case:
    centres = np.zeros((len(seen), 3))
    shown = {n: Patches(seen[:, k : k + 1], SPEC, centres) for k, n in enumerate(GAINS)}
    return Case(CASES, shown, Patches(cmb, SPEC, centres))


def test_ilc_leaves_the_cmb_as_it_is(tmp_path) -> None:
    """Whatever else there is: a CMB alone comes out as it went in."""
    cmb = skies(3, 4)[1]
    alone = observed(np.repeat(cmb, 3, axis=1), cmb)
    answer = FlatIlc(name="i", channels=tuple(GAINS)).clean(alone, tmp_path, 1)
    np.testing.assert_allclose(answer.value.values, cmb, atol=2e-2 * np.abs(cmb).max())


def test_ilc_removes_what_has_one_spectrum(tmp_path) -> None:
    method = FlatIlc(name="i", channels=tuple(GAINS), ring_width=300)
    errors = []
    for dust in (0.0, 30.0):
        seen, cmb = skies(6, 6, dust)
        errors.append(rms(method.clean(observed(seen, cmb), tmp_path, 1).value.values - cmb))
    # Three channels can cancel one spectrum; what it costs is noise, and not the dust, however bright.
    assert errors[1] < 3 * errors[0]


def test_channel_that_is_missing() -> None:
    with pytest.raises(MapError, match="no channel '545'"):
        FlatIlc(name="i", channels=("143", "545")).accepts(CASES)
    with pytest.raises(MapError, match="no channel '545'"):
        WholePatches(name="p", channels=("545",)).accepts(CASES)


@pytest.mark.slow
def test_a_network_comes_near_the_wiener_filter(tmp_path, record_property) -> None:
    """All is Gaussian, so that no method leaves less on average than the Wiener filter; a small network, little more.

    It may be ahead by what the filter loses at the patches' edges, where modes of the cosine transform are correlated.
    """
    pytest.importorskip("lightning")
    from cmbml.methods.normalisation import Moments, Normalisation
    from cmbml.methods.resunet import ResUNet
    from cmbml.methods.training.method import NetworkMethod
    from cmbml.methods.training.objective import MapAndSpectrum
    from cmbml.methods.training.settings import Training

    # So much noise that both have something to weigh: without, a network would have to be right to one in a thousand.
    train, valid, test = (skies(number, seed, noise=100.0) for number, seed in ((400, 1), (40, 4), (60, 2)))
    wiener, weights = learnt(tmp_path, train)
    network = NetworkMethod(
        name="n",
        examples=wiener.examples,
        network=ResUNet(widths=(16, 16, 24), dropout=(0.0, 0.0, 0.0)),
        features=Normalisation(kind="whiten"),
        target=Normalisation(kind="scale"),
        objective=MapAndSpectrum(loss="l2", spectrum=0.1),
        train=Training(epochs=12, batch_size=16, learning_rate=5e-3, final_learning_rate=1e-4),
    )
    (tmp_path / "work").mkdir()
    lesson = Lesson(
        spec=CASES, train=train, valid=valid, names=[f"patch {i}" for i in range(len(train[0]))],
        moments=tuple(Moments.of(np.moveaxis(of, 1, 0)) for of in train), seed=1, workdir=tmp_path / "work",
        logdir=tmp_path, report=lambda _: None,
    )  # fmt: skip
    cpu = Hardware(device="cpu", threads=1)
    state = network.fit(lesson, cpu).state
    errors = [
        rms(np.stack([reply.value for reply in method.predict(of, test[0], cpu)]) - test[1])
        for method, of in ((network, state), (wiener, weights))
    ]
    ratio = errors[0] / errors[1]
    record_property("rms error, network over Wiener filter", ratio)
    print(f"rms error {errors[0]:.2f} uK, of the Wiener filter {errors[1]:.2f} uK: ratio {ratio:.3f}")  # noqa: T201
    assert 0.9 < ratio < 1.3
