"""CosmoVAE: its size, its convolutions, the terms of its loss, and that its latents tell something."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hole_lessons import HUNDRED, SIDE, holed, lesson_of, method_of
from learning import CPU, Power, same, stops_at
from safetensors.torch import save_file
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_divergence

from cmbml.methods.base import MethodError
from cmbml.methods.cosmovae.convolution import PartialConvolution
from cmbml.methods.cosmovae.network import CosmoVae, Judge, theory_variances
from cmbml.methods.cosmovae.objective import (
    JUDGE_WIDTH,
    Variational,
    crps_of_draws,
    kl_divergence,
    reconstruction,
    total_variation,
)
from cmbml.methods.cosmovae.perceptual import Perceptual, Vgg, perceptual_loss
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Hardware
from cmbml.methods.training.module import Normalised
from cmbml.methods.wiener_net import WienerNet

PUBLISHED = CosmoVae(shape=(400, 400), latents_from="seen")
TINY = CosmoVae(
    shape=(SIDE, SIDE), widths=(8, 16, 16), kernels=(5, 3, 3), strides=(2, 1, 5), dense=(32, 16), n_latent=32
)
LOSS = Variational(features=Perceptual(width=4), anneal=50, draws=16, sampled=6.0)


def test_published_size_is_a_quarter_of_a_billion() -> None:
    """250.8 million (methods.md, from the authors' code). The paper does not say what the last layer is."""
    with torch.device("meta"):
        counts = {
            kind: sum(w.numel() for w in replace(PUBLISHED, convolution=kind).build(2, 1).parameters())
            for kind in ("vanilla", "partial")
        }
    assert counts["vanilla"] == pytest.approx(250.8e6, abs=0.1e6)
    assert counts["partial"] == pytest.approx(250.8e6, abs=0.1e6)
    assert PUBLISHED.sizes()[1:] == [(200, 200), (100, 100), (50, 50), (25, 25), (5, 5), (5, 5)]


def test_published_size_is_refused_on_a_cpu() -> None:
    method, cpu = method_of(PUBLISHED, LOSS), Hardware(device="cpu")
    with pytest.raises(MethodError, match=r"250\.7 million weights is not for a CPU; take method=cosmovae"):
        method.require_hardware(cpu)
    method.require_hardware(replace(cpu, force=True))
    method.require_hardware(Hardware(device="cuda"))
    method_of(TINY, LOSS).require_hardware(cpu)


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (3, 2)])
def test_partial_convolution_is_the_papers(kernel: int, stride: int) -> None:
    """Liu et al. (2018), eqs. 1 and 2, by loops; each input channel has holes of its own."""
    rng, n_in, side = np.random.default_rng(2), 3, 9
    layer = PartialConvolution(n_in, 2, kernel, stride).double()
    torch.nn.init.normal_(layer.bias)
    known = rng.random((n_in, side, side)) < 0.4
    known[:, :4, :4] = False
    values = rng.standard_normal((n_in, side, side)) * known
    weight, bias = (w.detach().numpy() for w in (layer.convolution.weight, layer.bias))
    pad, n_out = kernel // 2, -(-side // stride)
    wide, there = (np.pad(a.astype(float), ((0, 0), (pad, pad), (pad, pad))) for a in (values, known))
    wanted, seen = np.zeros((2, n_out, n_out)), np.zeros((n_out, n_out))
    for row in range(n_out):
        for column in range(n_out):
            part = np.s_[:, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
            if count := there[part].sum():
                wanted[:, row, column] = (weight * wide[part]).sum((1, 2, 3)) * n_in * kernel**2 / count + bias
                seen[row, column] = 1
    shares = torch.from_numpy(known.mean(axis=0, keepdims=True))[None]
    with torch.no_grad():
        found, now = layer(torch.from_numpy(values)[None], shares)
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=1e-10)
    np.testing.assert_array_equal(now[0, 0].numpy(), seen)
    assert (seen == 0).any()


def test_divergence_is_that_of_gaussians() -> None:
    """The paper's formula, against torch's for two normal distributions."""
    mean, log_variance, prior = torch.randn(4, 7), torch.randn(4, 7), torch.rand(7) * 3 + 0.1
    wanted = torch_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros(7), prior.sqrt()))
    torch.testing.assert_close(kl_divergence(mean, log_variance, prior), wanted.sum(dim=1).mean())
    assert kl_divergence(torch.zeros(1, 7), prior.log()[None], prior).item() == pytest.approx(0, abs=1e-6)


def test_standardised_latents_have_the_same_divergence() -> None:
    """To count in units of the prior changes numbers, not what the divergence is."""
    prior = torch.tensor(theory_variances()[:7], dtype=torch.float32)
    mean, log_variance = torch.randn(3, 7), torch.randn(3, 7)
    there = kl_divergence(mean * prior.sqrt(), log_variance + prior.log(), prior)
    torch.testing.assert_close(kl_divergence(mean, log_variance, torch.ones(7)), there)


