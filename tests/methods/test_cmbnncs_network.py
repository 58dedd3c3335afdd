from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.cmbnncs.network import OneSlope, UNet

CONFIG = Path(__file__).parents[2] / "cfg" / "network"

# (weight of each convolution) as published; a transposed one has its input channels first.
UNET5_ENCODER = [(32, 4, 4, 4), (64, 32, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4)]
UNET5_DECODER = [(512, 256, 4, 4), (512, 128, 4, 4), (256, 64, 4, 4), (128, 32, 4, 4), (64, 1, 2, 2)]
UNET8_ENCODER = [
    *[(16, 4, 5, 5), (32, 16, 5, 5), (64, 32, 4, 4), (128, 64, 4, 4)],
    *[(256, 128, 4, 4), (512, 256, 4, 4), (1024, 512, 4, 4), (2048, 1024, 4, 4)],
]
UNET8_DECODER = [
    *[(2048, 1024, 4, 4), (2048, 512, 4, 4), (1024, 256, 4, 4), (512, 128, 4, 4)],
    *[(256, 64, 4, 4), (128, 32, 4, 4), (64, 16, 5, 5), (32, 1, 5, 5)],
]


def shipped(name, **changes):
    node = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())
    assert node.pop("_target_") == "cmbml.methods.cmbnncs.network.UNet"
    return UNet(**(node | changes))


def weightless(network, n_in):
    with torch.device("meta"):
        return network.build(n_in, 1)


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "n_in", "published"), [("unet5", 4, 6_265_419), ("unet5", 9, 6_267_979), ("unet8", 4, 100_689_681)]
)
def test_has_the_published_number_of_parameters(name, n_in, published):
    assert n_parameters(weightless(shipped(name), n_in)) == published


@pytest.mark.parametrize(
    ("name", "encoder", "decoder"), [("unet5", UNET5_ENCODER, UNET5_DECODER), ("unet8", UNET8_ENCODER, UNET8_DECODER)]
)
def test_has_the_published_layers(name, encoder, decoder):
    module = weightless(shipped(name), 4)
    layers = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)]
    assert [tuple(layer.weight.shape) for layer in layers] == encoder + decoder
    kinds = [nn.Conv2d] * len(encoder) + [nn.ConvTranspose2d] * len(decoder)
    assert all(isinstance(layer, kind) for layer, kind in zip(layers, kinds, strict=True))
    assert all(layer.bias is not None for layer in layers)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [shape[0] for shape in encoder] + [s[1] for s in decoder[:-1]]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}
    slopes = [part.weight.shape for part in module.modules() if isinstance(part, nn.PReLU)]
    assert slopes == [(1,)] * len(layers)


def test_the_networks_in_between_are_the_outer_levels_of_unet8():
    # Levels that two networks share have the same weights' shapes, from the plane inwards and outwards.
    whole = shipped("unet8")
    for name, n_levels in (("unet6", 6), ("unet7", 7)):
        network = shipped(name)
        assert network.widths == whole.widths[:n_levels]
        assert network.encoder_kernels == whole.encoder_kernels[:n_levels]
        assert network.decoder_kernels == whole.decoder_kernels[-n_levels:]


@pytest.mark.parametrize(
    ("nside", "fits", "fits_not"),
    [
        (32, ["unet5"], ["unet6", "unet7", "unet8"]),
        (64, ["unet5", "unet6"], ["unet7", "unet8"]),
        (128, ["unet5", "unet6", "unet7"], ["unet8"]),
        (256, ["unet5", "unet6", "unet7", "unet8"], []),
        (512, ["unet5", "unet6", "unet7", "unet8"], []),
    ],
)
def test_every_nside_has_a_network_that_fits(nside, fits, fits_not):
    height, width = 4 * nside, 3 * nside
    for name in fits:
        shipped(name).require_shape(height, width)
        planes = torch.empty(1, 4, height, width, device="meta")
        assert weightless(shipped(name), 4)(planes).shape == (1, 1, height, width)
    for name in fits_not:
        with pytest.raises(MethodError, match=f"network={fits[-1]}"):
            shipped(name).require_shape(height, width)


def test_a_shape_that_nothing_fits_is_refused_in_words():
    with pytest.raises(MethodError, match=r"8 times: 192 x 256 .* multiples of 256; .* 6 times: take network=unet6"):
        shipped("unet8").require_shape(192, 256)
    with pytest.raises(MethodError, match="no shipped network"):
        shipped("unet5").require_shape(64, 48)
    with pytest.raises(MethodError, match=r"\(height, width\), not on arrays of shape \(12, 64, 64\)"):
        shipped("unet5").require_shape(12, 64, 64)


def test_settings_that_do_not_match_are_refused():
    with pytest.raises(ValidationError, match="decoder_kernels has 4 entries, widths has 5"):
        shipped("unet5", decoder_kernels=[4, 4, 4, 2])
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        shipped("unet5", encoder_kernels=[4, 4, 1, 4, 4])


# The forward pass, derived again from the layer table: direct sums in numpy, double precision.


