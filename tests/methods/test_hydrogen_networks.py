"""Networks for dust from hydrogen: their size, their loss and its gradient, and what they are at the start."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.signal import correlate
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.hydrogen.network import Emissivity, HydrogenUNet
from cmbml.methods.hydrogen.objective import CorrelateModes
from cmbml.metrics.correlation import correlations

PIXEL = 60 * 180 / 460
SIDES = (np.radians(PIXEL / 60),) * 2


def count(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_published_size() -> None:
    """14.82 million weights, with 64 maps and the mask."""
    with torch.device("meta"):
        assert count(HydrogenUNet().build(65, 1)) == 14_820_097
        assert count(Emissivity().build(65, 1)) == 12_489 < 50_000


def convolved(images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolve `(n_in, h, w)` as networks do (they correlate), with zeros outside."""
    return np.stack(
        [sum(correlate(image, kernel, "same") for image, kernel in zip(images, row, strict=True)) for row in weight]
    )


def by_hand(state: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Work the U-Net out, in double precision, from its weights: the paper's figure 2."""

    def pair(name: str, found: np.ndarray) -> np.ndarray:
        for conv, norm in ((0, 1), (4, 5)):
            found = convolved(found, state[f"{name}.{conv}.weight"])
            mean, var, gain, shift = (
                state[f"{name}.{norm}.{part}"][:, None, None]
                for part in ("running_mean", "running_var", "weight", "bias")
            )
            found = np.maximum((found - mean) / np.sqrt(var + 1e-5) * gain + shift, 0)
        return found

    kept = []
    for level in range(5):
        if level:
            n, h, w = images.shape
            images = images.reshape(n, h // 2, 2, w // 2, 2).max(axis=(2, 4))
        images = pair(f"down.{level}", images)
        kept.append(images)
    kept.pop()
    for level in range(4):
        weight, bias = state[f"rise.{level}.weight"], state[f"rise.{level}.bias"]
        risen = np.einsum("ihw,ioyx->ohywx", images, weight)
        risen = risen.reshape(len(bias), 2 * images.shape[1], -1) + bias[:, None, None]
        images = pair(f"up.{level}", np.concatenate([kept.pop(), risen]))
    return np.einsum("oi,ihw->ohw", state["head.weight"][:, :, 0, 0], images) + state["head.bias"][:, None, None]


def test_forward_pass_is_that_of_a_derivation_by_hand() -> None:
    torch.manual_seed(1)
    network = HydrogenUNet(width=2).build(4, 1)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    network = network.double().eval()
    images = torch.randn(1, 4, 32, 32, dtype=torch.float64)
    images[:, -1] = (images[:, -1] > -0.5) * 3.0  # a mask that a normalisation has scaled
    state = {name.removeprefix("inner."): value.numpy() for name, value in network.state_dict().items()}
    wanted = by_hand(state, images[0, :-1].numpy()) * (images[0, -1:].numpy() != 0)
    with torch.no_grad():
        found = network(images)[0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert (found == 0).mean() > 0.2


def test_dropout_leaves_out_whole_channels() -> None:
    layers = [layer for layer in HydrogenUNet(width=2).build(4, 1).modules() if "Dropout" in type(layer).__name__]
    assert len(layers) == 18
    assert all(isinstance(layer, nn.Dropout2d) and layer.p == 0.3 for layer in layers)


@pytest.fixture
def loss() -> CorrelateModes:
    return CorrelateModes(pixel_arcmin=PIXEL)


def images(seed: int, size: int = 64, batch: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((batch, 1, size, size)))


def test_loss_is_equation_2_3(loss: CorrelateModes) -> None:
    truth, reply = images(1), images(1) + images(2)
    found = correlations(truth[:, 0].numpy(), reply[:, 0].numpy(), SIDES, 14.4).broad.mean(axis=0)
    np.testing.assert_allclose(loss.correlations(reply, truth), found, atol=1e-4)  # epsilon
    wanted = 30 * (2 - found.sum()) + float((reply - truth).abs().mean())
    assert float(loss._loss(reply, truth)) == pytest.approx(wanted, rel=1e-4)
    assert float(loss._loss(truth, truth)) == pytest.approx(0, abs=1e-3)


def test_gradient_is_that_of_finite_differences(loss: CorrelateModes) -> None:
    """Also where a mode of the reply is zero, as of a network that answers zero behind a mask."""
    truth = images(3, 16, 1)
    loss = CorrelateModes(pixel_arcmin=4 * PIXEL, epsilon=1e-3)
    for reply in (images(4, 16, 1), torch.full_like(truth, 0.5)):
        variable = reply.clone().requires_grad_(True)
        loss._loss(variable, truth).backward()
        for row, column in ((0, 0), (3, 7), (15, 2)):
            step = torch.zeros_like(reply)
            step[0, 0, row, column] = 1e-5
            numeric = float(loss._loss(reply + step, truth) - loss._loss(reply - step, truth)) / 2e-5
            assert float(variable.grad[0, 0, row, column]) == pytest.approx(numeric, rel=1e-4, abs=1e-6)
    zero = torch.zeros_like(truth, requires_grad=True)
    loss._loss(zero, truth).backward()
    assert torch.isfinite(zero.grad).all()


def test_emissivities_start_as_the_integrated_intensity_and_stay_positive() -> None:
    torch.manual_seed(0)
    network = Emissivity(emissivity=0.5).build(9, 1)
    shown = torch.rand(2, 9, 16, 16) * 5
    shown[:, -1] = 1
    torch.testing.assert_close(network(shown), 0.5 * shown[:, :-1].sum(dim=1, keepdim=True))
    for weights in network.parameters():
        nn.init.normal_(weights)
    assert (network.inner.emissivities(shown[:, :-1]) >= 0).all()


def test_it_holds_a_linear_model_of_positive_weights() -> None:
    network = Emissivity(emissivity=float(np.log(2))).build(4, 1)
    wanted = torch.tensor([0.3, 2.0, 1.0])
    network.inner.over_velocity[-1].bias.data = torch.log(torch.expm1(wanted))
    shown = torch.rand(1, 4, 8, 8) + 1
    torch.testing.assert_close(network(shown), (wanted[:, None, None] * shown[:, :-1]).sum(dim=1, keepdim=True))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MethodError, match="multiples of 16, not on 40 x 40"):
        HydrogenUNet().require_shape(40, 40)
    with pytest.raises(MethodError, match="works on cutouts, not on arrays"):
        Emissivity().require_shape(4)
    with pytest.raises(MethodError, match="one map, not 3"):
        Emissivity().build(5, 3)
    with pytest.raises(ValidationError, match="kernel=4: it has a centre if it is odd"):
        Emissivity(kernel=4)