def test_theory_is_that_of_planck() -> None:
    """The first peak of the best fit: D_l = 5730 uK^2 at l = 220 (Planck 2018 results VI); 2507 multipoles from 2."""
    spectrum = theory_variances()
    assert len(spectrum) == 2507
    assert int(spectrum[100:400].argmax()) + 102 == pytest.approx(220, abs=3)
    assert spectrum.max() == pytest.approx(5730, rel=0.01)


def test_total_variation_is_that_of_the_hole_and_one_pixel_around_it() -> None:
    rng = np.random.default_rng(4)
    image, known = rng.standard_normal((11, 9)), np.ones((11, 9))
    known[4:7, 0:3] = 0
    known[9, 7] = 0
    near = np.zeros((11, 9), bool)
    for row, column in np.argwhere(known == 0):
        near[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    total = 0.0
    for row in range(11):
        for column in range(9):
            for down, right in ((1, 0), (0, 1)):
                below, beside = row + down, column + right
                if below < 11 and beside < 9 and near[row, column] and near[below, beside]:
                    total += abs(image[below, beside] - image[row, column])
    found = total_variation(torch.from_numpy(image)[None, None], torch.from_numpy(known)[None, None])
    assert found.item() == pytest.approx(total / 10)


def test_reconstruction_counts_all_pixels() -> None:
    known = torch.ones(1, 1, 4, 5)
    known[..., 0, :] = 0
    valid, hole = reconstruction(torch.full_like(known, 3.0), torch.zeros_like(known), known)
    assert (valid.item(), hole.item()) == pytest.approx((3 * 15 / 20, 3 * 5 / 20))


def test_crps_is_that_of_all_pairs() -> None:
    draws, truth = torch.randn(6, 3, 4), torch.randn(3, 4)
    pairs = (draws[:, None] - draws[None]).abs().sum(dim=(0, 1)) / (6 * 5)
    torch.testing.assert_close(crps_of_draws(draws, truth), (draws - truth).abs().mean(dim=0) - pairs / 2)


def test_random_features_are_always_the_same() -> None:
    image = torch.randn(2, 1, 16, 16)
    first, second = (Vgg(Perceptual(width=4))(image) for _ in range(2))
    assert [tuple(found.shape[1:]) for found in first] == [(4, 8, 8), (8, 4, 4), (16, 2, 2)]
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert perceptual_loss(Vgg(Perceptual(width=4)), image, image).item() == 0
    # He's weights keep the size of what goes through.
    assert all(0.2 < found.std() < 5 for found in first)


def test_features_take_nothing_from_the_generator_that_trains() -> None:
    """Else a training that goes on, and makes them again, ends elsewhere than one that was not stopped."""
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    Vgg(Perceptual(width=4))
    assert torch.rand(1) == wanted


def test_features_of_a_file_are_its_own(tmp_path: Path) -> None:
    """A VGG-16 of width 2 by torchvision's names, derived again layer by layer."""
    chosen = Perceptual(width=2, file=tmp_path / "vgg.safetensors", unit=2.0)
    weights = {name: torch.randn(shape) for name, shape in chosen.shapes().items()}
    save_file(weights | {"classifier.0.weight": torch.zeros(3)}, chosen.file)
    image = torch.randn(1, 1, 8, 8)
    found, wanted = torch.cat([image / 2] * 3, dim=1), []
    for place in (0, 2, "pool", 5, 7, "pool", 10, 12, 14, "pool"):
        if place == "pool":
            found = torch.nn.functional.max_pool2d(found, 2)
            wanted.append(found)
        else:
            names = (f"features.{place}.weight", f"features.{place}.bias")
            found = torch.relu(torch.conv2d(found, *(weights[name] for name in names), padding=1))
    for mine, its in zip(Vgg(chosen)(image), wanted, strict=True):
        torch.testing.assert_close(mine, its)
    assert Perceptual().shapes()["features.14.weight"] == (256, 256, 3, 3)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vgg.safetensors"
    loss = Variational(features=Perceptual(file=file))
    weights = {name: torch.zeros(shape) for name, shape in Perceptual(width=32).shapes().items()}
    save_file(weights, file)
    with pytest.raises(
        MethodError, match=r"features\.0\.weight is \(32, 3, 3, 3\), not \(64, 3, 3, 3\); .* and 12 more"
    ):
        loss.check(TINY)
    save_file({"other": torch.zeros(1)}, file)
    with pytest.raises(MethodError, match=r"features\.0\.weight is not there.* or random features \(file=null\)"):
        loss.check(TINY)
    file.write_bytes(b"no tensors")
    with pytest.raises(MethodError, match="is no whole file of tensors"):
        loss.check(TINY)
    assert (loss.files(), replace(loss, perceptual=0.0).files()) == ((file,), ())
    replace(loss, perceptual=0.0).check(TINY)


@pytest.mark.parametrize(
    ("network", "loss", "text"),
    [
        (WienerNet(), LOSS, "WienerNet has no latents"),
        (TINY, replace(LOSS, draws=1), "two draws are the least"),
        (TINY, replace(LOSS, draws=20, valid_draws=8, kept=0.1), "two draws are the least"),
    ],
)
def test_losses_that_cannot_be_are_refused(network: Any, loss: Variational, text: str) -> None:
    with pytest.raises(MethodError, match=text):
        loss.check(network)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MethodError, match=r"patches of 20 x 20 pixels, not on 20 x 30; set method\.network\.shape"):
        TINY.require_shape(20, 30)
    with pytest.raises(MethodError, match="not 3 channels"):
        TINY.build(3, 1)
    with pytest.raises(ValueError, match="strides has 6 entries, widths has 2"):
        CosmoVae(shape=(8, 8), widths=(4, 4), kernels=(3, 3))


