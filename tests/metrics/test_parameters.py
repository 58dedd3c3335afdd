"""Biases of cosmological parameters, beside closed forms and a direct fit."""

import numpy as np
import pytest

from cmbml.metrics.parameters import AUTO, TOTAL, bias_grid, bias_metrics, fisher_matrix, parameter_bias
from cmbml.metrics.scores import Score, ScoreBook, ScoreError, score_columns
from cmbml.sims.derivatives import central_differences
from cmbml.tables import Stack

ELL = np.arange(30.0, 900, 30)
FIDUCIAL = {"amplitude": 2.0, "tilt": 0.3}
SIGMA = 0.02 * np.sqrt(30 / ELL)


def power_law(name: str = "", by: float = 0.0) -> dict[str, np.ndarray]:
    at = FIDUCIAL | ({name: FIDUCIAL[name] + by} if name else {})
    return {"TT": at["amplitude"] * (ELL / 300) ** at["tilt"]}


SLOPES = np.stack([of["TT"] for of in central_differences(power_law, dict.fromkeys(FIDUCIAL, 1e-3)).values()])


def test_differences_are_derivatives() -> None:
    """Central differences err by h^2 / 6 times the third derivative: here 2e-6 of it at most."""
    x = (ELL / 300) ** FIDUCIAL["tilt"]
    assert np.allclose(SLOPES[0], x, rtol=1e-9)
    assert np.allclose(SLOPES[1], FIDUCIAL["amplitude"] * np.log(ELL / 300) * x, atol=1e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_bias_along_a_derivative_is_that_parameters_alone(which: int) -> None:
    found = parameter_bias(SLOPES, 0.01 * SLOPES[which], SIGMA)
    expected = np.zeros(2)
    expected[which] = 0.01
    assert np.allclose(found.shift, expected, atol=1e-12)
    sigma = np.sqrt(np.linalg.inv(fisher_matrix(SLOPES, SIGMA)).diagonal())
    assert np.allclose(found.sigma, sigma, rtol=1e-9)
    assert np.isclose(found.total, 0.01 * np.sqrt(fisher_matrix(SLOPES, SIGMA)[which, which]))


def test_fisher_matrix_is_half_the_curvature_of_chi_square() -> None:
    """Second differences of chi-square with steps of 1e-3 err by terms of that order squared."""
    truth = power_law()["TT"]

    def chi_square(amplitude: float, tilt: float) -> float:
        model = (FIDUCIAL["amplitude"] + amplitude) * (ELL / 300) ** (FIDUCIAL["tilt"] + tilt)
        return float(np.sum(((model - truth) / SIGMA) ** 2))

    h = 1e-3
    corners = [[chi_square(a * h, t * h) for t in (-1, 0, 1)] for a in (-1, 0, 1)]
    along_a = (corners[0][1] + corners[2][1]) / h**2
    along_t = (corners[1][0] + corners[1][2]) / h**2
    mixed = (corners[2][2] - corners[2][0] - corners[0][2] + corners[0][0]) / (4 * h**2)
    expected = np.array([[along_a, mixed], [mixed, along_t]]) / 2
    assert np.allclose(fisher_matrix(SLOPES, SIGMA), expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_shift_is_that_of_a_weighted_fit() -> None:
    difference = np.random.default_rng(3).normal(0, SIGMA)
    fitted, *_ = np.linalg.lstsq((SLOPES / SIGMA).T, difference / SIGMA, rcond=None)
    assert np.allclose(parameter_bias(SLOPES, difference, SIGMA).shift, fitted, rtol=1e-9)


def test_scatter_of_unbiased_bandpowers_is_one_sigma() -> None:
    """Over 4000 draws the standard deviation of a shift is known to 1.1 %: four of these are allowed."""
    rng = np.random.default_rng(4)
    drawn = [parameter_bias(SLOPES, rng.normal(0, SIGMA), SIGMA) for _ in range(4000)]
    scatter = np.std([one.shift / one.sigma for one in drawn], axis=0)
    assert np.allclose(scatter, 1, atol=0.045)


@pytest.mark.parametrize("slopes", [SLOPES[[0, 0]], SLOPES[:, :1], np.stack([SLOPES[0], 0 * SLOPES[0]])])
def test_parameters_that_cannot_be_told_apart_are_refused(slopes: np.ndarray) -> None:
    sigma = SIGMA[: slopes.shape[1]]
    with pytest.raises(ScoreError, match="cannot tell 2 parameters apart"):
        parameter_bias(slopes, sigma, sigma)


def test_grid_has_mean_and_scatter_and_marks_what_is_negligible() -> None:
    metrics = bias_metrics(["ns"])

    def table(value: float) -> dict[str, np.ndarray]:
        scores = [Score(metrics[0], AUTO, "TT", "mask", value), Score(metrics[1], AUTO, "TT", "mask", abs(value))]
        return dict(score_columns(scores))

    stacks = {
        "good": Stack.of({"sim0000": table(0.15), "sim0001": table(-0.05)}.items()),
        "bad": Stack.of({"sim0000": table(3.0), "sim0001": table(5.0)}.items()),
    }
    heads, lines, marked = bias_grid(ScoreBook(stacks))
    assert heads == ["method", "spectrum", "field", "ns", "all parameters together"]
    assert sorted(lines) == [
        ["bad", AUTO, "TT", "4.00 ± 1.41", "4.00 ± 1.41"],
        ["good", AUTO, "TT", "0.05 ± 0.14", "0.10 ± 0.07"],
    ]
    cells = {line[0]: mark[3] for line, mark in zip(lines, marked, strict=True)}
    assert cells == {"good": True, "bad": False}
    assert metrics[1].name == TOTAL
