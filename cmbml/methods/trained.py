"""The contract of every method that learns from simulations; it needs no deep-learning package itself."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt
from pydantic_core import to_jsonable_python

from cmbml.methods.base import Method, MethodError
from cmbml.methods.normalisation import Moments
from cmbml.settings import settings
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.observation import Observation, ObservationSpec

Arrays = Sequence[NDArray[np.float32]]


@settings
class Examples(ABC):
    """How simulations become the arrays that a network is shown, and its answers maps.

    Attributes:
        name: where the arrays stand on the axis of arrays; methods that share it share the arrays.
    """

    name: str

    @abstractmethod
    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look, before any work, whether such observations can be turned into arrays.

        Returns:
            What `to_map` will give.

        Raises:
            MethodError, MapError: they cannot; the message says why.
        """

    def channels_shown(self, spec: ObservationSpec) -> tuple[str, ...]:
        """Return the channels that are in the features: those of the setting `channels`, if there is one; else all."""
        return tuple(getattr(self, "channels", spec.channels))

    @abstractmethod
    def shapes(self, spec: ObservationSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of the features and of the target, channels first."""

    @abstractmethod
    def features(self, observation: Observation) -> NDArray[np.float32]:
        """Return what a network is shown of an observation, `(n_channel, ...)`, in uK_CMB; linear in its maps."""

    @abstractmethod
    def target(self, truth: SkyMap) -> NDArray[np.float32]:
        """Return what it should answer, `(n_field, ...)`, in uK_CMB."""

    @abstractmethod
    def to_map(self, answer: NDArray[np.float32], spec: ObservationSpec) -> SkyMap:
        """Turn an answer, shaped as a target, into the map that `accepts` described."""

    n_symmetries: ClassVar[int] = 1
    """How many turns and reflections of the sphere `turned` knows; the first leaves all as it is."""

    def turned(self, values: NDArray[np.float32], number: int, n_field: int) -> NDArray[np.float32]:
        """Give features or targets a symmetry of the sphere, as if it had been given to the maps.

        Args:
            values: as `features` or `target` return them.
            number: which symmetry.
            n_field: fields of the observation, 1 or 3.
        """
        del number, n_field
        return np.array(values)

    @abstractmethod
    def describe(self, spec: ObservationSpec) -> dict[str, Any]:
        """Say in plain values what observations are, as far as the arrays depend on it."""


@settings
class Hardware:
    """On what a network is trained and run. It says how fast, not what comes out, but for rounding.

    Several devices that train together come closest to one: on GPUs they normalise by the whole batch. If they cannot
    share the simulations evenly, some are shown twice in an epoch; and networks that draw random numbers draw others.

    Attributes:
        device: `auto` takes CUDA, else MPS, else the CPU.
        devices: how many of them; more than one share each batch (data-parallel).
        threads: CPU threads of the network; null: all cores that the process may use.
        workers: processes that read ahead of the training; null: none on a CPU, four otherwise.
        predict_batch: simulations per batch of a prediction.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: PositiveInt = 1
    threads: PositiveInt | None = None
    workers: NonNegativeInt | None = None
    predict_batch: PositiveInt = 4

    @property
    def threads_used(self) -> int:
        """How many CPU threads a network really uses."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.threads or cores


@dataclass(frozen=True)
class State:
    """What a method has learnt: all that it takes to predict.

    Attributes:
        arrays: name -> weights.
        about: plain values: the settings that they hold for, the normalisation, and what they were trained on.
    """

    arrays: Mapping[str, NDArray[Any]]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Lesson:
    """What a method is trained with.

    Attributes:
        spec: what the observations are.
        train: features and targets of the simulations that are learnt from, memory-mapped.
        valid: the same for those that are only looked at.
        parts: for each simulation of `train`, what signal and noise are in its features, `(2, n_channel, ...)`; None
            where nobody made them.
        names: the simulations of `train`, for messages.
        moments: of the features and of the targets of `train`.
        seed: root of all randomness.
        workdir: a folder that survives a killed run, for checkpoints.
        logdir: a folder for the logs of TensorBoard and the like.
        report: takes a line for the user.
    """

    spec: ObservationSpec
    train: tuple[Arrays, Arrays]
    valid: tuple[Arrays, Arrays]
    names: Sequence[str]
    moments: tuple[Moments, Moments]
    seed: int
    workdir: Path
    logdir: Path
    report: Callable[[str], None]
    parts: Arrays | None = None


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        state: what was learnt.
        curve: column -> value per epoch: `epoch`, `step`, `learning_rate`, `train_loss`, `valid_loss`.
        summary: plain values: parameters, epochs, losses, seconds, device.
    """

    state: State
    curve: Mapping[str, Sequence[float]]
    summary: Mapping[str, Any]


@settings
class TrainedMethod(Method):
    """A method that learns from simulations before it can clean.

    Attributes:
        examples: how simulations become arrays, and answers maps.
    """

    examples: Examples

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look whether the observations can be turned into arrays."""
        return self.examples.accepts(spec)

    def channels_shown(self, spec: ObservationSpec) -> tuple[str, ...]:
        """Return the channels that the examples hold."""
        return self.examples.channels_shown(spec)

    def require_hardware(self, hardware: Hardware) -> None:
        """Look, before any work, whether the method can be trained as the hardware is set; there may be none yet.

        Raises:
            MethodError: it cannot; the message says why.
        """

    @abstractmethod
    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Learn.

        A training that was killed goes on from what it left in `lesson.workdir`, and ends with the same weights.

        Raises:
            MethodError: it cannot go on: the loss is no number, the memory is used up; the message says what to try.
        """

    def require_score(self, state: State, lesson: Lesson, hardware: Hardware) -> None:
        """Check, for methods that are validated, that a state as its file holds it scores what was validated.

        Args:
            state: read back from a file.
            lesson: what it was learnt from.
            hardware: what it was trained on.

        Raises:
            MethodError: it scores something else.
        """

    @abstractmethod
    def predict(
        self, state: State, features: Iterable[NDArray[np.float32]], hardware: Hardware
    ) -> Iterator[NDArray[np.float32]]:
        """Answer, in the order of the features, in uK_CMB.

        Args:
            state: what was learnt.
            features: one array for each simulation.
            hardware: what to run on.
        """

    @abstractmethod
    def state_bytes(self, spec: ObservationSpec) -> int:
        """Return how large a state is that is learnt from such observations."""

    @abstractmethod
    def about(self, spec: ObservationSpec) -> dict[str, Any]:
        """Return, as plain values, all that a state must agree with to be used for such observations."""

    def require_fit(self, state: State, spec: ObservationSpec) -> None:
        """Check that a state was learnt with these settings, for such observations.

        Raises:
            MethodError: it was not; the message names every difference.
        """
        mine, its = (_flat(about) for about in (plain(self.about(spec)), state.about.get("holds_for", {})))
        wrong = [
            f"{name} is {its.get(name, 'not said')}, not {mine.get(name, 'asked for')}"
            for name in sorted(mine.keys() | its.keys())
            if mine.get(name) != its.get(name)
        ]
        if wrong:
            message = f"these weights are not for {self.name} on these observations: of the weights, " + "; ".join(
                wrong
            )
            raise MethodError(message)


def describe(spec: ObservationSpec, channels: Iterable[str]) -> dict[str, Any]:
    """Say in plain values what observations are, as far as a network depends on it."""
    truth = spec.truth
    return {
        "nside": truth.nside,
        "fields": truth.fields,
        "unit": truth.unit,
        "lmax": truth.lmax,
        "pixel_window": truth.pixel_window,
        "channels": {
            name: {
                "freq_ghz": spec.channels[name].freq_ghz,
                "beam": spec.maps[name].beam,
                "fwhm_arcmin": spec.maps[name].fwhm_arcmin,
            }
            for name in channels
        },
    }


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401
    if isinstance(node, Mapping):
        return {name: value for key in node for name, value in _flat(node[key], f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): node}


def plain(entry: Any, *without: str) -> dict[str, Any]:  # noqa: ANN401
    """Return settings, or a mapping, as the plain values that JSON has."""
    values = asdict(entry) if is_dataclass(entry) else entry
    return {name: to_jsonable_python(value) for name, value in values.items() if name not in without}