def halve(x, weight, bias, padding):
    kernel = weight.shape[-1]
    n, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    out = np.zeros((n, len(bias), height // 2, width // 2)) + bias[:, None, None]
    for i, j in np.ndindex(kernel, kernel):
        seen = padded[:, :, i : i + height - 1 : 2, j : j + width - 1 : 2]
        out += np.einsum("oc,bchw->bohw", weight[:, :, i, j], seen)
    return out


def double(x, weight, bias, padding):
    # Every input pixel lays its kernel down at twice its place; `padding` rows and columns are cut off before it.
    kernel = weight.shape[-1]
    n, _, height, width = x.shape
    laid = np.zeros((n, len(bias), 2 * height + kernel, 2 * width + kernel)) + bias[:, None, None]
    for i, j in np.ndindex(kernel, kernel):
        laid[:, :, i : i + 2 * height : 2, j : j + 2 * width : 2] += np.einsum("co,bchw->bohw", weight[:, :, i, j], x)
    return laid[:, :, padding : padding + 2 * height, padding : padding + 2 * width]


def normalise(x, norm, training):
    if training:
        mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    else:
        mean, variance = norm["running_mean"], norm["running_var"]
    scale = norm["weight"] / np.sqrt(variance + 1e-5)
    return (x - mean[:, None, None]) * scale[:, None, None] + norm["bias"][:, None, None]


def numbers(part):
    return {name: value.numpy().copy() for name, value in part.state_dict().items()}


def leaves(module, *kinds):
    return iter([numbers(part) for part in module.modules() if isinstance(part, kinds)])


def derive(x, module, encoder_paddings, decoder_paddings, training):
    """Apply the layer table, taking weights in the order of the layers."""
    convolutions, norms = leaves(module, nn.Conv2d, nn.ConvTranspose2d), leaves(module, nn.BatchNorm2d)
    slopes = leaves(module, nn.PReLU)
    given = []
    for padding in encoder_paddings:
        part = next(convolutions)
        x = normalise(halve(x, part["weight"], part["bias"], padding), next(norms), training)
        x = np.where(x > 0, x, next(slopes)["weight"] * x)
        given.append(x)
    for level, padding in enumerate(decoder_paddings, start=1):
        part = next(convolutions)
        if level > 1:
            x = np.concatenate([given[-level], x], axis=1)
        x = double(x, part["weight"], part["bias"], padding)
        if level < len(decoder_paddings):
            x = normalise(x, next(norms), training)
        x = np.where(x > 0, x, next(slopes)["weight"] * x)
    return x


def randomise(module, generator):
    """Draw every weight and every running statistic, so that nothing stands at a value that hides it."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(generator=generator)
                part.running_var.uniform_(0.5, 2.0, generator=generator)
                part.weight.uniform_(0.5, 2.0, generator=generator)
                part.bias.normal_(generator=generator)
            elif isinstance(part, nn.PReLU):
                part.weight.uniform_(-0.5, 1.5, generator=generator)
            elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                inputs = part.in_channels * part.kernel_size[0] * part.kernel_size[1]
                part.weight.normal_(std=inputs**-0.5, generator=generator)
                part.bias.normal_(generator=generator)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("network", "shape", "encoder_paddings", "decoder_paddings"),
    [
        (shipped("unet5"), (2, 4, 128, 96), [1] * 5, [1, 1, 1, 1, 0]),
        # The kernels and levels of UNet8, with fewer channels so that the sums stay short; and a plane that is square.
        (shipped("unet8", widths=[3, 2, 5, 4, 3, 6, 7, 5]), (1, 2, 512, 512), [2, 2] + [1] * 6, [1] * 6 + [2, 2]),
    ],
    ids=["unet5", "unet8"],
)
def test_forward_pass_equals_its_rederivation(network, shape, encoder_paddings, decoder_paddings, training):
    generator = torch.Generator().manual_seed(1)
    network.require_shape(*shape[2:])
    module = network.build(shape[1], 1).double().train(training)
    randomise(module, generator)
    planes = torch.randn(shape, generator=generator, dtype=torch.float64)
    expected = derive(planes.numpy(), module, encoder_paddings, decoder_paddings, training)
    found = module(planes).detach().numpy()
    assert found.shape == (shape[0], 1, *shape[2:])
    # Sums of up to 8192 terms of size one: rounding is about 1e-14.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_one_level_and_several_outputs():
    module = UNet(widths=(3,), encoder_kernels=(4,), decoder_kernels=(2,)).build(2, 3)
    assert module(torch.zeros(1, 2, 6, 4)).shape == (1, 3, 6, 4)


@pytest.mark.parametrize("slope", [0.25, -0.5, 1.5])
def test_the_slopes_gradient_is_that_of_pytorch(slope):
    generator = torch.Generator().manual_seed(1)
    ours = OneSlope(init=slope).double()
    theirs = nn.PReLU(init=slope).double()
    values = torch.randn(2, 6, 5, 4, generator=generator, dtype=torch.float64)
    values[0, 0, 0, 0] = 0.0
    # What a concatenation hands back is a part of a larger array, here with its channels innermost.
    upstream = torch.randn(2, 5, 4, 12, generator=generator, dtype=torch.float64).permute(0, 3, 1, 2)[:, 3:9]
    found = []
    for module in (ours, theirs):
        leaf = values.clone().requires_grad_()
        answer = module(leaf)
        answer.backward(upstream)
        found.append((answer.detach(), leaf.grad, module.weight.grad))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-13, atol=0)


def test_gradients_of_the_whole_network_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    module = UNet(widths=(2, 3), encoder_kernels=(4, 5), decoder_kernels=(5, 4)).build(1, 1).double()
    randomise(module, generator)
    planes = torch.randn(2, 1, 8, 4, generator=generator, dtype=torch.float64)
    weights = dict(module.named_parameters())

    def answer(*values):
        return torch.func.functional_call(module, dict(zip(weights, values, strict=True)), planes)

    # Batch normalisation takes a convolution's bias out again: its gradient is zero and says nothing.
    assert torch.autograd.gradcheck(answer, tuple(weights.values()), eps=1e-6, atol=1e-6)
