"""The network of CENN is the published one."""

import numpy as np
import torch

from cmbml.methods.cenn.network import SLOPE, Cenn


def test_published_size() -> None:
    assert sum(weights.numel() for weights in Cenn().build(3, 1).parameters()) == 6_207_449


def convolved(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Keras' convolution of stride 2 with padding `same`, by hand: `kernel` is (out, in, k, k)."""
    k, (_, height, width) = kernel.shape[-1], images.shape
    before = (k - 2) // 2
    padded = np.pad(images, ((0, 0), (before, k - 2 - before), (before, k - 2 - before)))
    out = np.empty((len(kernel), height // 2, width // 2))
    for row in range(height // 2):
        for column in range(width // 2):
            seen = padded[:, 2 * row : 2 * row + k, 2 * column : 2 * column + k]
            out[:, row, column] = np.tensordot(kernel, seen, 3) + bias
    return out


def transposed(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The adjoint of such a convolution: every pixel lays down a kernel; `kernel` is (in, out, k, k)."""
    k, (_, height, width) = kernel.shape[-1], images.shape
    whole = np.zeros((kernel.shape[1], 2 * height - 2 + k, 2 * width - 2 + k))
    for row in range(height):
        for column in range(width):
            laid = np.tensordot(images[:, row, column], kernel, 1)
            whole[:, 2 * row : 2 * row + k, 2 * column : 2 * column + k] += laid
    before = (k - 2) // 2
    return whole[:, before : before + 2 * height, before : before + 2 * width] + bias[:, None, None]


def leaky(images: np.ndarray) -> np.ndarray:
    return np.where(images > 0, images, SLOPE * images)


def test_forward_pass_is_the_papers() -> None:
    """Section 3.2 and figure 2, derived again in double precision without a deep-learning package."""
    layout = Cenn(widths=(4, 6, 8), kernels=(9, 7, 5), decoder_kernels=(5, 7, 9))
    network = layout.build(3, 1).double()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    image = np.random.default_rng(1).standard_normal((3, 16, 16))
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    raw, found = [], image
    for level in range(3):
        raw.append(convolved(found, weights[f"encoder.{level}.weight"], weights[f"encoder.{level}.bias"]))
        found = leaky(raw[-1])
    for level in range(3):
        found = leaky(transposed(found, weights[f"decoder.{level}.weight"], weights[f"decoder.{level}.bias"]))
        if level < 2:
            # What the convolution gave before its activation comes first.
            found = np.concatenate([raw[1 - level], found])
    with torch.no_grad():
        ours = network(torch.from_numpy(image)[None]).numpy()[0]
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-10 * np.abs(found).max())