def normalised(network: CosmoVae) -> Normalised:
    torch.manual_seed(1)
    arrays = holed(4, np.random.default_rng(1))
    norms = [HUNDRED.scaling(Moments.of(np.moveaxis(values, 1, 0))) for values in arrays]
    return Normalised(network.build(2, 1), *norms, channels_last=False)


@pytest.mark.parametrize("convolution", ["vanilla", "partial"])
@pytest.mark.parametrize("latents_from", ["truth", "seen"])
def test_answers_know_nothing_of_what_is_in_the_holes(convolution: str, latents_from: str) -> None:
    """Whatever stands there, the same mean and the same scatter; and the latter hangs on no batch."""
    model = normalised(replace(TINY, convolution=convolution, latents_from=latents_from)).eval()
    features, _ = holed(4, np.random.default_rng(1))
    spoilt = np.array(features)
    spoilt[:, 0][features[:, 1] == 0] = 1e4
    with torch.inference_mode():
        whole, other = (LOSS.reply(model, torch.from_numpy(part)) for part in (features, spoilt))
        alone = LOSS.reply(model, torch.from_numpy(features[2:3]))
    for mine, its, one in zip(whole, other, alone, strict=True):
        torch.testing.assert_close(mine, its)
        torch.testing.assert_close(mine[2:3], one, rtol=1e-4, atol=1e-3)
    assert (whole[1] > 0).all()


@pytest.mark.parametrize("convolution", ["vanilla", "partial"])
def test_latents_are_found_from_holes_and_from_what_is_around_them(convolution: str) -> None:
    """What the surroundings tell need not be told again, which a look at the holes alone cannot know."""
    model = normalised(replace(TINY, convolution=convolution)).eval()
    features, target = (torch.from_numpy(a) / 100 for a in holed(4, np.random.default_rng(1)))
    hole = features[:, 1:] == 0
    with torch.inference_mode():
        plain, changed, elsewhere = (
            model.network(features + add, target + add.narrow(1, 0, 1) + inside)[1]
            for add, inside in (
                (torch.zeros_like(features), 0.0),
                (torch.zeros_like(features), hole.float()),
                (torch.cat((~hole, torch.zeros_like(hole)), dim=1).float(), 0.0),
            )
        )
    assert (plain - changed).abs().max() > 1e-4
    assert (plain - elsewhere).abs().max() > 1e-4


def test_the_divergence_comes_in_by_and_by() -> None:
    """Of two losses that differ in it, the first batches are equal; at the end of the annealing it counts whole."""
    features, target = (torch.from_numpy(a) / 100 for a in holed(4, np.random.default_rng(1)))
    found = []
    for kl in (0.0, 1.0):
        model, loss = normalised(TINY), replace(LOSS, kl=kl, anneal=2, kl_over="one")
        losses = []
        for _ in range(4):
            torch.manual_seed(3)
            losses.append(next(iter(loss.losses(model, features, target))).item())
        found.append(losses)
    added = np.subtract(found[1], found[0])
    assert added[0] == 0
    assert added[1] == pytest.approx(added[2] / 2, rel=1e-4)
    assert added[3] == pytest.approx(added[2], rel=1e-4)
    assert added[2] > 0


