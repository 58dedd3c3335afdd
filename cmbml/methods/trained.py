"""The contract of every method that learns from simulations; it needs no deep-learning package itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt
from pydantic_core import to_jsonable_python

from cmbml.cores import n_cores
from cmbml.methods.base import Method, MethodError
from cmbml.methods.normalisation import Moments
from cmbml.settings import flat, meaningful, settings
from cmbml.sky.case import Answer, Bandpowers, Case, CaseSpec, Field, ObservationSpec
from cmbml.sky.patches import PatchSpec

Arrays = Sequence[NDArray[np.float32]]

MOST_WORKERS = 16
"""Threads that read ahead, beyond which memory does not copy faster."""


@settings
class Examples(ABC):
    """How cases become the samples that a network is shown, and its replies answers.

    A case is one sample, such as a whole sky laid out as a plane, or many, such as patches of it. Those that a network
    learns from may be others than those that an answer is put together from: `choose` says which.

    Attributes:
        name: where the arrays stand on the axis of arrays; methods that share it share the arrays.
    """

    name: str

    @abstractmethod
    def accepts(self, spec: CaseSpec[Any]) -> Any:  # noqa: ANN401
        """Look, before any work, whether such cases can be turned into samples.

        Returns:
            What the value of `answer` will be: a `MapSpec` or a `PatchSpec`.

        Raises:
            MethodError, MapError: they cannot; the message says why.
        """

    def channels_shown(self, spec: CaseSpec[Any]) -> tuple[str, ...]:
        """Return what of the case is in the features: the names in `channels`, if it has that; else all."""
        return tuple(getattr(self, "channels", spec.shown))

    @abstractmethod
    def shapes(self, spec: CaseSpec[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of one sample's features and target, channels first."""

    def n_lessons(self, spec: CaseSpec[Any]) -> int:  # noqa: ARG002
        """Return how many samples are learnt from in each case."""
        return 1

    def choose(self, spec: CaseSpec[Any], rng: np.random.Generator) -> Any:  # noqa: ANN401, ARG002
        """Choose the samples of one case that are learnt from; None for those that an answer is made of.

        Args:
            spec: what the case is.
            rng: the case's own.
        """
        return None

    @abstractmethod
    def features(self, case: Case[Any], chosen: Any = None) -> NDArray[np.float32]:  # noqa: ANN401
        """Return what a network is shown of a case.

        Args:
            case: what is shown in it.
            chosen: which samples: what `choose` returned, or None for those that an answer is made of.

        Returns:
            `(n_sample, n_channel, ...)`, in the unit of what is shown; linear in it, if `linear`.
        """

    @abstractmethod
    def target(self, case: Case[Any], chosen: Any = None) -> NDArray[np.float32]:  # noqa: ANN401
        """Return what it should reply, `(n_sample, n_field, ...)`, in the unit of what is asked.

        Raises:
            MethodError: the case does not hold its true answer.
        """

    def pair(self, case: Case[Any], chosen: Any = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # noqa: ANN401
        """Return features and target of one case, where they have work in common."""
        return self.features(case, chosen), self.target(case, chosen)

    @property
    def tells_sigma(self) -> bool:
        """Whether targets scatter about replies as the answer's error does, so that this may be learnt, too."""
        return True

    linear: ClassVar[bool] = True
    """Whether features of a sum of observations are the sum of their features."""

    @abstractmethod
    def answer(
        self, replies: NDArray[np.float32], sigma: NDArray[np.float32] | None, spec: CaseSpec[Any]
    ) -> Answer[Any]:
        """Put the replies to all samples of a case together.

        Args:
            replies: `(n_sample, n_field, ...)`, shaped as `target` gives them.
            sigma: their standard deviations, of methods that tell them.
            spec: what the case is.

        Returns:
            What `accepts` described.
        """

    keeps_shown: ClassVar[bool] = False
    """Whether an answer is made of what was shown, too: of a map with holes, what is around them."""

    def completed(
        self, replies: NDArray[np.float32], sigma: NDArray[np.float32] | None, case: Case[Any]
    ) -> Answer[Any]:
        """Put the replies to all samples of a case together, with what was shown, if `keeps_shown`.

        Args:
            replies: as of `answer`.
            sigma: as of `answer`.
            case: what was shown; nothing is, where `keeps_shown` is false.
        """
        return self.answer(replies, sigma, case.spec)

    def places(self, spec: CaseSpec[Any]) -> tuple[PatchSpec, NDArray[np.float64] | None] | None:  # noqa: ARG002
        """Say what and where the patches are that an answer is made of.

        Returns:
            What they are, and their centres, `(n_sample, 3)` as of `Patches`, or None where they lie nowhere. None
            alone where samples are no flat patches.
        """
        return None

    n_symmetries: ClassVar[int] = 1
    """How many turns and reflections `turned` knows; the first leaves all as it is."""

    def turned(self, values: NDArray[np.float32], number: int, n_field: int) -> NDArray[np.float32]:
        """Give the features or the target of one sample a symmetry, as if it had been given to the sky.

        Args:
            values: a row of what `features` or `target` return.
            number: which symmetry.
            n_field: fields of the observation, 1 or 3.
        """
        del number, n_field
        return np.array(values)

    def about(self) -> dict[str, Any]:
        """Say, as plain values, with which of its settings a state must agree to be used with these examples."""
        return {"kind": type(self).__name__, **plain(self, "name")}

    @abstractmethod
    def describe(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say in plain values what the cases are, as far as the arrays depend on it."""


def known(case: Case[Field]) -> Field:
    """Return the true answer of a case.

    Raises:
        MethodError: it does not hold it.
    """
    if case.asked is None:
        message = "what a network should reply is not known: the case was read without its true answer"
        raise MethodError(message)
    return case.asked


@dataclass(frozen=True)
class Reply:
    """What a network says to one sample.

    Attributes:
        value: shaped and in the unit as the target.
        sigma: standard deviation of its error, of methods that tell it.
        bandpowers: the spectrum of its first field, and the standard deviation of that, of methods that tell it: one
            row.
        beyond: how far the sample is from those of the training, over how far 99 in 100 of these are, of methods that
            know it: above 1, hardly anything like it was learnt from.
    """

    value: NDArray[np.float32]
    sigma: NDArray[np.float32] | None = None
    bandpowers: Bandpowers | None = None
    beyond: float | None = None


@settings
class Hardware:
    """On what a network is trained and run. It says how fast, not what comes out, but for rounding.

    Several devices that train together come closest to one: on GPUs they normalise by the whole batch. If they cannot
    share the simulations evenly, some are shown twice in an epoch; and networks that draw random numbers draw others.

    Attributes:
        device: `auto` takes CUDA, else MPS, else the CPU.
        devices: how many of them; more than one share each batch (data-parallel).
        threads: CPU threads of the network; null: all cores that the process may use.
        workers: threads of each device that read ahead of the training; null: none on a CPU, otherwise its share of the
            cores, up to sixteen.
        fold: whether the outermost layers of cmbNNCS's networks are trained as convolutions at half the resolution: the
            same sums in another order; null: on CUDA with `train.compile`.
        predict_batch: samples per batch of a prediction.
        force: whether a network that is too large for a CPU is trained on one all the same.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: PositiveInt = 1
    threads: PositiveInt | None = None
    workers: NonNegativeInt | None = None
    fold: bool | None = None
    predict_batch: PositiveInt = 4
    force: bool = False

    @property
    def threads_used(self) -> int:
        """How many CPU threads a network really uses."""
        return self.threads or n_cores()

    def workers_used(self, *, on_cpu: bool) -> int:
        """Return how many threads read ahead for each device; a CPU's are busy training."""
        if self.workers is not None:
            return self.workers
        return 0 if on_cpu else min(MOST_WORKERS, max(1, n_cores() // self.devices))

    def fold_used(self, *, on_cuda: bool, compiled: bool) -> bool:
        """Say whether layers are folded; without a compiler, what is gained is lost on moving planes."""
        return on_cuda and compiled if self.fold is None else self.fold


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
        spec: what the cases are.
        train: features and targets of the samples that are learnt from, memory-mapped.
        valid: the same for those that are only looked at.
        parts: for each sample of `train`, what signal and noise are in its features, `(2, n_channel, ...)`; None where
            nobody made them.
        names: the samples of `train`, for messages.
        moments: of the features and of the targets of `train`.
        seed: root of all randomness.
        workdir: a folder that survives a killed run, for checkpoints.
        logdir: a folder for the logs of TensorBoard and the like.
        report: takes a line for the user.
    """

    spec: CaseSpec[Any]
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
        examples: how cases become samples, and replies answers.
    """

    examples: Examples

    def accepts(self, spec: CaseSpec[Any]) -> Any:  # noqa: ANN401
        """Look whether the cases can be turned into samples."""
        return self.examples.accepts(spec)

    def channels_shown(self, spec: CaseSpec[Any]) -> tuple[str, ...]:
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
    def predict(self, state: State, features: Iterable[NDArray[np.float32]], hardware: Hardware) -> Iterator[Reply]:
        """Reply, in the order of the features, in the unit of the target.

        Args:
            state: what was learnt.
            features: those of one sample after the other.
            hardware: what to run on.
        """

    @abstractmethod
    def state_bytes(self, spec: CaseSpec[Any]) -> int:
        """Return how large a state is that is learnt from such observations."""

    @abstractmethod
    def about(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Return, as plain values, all that a state must agree with to be used for such observations."""

    def require_fit(self, state: State, spec: CaseSpec[Any]) -> None:
        """Check that a state was learnt with these settings, for such observations.

        Raises:
            MethodError: it was not; the message names every difference.
        """
        mine, its = (flat(about) for about in (plain(self.about(spec)), state.about.get("holds_for", {})))
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
    truth = spec.asked
    return {
        "nside": truth.nside,
        "fields": truth.fields,
        "unit": truth.unit,
        "lmax": truth.lmax,
        "pixel_window": truth.pixel_window,
        "channels": {
            name: {
                "freq_ghz": spec.channels[name].freq_ghz,
                "beam": spec.shown[name].beam,
                "fwhm_arcmin": spec.shown[name].fwhm_arcmin,
            }
            for name in channels
        },
    }


def plain(entry: Any, *without: str) -> dict[str, Any]:  # noqa: ANN401
    """Return settings, or a mapping, as the plain values that JSON has; without those of a later release at default."""
    values = meaningful(entry) if is_dataclass(entry) and not isinstance(entry, type) else entry
    return {name: _plain(value) for name, value in values.items() if name not in without}


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping) or (is_dataclass(value) and not isinstance(value, type)):
        return plain(value)
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else to_jsonable_python(value)
