"""The WienerNet: linear in the map and not in its holes, and near the exact answer once it has learnt."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hole_lessons import NOISE_STD, SIDE, covariance, holed, lesson_of, method_of
from learning import CPU

from cmbml.methods.base import MethodError
from cmbml.methods.cosmovae.network import CosmoVae
from cmbml.methods.wiener_net import SquaredInHoles, WienerNet

TINY = WienerNet(widths=(8, 12, 16), mask_widths=(6, 8, 12))


def features_of(seed: int, side: int = SIDE) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps and what is known of them, of three patches."""
    found = torch.from_numpy(holed(3, np.random.default_rng(seed), side)[0]).double()
    return found[:, :1] / 100, found[:, 1:]


def test_it_is_linear_in_the_map_and_not_in_the_holes() -> None:
    network = TINY.build(2, 1).double().eval()
    (first, known), (second, other) = features_of(1), features_of(2)

    def answer(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            return network(torch.cat((values, mask), dim=1))

    parts = 2.0 * answer(first, known)[0] - 3.0 * answer(second, known)[0]
    torch.testing.assert_close(answer(2.0 * first - 3.0 * second, known)[0], parts)
    torch.testing.assert_close(answer(first, known)[1], answer(second, known)[1])  # sigma is the mask's alone
    ones, both = torch.ones_like(known), known * other
    assert not torch.allclose(
        answer(ones, both)[0] - answer(ones, known)[0], answer(ones, other)[0] - answer(ones, torch.ones_like(known))[0]
    )


def test_what_stands_in_holes_does_not_count() -> None:
    network = TINY.build(2, 1).double().eval()
    values, known = features_of(1)
    with torch.inference_mode():
        clean, spoilt = (network(torch.cat((v, known), dim=1))[0] for v in (values, values + 1e3 * (1 - known)))
    torch.testing.assert_close(clean, spoilt)


def test_patches_may_have_any_size() -> None:
    network = TINY.build(2, 1).double().eval()
    for side in (20, 21, 23):
        with torch.inference_mode():
            mean, log_sigma = network(torch.ones(1, 2, side, side + 2, dtype=torch.float64))
        assert mean.shape == log_sigma.shape == (1, 1, side, side + 2)


def test_what_cannot_be_is_refused() -> None:
    for network, n_in, text in ((TINY, 3, "not 3 channels"), (WienerNet(mask_widths=(8, 8)), 2, "as many")):
        with pytest.raises(MethodError, match=text):
            network.build(n_in, 1)
    with pytest.raises(MethodError, match="works on planes"):
        TINY.require_shape(20)
    with pytest.raises(MethodError, match="CosmoVae gives no standard deviation"):
        SquaredInHoles().check(CosmoVae(shape=(20, 20)))


def exact(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation in the holes of every patch, one after the other, by dense solves, uK."""
    signal, means, sigmas = covariance(), [], []
    for values, known in features:
        seen, hole = (known.ravel() == 1), (known.ravel() == 0)
        inner = signal[np.ix_(seen, seen)] + NOISE_STD**2 * np.eye(seen.sum())
        weights = np.linalg.solve(inner, signal[np.ix_(seen, hole)]).T
        means.append(weights @ values.ravel()[seen])
        left = np.diag(signal)[hole] - np.einsum("ij,ij->i", weights, signal[np.ix_(hole, seen)])
        sigmas.append(100 * np.sqrt(left))
    return np.concatenate(means), np.concatenate(sigmas)


@pytest.mark.slow
def test_it_learns_the_exact_answer(tmp_path: Path) -> None:
    """Its error has no less than the exact one, for nothing has, and hardly more; its sigma is that of its errors."""
    lesson = lesson_of(tmp_path, n_train=1500, n_valid=64)
    network, loss = WienerNet(widths=(12, 16, 24), mask_widths=(8, 12, 16)), SquaredInHoles()
    trained = method_of(network, loss, epochs=20, learning_rate=5e-3).fit(lesson, CPU)
    features, target = holed(200, np.random.default_rng(9))
    replies = list(method_of(network, loss).predict(trained.state, features, CPU))
    hole = features[:, 1:] == 0
    value, sigma = (np.stack([getattr(reply, name) for reply in replies])[hole] for name in ("value", "sigma"))
    truth = target[hole]
    mean, limit = exact(features)
    left, least = (np.mean((found - truth) ** 2) / np.mean(truth**2) for found in (value, mean))
    assert np.sqrt(np.mean(((mean - truth) / limit) ** 2)) == pytest.approx(1, abs=0.1), "the limit is one"
    assert least < left < 1.15 * least
    assert np.sqrt(np.mean(((value - truth) / sigma) ** 2)) == pytest.approx(1, abs=0.2)
