"""Controls give what is known beforehand."""

from pathlib import Path

import numpy as np
import pytest

from cmbml.methods.base import MethodError, minus
from cmbml.methods.control import SingleChannel, Truth, Zero
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap

TRUTH = MapSpec(nside=2, lmax=5, fields="IQU")
CHANNELS = {
    "100": Channel(freq_ghz=100.0, fwhm_arcmin=40.0, depth_uk_arcmin=1.0),
    "143": Channel(freq_ghz=143.0, fwhm_arcmin=30.0, depth_uk_arcmin=1.0),
}
SPEC = ObservationSpec(
    {name: TRUTH.with_(beam="gaussian", fwhm_arcmin=channel.fwhm_arcmin) for name, channel in CHANNELS.items()},
    TRUTH,
    CHANNELS,
)


def random_map(spec: MapSpec, seed: int) -> SkyMap:
    return SkyMap(np.random.default_rng(seed).standard_normal((3, spec.n_pix)).astype(np.float32), spec)


@pytest.fixture
def observation() -> Observation:
    maps = {name: random_map(spec, i) for i, (name, spec) in enumerate(SPEC.shown.items())}
    return Observation(SPEC, maps, random_map(TRUTH, 9))


def test_truth_is_the_truth(observation: Observation, tmp_path: Path) -> None:
    method = Truth(name="truth")
    assert method.accepts(SPEC) == TRUTH
    assert method.clean(observation, tmp_path, 1) == Answer(observation.asked)
    assert method.needs_truth


def test_truth_that_was_not_shown(observation: Observation, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="comes without its truth"):
        Truth(name="truth").clean(Observation(SPEC, observation.shown), tmp_path, 1)


def test_single_channel_is_that_channel(observation: Observation, tmp_path: Path) -> None:
    method = SingleChannel(name="one", channel="100")
    cleaned = method.clean(observation, tmp_path, 1)
    assert cleaned.value is observation.shown["100"]
    assert method.accepts(SPEC).fwhm_arcmin == 40
    assert not method.needs_truth


def test_single_channel_that_is_not_there() -> None:
    with pytest.raises(MapError, match="no channel '217'; it has 100, 143"):
        SingleChannel(name="one", channel="217").accepts(SPEC)


def test_zero_is_zero(observation: Observation, tmp_path: Path) -> None:
    cleaned = Zero(name="nothing").clean(observation, tmp_path, 1)
    assert cleaned.value.spec == TRUTH
    assert not cleaned.value.values.any()
    assert cleaned.sigma is None


def test_parts_of_a_control_by_paired_runs(observation: Observation, tmp_path: Path) -> None:
    """A single channel is its own decomposition; the truth knows of no foregrounds and no noise."""
    foregrounds = {name: random_map(spec, i + 20) for i, (name, spec) in enumerate(SPEC.shown.items())}
    noise = {name: random_map(spec, i + 40) for i, (name, spec) in enumerate(SPEC.shown.items())}
    parts = SingleChannel(name="one", channel="143").decompose(observation, foregrounds, noise, tmp_path, 1)
    signal = minus(minus(observation, noise), foregrounds).shown["143"].values
    np.testing.assert_array_equal(parts["signal"].values, signal)
    np.testing.assert_allclose(parts["foregrounds"].values, foregrounds["143"].values, atol=1e-6)
    np.testing.assert_allclose(parts["noise"].values, noise["143"].values, atol=1e-6)
    parts = Truth(name="truth").decompose(observation, foregrounds, noise, tmp_path, 1)
    np.testing.assert_array_equal(parts["signal"].values, observation.asked.values)
    assert not parts["foregrounds"].values.any()
    assert not parts["noise"].values.any()
