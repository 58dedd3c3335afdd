"""A training that takes a tenth of a second, and what tests of trainings share."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cmbml.methods.cmbnncs.examples import Planes
from cmbml.methods.cmbnncs.network import UNet
from cmbml.methods.normalisation import Normalisation
from cmbml.methods.trained import Hardware, Lesson, State, Trained
from cmbml.methods.training.method import NetworkMethod
from cmbml.methods.training.network import Network
from cmbml.methods.training.objective import Supervised
from cmbml.methods.training.settings import Training
from cmbml.settings import settings
from cmbml.sky.case import ObservationSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec

NSIDE, N_TRAIN, N_VALID = 8, 6, 3
CPU = Hardware(device="cpu", threads=1)
RISE = np.array([1.0, 3.0])[:, None, None]
TINY = UNet(widths=(4, 8), encoder_kernels=(4, 4), decoder_kernels=(4, 2))


@settings
class Forgetful(Network):
    """A network that draws random numbers while it learns."""

    def build(self, n_in: int, n_out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(n_in, 4, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(4, n_out, 1))

    def require_shape(self, *shape: int) -> None:
        pass


class Turned(nn.Module):
    """Rows in another order, as a list of places says, then a mixture."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(n_in, n_out, 1)
        self.register_buffer("places", torch.arange(4 * NSIDE).flip(0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.mix(features[:, :, self.places].flip(2))


@settings
class Listing(Network):
    """A network that holds whole numbers, has settings of many kinds, and looks at a value while it is made."""

    kernels: tuple[tuple[int, int], ...] = ((3, 3), (5, 5))
    table: Path = Path("table.txt")

    def build(self, n_in: int, n_out: int) -> nn.Module:
        assert torch.linspace(0, 1, 3)[1].item() == 0.5
        return Turned(n_in, n_out)

    def require_shape(self, *shape: int) -> None:
        pass


@settings
class Mixture(Network):
    """A network that mixes channels."""

    def build(self, n_in: int, n_out: int) -> nn.Module:
        return nn.Conv2d(n_in, n_out, 1)

    def require_shape(self, *shape: int) -> None:
        pass


def channel(freq_ghz: float, fwhm_arcmin: float = 60.0) -> Channel:
    return Channel(freq_ghz=freq_ghz, fwhm_arcmin=fwhm_arcmin, depth_uk_arcmin=10.0, knee_multipole=1.0, slope=1.0)


CHANNELS = {"100": channel(100.0), "353": channel(353.0, 20.0)}


def spec_of(nside: int = NSIDE, channels: Mapping[str, Channel] = CHANNELS) -> ObservationSpec:
    truth = MapSpec(nside=nside, lmax=3 * nside - 1)
    maps = {name: truth.with_(beam=c.beam_kind, fwhm_arcmin=c.fwhm_arcmin) for name, c in channels.items()}
    return ObservationSpec(maps, truth, dict(channels))


def method(network: Network = TINY, features: Normalisation | None = None, **train: Any) -> NetworkMethod:
    chosen = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-2, "final_learning_rate": 1e-4} | train
    return NetworkMethod(
        name="tiny",
        examples=Planes(name="planes", channels=("100", "353")),
        network=network,
        features=features or Normalisation(kind="whiten", limit=5.0),
        target=Normalisation(kind="standardise"),
        objective=Supervised(loss=chosen.pop("loss", "l1")),
        train=Training(**chosen),
    )


def answers(
    method: NetworkMethod, state: State, features: Iterable[np.ndarray], hardware: Hardware = CPU
) -> list[np.ndarray]:
    return [reply.value for reply in method.predict(state, features, hardware)]


def said(lesson: Lesson) -> list[str]:
    return lesson.report.__self__


def fit(lesson: Lesson, hardware: Hardware = CPU, network: Network = TINY, **train: Any) -> Trained:
    """Train from the start."""
    shutil.rmtree(lesson.workdir, ignore_errors=True)
    lesson.workdir.mkdir()
    return method(network, **train).fit(lesson, hardware)


def same(first: Trained, second: Trained) -> bool:
    """Say whether two trainings have learnt the same, bit by bit."""
    one, other = first.state, second.state
    assert one.arrays.keys() == other.arrays.keys()
    weights = all(one.arrays[name].tobytes() == other.arrays[name].tobytes() for name in one.arrays)
    return weights and one.about == other.about and first.curve == second.curve


def same_weights(first: Trained, second: Trained) -> bool:
    arrays = first.state.arrays, second.state.arrays
    return all(arrays[0][name].tobytes() == arrays[1][name].tobytes() for name in arrays[0])


class Power(BaseException):
    """What happens when there is none: nothing may catch it."""


def stops_at(word: str, line: str) -> None:
    """Stop before the checkpoint of an epoch is written."""
    if line.startswith(word):
        raise Power
