"""What a training computes, and what it keeps."""

import copy
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from learning import (
    CPU,
    N_TRAIN,
    NSIDE,
    TINY,
    Forgetful,
    Listing,
    Mixture,
    answers,
    fit,
    method,
    same,
    same_weights,
    spec_of,
)
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.normalisation import Normalisation
from cmbml.methods.trained import Lesson
from cmbml.methods.training.module import Trainee, mixed_seed
from cmbml.methods.training.network import Network


class Watch:
    """What a training did: batches, learning rates, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers: list[tuple[int, list[int]]] = []
        self.rates: list[float] = []
        self.steps: list[float] = []
        original, step = Trainee.training_step, torch.optim.Adam.step
        watch = self

        def training_step(trainee: Trainee, batch: Any, index: int) -> None:
            watch.numbers.append((trainee.current_epoch, batch[2].tolist()))
            watch.rates.append(trainee.trainer.optimizers[0].param_groups[0]["lr"])
            original(trainee, batch, index)

        def counted(optimiser: torch.optim.Adam, *args: Any, **more: Any) -> Any:
            watch.steps.append(optimiser.param_groups[0]["lr"])
            return step(optimiser, *args, **more)

        monkeypatch.setattr(Trainee, "training_step", training_step)
        monkeypatch.setattr(torch.optim.Adam, "step", counted)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


# What is computed


@pytest.mark.parametrize("network", [TINY, Forgetful()], ids=["unet", "dropout"])
def test_one_seed_gives_the_same_weights_bit_by_bit(lesson: Lesson, network: Network) -> None:
    first = fit(lesson, network=network)
    torch.manual_seed(99)
    assert same(first, fit(lesson, network=network))
    assert not same(first, fit(replace(lesson, seed=1), network=network))


def test_another_seed_gives_other_weights_and_another_name_does_not(lesson: Lesson) -> None:
    """So that ablations differ in what is varied alone."""
    first = fit(lesson)
    shutil.rmtree(lesson.workdir)
    renamed = replace(method(), name="another").fit(lesson, CPU)
    assert same_weights(first, renamed)
    assert not same_weights(first, fit(lesson, seed=1))


def test_the_first_samples_alone_are_learnt_from(lesson: Lesson, watch: Watch) -> None:
    fit(lesson, samples=4, epochs=2, batch_size=2)
    assert sorted(n for _, numbers in watch.numbers for n in numbers) == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(MethodError, match="samples=7: there are 6 samples to learn from"):
        fit(lesson, samples=7)


def test_it_learns(lesson: Lesson) -> None:
    """Of two channels, the dust of one is 3 times that of the other: (3 first - second) / 2 is the signal and noise."""
    curve = fit(lesson, network=Mixture(), epochs=60, learning_rate=0.1).curve
    assert curve["valid_rmse_uk"][0] > 20
    assert curve["valid_rmse_uk"][-1] == pytest.approx(np.sqrt(3**2 + 1) / 2, rel=0.1)


def test_learning_rate_falls_by_the_same_factor_after_every_batch(lesson: Lesson, watch: Watch) -> None:
    trained = fit(lesson, epochs=4, passes=2)
    n_batches = 4 * 3
    expected = [1e-2 * (1e-4 / 1e-2) ** (batch / n_batches) for batch in range(n_batches)]
    np.testing.assert_allclose(watch.rates, expected, rtol=1e-12)
    np.testing.assert_allclose(watch.steps, np.repeat(expected, 2), rtol=1e-12)
    ends = [1e-2 * 1e-2 ** (done / n_batches) for done in (3, 6, 9, 12)]
    np.testing.assert_allclose(trained.curve["learning_rate"], ends, rtol=1e-12)
    assert trained.curve["step"] == [6, 12, 18, 24]


def test_learning_rate_rises_first_where_asked(lesson: Lesson, watch: Watch) -> None:
    fit(lesson, epochs=2, warmup=3)
    expected = [min(1, (batch + 1) / 3) * 1e-2 * 1e-2 ** (batch / 6) for batch in range(6)]
    np.testing.assert_allclose(watch.rates, expected, rtol=1e-12)


@pytest.mark.parametrize("passes", [1, 3])
def test_every_batch_is_used_for_so_many_steps(lesson: Lesson, watch: Watch, passes: int) -> None:
    fit(lesson, passes=passes)
    assert len(watch.numbers) == 6
    assert len(watch.steps) == 6 * passes


def test_every_simulation_is_seen_once_an_epoch_in_an_order_of_its_own(lesson: Lesson, watch: Watch) -> None:
    fit(lesson, epochs=5, batch_size=4)
    orders = [[n for at, numbers in watch.numbers if at == epoch for n in numbers] for epoch in range(5)]
    assert all(sorted(order) == list(range(N_TRAIN)) for order in orders)
    assert len({tuple(order) for order in orders}) == 5
    assert [len(numbers) for _, numbers in watch.numbers] == [4, 2] * 5, "the last batch takes what is left"


def test_first_step_is_adams(lesson: Lesson) -> None:
    """From the start, Adam moves every weight by the learning rate, against the sign of its gradient."""
    trained = fit(lesson, epochs=1, batch_size=N_TRAIN, learning_rate=1e-3, final_learning_rate=1e-3)
    one = method()
    torch.manual_seed(mixed_seed(lesson.seed, 0))
    network = one.network.build(2, 1)
    features, target = (torch.from_numpy(np.stack(part)).double() for part in lesson.train)
    norms = one.features.scaling(lesson.moments[0]), one.target.scaling(lesson.moments[1])
    flat = (features - torch.tensor(norms[0].offset)[:, None, None]).permute(0, 2, 3, 1)
    shown = (flat @ torch.tensor(norms[0].mixing).T).permute(0, 3, 1, 2)
    assert shown.abs().max() < 5, "the limit is not reached"
    wanted = (target - norms[1].offset[0]) / norms[1].scale[0]
    network.double()
    before = {name: weights.detach().clone() for name, weights in network.named_parameters()}
    nn.L1Loss()(network(shown), wanted).backward()
    for name, weights in network.named_parameters():
        moved = torch.from_numpy(trained.state.arrays[name]).double() - before[name]
        # What rounding may turn is left out: slopes, and biases before a normalisation have no gradient to speak of.
        clear = weights.grad.abs() > 1e-4
        assert clear.any() or name.endswith("0.bias")
        torch.testing.assert_close(moved[clear], -1e-3 * weights.grad[clear].sign(), rtol=1e-2, atol=1e-6)


# What is kept


def test_rows_of_the_curve(lesson: Lesson) -> None:
    trained = fit(lesson, epochs=3)
    curve = trained.curve
    assert list(curve) == ["epoch", "step", "learning_rate", "train_loss", "valid_loss", "valid_rmse_uk"]
    assert curve["epoch"] == [0, 1, 2]
    assert all(len(column) == 3 for column in curve.values())
    lines = (lesson.logdir / "epochs.csv").read_text().splitlines()
    assert lines[0].split(",") == list(curve)
    assert [float(line.split(",")[4]) for line in lines[1:]] == curve["valid_loss"]
    assert list(lesson.logdir.glob("events.out.tfevents.*"))
    summary = trained.summary
    assert (summary["epochs"], summary["device"]) == (3, "cpu")
    assert summary["n_parameters"] == sum(p.numel() for p in TINY.build(2, 1).parameters())
    assert summary["seconds"] > 0 and summary["maps_per_second"] > 0 and 0 < summary["waiting_for_data"] < 1


def test_validation_is_of_the_weights_that_are_kept(lesson: Lesson) -> None:
    trained = fit(lesson, keep="last")
    found = np.stack(answers(method(), trained.state, lesson.valid[0]))
    error = found - np.stack(lesson.valid[1])
    assert trained.curve["valid_rmse_uk"][-1] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_best_or_last_is_kept(lesson: Lesson, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, states = [3.0, 1.0, 2.0, 1.5], []
    original = Trainee.on_train_epoch_end

    def at_the_end(trainee: Trainee) -> None:
        states.append(copy.deepcopy(trainee.model.network.state_dict()))
        trainee.trainer.callback_metrics["valid_loss"]
        original(trainee)

    def validate(trainee: Trainee, batch: Any, index: int) -> None:
        loss = torch.tensor(losses[trainee.current_epoch])
        trainee.log_dict({"valid_loss": loss, "valid_mse_uk2": loss}, batch_size=1)

    monkeypatch.setattr(Trainee, "on_train_epoch_end", at_the_end)
    monkeypatch.setattr(Trainee, "validation_step", validate)
    trained = fit(lesson, epochs=4, keep=keep)
    assert trained.curve["valid_loss"] == losses
    kept = {"best": 1, "last": 3}[keep]
    assert trained.summary["kept_epoch"] == trained.state.about["training"]["kept_epoch"] == kept
    assert trained.summary["valid_loss"] == losses[kept]
    for name, weights in states[kept].items():
        assert trained.state.arrays[name].tobytes() == weights.numpy().tobytes()


def test_training_ends_when_nothing_gets_better(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [3.0, 1.0, 2.0, 1.5, 1.25, 0.125]

    def validate(trainee: Trainee, batch: Any, index: int) -> None:
        loss = torch.tensor(losses[trainee.current_epoch])
        trainee.log_dict({"valid_loss": loss, "valid_mse_uk2": loss}, batch_size=1)

    monkeypatch.setattr(Trainee, "validation_step", validate)
    trained = fit(lesson, epochs=6, patience=2)
    assert trained.curve["valid_loss"] == losses[:4]
    # Killed after its last epoch and before its weights were written, it does not train any further.
    assert same(trained, method(epochs=6, patience=2).fit(lesson, CPU))
    assert fit(lesson, epochs=6, patience=5).curve["valid_loss"] == losses


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.9999])
def test_whole_numbers_are_not_averaged(lesson: Lesson, decay: float) -> None:
    trained = fit(lesson, network=Listing(), ema_decay=decay)
    assert np.array_equal(trained.state.arrays["places"], np.arange(4 * NSIDE)[::-1])


def test_moving_average(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """The average is worked out again from the weights after every batch."""
    seen: list[dict[str, torch.Tensor]] = []
    original = Trainee.training_step

    def step(trainee: Trainee, batch: Any, index: int) -> None:
        original(trainee, batch, index)
        seen.append(copy.deepcopy(trainee.model.network.state_dict()))

    monkeypatch.setattr(Trainee, "training_step", step)
    trained = fit(lesson, ema_decay=0.5, keep="last")
    average = seen[0]
    for after in seen[1:]:
        average = {name: 0.5 * average[name] + 0.5 * after[name] for name in after}
    for name in dict(TINY.build(2, 1).named_parameters()):
        np.testing.assert_allclose(trained.state.arrays[name], average[name].numpy(), rtol=1e-5, atol=1e-7)
    found = np.stack(answers(method(), trained.state, lesson.valid[0]))
    error = found - np.stack(lesson.valid[1])
    assert trained.curve["valid_rmse_uk"][-1] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)


# Optimisers and schedules


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "adamax", "adagrad"])
def test_every_optimiser_learns(lesson: Lesson, optimiser: str) -> None:
    trained = fit(lesson, optimiser=optimiser, epochs=4, learning_rate=0.02, weight_decay=1e-5)
    assert trained.curve["train_loss"][-1] < trained.curve["train_loss"][0]


def test_each_sample_may_be_brought_to_size_by_its_own_extremes(lesson: Lesson) -> None:
    """As CENN's authors do: the target by the extremes of a channel of the features, and so the reply is taken back."""
    one = method(epochs=1)
    minmax = replace(
        one,
        features=Normalisation(kind="minmax"),
        target=Normalisation(kind="minmax", like="353"),
        network=Mixture(),
    )
    shutil.rmtree(lesson.workdir, ignore_errors=True)
    lesson.workdir.mkdir()
    state = minmax.fit(lesson, CPU).state
    features = np.array(lesson.valid[0][0])
    (found,) = answers(minmax, state, [features])
    low, high = (getattr(features, name)(axis=(1, 2), keepdims=True) for name in ("min", "max"))
    shown = (features - low) / (high - low)
    weight, bias = state.arrays["weight"][0, :, 0, 0], state.arrays["bias"][0]
    wanted = (np.tensordot(weight, shown, 1) + bias) * (high - low)[1, 0, 0] + low[1, 0, 0]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-2)
    with pytest.raises(MethodError, match=r"method.target.like=217: of which channel is it; there are 100, 353"):
        replace(minmax, target=Normalisation(kind="minmax", like="217")).accepts(spec_of())
