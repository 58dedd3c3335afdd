"""What networks are trained for beside values: variances and spectra."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learning import CPU, TINY, Mixture, method, spec_of
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.normalisation import Scaling
from cmbml.methods.patches import WholePatches
from cmbml.methods.trained import Lesson
from cmbml.methods.training.module import Normalised
from cmbml.methods.training.objective import MapAndSpectrum, Supervised
from cmbml.methods.training.score import require_agreement
from cmbml.sky.flat import flat_spectra, ring_edges

PIXEL = (math.radians(0.5),) * 2
ON_PATCHES = {"pixel_arcmin": 30.0}


def scaled(n: int, offset: float, scale: float) -> Scaling:
    return Scaling(offset=np.full(n, offset), scale=np.full(n, scale), mixing=None, limit=None)


def between(network: nn.Module, n_in: int = 1) -> Normalised:
    return Normalised(network, scaled(n_in, 0.0, 1.0), scaled(1, 5.0, 3.0), channels_last=False)


class Fixed(nn.Module):
    """A network that says what it was told to."""

    def __init__(self, *channels: float) -> None:
        super().__init__()
        self.channels = nn.Parameter(torch.tensor(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.channels[None, :, None, None].expand(len(features), -1, *features.shape[2:])


def test_gaussian_likelihood_is_that_of_a_gaussian() -> None:
    objective = Supervised(loss="gaussian_nll")
    model, features = between(Fixed(0.3, math.log(4.0)).requires_grad_(False)), torch.zeros(2, 1, 4, 4)
    target = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    wanted = -torch.distributions.Normal(0.3, 2.0).log_prob(target).mean() - 0.5 * math.log(2 * math.pi)
    found = objective.validate(model, features, target)
    assert float(found["loss"]) == pytest.approx(float(wanted), rel=1e-6)
    assert found["reply"].shape == target.shape
    (loss,) = objective.losses(model, features, target)
    assert float(loss) == float(found["loss"])


def test_likelihood_is_least_where_value_and_variance_are_those_of_the_targets() -> None:
    target = torch.randn(400, 1, 2, 2, generator=torch.Generator().manual_seed(2)) * 0.7 + 0.4
    network, objective = Fixed(0.0, 0.0), Supervised(loss="gaussian_nll")
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=60)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        (value,) = objective.losses(between(network), torch.zeros(400, 1, 2, 2), target)
        value.backward()
        return value

    optimiser.step(loss)
    mean, log_variance = network.channels.tolist()
    assert mean == pytest.approx(float(target.mean()), abs=1e-4)
    assert math.exp(log_variance) == pytest.approx(float(target.var(unbiased=False)), rel=1e-3)


def test_a_network_that_tells_its_variance_replies_with_sigma_in_the_unit_of_the_target() -> None:
    value, sigma = Supervised(loss="gaussian_nll").reply(between(Fixed(0.5, math.log(4.0))), torch.zeros(1, 1, 2, 2))
    # The target has offset 5 and scale 3.
    assert value.unique().tolist() == pytest.approx([6.5])
    assert sigma.unique().tolist() == pytest.approx([6.0])
    assert Supervised().reply(between(Fixed(0.5)), torch.zeros(1, 1, 2, 2))[1] is None


@pytest.mark.parametrize("log_variance", [1e4, -1e4])
def test_impossible_variances_are_kept_within_what_can_be_computed_with(log_variance: float) -> None:
    found = Supervised(loss="gaussian_nll").validate(
        between(Fixed(0.0, log_variance)), torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    )
    assert torch.isfinite(found["loss"])


def test_spectrum_is_lost_beside_the_map_by_its_weight() -> None:
    rng = torch.Generator().manual_seed(3)
    reply, target = torch.randn(2, 3, 1, 16, 16, generator=rng)
    model = between(nn.Identity())
    spectra = [flat_spectra(of.numpy(), ring_edges((16, 16), PIXEL), PIXEL).d_ell for of in (reply, target)]
    beside = np.mean((spectra[0] - spectra[1]) ** 2)
    for weight in (0.0, 1.0, 2.5):
        objective = MapAndSpectrum(loss="l2", spectrum=weight).on(ON_PATCHES)
        wanted = float((reply - target).square().mean()) + weight * beside
        assert float(objective.validate(model, reply, target)["loss"]) == pytest.approx(wanted, rel=1e-4)


def test_spectrum_needs_flat_patches(lesson: Lesson) -> None:
    with pytest.raises(MethodError, match=r"method\.objective: MapAndSpectrum needs samples that are flat patches"):
        replace(method(), objective=MapAndSpectrum()).accepts(spec_of())
    assert MapAndSpectrum().on({"pixel_arcmin": [30.0, 20.0]}).pixel_arcmin == (30.0, 20.0)


@pytest.mark.parametrize("loss", ["l2", "gaussian_nll"])
def test_it_learns_and_is_read_back(lesson: Lesson, loss: str) -> None:
    one = method(Mixture(), loss=loss, epochs=4, learning_rate=0.1)
    lesson.workdir.mkdir()
    trained = one.fit(lesson, CPU)
    assert min(trained.curve["valid_loss"]) < trained.curve["valid_loss"][0]
    one.require_score(trained.state, lesson, CPU)
    replies = list(one.predict(trained.state, lesson.valid[0], CPU))
    sigmas = [reply.sigma for reply in replies]
    if loss == "l2":
        assert sigmas == [None] * len(replies)
    else:
        assert all(
            (sigma > 0).all() and sigma.shape == reply.value.shape for sigma, reply in zip(sigmas, replies, strict=True)
        )


def test_losses_near_zero_may_differ_by_what_rounding_does() -> None:
    training = method().train
    likelihood, squares = Supervised(loss="gaussian_nll"), Supervised(loss="l2")
    require_agreement(1e-4, -1e-4, 0, training, likelihood)
    with pytest.raises(MethodError, match="they are not what was trained"):
        require_agreement(0.01, -0.01, 0, training, likelihood)
    with pytest.raises(MethodError, match="they are not what was trained"):
        require_agreement(1.1e-4, 1e-4, 0, training, squares)


def test_a_loss_that_is_no_number_is_refused(lesson: Lesson, tmp_path: Path) -> None:
    lesson.workdir.mkdir()
    broken = replace(lesson, train=([np.full_like(f, np.nan) for f in lesson.train[0]], list(lesson.train[1])))
    with pytest.raises(MethodError, match="the loss became nan in epoch 1, batch 1"):
        method(TINY, loss="gaussian_nll").fit(broken, CPU)


def test_patches_say_how_large_their_pixels_are() -> None:
    """What `on` stands upon: both kinds of patches have it in what they are described by."""
    from cmbml.sky.case import CaseSpec
    from cmbml.sky.instrument import Channel
    from cmbml.sky.maps import MapSpec
    from cmbml.sky.patches import PatchSpec

    patch = PatchSpec(maps=MapSpec(nside=64), height=8, width=8, pixel_arcmin=(30.0, 20.0))
    channel = Channel(freq_ghz=100.0, fwhm_arcmin=0.0, depth_uk_arcmin=1.0)
    spec = CaseSpec({"100": patch}, patch, {"100": channel})
    described = WholePatches(name="p", channels=("100",)).describe(spec)
    assert MapAndSpectrum().on(described).pixel_arcmin == (30.0, 20.0)
