"""What brings arrays to size, against NumPy and the definition."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cmbml.methods.normalisation import Moments, Normalisation, Scaling, whitening
from cmbml.methods.training.module import Normalised

RNG = np.random.default_rng(2)
MIXED = RNG.normal(size=(3, 3))
VALUES = (MIXED @ RNG.normal(size=(3, 4000)) + np.array([[5.0], [0.0], [-300.0]])).reshape(3, 40, 100)
SCALE = Normalisation(kind="scale").scaling(Moments.of(VALUES[:1]))

# Networks keep an offset of 300 in single precision, to 2e-5; the weakest mixture is of unit variance.
ROUNDING = 1e-4


def applied(scaling: Scaling, values: np.ndarray) -> np.ndarray:
    """Apply a normalisation as networks see it, in double precision."""
    model = Normalised(torch.nn.Identity(), scaling, SCALE, channels_last=False).double()
    return model.bring_in(torch.from_numpy(values)[None])[0].numpy()


def scaling(kind: str, values: np.ndarray = VALUES, **more: float) -> Scaling:
    return Normalisation(kind=kind, **more).scaling(Moments.of(values))


def test_moments_are_numpys() -> None:
    found, flat = Moments.of(VALUES.astype(np.float32)), VALUES.reshape(3, -1)
    np.testing.assert_allclose(found.mean, flat.mean(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(flat, bias=True), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.median, np.median(flat, axis=1), rtol=1e-5, atol=1e-5)
    # Of a normal distribution, half of the middle 68 per cent is a standard deviation; 4000 values give 3 per cent.
    np.testing.assert_allclose(found.spread, flat.std(axis=1), rtol=0.05)
    assert found.count == 4000


def test_moments_of_parts_are_those_of_the_whole() -> None:
    parts = (VALUES[:, :3] + 40, VALUES[:, 3:20], VALUES[:, 20:])
    found, whole = Moments.of_all(map(Moments.of, parts)), Moments.of(np.concatenate(parts, axis=1))
    assert found.count == whole.count
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, whole.covariance, rtol=1e-11)
    weights = [part.shape[1] / VALUES.shape[1] for part in parts]
    medians = sum(weight * np.median(part, axis=(1, 2)) for weight, part in zip(weights, parts, strict=True))
    np.testing.assert_allclose(found.median, medians, rtol=1e-12)


def test_moments_of_large_offsets_keep_their_digits() -> None:
    """Sums of squares would lose them."""
    offset = 1e8 + VALUES
    found = Moments.of_all([Moments.of(offset[:, :7]), Moments.of(offset[:, 7:])])
    np.testing.assert_allclose(found.covariance, np.cov(VALUES.reshape(3, -1), bias=True), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["fixed", "scale", "standardise", "robust", "whiten"])
def test_plain_values_survive_json(kind: str) -> None:
    moments = Moments.of(VALUES)
    again = Moments.from_plain(json.loads(json.dumps(moments.plain())))
    assert again.count == moments.count
    assert all(getattr(again, n).tobytes() == getattr(moments, n).tobytes() for n in ("mean", "covariance", "spread"))
    first = scaling(kind, limit=5.0)
    second = Scaling.from_plain(json.loads(json.dumps(first.plain())))
    assert applied(first, VALUES).tobytes() == applied(second, VALUES).tobytes()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("fixed", VALUES / 5),
        ("scale", VALUES / VALUES.std(axis=(1, 2), keepdims=True)),
        (
            "standardise",
            (VALUES - VALUES.mean(axis=(1, 2), keepdims=True)) / VALUES.std(axis=(1, 2), keepdims=True),
        ),
    ],
)
def test_kinds_are_what_they_say(kind: str, expected: np.ndarray) -> None:
    found = applied(scaling(kind, by=5.0), VALUES)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=ROUNDING)


def test_robust_is_not_moved_by_a_bright_plane() -> None:
    bright = VALUES.copy()
    bright[:, :2] = 1e6
    quiet, loud = scaling("robust"), scaling("robust", bright)
    # A twentieth of the values is bright: the median of a normal distribution moves by 0.07 of its deviation.
    assert (np.abs(loud.offset - quiet.offset) < 0.15 * quiet.scale).all()
    assert (np.abs(loud.scale / quiet.scale - 1) < 0.2).all()
    assert (scaling("scale", bright).scale > 1e5).all()


def test_whitened_channels_have_unit_variance_and_no_correlation() -> None:
    found = applied(scaling("whiten"), VALUES).reshape(3, -1)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=ROUNDING)
    np.testing.assert_allclose(np.cov(found, bias=True), np.eye(3), atol=ROUNDING)


def test_whitening_brings_out_what_channels_differ_in() -> None:
    """The same signal in two channels, and a thousandth of it as a difference."""
    shared, own = RNG.normal(size=(2, 10000))
    values = np.stack([shared, shared + 1e-3 * own])
    found = applied(scaling("whiten", values), values)
    assert abs(np.corrcoef(found[0], own)[0, 1]) > 0.99
    assert abs(np.corrcoef(found[1], shared)[0, 1]) > 0.99


def test_whitening_does_not_hang_on_the_sign_of_eigenvectors() -> None:
    covariance = np.cov(VALUES.reshape(3, -1))
    found = whitening(covariance)
    largest = found[np.arange(3), np.abs(found).argmax(axis=1)]
    assert (largest > 0).all()
    np.testing.assert_allclose(found @ covariance @ found.T, np.eye(3), atol=1e-10)


@pytest.mark.parametrize("kind", ["fixed", "scale", "standardise", "robust", "whiten"])
@pytest.mark.parametrize(
    "values",
    [
        np.concatenate([VALUES, np.full((1, 40, 100), 7.0)]),
        np.concatenate([VALUES, VALUES[:1]]),
        np.zeros((2, 40, 100)),
        VALUES * np.array([1e6, 1.0, 1e-6])[:, None, None],
    ],
    ids=["constant", "doubled", "nothing", "of all sizes"],
)
def test_channels_that_say_nothing_do_no_harm(kind: str, values: np.ndarray) -> None:
    with np.errstate(all="raise"):
        found = applied(scaling(kind, values), values)
    assert np.isfinite(found).all()
    if kind != "fixed":
        assert np.abs(found).max() < 1000


@pytest.mark.parametrize("limit", [1.0, 5.0])
def test_limit_is_smooth_and_monotonic(limit: float) -> None:
    values = np.linspace(-1e4, 1e4, 400_001).reshape(1, 1, -1)
    found = applied(Scaling(np.zeros(1), np.ones(1), None, limit), values)[0, 0]
    slopes = np.diff(found) / np.diff(values[0, 0])
    assert (slopes > 0).all()
    # Between two steps the slope 1 / (1 + |z| - L) changes by at most a step of 0.05, at the limit.
    assert np.abs(np.diff(slopes)).max() < 0.051
    inside = np.abs(values[0, 0]) <= limit
    np.testing.assert_array_equal(found[inside], values[0, 0][inside])
    np.testing.assert_allclose(found[-1], limit + np.log(1 + 1e4 - limit), rtol=1e-12)
    np.testing.assert_allclose(found, -found[::-1], atol=1e-9)


def test_impossible_settings_are_refused() -> None:
    for wrong in ({"kind": "fixd"}, {"kind": "fixed", "by": 0.0}, {"kind": "scale", "limit": -1.0}):
        with pytest.raises(ValidationError):
            Normalisation(**wrong)
