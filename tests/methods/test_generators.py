"""Generators of patches: their sizes, how they learn, and what they draw."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learning import CPU, same_weights
from scipy import stats
from test_training_resume import Power, stops_at

from cmbml.methods.base import MethodError
from cmbml.methods.generators.case import Draws, PatchDraws
from cmbml.methods.generators.controls import Lognormal, Resampled
from cmbml.methods.generators.dcgan import (
    Adversarial,
    Dcgan,
    PowerDiscriminator,
    spectral_distance,
    turned,
)
from cmbml.methods.generators.flow import FlowMatching, FlowUNet, centred
from cmbml.methods.normalisation import Moments, Normalisation
from cmbml.methods.trained import Hardware, Lesson, Trained
from cmbml.methods.training.data import SteppedSampler
from cmbml.methods.training.method import NetworkMethod
from cmbml.methods.training.settings import SteppedTraining
from cmbml.sky.case import CaseSpec
from cmbml.sky.flat import flat_spectra, gaussian_patches
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import Patches, PatchSpec

N, LATENT = 16, 4
SPEC = PatchSpec(maps=MapSpec(nside=32, unit="mag"), height=N, width=N, pixel_arcmin=(75.0, 75.0))
CASE = CaseSpec({}, SPEC)
TINY = Dcgan(pixels=N, features=2, latent=LATENT, power_features=4)
PIXEL = float(np.radians(75 / 60))


def patches(number: int, seed: int = 0) -> np.ndarray:
    """Decimal logarithms of patches, `(number, 1, N, N)`: red Gaussian fields around means that scatter."""
    rng = np.random.default_rng(seed)
    c_ell = np.concatenate([[0], np.arange(1, 400.0) ** -2.5])
    images = gaussian_patches(c_ell, number, (N, N), (PIXEL, PIXEL), rng)
    return (0.2 * images / images.std() - 1 + 0.3 * rng.standard_normal((number, 1, 1, 1))).astype(np.float32)


def draws(method: Any, number: int, seed: int = 1) -> np.ndarray:
    return method.examples.features(Draws(CASE, {}, number=number, seed=seed))


def lesson_of(method: Any, tmp_path: Path, train: int = 12, targets: np.ndarray | None = None) -> Lesson:
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    (tmp_path / "logs").mkdir(exist_ok=True)
    targets = patches(train) if targets is None else targets
    features = draws(method, len(targets))
    moments = tuple(Moments.of(np.moveaxis(values, 1, 0)) for values in (features, targets))
    return Lesson(
        spec=CASE,
        train=(list(features), list(targets)),
        valid=(list(draws(method, 8, 2)), list(patches(8, 2))),
        names=[f"train/sim0000 sample {i}" for i in range(len(targets))],
        moments=moments,
        seed=7,
        workdir=folder,
        logdir=tmp_path / "logs",
        report=[].append,
    )


def gan(network: Dcgan = TINY, **train: Any) -> NetworkMethod:
    steps = {"epochs": 3, "steps_per_epoch": 2, "batch_size": 4, "learning_rate": 2e-4, "final_learning_rate": 2e-4}
    return NetworkMethod(
        name="gan",
        examples=PatchDraws(name="draws", latent=network.latent),
        network=network,
        features=Normalisation(kind="fixed"),
        target=Normalisation(kind="range"),
        objective=Adversarial(draws=8),
        train=SteppedTraining(**steps | {"betas": (0.5, 0.999), "schedule": "constant"} | train),
    )


def flow(objective: FlowMatching | None = None, **train: Any) -> NetworkMethod:
    steps = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 4, "learning_rate": 1e-3, "final_learning_rate": 1e-3}
    return NetworkMethod(
        name="flow",
        examples=PatchDraws(name="noise"),
        network=FlowUNet(widths=(8, 16)),
        features=Normalisation(kind="fixed"),
        target=Normalisation(kind="standardise"),
        objective=objective or FlowMatching(steps=4),
        train=SteppedTraining(**steps | train),
    )


def alike(first: Trained, second: Trained) -> bool:
    """Say whether two trainings have learnt the same; there is no error of what has no right answer."""
    curves = (np.array([trained.curve[name] for name in trained.curve]) for trained in (first, second))
    return same_weights(first, second) and np.array_equal(*curves, equal_nan=True)


# Sizes


def n_weights(module: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


@pytest.mark.parametrize("make", [gan, flow])
def test_generators_train_in_half_precision_on_a_cpu(tmp_path: Path, make: Callable[..., NetworkMethod]) -> None:
    """And what is kept scores what was validated, is in single precision, and draws more than the 8 bits of halves."""
    method = make(precision="bf16-mixed")
    lesson = lesson_of(method, tmp_path)
    found = method.fit(lesson, CPU)
    method.require_score(found.state, lesson, CPU)
    values = next(method.predict(found.state, draws(method, 4), CPU)).value
    assert values.dtype == np.float32
    assert len(np.unique(values)) > 200, "of 256 pixels"


@pytest.mark.parametrize(("kernel", "power"), [(5, 210_561), (2, 87_745)])
def test_published_sizes(kernel: int, power: int) -> None:
    """12.82 M, 4.44 M, and 210.6 k or 87.7 k."""
    module = Dcgan(pixels=256, features=64, power_kernel=kernel).build(1, 1)
    assert n_weights(module.generator) == 12_824_449
    assert n_weights(module.discriminators["map"]) == 4_436_353
    assert n_weights(module.discriminators["power"]) == power


def test_published_shapes() -> None:
    """Table 1: 16 x 16 x 512, doubled four times."""
    generator = Dcgan(pixels=256, features=64).build(1, 1).generator.eval()
    found, shapes = torch.zeros(1, 64), []
    with torch.no_grad():
        for layer in generator:
            found = layer(found)
            shapes.append(tuple(found.shape[1:]))
    sizes = [shape for shape, after in pairwise([*shapes, None]) if shape != after]
    assert sizes == [
        (512, 16, 16), (512, 32, 32), (256, 32, 32), (256, 64, 64), (128, 64, 64),
        (128, 128, 128), (64, 128, 128), (64, 256, 256), (1, 256, 256),
    ]  # fmt: skip
    assert found.abs().max() <= 1


def test_flow_is_small() -> None:
    assert 4e5 < n_weights(FlowUNet().build(1, 1)) < 2e6


# The discriminators


def test_power_is_that_of_flat_spectra() -> None:
    """Of the image as it is; the mean of the training patches becomes zero."""
    images = patches(6)
    judge = PowerDiscriminator(TINY)
    found = judge.power(torch.from_numpy(images)).numpy()
    side, edges = (1 / N, 1 / N), 2 * np.pi * (np.arange(N // 2 + 1) + 0.5)
    wanted = flat_spectra(images[:, 0], edges, side, window=np.ones((N, N)), remove_mean=False).c_ell
    np.testing.assert_allclose(found / found[0], wanted / wanted[0], rtol=1e-4)
    module = TINY.build(1, 1)
    Adversarial().prepare(module, torch.from_numpy(images))
    judge = module.discriminators["power"]
    shown = judge.power(torch.from_numpy(images)) / judge.mean_power - 1
    np.testing.assert_allclose(shown.mean(dim=0), 0, atol=1e-5)


def test_discriminators_are_those_that_are_asked_for() -> None:
    for names in (("map",), ("power",), ("map", "power")):
        module = Dcgan(pixels=N, features=2, discriminators=names).build(1, 1)
        assert tuple(module.discriminators) == names
        discriminators, generator = Adversarial().players(module)
        assert sum(w.numel() for w in (*discriminators, *generator)) == n_weights(module)


def test_images_are_turned_and_not_mixed() -> None:
    torch.manual_seed(0)
    images = torch.from_numpy(patches(40))
    found = turned(images)
    numbers = [
        [k for k in range(4) if torch.equal(found[i], torch.rot90(images[i], k, (1, 2)))] for i in range(len(images))
    ]
    assert all(len(which) == 1 for which in numbers)
    assert {which[0] for which in numbers} == {0, 1, 2, 3}


# Learning


def test_discriminator_learns_to_tell_and_generator_to_be_like(tmp_path: Path) -> None:
    """The distance that decides is that of the spectra of draws of the kept weights, and falls."""
    method = gan(Dcgan(pixels=N, features=4, latent=LATENT, power_features=4), epochs=8, steps_per_epoch=10)
    lesson = lesson_of(method, tmp_path, targets=patches(64))
    found = method.fit(lesson, CPU)
    losses = found.curve["valid_loss"]
    assert min(losses) < 0.5 * losses[0]
    assert found.state.about["training"]["valid_loss"] == min(losses)
    assert np.isnan(found.curve["valid_rmse_uk"]).all()
    method.require_score(found.state, lesson, CPU)
    values = np.stack([reply.value for reply in method.predict(found.state, draws(method, 20), CPU)])
    assert values.shape == (20, 1, N, N)
    real = np.stack(lesson.train[1])
    assert real.min() - 1e-5 <= values.min() and values.max() <= real.max() + 1e-5, "tanh ends at the extremes"


@pytest.mark.parametrize("stops", [("epoch 2", "epoch 3 of 3"), ("epoch 2 of 4", "epoch 4 of 4")])
def test_interrupted_adversaries_end_the_same(tmp_path: Path, stops: tuple[str, ...]) -> None:
    """In the first phase, and in the second, whose checkpoints are further apart than its epochs."""
    more = {"second_epochs": 4, "second_steps_per_epoch": 1, "second_checkpoint_every": 2}
    method = gan(**more)
    lesson = lesson_of(method, tmp_path)
    whole = method.fit(lesson, CPU)
    assert len(whole.curve["epoch"]) == 7 and whole.curve["epoch"] == list(range(7))
    assert whole.curve["step"][-1] > 0
    shutil.rmtree(lesson.workdir)
    lesson.workdir.mkdir()
    for stop in stops:
        with pytest.raises(Power):
            gan(**more).fit(replace(lesson, report=partial(stops_at, stop)), CPU)
    lines: list[str] = []
    found = gan(**more).fit(replace(lesson, report=lines.append), CPU)
    assert any("going on after epoch" in line for line in lines)
    assert alike(found, whole)


def test_second_phase_starts_from_the_best_of_the_first(tmp_path: Path) -> None:
    method = gan(second_epochs=2, second_steps_per_epoch=1)
    lesson = lesson_of(method, tmp_path)
    found = method.fit(lesson, CPU)
    alone = gan().fit(replace(lesson, workdir=tmp_path / "other"), CPU)
    assert found.curve["valid_loss"][:3] == alone.curve["valid_loss"]
    assert found.state.about["training"]["valid_loss"] == min(found.curve["valid_loss"])
    # Its weights go on: a step from there moves none by more than Adam's first steps can.
    best = torch.load(lesson.workdir / "best.ckpt", weights_only=True)["state_dict"]
    after = torch.load(lesson.workdir / "second" / "last.ckpt", weights_only=True)["state_dict"]
    name = "model.network.generator.0.0.weight"
    assert 0 < (after[name] - best[name]).abs().max() < 10 * 2e-4


def test_steps_go_round_all_samples_in_new_orders() -> None:
    sampler = SteppedSampler(5, 12, seed=3)
    first = list(sampler)
    assert len(first) == len(sampler) == 12
    assert sorted(first[:5]) == sorted(first[5:10]) == list(range(5))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(SteppedSampler(5, 12, seed=3)) == first


def test_flow_learns_and_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    method = flow(epochs=3, ema_decay=0.9)
    lesson = lesson_of(method, tmp_path)
    whole = method.fit(lesson, CPU)
    shutil.rmtree(lesson.workdir)
    lesson.workdir.mkdir()
    with pytest.raises(Power):
        method.fit(replace(lesson, report=partial(stops_at, "epoch 2")), CPU)
    assert alike(method.fit(lesson, CPU), whole)
    method.require_score(whole.state, lesson, CPU)


def test_flow_draws_the_means_of_the_patches(tmp_path: Path) -> None:
    """Whatever it has learnt: the mean is drawn first. Kolmogorov's test at one in a thousand."""
    method, targets = flow(epochs=1), patches(200)
    lesson = lesson_of(method, tmp_path, targets=targets)
    state = method.fit(lesson, CPU).state
    values = np.stack(
        [
            reply.value
            for reply in method.predict(state, draws(method, 300), Hardware(device="cpu", threads=1, predict_batch=50))
        ]
    )
    means = targets.mean(axis=(1, 2, 3))
    assert stats.ks_2samp(values.mean(axis=(1, 2, 3)), means).pvalue > 1e-3
    deviations = values - values.mean(axis=(2, 3), keepdims=True)
    assert deviations.std() > 0


