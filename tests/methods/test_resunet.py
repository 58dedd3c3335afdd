"""The ResUNet is the published one."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from cmbml.methods.base import MethodError
from cmbml.methods.resunet import ResUNet

Images = NDArray[np.float64]


def test_published_size() -> None:
    """8.60 million, as counted in the authors' code."""
    network = ResUNet().build(3, 1)
    assert sum(weights.numel() for weights in network.parameters()) == 8_603_809
    rates = [[layer.p for layer in block.modules() if isinstance(layer, torch.nn.Dropout)] for block in network.encoder]
    assert rates == [[p, p] for p in (0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3)]
    rates = [[layer.p for layer in block.modules() if isinstance(layer, torch.nn.Dropout)] for block in network.decoder]
    assert rates == [[p, p] for p in (0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05)]


def convolved(images: Images, kernel: Images, bias: Images, stride: int) -> Images:
    """A convolution of 3 x 3 pixels with zeros around, by hand: `kernel` is (out, in, 3, 3)."""
    _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(kernel), height, width))
    for row in range(3):
        for column in range(3):
            seen = padded[:, row : row + height, column : column + width]
            out += np.einsum("oi,ihw->ohw", kernel[:, :, row, column], seen)
    return out[:, ::stride, ::stride] + bias[:, None, None]


def doubled(images: Images) -> Images:
    """Bilinear interpolation at twice the pixels, whose centres lie a quarter of an old pixel to either side."""
    for axis in (1, 2):
        n = images.shape[axis]
        before = np.take(images, np.maximum(np.arange(n) - 1, 0), axis)
        after = np.take(images, np.minimum(np.arange(n) + 1, n - 1), axis)
        pair = np.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis=axis + 1)
        images = pair.reshape(*images.shape[:axis], 2 * n, *images.shape[axis + 1 :])
    return images


def block(images: Images, weights: dict[str, Images], stride: int, bare: bool, residual: bool) -> Images:
    """Table 2 of the paper without its dropout, line by line."""

    def normalised(values: Images, layer: int) -> Images:
        mean, variance, scale, shift = (
            weights[f"main.{layer}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return np.maximum((values - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0)

    first = 0 if bare else 2
    found = images if bare else normalised(images, 0)
    found = convolved(found, weights[f"main.{first}.weight"], weights[f"main.{first}.bias"], stride)
    found = normalised(found, first + 2)
    found = convolved(found, weights[f"main.{first + 4}.weight"], weights[f"main.{first + 4}.bias"], 1)
    if not residual:
        return found
    return found + convolved(images, weights["residual.weight"], weights["residual.bias"], stride)


def test_forward_pass_is_the_papers() -> None:
    """Section 3.1.2 and table 2, derived again in double precision without a deep-learning package."""
    network = ResUNet(widths=(4, 4, 6), dropout=(0.1, 0.1, 0.3)).build(3, 1).double().eval()
    torch.manual_seed(1)
    for name, values in network.state_dict().items():
        if name.endswith("running_var"):
            values.uniform_(0.5, 2)
        elif values.is_floating_point():
            values.normal_(std=0.3)
    image = np.random.default_rng(1).standard_normal((3, 16, 8))
    weights = {name: value.numpy() for name, value in network.state_dict().items()}

    def of(prefix: str) -> dict[str, Images]:
        return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}

    whole = block(image, of("encoder.0."), 1, bare=True, residual=True)
    half = block(whole, of("encoder.1."), 2, bare=False, residual=True)
    quarter = block(half, of("encoder.2."), 2, bare=False, residual=False)
    found = block(np.concatenate([doubled(quarter), half]), of("decoder.0."), 1, bare=False, residual=True)
    found = block(np.concatenate([doubled(found), whole]), of("decoder.1."), 1, bare=False, residual=True)
    found = np.tensordot(weights["head.weight"][:, :, 0, 0], found, 1) + weights["head.bias"][:, None, None]
    with torch.no_grad():
        ours = network(torch.from_numpy(image)[None]).numpy()[0]
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-10 * np.abs(found).max())


def test_sizes_that_cannot_be_halved_so_often_are_refused() -> None:
    ResUNet().require_shape(128, 256)
    with pytest.raises(MethodError, match=r"ResUNet of 8 blocks works on .* multiples of 128, not on 64 x 64"):
        ResUNet().require_shape(64, 64)
    with pytest.raises(MethodError, match="not on 768"):
        ResUNet().require_shape(768)
    with pytest.raises(ValidationError, match="dropout has 2 entries, widths has 3: one for each block"):
        ResUNet(widths=(4, 4, 4), dropout=(0.1, 0.1))
    with pytest.raises(ValidationError, match="less than 1"):
        ResUNet(widths=(4, 4), dropout=(0.1, 1.0))
