"""Layers at half the resolution: the same function of the same weights, and where they are used."""

import copy
import pickle
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from learning import CPU, fit, same
from torch import nn

from cmbml.methods.cmbnncs.network import UNet
from cmbml.methods.trained import Hardware, Lesson
from cmbml.methods.training.folding import DoublingConv2d, HalvingConv2d, fold

ODD = UNet(widths=(3, 6, 8), encoder_kernels=(5, 4, 3), decoder_kernels=(2, 4, 5))
EVEN = UNet(widths=(3, 6), encoder_kernels=(4, 4), decoder_kernels=(4, 2))


def found(network: nn.Module, planes: torch.Tensor) -> list[torch.Tensor]:
    """Return what a network answers, and the gradients with respect to its planes and weights."""
    planes = planes.clone().requires_grad_()
    answer = network(planes)
    weights = torch.cos(torch.arange(answer.numel(), dtype=answer.dtype)).reshape(answer.shape)
    return [answer, *torch.autograd.grad((weights * answer).sum(), [planes, *network.parameters()])]


@pytest.mark.parametrize("kernel", range(2, 8))
@pytest.mark.parametrize(
    ("kind", "plain"), [(HalvingConv2d, nn.Conv2d), (DoublingConv2d, nn.ConvTranspose2d)], ids=["halving", "doubling"]
)
@pytest.mark.parametrize("bias", [True, False])
def test_folded_layers_are_those_of_pytorch(
    kernel: int, kind: type[nn.Module], plain: type[nn.Module], bias: bool
) -> None:
    torch.manual_seed(kernel)
    planes = torch.randn(2, 3, 12, 8, dtype=torch.float64)
    layer = kind(3, 5, kernel, foldable=True).double()
    words = {"output_padding": kernel % 2} if plain is nn.ConvTranspose2d else {}
    published = plain(3, 5, kernel, stride=2, padding=(kernel - 1) // 2, **words).double()
    published.load_state_dict(layer.state_dict())
    if not bias:
        layer.bias = published.bias = None
    wanted = found(published, planes)
    assert all(torch.equal(a, b) for a, b in zip(found(layer, planes), wanted, strict=True)), "it is not folded yet"
    fold(layer)
    for mine, its in zip(found(layer, planes), wanted, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layout", [ODD, EVEN], ids=["odd", "even"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_folded_network_is_the_same(layout: UNet, channels_last: bool) -> None:
    torch.manual_seed(1)
    plain = layout.build(4, 1).double()
    if channels_last:
        plain = plain.to(memory_format=torch.channels_last)
    folded = copy.deepcopy(plain)
    fold(folded)
    layers = [layer for layer in folded.modules() if isinstance(layer, HalvingConv2d | DoublingConv2d)]
    assert [layer.folded for layer in layers] == [True, *[False] * (len(layers) - 2), True], "the first and the last"
    planes = torch.randn(2, 4, 32, 24, dtype=torch.float64)
    for mine, its in zip(found(folded, planes), found(plain, planes), strict=True):
        # Batch normalisation divides by what may be small.
        torch.testing.assert_close(mine, its, rtol=1e-10, atol=1e-12)
    states = folded.state_dict(), plain.state_dict()
    assert [list(state) for state in states[:1]] == [list(states[1])]
    for name in ("encoder.0.0.weight", "decoder.0.0.bias"):
        assert torch.equal(*(state[name] for state in states))
    assert pickle.loads(pickle.dumps(folded)).encoder[0][0].folded


def test_training_is_the_same_but_for_rounding(lesson: Lesson) -> None:
    plain, folded = fit(lesson), fit(lesson, replace(CPU, fold=True))
    assert not same(plain, folded), "it was folded"
    assert {name: array.shape for name, array in plain.state.arrays.items()} == {
        name: array.shape for name, array in folded.state.arrays.items()
    }
    np.testing.assert_allclose(folded.curve["valid_loss"], plain.curve["valid_loss"], rtol=1e-3)
    assert same(plain, fit(lesson, replace(CPU, fold=False)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
def test_folded_network_may_be_compiled(lesson: Lesson) -> None:
    plain, compiled = fit(lesson), fit(lesson, replace(CPU, fold=True), compile=True)
    np.testing.assert_allclose(compiled.curve["valid_loss"], plain.curve["valid_loss"], rtol=1e-3)


@pytest.mark.parametrize(
    ("words", "on_cuda", "compiled", "wanted"),
    [
        ({}, True, True, True),
        ({}, True, False, False),
        ({}, False, True, False),
        ({"fold": True}, False, False, True),
        ({"fold": False}, True, True, False),
    ],
)
def test_layers_are_folded_where_it_is_faster(
    words: dict[str, Any], on_cuda: bool, compiled: bool, wanted: bool
) -> None:
    assert Hardware(**words).fold_used(on_cuda=on_cuda, compiled=compiled) is wanted
