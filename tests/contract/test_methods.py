"""What holds for every method that a file in `cfg/method/` names, found unasked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from cmbml.core.app import CONFIG_FOLDER
from cmbml.core.fingerprint import canonical
from cmbml.methods.base import BlindMethod, Method, MethodError
from cmbml.methods.patches import SkyPatches
from cmbml.methods.spnet.examples import CmbFree
from cmbml.methods.trained import State, TrainedMethod
from cmbml.metrics.footing import map_window
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.harmonics import analyse, filter_components, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapError, MapSpec, SkyMap

NSIDE, LMAX = 32, 95


def composed(program: str, *overrides: str) -> dict:
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        return OmegaConf.to_container(hydra.compose(program, list(overrides)), resolve=False)


CONFIGS = {
    path.stem: composed("clean", f"method={path.stem}") for path in sorted((CONFIG_FOLDER / "method").glob("*.yaml"))
}
# Methods of other cases than observations have contracts of their own.
NODES = {
    name: config["method"]
    for name, config in CONFIGS.items()
    if config["cases"]["_target_"].endswith(".Observations")
    and not str(config["method"].get("_target_")).startswith("cmbml.methods.holes.")
}
for node in NODES.values():
    if "pixel_arcmin" in node.get("examples", {}):
        # The maps here have pixels of 110 arcmin, of which a patch would be wider than a projection bears.
        side = min(node["examples"]["n_pixels"], 128)
        node["examples"].update({"n_pixels": side, "pixel_arcmin": 64 * 45.0 / side, "per_simulation": 2})
# Maps that were cleaned elsewhere have a name on the method axis, and no method here.
METHODS = [name for name, node in NODES.items() if "_target_" in node]
TRAINED = [name for name in METHODS if issubclass(hydra.utils.get_class(NODES[name]["_target_"]), TrainedMethod)]
BLIND = [name for name in METHODS if name not in TRAINED]


@pytest.fixture(scope="module")
def channels() -> dict[str, Channel]:
    entries = composed("sims", "instrument=planck_widened")["instrument"]["channels"]
    return {name: Channel(**entry) for name, entry in entries.items()}


@pytest.fixture(scope="module")
def spec(channels: dict[str, Channel]) -> ObservationSpec:
    """What an observation of intensity is."""
    truth = MapSpec(nside=NSIDE, lmax=LMAX)
    maps = {name: truth.with_(beam=c.beam_kind, fwhm_arcmin=c.fwhm_arcmin) for name, c in channels.items()}
    return ObservationSpec(maps, truth, channels)


@pytest.fixture(params=BLIND)
def name(request: pytest.FixtureRequest, spec: ObservationSpec) -> str:
    """A method that can be run here: some stand on packages that not everybody has."""
    try:
        made(request.param).accepts(spec)
    except MethodError as error:
        if "needs the package" not in str(error):
            raise
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture(scope="module", params=["I", "IQU"])
def observation(request: pytest.FixtureRequest, channels: dict[str, Channel]) -> Observation:
    return observed(request.param, channels)


def observed(fields: Fields, channels: dict[str, Channel]) -> Observation:
    """Observe a CMB, one foreground that falls with frequency and one that rises, and noise."""
    rng, n_comp = np.random.default_rng(5), len(fields)
    cmb, falling, rising = (scale * random_alm(rng, LMAX, n_comp) for scale in (1.0, 5.0, 5.0))
    truth = MapSpec(nside=NSIDE, lmax=LMAX, fields=fields)
    specs = {n: truth.with_(beam=c.beam_kind, fwhm_arcmin=c.fwhm_arcmin) for n, c in channels.items()}
    maps = {}
    for name, channel in channels.items():
        ratio = channel.freq_ghz / 143
        alm = filter_components(cmb + falling / ratio**3 + rising * ratio**2, channel.beam(LMAX, n_comp))
        values = synthesise(alm, NSIDE) + rng.standard_normal((n_comp, truth.n_pix))
        maps[name] = SkyMap(values.astype(np.float32), specs[name])
    sky = SkyMap(synthesise(cmb, NSIDE).astype(np.float32), truth)
    return Observation(ObservationSpec(specs, truth, channels), maps, sky)


def made(name: str) -> Any:
    return hydra.utils.instantiate(NODES[name], _convert_="all")


def ran(name: str, observation: Observation, scratch: Path, threads: int = 1) -> Answer:
    scratch.mkdir(exist_ok=True)
    method = made(name)
    return method.clean(observation if method.needs_truth else replace(observation, asked=None), scratch, threads)


def test_something_was_found() -> None:
    assert {"control_truth", "control_channel", "control_zero", "ilc_pixel"} <= set(METHODS)
    assert {"cmbnncs", "cmbnncs_paper"} <= set(TRAINED)
    assert sorted(set(NODES) - set(METHODS)) == ["imported"]


def test_files_give_their_methods_different_names() -> None:
    names = [node["name"] for node in NODES.values()]
    assert sorted(set(names)) == sorted(names)
    assert names == list(NODES), "a method's default name is that of its file"


@pytest.mark.parametrize("file", METHODS)
def test_settings_are_plain(file: str) -> None:
    """Or what a method has cleaned would be cleaned again in every run."""
    method = made(file)
    assert isinstance(method, Method)
    assert canonical(method) == canonical(made(file))
    with pytest.raises(Exception, match="no_such_setting"):
        hydra.utils.instantiate(NODES[file] | {"no_such_setting": 1}, _convert_="all")


def test_method_gives_what_it_promised(name: str, observation: Observation, tmp_path: Path) -> None:
    promised = made(name).accepts(observation.spec)
    cleaned = ran(name, observation, tmp_path)
    for sky in filter(None, (cleaned.value, cleaned.sigma)):
        assert sky.spec == promised
        assert sky.values.shape == (len(promised.fields), promised.n_pix)
        assert np.isfinite(sky.values).all()
    if cleaned.sigma is not None:
        assert (cleaned.sigma.values > 0).all()


def test_promise_needs_no_data(name: str, spec: ObservationSpec) -> None:
    """The handshake comes before any work, and is the same every time."""
    assert made(name).accepts(spec) == made(name).accepts(spec)
    assert made(name).accepts(spec).unit == "uK_CMB"


def test_threads_do_not_change_a_bit(name: str, observation: Observation, tmp_path: Path) -> None:
    first, second = (ran(name, observation, tmp_path, threads) for threads in (1, 2))
    assert first.value.values.tobytes() == second.value.values.tobytes()
    assert (first.sigma is None) == (second.sigma is None)
    if first.sigma is not None and second.sigma is not None:
        assert first.sigma.values.tobytes() == second.sigma.values.tobytes()


def test_input_is_left_as_it_was(name: str, observation: Observation, tmp_path: Path) -> None:
    before = {channel: sky.values.copy() for channel, sky in observation.shown.items()}
    truth = observation.asked.values.copy()
    ran(name, observation, tmp_path)
    for channel, values in before.items():
        assert observation.shown[channel].values.tobytes() == values.tobytes()
    assert observation.asked.values.tobytes() == truth.tobytes()


def test_nothing_is_left_but_in_scratch(
    name: str, observation: Observation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scratch itself ends up empty, so that a method leaves nothing for its next call to find."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ran(name, observation, tmp_path / "scratch")
    assert not list((tmp_path / "here").iterdir())
    assert not list((tmp_path / "scratch").iterdir())


def test_parts_add_up_to_the_cleaned_map(name: str, channels: dict[str, Channel], tmp_path: Path) -> None:
    observation, method = observed("I", channels), made(name)
    rng = np.random.default_rng(8)
    parts = [
        {n: SkyMap(0.1 * rng.standard_normal(sky.values.shape), sky.spec) for n, sky in observation.shown.items()}
        for _ in range(2)
    ]
    found = method.decompose(observation, *parts, tmp_path, 1)
    whole = method.clean(observation, tmp_path, 1).value
    assert set(found) - {"chance"} == {"signal", "foregrounds", "noise"}
    total = sum(part.values.astype(np.float64) for part in found.values())
    np.testing.assert_allclose(total, whole.values, atol=1e-4 * max(1.0, float(np.abs(whole.values).max())))


def test_halves_are_cleaned_with_the_weights_of_the_whole(name: str, observation: Observation, tmp_path: Path) -> None:
    """Of halves whose mean is the whole, the mean is what the whole becomes."""
    method, rng = made(name), np.random.default_rng(9)
    observation = observation if method.needs_truth else replace(observation, asked=None)
    halves: list[dict[str, SkyMap]] = [{}, {}]
    for channel, sky in observation.shown.items():
        drawn = 50 * rng.standard_normal(sky.values.shape)
        for half, sign in zip(halves, (1, -1), strict=True):
            half[channel] = SkyMap(sky.values + sign * drawn, sky.spec)
    answer, (first, second) = method.clean_alike(observation, halves, tmp_path, 1)
    whole = method.clean(observation, tmp_path, 1)
    assert answer.value.values.tobytes() == whole.value.values.tobytes()
    assert first.spec == second.spec == whole.value.spec
    mean, noise = ((first.values.astype(np.float64) + sign * second.values) / 2 for sign in (1, -1))
    # Least squares that stop early are linear but to their accuracy, 1 % near 3 nside: of noise, where it is most.
    assert np.std(mean - whole.value.values) <= 5e-3 * np.std(noise)


@pytest.mark.parametrize("blind", BLIND)
def test_method_that_applies_weights_to_parts_says_so(blind: str) -> None:
    """For then they are applied to the CMB itself, too."""
    kind = hydra.utils.get_class(NODES[blind]["_target_"])
    assert kind.linear == (kind.decompose is not BlindMethod.decompose)
    assert kind.linear == (kind.clean_alike is not BlindMethod.clean_alike)


def test_channel_that_is_missing_is_refused_before_work(name: str, spec: ObservationSpec) -> None:
    wanted = [NODES[name].get("channel"), *NODES[name].get("channels", [])]
    for channel in filter(None, wanted):
        parts = ({n: part for n, part in whole.items() if n != channel} for whole in (spec.shown, spec.channels))
        with pytest.raises(MapError, match=f"no channel '{channel}'"):
            made(name).accepts(ObservationSpec(next(parts), spec.asked, next(parts)))


# What learns


def channel_cmb(observation: Observation, name: str) -> np.ndarray:
    asked = observation.asked
    beam = observation.spec.channels[name].beam(LMAX, len(asked.spec.fields))
    return synthesise(filter_components(analyse(asked.values.astype(float), LMAX), beam), NSIDE)


@pytest.mark.parametrize("learner", TRAINED)
def test_arrays_are_shaped_as_was_said(learner: str, observation: Observation) -> None:
    """The handshake holds for them, too; and a perfect answer becomes a map that is the target."""
    method = made(learner)
    examples, spec = method.examples, observation.spec
    shapes = examples.shapes(spec)
    features, target = examples.features(observation), examples.target(observation)
    assert (features.shape[1:], target.shape[1:]) == shapes
    assert len(features) == len(target)
    assert features.dtype == target.dtype == np.float32
    answer = examples.completed(target, None, observation).value
    assert answer.spec == method.accepts(spec) == examples.accepts(spec)
    if isinstance(examples, SkyPatches):
        # Stitching is exact to what stands in its docstring, and the CMB has the beam of a channel.
        wanted = channel_cmb(observation, examples.target_channel)
        assert np.std(answer.values - wanted) < 1e-3 * np.std(wanted)
        return
    if isinstance(examples, CmbFree) and not examples.truth:
        # Its target is the estimate: what the features tell of that is its error, and all of it would be too much.
        assert np.std(answer.values) < 5e-3 * np.std(observation.asked.values)
        return
    if examples.keeps_shown:
        # The CMB under the beam of an estimate. White power up to 3 nside - 1 is what quadrature does worst.
        n_field = len(answer.spec.fields)
        window = map_window(answer.spec, LMAX, n_field)
        alm = analyse(observation.asked.values[:n_field].astype(float), LMAX)
        wanted = synthesise(filter_components(alm, window), NSIDE)
        assert np.std(answer.values - wanted) < 5e-3 * np.std(wanted)
        return
    np.testing.assert_array_equal(examples.target(replace(observation, asked=answer)), target)
    np.testing.assert_array_equal(answer.values, observation.asked.values)


@pytest.mark.parametrize("learner", TRAINED)
def test_what_it_learns_says_what_it_is_for(learner: str, spec: ObservationSpec) -> None:
    method = made(learner)
    as_a_file_gives_it = json.loads(json.dumps(method.about(spec)))
    TrainedMethod.require_fit(method, State({}, {"holds_for": as_a_file_gives_it}), spec)
    with pytest.raises(MethodError, match=rf"these weights are not for .*nside is not said, not {NSIDE}"):
        method.require_fit(State({}, {"holds_for": {}}), spec)
    assert 1e3 < method.state_bytes(spec) < 1e9


@pytest.mark.parametrize("learner", TRAINED)
def test_what_is_learnt_does_not_hang_on_names(learner: str, spec: ObservationSpec) -> None:
    node = NODES[learner]
    renamed = node | {"name": "other", "examples": node["examples"] | {"name": "elsewhere"}}
    assert hydra.utils.instantiate(renamed, _convert_="all").about(spec) == made(learner).about(spec)


@pytest.mark.parametrize("learner", TRAINED)
def test_channel_that_a_learner_lacks_is_refused_before_work(learner: str, spec: ObservationSpec) -> None:
    for channel in made(learner).channels_shown(spec):
        parts = ({n: part for n, part in whole.items() if n != channel} for whole in (spec.shown, spec.channels))
        with pytest.raises(MapError, match=f"no channel '{channel}'"):
            made(learner).accepts(ObservationSpec(next(parts), spec.asked, next(parts)))
