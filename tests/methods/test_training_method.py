"""What a network has learnt: its predictions, and for what it may be used."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learning import CHANNELS, CPU, N_TRAIN, TINY, Forgetful, Listing, answers, channel, fit, method, spec_of

from cmbml.core.handler import Stamp
from cmbml.handlers.tensors import TensorFile
from cmbml.methods.base import MethodError
from cmbml.methods.cmbnncs.examples import Planes
from cmbml.methods.cmbnncs.network import UNet
from cmbml.methods.normalisation import Normalisation
from cmbml.methods.trained import Lesson, State
from cmbml.methods.training.network import Network

# What is predicted


def test_prediction_is_the_plain_network_between_plain_normalisations(lesson: Lesson) -> None:
    state = fit(lesson).state
    network = TINY.build(2, 1).double().eval()
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.arrays.items()})
    norms = state.about["features"], state.about["target"]
    for features, answer in zip(lesson.valid[0], answers(method(), state, lesson.valid[0]), strict=True):
        shown = np.array(features, np.float64).reshape(2, -1)
        shown = (shown - np.array(norms[0]["offset"])[:, None]) / np.array(norms[0]["scale"])[:, None]
        shown = np.array(norms[0]["mixing"]) @ shown
        beyond = np.abs(shown) > norms[0]["limit"]
        far = np.sign(shown) * (norms[0]["limit"] + np.log1p(np.maximum(np.abs(shown) - norms[0]["limit"], 0)))
        shown = np.where(beyond, far, shown).reshape(1, *features.shape)
        with torch.no_grad():
            expected = network(torch.from_numpy(shown)).numpy()[0] * norms[1]["scale"][0] + norms[1]["offset"][0]
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_prediction_does_not_hang_on_batches_and_leaves_no_trace(lesson: Lesson) -> None:
    state = fit(lesson).state
    found = [answers(method(), state, iter(lesson.train[0]), replace(CPU, predict_batch=size)) for size in (1, 4, 99)]
    assert [len(each) for each in found] == [N_TRAIN] * 3
    for each in found[1:]:
        np.testing.assert_allclose(each, found[0], rtol=1e-4, atol=1e-3)
    threads = torch.get_num_threads()
    stream = method().predict(state, lesson.train[0], replace(CPU, threads=threads + 1))
    next(stream)
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


def test_weights_fit_what_they_were_learnt_for_alone(lesson: Lesson) -> None:
    state, one = fit(lesson).state, method()
    one.require_fit(state, spec_of())
    # As a file gives it back.
    one.require_fit(State(state.arrays, dict(state.about)), spec_of())
    with pytest.raises(MethodError, match=r"of the weights, observations.lmax is 23, not 47; .*nside is 8, not 16$"):
        one.require_fit(state, spec_of(16))
    other = CHANNELS | {"353": channel(350.0, 21.0)}
    pattern = r"channels.353.freq_ghz is 353.0, not 350.0; .*channels.353.fwhm_arcmin is 20.0, not 21.0"
    with pytest.raises(MethodError, match=pattern):
        one.require_fit(state, spec_of(channels=other))
    wide = method(UNet(widths=(4, 16), encoder_kernels=(4, 4), decoder_kernels=(4, 2)))
    with pytest.raises(MethodError, match=r"network.widths is \[4, 8\], not \[4, 16\]$"):
        wide.require_fit(state, spec_of())
    fewer = replace(one, examples=Planes(name="planes", channels=("100",)))
    with pytest.raises(
        MethodError, match=r"examples.channels is \['100', '353'\], not \['100'\]; .*353.*not asked for"
    ):
        fewer.require_fit(state, spec_of())
    with pytest.raises(MethodError, match=r"network.kind is UNet, not Forgetful"):
        method(Forgetful()).require_fit(state, spec_of())


def test_weights_that_are_not_the_networks_are_refused(lesson: Lesson) -> None:
    state, one = fit(lesson).state, method()
    name = next(iter(state.arrays))
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "less": ({n: a for n, a in state.arrays.items() if n != name}, f"{name} is not there, not \\(4, 2, 4, 4\\)"),
        "more": (dict(state.arrays) | {"extra": np.zeros(3)}, r"extra is \(3,\), not asked for"),
        "other": (dict(state.arrays) | {name: np.zeros((4, 2, 3, 3))}, r"is \(4, 2, 3, 3\), not \(4, 2, 4, 4\)"),
        "all": ({}, r"; and \d+ more$"),
    }
    for arrays, message in wrong.values():
        for use in (lambda s: one.require_fit(s, spec_of()), lambda s: next(one.predict(s, lesson.train[0], CPU))):
            with pytest.raises(MethodError, match="these weights are of another network: .*" + message):
                use(State(arrays, state.about))
    damaged = dict(state.arrays) | {name: np.full((4, 2, 4, 4), np.nan, np.float32)}
    with pytest.raises(MethodError, match=f"these weights are damaged: {name}"):
        one.require_fit(State(damaged, state.about), spec_of())


@pytest.mark.parametrize("network", [TINY, Listing()], ids=["weights alone", "whole numbers too"])
def test_size_of_a_state_is_known_before_it_is_learnt(lesson: Lesson, network: Network) -> None:
    state = fit(lesson, network=network).state
    assert method(network).state_bytes(spec_of()) == sum(array.nbytes for array in state.arrays.values())


def test_settings_of_any_kind_come_back_from_a_file(lesson: Lesson, tmp_path: Path) -> None:
    state = fit(lesson, network=Listing()).state
    TensorFile().write(tmp_path / "state.safetensors", (state.arrays, state.about), Stamp("train", "f" * 64))
    method(Listing()).require_fit(State(*TensorFile().read(tmp_path / "state.safetensors")), spec_of())
    with pytest.raises(MethodError, match=r"network.kernels is \[\[3, 3\], \[5, 5\]\], not \[\[7, 7\]\]"):
        method(Listing(kernels=((7, 7),))).require_fit(state, spec_of())


@pytest.mark.parametrize("target", [Normalisation(kind="whiten"), Normalisation(kind="scale", limit=5.0)])
def test_answers_must_be_brought_back(target: Normalisation) -> None:
    with pytest.raises(MethodError, match=r"method.target: kind=whiten and limit= are for features alone"):
        replace(method(), target=target).accepts(spec_of())


def test_network_must_fit_the_maps() -> None:
    deep = UNet(widths=(2,) * 5, encoder_kernels=(4,) * 5, decoder_kernels=(4,) * 5)
    with pytest.raises(MethodError, match="cannot be, both sides must be multiples of 32"):
        method(deep).accepts(spec_of())
    assert method().accepts(spec_of()) == spec_of().asked
