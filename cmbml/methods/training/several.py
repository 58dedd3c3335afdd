"""Networks that are asked several times: how far their replies lie apart says how sure they are.

`DropoutPasses` asks one network many times with its dropout on, which draws from an approximate posterior of its
weights (Gal & Ghahramani 2016); `DeepEnsemble` asks networks that were trained from different first weights
(Lakshminarayanan et al. 2017). The value is the mean of the replies; their scatter is what the network does not know.
What no network could know is not in it: networks that tell their own variance (`gaussian_nll`) add the mean of that
(Kendall & Gal 2017, eq. 9).
"""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from cmbml.methods.base import MethodError
from cmbml.methods.trained import Hardware, Lesson, Reply, State, Trained, TrainedMethod, plain
from cmbml.methods.training.cost import gflop, seconds_on_cpu
from cmbml.methods.training.devices import chosen_device, threads_of
from cmbml.methods.training.familiar import beyond_training
from cmbml.methods.training.faults import out_of_memory
from cmbml.methods.training.method import NetworkMethod
from cmbml.methods.training.module import Normalised, mixed_seed
from cmbml.methods.training.objective import Objective, pixel_arcmin_of
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.case import Bandpowers, CaseSpec
from cmbml.sky.flat import flat_spectra, ring_edges

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Passes that are run as one batch. It decides which random numbers a pass draws: not a knob."""
SLOW_SECONDS = 1.0
Several = Annotated[int, Field(ge=2)]


@settings
class Repeated(TrainedMethod):
    """A network that is asked several times.

    Attributes:
        method: what is asked. Of its own, this has the same name and examples.
        ring_width: of the rings of l in which spectra of flat patches are told, in fundamentals of the patch.
    """

    method: NetworkMethod
    ring_width: PositiveFloat = 2.0

    def accepts(self, spec: CaseSpec[Any]) -> Any:  # noqa: ANN401
        """Look whether the network does, and whether rings have modes."""
        promised = self.method.accepts(spec)
        self._l_edges(self.examples.describe(spec), self.examples.shapes(spec)[1][1:])
        return promised

    def _l_edges(
        self,
        observations: Mapping[str, Any],
        shape: tuple[int, ...],
    ) -> tuple[NDArray[np.float64], tuple[float, float]] | None:
        """Return the edges of the rings, and the sides of a pixel, rad; None where samples are no flat patches."""
        if "pixel_arcmin" not in observations:
            return None
        rows, columns = np.radians(np.array(pixel_arcmin_of(observations, self.name)) / 60).tolist()
        return ring_edges((shape[0], shape[1]), (rows, columns), self.ring_width), (rows, columns)

    def require_hardware(self, hardware: Hardware) -> None:
        """Look what the network needs."""
        self.method.require_hardware(hardware)

    def _reply(self, values: Tensor, sigmas: Tensor | None, observations: Any) -> Reply:  # noqa: ANN401
        """Put the replies to one sample together.

        Args:
            values: `(n, n_field, ...)`.
            sigmas: the same, if the network tells them.
            observations: what the sample is.
        """
        variance = values.double().var(dim=0)
        if sigmas is not None:
            variance = variance + sigmas.double().square().mean(dim=0)
        images, told = values.double().cpu().numpy(), None
        if rings := self._l_edges(observations, images.shape[2:]):
            spectra = flat_spectra(images[:, 0], *rings).d_ell
            told = Bandpowers(rings[0], spectra.mean(axis=0)[None], spectra.std(axis=0, ddof=1)[None])
        value, sigma = (of.cpu().numpy().astype(np.float32) for of in (values.double().mean(dim=0), variance.sqrt()))
        return Reply(value, sigma, told)

    @abstractmethod
    def predict(self, state: State, features: Iterable[NDArray[np.float32]], hardware: Hardware) -> Iterator[Reply]:
        """Ask several times."""


@final
@settings
class DropoutPasses(Repeated):
    """One network, asked with its dropout on. It has the weights of the network, so that neither trains the other anew.

    What is drawn depends on the seed of the training and on the number of the pass alone: a pass asks one and the same
    network about all samples.

    Attributes:
        passes: how many.
    """

    passes: Several = 40

    def accepts(self, spec: CaseSpec[Any]) -> Any:  # noqa: ANN401
        """Look whether the network has any dropout, too.

        Raises:
            MethodError: it has none, so that all passes would be the same.
        """
        promised = super().accepts(spec)
        if not _dropout(self.method.outline(*(shape[0] for shape in self.examples.shapes(spec)))):
            message = (
                f"{self.name}: the network has no dropout, or none at a rate above 0, so that all passes would give "
                "the same; take uncertainty=ensemble, uncertainty=gaussian_nll or uncertainty=none"
            )
            raise MethodError(message)
        return promised

    def about(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say what the network is."""
        return self.method.about(spec)

    def state_bytes(self, spec: CaseSpec[Any]) -> int:
        """The network's."""
        return self.method.state_bytes(spec)

    def require_fit(self, state: State, spec: CaseSpec[Any]) -> None:
        """Check the weights of the network."""
        self.method.require_fit(state, spec)

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Train the network."""
        return self.method.fit(lesson, hardware)

    def require_score(self, state: State, lesson: Lesson, hardware: Hardware) -> None:
        """Validate the network."""
        self.method.require_score(state, lesson, hardware)

    def predict(self, state: State, features: Iterable[NDArray[np.float32]], hardware: Hardware) -> Iterator[Reply]:
        """Ask the network `passes` times."""
        device = chosen_device(hardware)
        model = self.method.rebuilt(state).to(device)
        for layer in _dropout(model):
            layer.train()
        seed, objective = int(state.about["training"].get("root_seed", 0)), self.method.objective
        observations = state.about["holds_for"]["observations"]
        for number, sample in enumerate(features):
            if not number and device == "cpu":
                self._say_what_is_slow(model.network, sample.shape, hardware)
            memory = out_of_memory("hardware.predict_batch", 1)
            with threads_of(hardware), torch.inference_mode(), torch.random.fork_rng(), memory:
                found = [
                    _pass(model, objective, sample, device, size, mixed_seed(seed, first))
                    for first, size in _shares(self.passes)
                ]
                values = torch.cat([value for value, _ in found])
                sigmas = [sigma for _, sigma in found if sigma is not None]
                reply = self._reply(values, torch.cat(sigmas) if sigmas else None, observations)
                (away,) = beyond_training(state.about, model, torch.from_numpy(np.array(sample)[np.newaxis]).to(device))
            yield replace(reply, beyond=away)

    def _say_what_is_slow(self, network: nn.Module, shape: tuple[int, ...], hardware: Hardware) -> None:
        work = gflop(network, shape)
        seconds = seconds_on_cpu(self.passes * work, hardware.threads_used)
        if seconds > SLOW_SECONDS:
            log.warning(
                "%s: %d passes of %.3g GFLOP take about %.0f s a sample on a CPU; dropout.passes=30 or a "
                "GPU are faster",
                self.name,
                self.passes,
                work,
                seconds,
            )


def _dropout(model: nn.Module) -> list[nn.Module]:
    """Return the layers that drop anything."""
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
    return [layer for layer in model.modules() if isinstance(layer, kinds) and layer.p > 0]


def _shares(passes: int) -> Iterator[tuple[int, int]]:
    """Give the number of the first pass of each batch, and how many it has."""
    return ((first, min(AT_ONCE, passes - first)) for first in range(0, passes, AT_ONCE))


def _pass(
    model: Normalised, objective: Objective, sample: NDArray[np.float32], device: str, size: int, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Ask a network `size` times about one sample, with random numbers of a seed."""
    torch.manual_seed(seed)
    seen = torch.from_numpy(np.array(sample)).to(device).expand(size, *sample.shape)
    return objective.reply(model, seen)


