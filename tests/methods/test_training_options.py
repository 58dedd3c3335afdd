"""Other ways to compute the same training: layouts, precisions, processes."""

import pickle
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from learning import (
    CPU,
    N_TRAIN,
    Forgetful,
    Mixture,
    answers,
    fit,
    method,
    said,
    same,
    same_weights,
)
from torch import nn

from cmbml.core.handler import Stamp
from cmbml.handlers.tensors import TensorFile
from cmbml.methods.base import MethodError
from cmbml.methods.trained import Hardware, Lesson, State, Trained
from cmbml.methods.training.data import Pairs, loader
from cmbml.settings import settings

# Other ways to compute it


def test_small_gradients_are_left_and_large_ones_clipped(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same_weights(fit(lesson), fit(lesson, gradient_clip=1e6))
    norms, step = [], torch.optim.Adam.step

    def measured(optimiser: torch.optim.Adam, *args: Any, **more: Any) -> Any:
        weights = optimiser.param_groups[0]["params"]
        norms.append(float(torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in weights]))))
        return step(optimiser, *args, **more)

    monkeypatch.setattr(torch.optim.Adam, "step", measured)
    fit(lesson, gradient_clip=0.01)
    np.testing.assert_allclose(norms, 0.01, rtol=1e-3)


@pytest.mark.parametrize(
    ("train", "tolerance"),
    [({"channels_last": False}, 1e-3), ({"precision": "bf16-mixed"}, 0.1)],
    ids=["channels first", "half precision"],
)
def test_layout_and_precision_change_little(lesson: Lesson, train: dict[str, Any], tolerance: float) -> None:
    plain, other = fit(lesson), fit(lesson, **train)
    for name in ("train_loss", "valid_loss"):
        np.testing.assert_allclose(other.curve[name], plain.curve[name], rtol=tolerance)
    assert all(array.dtype == np.float32 for array in other.state.arrays.values() if array.ndim)


@pytest.mark.parametrize(
    "more", [{"gradient_clip": 0.1}, {"ema_decay": 0.9}, {"loss": "huber"}, {"loss": "l2"}], ids=str
)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_options_go_together(lesson: Lesson, precision: str, more: dict[str, Any]) -> None:
    trained = fit(lesson, epochs=1, precision=precision, passes=2, **more)
    assert all(np.isfinite(array).all() for array in trained.state.arrays.values())


def test_half_precision_does_not_touch_the_normalisation(lesson: Lesson) -> None:
    """The CMB is a small difference of bright channels: of eight bits nothing of it would be left."""
    seen = []

    @settings
    class Looking(Forgetful):
        def build(self, n_in: int, n_out: int) -> nn.Module:
            module = nn.Conv2d(n_in, n_out, 1)
            module.register_forward_pre_hook(look)
            return module

    def look(_: nn.Module, found: tuple[torch.Tensor, ...]) -> None:
        # What costs are counted with holds no numbers.
        if not found[0].is_meta:
            seen.append(found[0].detach().clone())

    for precision in ("32-true", "bf16-mixed"):
        fit(lesson, network=Looking(), epochs=1, precision=precision, batch_size=N_TRAIN)
    first, second = seen[0], seen[2]
    assert first.dtype == second.dtype == torch.float32
    assert torch.equal(first, second)


OPTIONS = [
    {"precision": precision, "channels_last": channels_last, "compile": compiled} | average
    for precision in ("32-true", "bf16-mixed")
    for channels_last in (True, False)
    for compiled in (True, False)
    for average in ({}, {"ema_decay": 0.5})
]


def read_back(trained: Trained, lesson: Lesson) -> State:
    """Send a state through its file."""
    path = lesson.workdir / "state.safetensors"
    TensorFile().write(path, (trained.state.arrays, trained.state.about), Stamp("train", ""))
    return State(*TensorFile().read(path))