def test_flow_of_gaussians_is_exact() -> None:
    """The best flow between N(0, 1) and N(0, s^2) is known: x (t s^2 - (1 - t)) / ((1 - t)^2 + t^2 s^2).

    Heun's method with steps that become shorter carries noise to s times itself, to its own error.
    """
    s, module = 0.3, FlowUNet(widths=(8,)).build(1, 1)
    module.means.copy_(torch.linspace(-1, 1, module.N_QUANTILES))

    def exact(images: torch.Tensor, time: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        t = time[:, None, None, None]
        return images * (t * s**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s**2)

    module.forward = exact
    noise = torch.randn(4, 1, N, N, generator=torch.Generator().manual_seed(0))
    found = module.carried(noise, 24)
    means = found.mean(dim=(1, 2, 3))
    np.testing.assert_allclose(centred(found), s * centred(noise), atol=5e-3)
    wanted = 2 * stats.norm.cdf(noise.mean(dim=(1, 2, 3)).numpy() * N) - 1
    np.testing.assert_allclose(means, wanted, atol=1e-3)


# Controls


def test_lognormal_has_the_spectrum_and_the_means_of_the_patches(tmp_path: Path) -> None:
    """To the scatter of 300 draws: a bin's power over patches scatters by its mean over the root of its modes."""
    control, targets = Lognormal(name="control", examples=PatchDraws(name="draws", latent=LATENT)), patches(300)
    found = control.fit(lesson_of(control, tmp_path, targets=targets), CPU)
    values = np.stack([reply.value for reply in control.predict(found.state, draws(control, 300), CPU)])
    spectra = []
    for images in (targets[:, 0].astype(float), values[:, 0].astype(float)):
        edges = 2 * np.pi / (N * PIXEL) * (np.arange(N // 2 + 1) + 0.5)
        spectra.append(flat_spectra(images - images.mean(axis=(1, 2), keepdims=True), edges, (PIXEL, PIXEL)))
    ratio = spectra[1].c_ell.mean(axis=0) / spectra[0].c_ell.mean(axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.2)
    means = [images.mean(axis=(1, 2, 3)) for images in (targets, values)]
    assert stats.ks_2samp(*means).pvalue > 1e-3
    again = np.stack([reply.value for reply in control.predict(found.state, draws(control, 300), CPU)])
    np.testing.assert_array_equal(values, again)
    assert len(np.unique(values[:, 0, 0, 0])) == 300


def test_resampled_patches_are_training_patches(tmp_path: Path) -> None:
    control, targets = Resampled(name="control", examples=PatchDraws(name="draws", latent=LATENT)), patches(5)
    state = control.fit(lesson_of(control, tmp_path, targets=targets), CPU).state
    ways = {control.examples.turned(patch, way, 1).tobytes() for patch in targets for way in range(8)}
    found = [reply.value.astype(np.float32) for reply in control.predict(state, draws(control, 60), CPU)]
    assert {values.tobytes() for values in found} <= ways
    assert len({values.tobytes() for values in found}) > 20


# What is drawn, and what is refused


def test_draws_hang_on_the_seed_alone() -> None:
    method = gan()
    first, second, third = (draws(method, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()
    wide = replace(method.examples, width=2.0).features(Draws(CASE, {}, number=5, seed=1))
    np.testing.assert_allclose(wide, 2 * first)
    assert flow().examples.shapes(CASE)[0] == (1, N, N)


def test_answers_are_in_the_unit_of_the_map() -> None:
    logs = patches(3)
    answer = gan().examples.answer(logs, None, CASE).value
    np.testing.assert_allclose(answer.values, 10.0**logs)
    assert answer.spec == SPEC and np.isnan(answer.centres).all()
    known = Draws(CASE, {}, Patches(answer.values, SPEC, np.zeros((3, 3))))
    np.testing.assert_allclose(gan().examples.target(known), logs, rtol=1e-5)
    assert len(gan().examples.features(known)) == 3


def test_pixels_without_a_logarithm_are_refused() -> None:
    values = np.ones((2, 1, N, N))
    values[0, 0, :2, 0] = 0.0, -1.0
    with pytest.raises(MethodError, match="2 pixels of the patches are not above zero"):
        gan().examples.target(Draws(CASE, {}, Patches(values, SPEC, np.zeros((2, 3)))))


def test_fewer_patches_than_a_batch_are_refused(tmp_path: Path) -> None:
    method = gan(batch_size=16)
    with pytest.raises(MethodError, match=r"12 samples to learn from, fewer than method.train.batch_size=16"):
        method.fit(lesson_of(method, tmp_path), CPU)


def test_state_of_another_size_is_refused(tmp_path: Path) -> None:
    method = gan(epochs=1)
    state = method.fit(lesson_of(method, tmp_path), CPU).state
    with pytest.raises(MethodError, match=r"network.features is 2, not 4"):
        gan(Dcgan(pixels=N, features=4, latent=LATENT, power_features=4)).require_fit(state, CASE)
    larger = CaseSpec({}, replace(SPEC, height=32, width=32))
    with pytest.raises(MethodError, match=r"observations.pixels"):
        method.require_fit(state, larger)


def test_patches_of_another_size_are_refused(tmp_path: Path) -> None:
    for discriminators in (("map", "power"), ("map",)):
        method = gan(Dcgan(pixels=32, features=2, latent=LATENT, discriminators=discriminators), epochs=1)
        with pytest.raises(MethodError, match=r"method.network.pixels=32: the patches have 16 pixels a side"):
            method.fit(lesson_of(method, tmp_path), CPU)


def test_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    for method in (
        gan(learning_rate=1e30, final_learning_rate=1e30),
        flow(learning_rate=1e30, final_learning_rate=1e30),
    ):
        shutil.rmtree(tmp_path / "work", ignore_errors=True)
        with pytest.raises(
            MethodError, match=r"became (nan|inf).* try a? ?lower method.train.learning_rate|became nan"
        ):
            method.fit(lesson_of(method, tmp_path), CPU)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="40 pixels are no multiple of 16"):
        Dcgan(pixels=40)
    with pytest.raises(MethodError, match=r"draws from 4 numbers, not from 8"):
        replace(gan(), examples=PatchDraws(name="draws", latent=8)).accepts(CASE)
    with pytest.raises(MethodError, match=r"sides are multiples of 4, not on 64; method.examples.latent must be null"):
        replace(flow(), examples=PatchDraws(name="draws", latent=64)).accepts(CASE)
    with pytest.raises(MethodError, match=r"widths=\[12\]: take multiples of 8"):
        replace(flow(), network=FlowUNet(widths=(12,))).accepts(CASE)
    with pytest.raises(MethodError, match=r"draws patches out of nothing"):
        gan().accepts(CaseSpec({"100": SPEC}, SPEC))
    with pytest.raises(MethodError, match=r"cannot be trained on several devices"):
        gan().require_hardware(Hardware(device="cpu", devices=2))


def test_range_brings_all_patches_to_one_scale() -> None:
    values = patches(5)
    parts = [Moments.of(np.moveaxis(part, 1, 0)) for part in (values[:2], values[2:])]
    scaling = Normalisation(kind="range").scaling(Moments.of_all(parts))
    scaled = (values - scaling.offset) / scaling.scale
    assert scaled.min() == pytest.approx(-1, abs=1e-6) and scaled.max() == pytest.approx(1, abs=1e-6)
    plain = Moments.of_all(parts).plain()
    np.testing.assert_array_equal(Moments.from_plain(plain).highest, Moments.of_all(parts).highest)
    old = Moments.from_plain({name: value for name, value in plain.items() if name not in ("lowest", "highest")})
    with pytest.raises(MethodError, match="make them again"):
        Normalisation(kind="range").scaling(old)


def test_distance_is_of_the_map_and_not_of_its_logarithm() -> None:
    logs = torch.from_numpy(patches(30))
    assert spectral_distance(logs, logs) == pytest.approx(0, abs=1e-9)
    # Ten times as bright: log10 C_l is 2 higher in each of the N / 2 bins.
    assert spectral_distance(logs + 1, logs) == pytest.approx(4 * N // 2, rel=1e-3)
