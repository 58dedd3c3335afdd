"""Noise of an instrument with other channels than Planck's nine."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from cmbml.core.fingerprint import Fingerprinter
from cmbml.core.namer import Namer
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.space import Key, Space
from cmbml.sims.noise_sources import WhiteNoise
from cmbml.sky.instrument import Channel
from cmbml.stages.assets import FREQ, NOISE_MAP, SIM, SPLIT
from cmbml.stages.maps import Maps
from cmbml.stages.sims.noise import ModelNoise, RemakeNoise

INSTRUMENT = Path(__file__).parents[2] / "cfg" / "instrument" / "litebird.yaml"
MAPS = Maps(nside=16, lmax=32, fields="IQU")


@pytest.fixture(scope="module")
def channels() -> dict[str, Channel]:
    entries = yaml.safe_load(INSTRUMENT.read_text())["channels"]
    return {name: Channel(**entry) for name, entry in entries.items()}


def test_every_channel_has_noise_of_its_own_depth(channels: dict[str, Channel], tmp_path: Path) -> None:
    stages = {
        "noise": ModelNoise(source=WhiteNoise(), channels=channels, maps=MAPS),
        "parts": RemakeNoise(channels=channels, maps=MAPS),
    }
    space = Space(({SPLIT: "test", SIM: "sim0000"},), {FREQ: tuple(channels)})
    pipeline = Pipeline(stages, space, tmp_path, 3)
    plan = pipeline.plan()
    pipeline.run(plan, Serial(threads=1))
    pixel_arcmin = np.degrees(np.sqrt(4 * np.pi / MAPS.spec.n_pix)) * 60
    written = 0
    for key in space.keys(NOISE_MAP.per):
        path = tmp_path / Namer().path("parts", NOISE_MAP, key)
        noise, channel = NOISE_MAP.handler.read(path).values, channels[key[FREQ]]
        depth = [channel.depth("I"), channel.depth("Q"), channel.depth("U")]
        assert noise.std(axis=1) * pixel_arcmin == pytest.approx(depth, rel=0.06), key
        written += path.stat().st_size
    assert len(channels) == 15
    assert next(stage.disk_bytes for stage in plan.stages if stage.stage == "parts") == pytest.approx(written, rel=0.2)


def test_how_many_channels_there_are_does_not_change_the_noise(channels: dict[str, Channel]) -> None:
    some = {name: channels[name] for name in ("40", "402")}
    prints = {Fingerprinter(RemakeNoise(channels=each, maps=MAPS), 3)(Key(), []) for each in (channels, some)}
    assert len(prints) == 1