@final
@settings
class DeepEnsemble(Repeated):
    """Several networks, trained one after the other with seeds of their own on the same samples in other orders.

    Attributes:
        members: how many.
    """

    members: Several = 5

    def about(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say what the networks are, and how many."""
        return self.method.about(spec) | {"members": self.members}

    def state_bytes(self, spec: CaseSpec[Any]) -> int:
        """That of one network, for each."""
        return self.members * self.method.state_bytes(spec)

    def _member(self, number: int) -> NetworkMethod:
        train = self.method.train
        return replace(self.method, train=replace(train, seed=train.seed + number))

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Train all members; one that was finished before a training was killed is read back from its checkpoint."""
        found: list[Trained] = []
        for number in range(self.members):
            lesson.report(f"{self.name}: member {number + 1} of {self.members}")
            found.append(self._member(number).fit(self._lesson(lesson, number), hardware))
        first = found[0]
        arrays = {
            _name(number, name): array for number, one in enumerate(found) for name, array in one.state.arrays.items()
        }
        about = dict(first.state.about) | {
            "method": self.name,
            "settings": plain(self, "name"),
            "holds_for": self.about(lesson.spec),
            "members": [one.state.about["training"] for one in found],
        }
        seconds = sum(float(one.summary["seconds"]) for one in found)
        n_parameters = sum(int(one.summary["n_parameters"]) for one in found)
        summary = dict(first.summary) | {"seconds": round(seconds, 2), "n_parameters": n_parameters}
        return Trained(State(arrays, about), first.curve, summary | {"members": self.members})

    def _lesson(self, lesson: Lesson, number: int) -> Lesson:
        workdir, logdir = (folder / f"member{number}" for folder in (lesson.workdir, lesson.logdir))
        for folder in (workdir, logdir):
            folder.mkdir(parents=True, exist_ok=True)
        return replace(lesson, workdir=workdir, logdir=logdir)

    def _states(self, state: State) -> list[State]:
        """Return the state of each member.

        Raises:
            MethodError: there are not as many.
        """
        told = state.about.get("members", [])
        if len(told) != self.members:
            message = f"these weights are of {len(told)} members, and {self.name} has {self.members}"
            raise MethodError(message)
        return [
            State(
                {
                    name.removeprefix(_name(number, "")): array
                    for name, array in state.arrays.items()
                    if name.startswith(_name(number, ""))
                },
                dict(state.about) | {"training": training, "holds_for": _without(state.about["holds_for"], "members")},
            )
            for number, training in enumerate(told)
        ]

    def require_fit(self, state: State, spec: CaseSpec[Any]) -> None:
        """Check that a state was learnt with these settings, and every member's weights."""
        super().require_fit(state, spec)
        for one in self._states(state):
            self.method.require_fit(one, spec)

    def require_score(self, state: State, lesson: Lesson, hardware: Hardware) -> None:
        """Validate every member once more."""
        for number, one in enumerate(self._states(state)):
            self._member(number).require_score(one, lesson, hardware)

    def predict(self, state: State, features: Iterable[NDArray[np.float32]], hardware: Hardware) -> Iterator[Reply]:
        """Ask every member."""
        device = chosen_device(hardware)
        models = [self.method.rebuilt(one).to(device) for one in self._states(state)]
        observations, stream = state.about["holds_for"]["observations"], iter(features)
        while batch := list(islice(stream, hardware.predict_batch)):
            with threads_of(hardware), torch.inference_mode(), out_of_memory("hardware.predict_batch", len(batch)):
                seen = torch.from_numpy(np.stack(batch)).to(device)
                found = [self.method.objective.reply(model, seen) for model in models]
                values = torch.stack([value for value, _ in found], dim=1)
                told = [sigma for _, sigma in found if sigma is not None]
                sigmas = torch.stack(told, dim=1) if told else None
                away = beyond_training(state.about, models[0], seen)
                replies = [
                    replace(self._reply(values[i], None if sigmas is None else sigmas[i], observations), beyond=away[i])
                    for i in range(len(batch))
                ]
            yield from replies


def _name(member: int, name: str) -> str:
    return f"member{member}.{name}"


def _without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}