def permuted(state: State) -> State:
    """Return a state whose weights lie as if their channels were innermost, and are read as if they were not."""
    arrays = {
        name: np.moveaxis(array, 1, -1).reshape(array.shape) if array.ndim == 4 else array
        for name, array in state.arrays.items()
    }
    return replace(state, arrays=arrays)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile nothing, but lay weights out as if it was to be compiled."""
    monkeypatch.setattr(torch, "compile", lambda network: network)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("train", OPTIONS, ids=lambda train: ", ".join(map(str, train.values())))
def test_weights_that_were_kept_score_what_was_validated(lesson: Lesson, train: dict[str, Any], keep: str) -> None:
    tiny = method(keep=keep, **train)
    trained = fit(lesson, keep=keep, **train)
    state = read_back(trained, lesson)
    tiny.require_score(state, lesson, CPU)
    with pytest.raises(
        MethodError, match=r"read back, have a validation loss of .* was validated: .*train.compile=false"
    ):
        tiny.require_score(permuted(state), lesson, CPU)


@pytest.mark.usefixtures("no_compiler")
def test_what_is_read_back_answers_as_what_was_trained(lesson: Lesson) -> None:
    trained = fit(lesson, compile=True)
    assert any(not array.flags.c_contiguous for array in trained.state.arrays.values())
    found = [answers(method(), state, list(lesson.valid[0])) for state in (trained.state, read_back(trained, lesson))]
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
@pytest.mark.parametrize("train", [{}, {"precision": "bf16-mixed"}, {"ema_decay": 0.5}], ids=str)
def test_compiled_network_learns_the_same(lesson: Lesson, train: dict[str, Any]) -> None:
    plain, compiled = fit(lesson, **train), fit(lesson, compile=True, **train)
    assert plain.state.arrays.keys() == compiled.state.arrays.keys()
    rounding = 3e-2 if train.get("precision") else 1e-3
    np.testing.assert_allclose(compiled.curve["valid_loss"], plain.curve["valid_loss"], rtol=rounding)
    method(compile=True, **train).require_score(read_back(compiled, lesson), lesson, CPU)


@pytest.mark.slow
def test_two_processes_train_together(lesson: Lesson, capfd: pytest.CaptureFixture[str]) -> None:
    pair = Hardware(device="cpu", devices=2, threads=2)
    lines: list[str] = []
    trained = fit(
        replace(lesson, report=lines.append), pair, batch_size=4, passes=2, gradient_clip=1.0, ema_decay=0.5, patience=5
    )
    assert all(np.isfinite(array).all() for array in trained.state.arrays.values())
    assert trained.curve["step"] == [4, 8], "six simulations are two batches, that two processes share"
    assert [line.split(":")[0] for line in lines[1:]] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert trained.summary["maps_per_second"] > 0
    assert capfd.readouterr() == ("", ""), "what matters is reported, and nothing else"
    # The average gradient of two halves is that of the whole, but for the normalisation of batches.
    whole = fit(lesson, batch_size=4, passes=2, gradient_clip=1.0, ema_decay=0.5)
    np.testing.assert_allclose(trained.curve["train_loss"], whole.curve["train_loss"], rtol=0.2)


@pytest.mark.slow
def test_what_fails_in_another_process_is_said_here(lesson: Lesson) -> None:
    broken = [np.full_like(array, np.nan) for array in lesson.train[0]]
    with pytest.raises(MethodError, match=r"^the loss became nan in epoch 1, batch 1, .* the features of train/sim"):
        fit(replace(lesson, train=(broken, lesson.train[1])), Hardware(device="cpu", devices=2, threads=2))


def test_readers_change_nothing(lesson: Lesson) -> None:
    alone, helped = fit(lesson), fit(lesson, Hardware(device="cpu", threads=1, workers=2))
    assert same(alone, helped)
    assert same(
        fit(lesson, network=Forgetful()), fit(lesson, Hardware(device="cpu", threads=1, workers=1), network=Forgetful())
    )


def test_files_are_sent_to_other_processes_not_what_is_in_them(lesson: Lesson) -> None:
    pairs = Pairs(*lesson.train)
    sent = pickle.dumps(pairs)
    assert len(sent) < 400 * 2 * N_TRAIN < lesson.train[0][0].nbytes * N_TRAIN
    found = pickle.loads(sent)
    for number in range(N_TRAIN):
        assert all(np.array_equal(a, b) for a, b in zip(found[number][:2], pairs[number][:2], strict=True))


def test_devices_share_the_simulations(lesson: Lesson) -> None:
    pairs = Pairs(*lesson.train)
    seen = [number for rank in range(2) for batch in loader(pairs, 2, 0, 5, rank, 2) for number in batch[2].tolist()]
    assert sorted(seen) == list(range(N_TRAIN))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_devices_validate_every_simulation_once(lesson: Lesson, ranks: int) -> None:
    """Or the validation loss would count some twice, and another epoch might be the best."""
    pairs = Pairs(*lesson.train)
    seen = [n for rank in range(ranks) for batch in loader(pairs, 1, 0, None, rank, ranks) for n in batch[2].tolist()]
    assert sorted(seen) == list(range(N_TRAIN))


def test_a_batch_that_devices_cannot_share_is_refused(lesson: Lesson) -> None:
    with pytest.raises(MethodError, match=r"batch_size=2 cannot be shared by hardware.devices=4; take a multiple"):
        fit(lesson, Hardware(device="cpu", devices=4))


def test_answer_of_another_shape_is_refused_at_once(lesson: Lesson) -> None:
    @settings
    class Triple(Mixture):
        """A network that gives three maps where one is wanted."""

        def build(self, n_in: int, n_out: int) -> nn.Module:
            return nn.Conv2d(n_in, 3 * n_out, 1)

    with pytest.raises(
        MethodError, match=r"answers arrays of shape \(3, 32, 24\); method.examples wants \(1, 32, 24\)"
    ):
        fit(lesson, network=Triple())
    assert not [line for line in said(lesson) if line.startswith("epoch")]