def test_draws_from_the_prior_are_scored_in_training() -> None:
    """The loss grows by the weight times the CRPS of two draws, per pixel; published, by nothing."""
    features, target = (torch.from_numpy(a) / 100 for a in holed(4, np.random.default_rng(1)))
    hole = features[:, 1:] == 0
    found = []
    for sampled in (0.0, 3.0):
        model, losses = normalised(TINY).eval(), []
        for seed in range(20):
            torch.manual_seed(seed)
            with torch.no_grad():
                losses.append(next(iter(replace(LOSS, sampled=sampled, kl=0.0).losses(model, features, target))).item())
        found.append(np.mean(losses))
    with torch.no_grad():
        noise = torch.randn((200, 4, TINY.n_latent), generator=torch.Generator().manual_seed(2))
        crps = crps_of_draws(torch.stack(model.network.draws(features, noise)), target)
    assert found[1] - found[0] == pytest.approx(3 * (crps * hole).mean().item(), rel=0.02)


class Brightest(torch.nn.Module):
    """Takes the brightest holes for the most real."""

    def forward(self, patches: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        return ((1 - known) * patches).sum(dim=(1, 2, 3))


def test_draws_that_answer_are_those_that_were_taken_for_real() -> None:
    """Of sixteen draws the four that a discriminator prefers, for each patch its own."""
    model = normalised(TINY).eval()
    features, _ = (torch.from_numpy(a) for a in holed(4, np.random.default_rng(1)))
    chosen = replace(LOSS, kept=0.25)
    with torch.inference_mode():
        noise = torch.randn((16, TINY.n_latent), generator=torch.Generator().manual_seed(LOSS.seed))
        shown = model.bring_in(features)
        drawn = torch.stack(model.network.draws(shown, noise))
        model.network.judge = Brightest()
        value, sigma = chosen.reply(model, features)
    for patch in range(4):
        hole = features[patch, 1] == 0
        order = drawn[:, patch, 0][:, hole].sum(dim=1).argsort(descending=True)
        best = 100 * drawn[order[:4], patch]
        torch.testing.assert_close(value[patch], best.mean(dim=0), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(sigma[patch], best.std(dim=0).clamp(min=0.01), rtol=1e-3, atol=1e-3)


def test_the_discriminator_learns_beside_the_network(tmp_path: Path) -> None:
    """It tells true patches from filled ones at the end; the network knows nothing of it."""
    lesson = lesson_of(tmp_path, n_train=160, n_valid=8)
    method = method_of(TINY, replace(LOSS, kept=0.5), epochs=4)
    state = method.fit(lesson, CPU).state
    network = TINY.build(2, 1)
    network.judge = Judge(JUDGE_WIDTH)
    network.load_state_dict({name.removeprefix("network."): torch.from_numpy(a) for name, a in state.arrays.items()})
    features, target = (torch.from_numpy(a) / 100 for a in holed(64, np.random.default_rng(7)))
    known = features[:, 1:] * 100
    with torch.inference_mode():
        network.eval()
        drawn = network.draws(torch.cat((features[:, :1], known), dim=1), torch.randn(1, 64, TINY.n_latent))[0]
        true, false = (network.judge(x, known) for x in (target, torch.where(known > 0, target, drawn)))
    assert (true > false).float().mean() > 0.8


def test_interrupted_training_ends_the_same(tmp_path: Path) -> None:
    """With latents drawn, and an annealing that goes by batches."""
    lesson = lesson_of(tmp_path, n_train=24, n_valid=8)
    method = method_of(TINY, LOSS, epochs=3)
    whole = method.fit(lesson, CPU)
    shutil.rmtree(lesson.workdir)
    lesson.workdir.mkdir()
    with pytest.raises(Power):
        method.fit(replace(lesson, report=partial(stops_at, "epoch 3")), CPU)
    lines: list[str] = []
    found = method.fit(replace(lesson, report=lines.append), CPU)
    assert "going on after epoch 2" in lines[1]
    assert same(found, whole)
    assert int(found.state.arrays["batches"]) > 0


@pytest.mark.slow
def test_shuffled_latents_change_the_hole(tmp_path: Path) -> None:
    """The posterior has not collapsed: what is drawn in holes scatters, and its mean is near the truth.

    Of a rough field whose holes reach as far as it hangs together, about half of the variance is not known.
    """
    lesson = lesson_of(tmp_path, n_train=800, n_valid=64)
    network = replace(TINY, widths=(16, 32, 32), dense=(96, 64), n_latent=64)
    loss = replace(LOSS, draws=32, anneal=400)
    trained = method_of(network, loss, epochs=12).fit(lesson, CPU)
    features, target = holed(64, np.random.default_rng(9))
    method = method_of(network, loss)
    replies = list(method.predict(trained.state, features, CPU))
    hole = features[:, 1:] == 0
    value, sigma = (np.stack([getattr(reply, name) for reply in replies])[hole] for name in ("value", "sigma"))
    error = value - target[hole]
    rms = float(np.sqrt(np.mean(error**2)))
    assert rms < 0.9 * np.sqrt(np.mean(target[hole] ** 2)), "it has learnt"
    assert 0.4 < np.sqrt(np.mean(sigma**2)) / rms < 1.5, "other latents fill the hole otherwise"
