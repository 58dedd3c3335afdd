"""Schedules and optimisers are those that the settings name."""

from typing import Any

import numpy as np
import pytest
import torch
from learning import fit

from cmbml.methods.trained import Lesson
from cmbml.methods.training.settings import Training


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"warmup": 6}, "method.train.warmup=6 is not over in the 6 batches of this training"),
        ({"final_learning_rate": 0.1}, "final_learning_rate=0.1 is above learning_rate=0.01"),
    ],
)
def test_learning_rate_that_cannot_be_is_refused(lesson: Lesson, train: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(lesson, **train)


def test_adagrad_is_that_of_keras() -> None:
    """theta -= rate g / sqrt(0.1 + sum of g^2), after Duchi et al. (2011) with Keras' start."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    training = Training(epochs=1, batch_size=1, optimiser="adagrad", learning_rate=0.05, final_learning_rate=0.05)
    optimiser, wanted, squares = training.optimiser_of([weight]), 1.0, 0.1
    for gradient in (0.5, -2.0, 0.1):
        weight.grad = torch.tensor([gradient])
        optimiser.step()
        squares += gradient**2
        wanted -= 0.05 * gradient / np.sqrt(squares)
        assert weight.item() == pytest.approx(wanted, rel=1e-5)


def test_schedules() -> None:
    def factors(schedule: str, **more: Any) -> list[float]:
        training = Training(
            epochs=1, batch_size=1, learning_rate=1.0, final_learning_rate=0.01, schedule=schedule, **more
        )
        return [training.factor(batch, 100) for batch in (0, 49, 50, 99)]

    assert factors("constant") == [1.0] * 4
    assert factors("steps", n_steps=2) == [1.0, 1.0, pytest.approx(0.01), pytest.approx(0.01)]
    assert factors("exponential")[2] == pytest.approx(0.1)
    assert factors("cosine")[2] == pytest.approx((1 + 0.01) / 2)
    assert factors("cosine")[3] == pytest.approx(0.01, abs=1e-3)
