"""A method whose work is done by a network."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.normalisation import Normalisation, Scaling
from cmbml.methods.trained import Hardware, Lesson, Reply, State, Trained, TrainedMethod, plain
from cmbml.methods.training.callbacks import BEST, COLUMNS, LAST, Clock, Curve, Keeper, MovingAverage, Patience
from cmbml.methods.training.checkpoint import WholeCheckpoints, read_checkpoint
from cmbml.methods.training.cost import TRAINING, gflop, seconds_on_cpu
from cmbml.methods.training.data import Mixtures, Pairs, Turned
from cmbml.methods.training.devices import chosen_device, quiet, threads_of
from cmbml.methods.training.familiar import MOST_SAMPLES, Familiar, beyond_training, traits
from cmbml.methods.training.faults import interruptible, out_of_memory, relayed, told_by_processes
from cmbml.methods.training.module import Normalised, Trainee, mixed_seed
from cmbml.methods.training.network import Network
from cmbml.methods.training.objective import Objective, Pointwise, Supervised
from cmbml.methods.training.score import require_agreement, validation_loss
from cmbml.methods.training.settings import Phase, Training
from cmbml.settings import settings
from cmbml.sky.case import CaseSpec

SLOW_HOURS = 1.0


@settings
class NetworkMethod(TrainedMethod):
    """Show examples to a network, and take its replies for the answer.

    Attributes:
        network: its shape.
        features: how what it is shown is brought to size.
        target: how what it should answer is.
        objective: what it is trained for.
        train: how it is trained.
    """

    network: Network
    features: Normalisation
    target: Normalisation
    objective: Objective = Supervised()
    train: Training

    def accepts(self, spec: CaseSpec[Any]) -> Any:  # noqa: ANN401
        """Look whether the examples fit the network, too."""
        if self.target.kind == "whiten" or self.target.limit is not None:
            message = "method.target: kind=whiten and limit= are for features alone, as answers must be brought back"
            raise MethodError(message)
        if self.objective.learns_sigma and not self.examples.tells_sigma:
            message = (
                "method.objective.loss=gaussian_nll would tell how the targets scatter, and with these method.examples "
                "that is not the error of the answer; take l2"
            )
            raise MethodError(message)
        promised = self.examples.accepts(spec)
        self.objective.on(self.examples.describe(spec))
        self._like(spec)
        self.network.require_shape(*self.examples.shapes(spec)[0][1:])
        self.objective.check(self.network)
        return promised

    def about(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say what the network is, and what it is shown."""
        return {
            "network": {"kind": type(self.network).__name__, **plain(self.network)},
            "examples": self.examples.about(),
            "observations": self.examples.describe(spec),
        }

    def state_bytes(self, spec: CaseSpec[Any]) -> int:
        """Count the weights of the network, without making it."""
        weights = self.outline(*(shape[0] for shape in self.examples.shapes(spec))).state_dict().values()
        return sum(entry.numel() * entry.element_size() for entry in weights)

    def require_fit(self, state: State, spec: CaseSpec[Any]) -> None:
        """Check that a state was learnt with these settings, for such observations, and is whole."""
        super().require_fit(state, spec)
        require_weights(self.outline(*state.about["channels"]), state)

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Train the network with Lightning."""
        device = chosen_device(hardware, hardware.devices)
        self.require_hardware(replace(hardware, device=device))
        lesson = self._shortened(lesson)
        round_of_all = -(-len(lesson.names) // self.train.batch_size)
        n_batches = sum(phase.epochs * (phase.steps or round_of_all) for phase in self.train.phases()[:1])
        if self.train.warmup >= n_batches:
            message = f"method.train.warmup={self.train.warmup} is not over in the {n_batches} batches of this training"
            raise MethodError(message)
        like = self._like(lesson.spec)
        norms = (self.features.scaling(lesson.moments[0]), self.target.scaling(lesson.moments[1], like))
        if self.objective.population and len(lesson.names) < self.train.batch_size:
            message = (
                f"there are {len(lesson.names)} samples to learn from, fewer than method.train.batch_size="
                f"{self.train.batch_size}, and this method learns from whole batches; take more samples, or smaller "
                "batches"
            )
            raise MethodError(message)
        with quiet(), threads_of(hardware):
            torch.manual_seed(mixed_seed(lesson.seed, self.train.seed))
            network = self.objective.build(self.network, *(len(norm.scale) for norm in norms))
            n_parameters = sum(weights.numel() for weights in network.parameters())
            lesson.report(
                f"training {self.name}: {n_parameters:,} parameters, {len(lesson.names)} samples, on "
                f"{hardware.devices} x {device}, {hardware.threads_used} threads"
            )
            model = Normalised(network, *norms, self.train.channels_last)
            shown = (torch.from_numpy(np.array(target)[np.newaxis]) for target in lesson.train[1])
            objective = self.objective.on(self.examples.describe(lesson.spec))
            objective.prepare(network, (model.normalise_target(target, target)[0] for target in shown))
            ends: list[_Reached] = []
            for phase in self.train.phases():
                folders = (lesson.workdir / phase.folder, lesson.logdir / phase.folder)
                own = replace(lesson, workdir=folders[0], logdir=folders[1])
                self._train(model, own, hardware, device, phase, ends[-1].best if ends else None)
                ends.append(_Reached.of(own.workdir, sum(len(end.rows) for end in ends)))
        # What a later phase starts from may be better than all that comes of it.
        best = min(ends, key=lambda end: end.row(end.best)["valid_loss"])
        chosen, kept = (ends[-1], ends[-1].last) if self.train.keep == "last" else (best, best.best)
        rows = [row for end in ends for row in end.rows]
        columns = {name: [values[i] for values in rows] for i, name in enumerate(COLUMNS)}
        told_of = chosen.row(kept)
        found = {"n_parameters": n_parameters, "epochs": len(rows), "kept_epoch": int(told_of["epoch"])}
        measured = {name: told_of[name] for name in COLUMNS[3:]}
        about = {
            "method": self.name,
            "settings": plain(self, "name"),
            "holds_for": self.about(lesson.spec),
            "channels": [len(norm.scale) for norm in norms],
            "features": norms[0].plain(),
            "target": norms[1].plain(),
            "familiar": self._familiar(model, lesson),
            "training": plain(self.train) | {"samples": len(lesson.names), "root_seed": lesson.seed} | found | measured,
        }
        arrays = {
            name.removeprefix("model.network."): weights.numpy()
            for name, weights in kept["state_dict"].items()
            if name.startswith("model.network.")
        }
        told = [end.last["callbacks"][Clock.__qualname__]["told"] for end in ends]
        told[-1]["seconds"] = round(sum(entry["seconds"] for entry in told), 2)
        return Trained(State(arrays, about), columns, found | measured | {"device": device} | told[-1])

    def _shortened(self, lesson: Lesson) -> Lesson:
        """Leave out the samples that are not to be learnt from.

        Raises:
            MethodError: there are fewer than are to be.
        """
        number = self.train.samples
        if number is None:
            return lesson
        if number > len(lesson.names):
            message = f"method.train.samples={number}: there are {len(lesson.names)} samples to learn from"
            raise MethodError(message)
        features, target = (values[:number] for values in lesson.train)
        parts = None if lesson.parts is None else lesson.parts[:number]
        return replace(lesson, train=(features, target), names=lesson.names[:number], parts=parts)

    def _familiar(self, model: Normalised, lesson: Lesson) -> dict[str, Any] | None:
        """Say what training and validation samples are like; None where what is shown is not what answers hang on."""
        if not isinstance(self.objective, Pointwise):
            return None
        rows = []
        for features in (lesson.train[0], lesson.valid[0]):
            chosen = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST_SAMPLES)).round().astype(int))
            shown = (torch.from_numpy(np.array(features[number])[np.newaxis]) for number in chosen)
            rows.append(np.stack([traits(model.bring_in(each)[0].numpy()) for each in shown]))
        return Familiar.of(*rows).plain()

    def _say_what_is_slow(self, lesson: Lesson, hardware: Hardware) -> None:
        """Say, before a training starts on a CPU, if it will take longer than an hour."""
        shapes = self.examples.shapes(lesson.spec)
        try:
            one = gflop(self.outline(*(shape[0] for shape in shapes)).eval(), shapes[0], self.objective.ask)
        except NotImplementedError:
            # A network whose way depends on what it is shown cannot be counted without being shown anything.
            return
        work = TRAINING * one
        sizes = [(phase.epochs, phase.steps) for phase in self.train.phases()]
        number = sum(n * (steps * self.train.batch_size if steps else len(lesson.names)) for n, steps in sizes)
        hours = seconds_on_cpu(work * number, hardware.threads_used) / 3600
        if hours > SLOW_HOURS:
            half = "" if self.train.precision == "bf16-mixed" else "method.train.precision=bf16-mixed if it has AMX, "
            lesson.report(
                f"{self.name}: a sample takes {work:.3g} GFLOP in training, and {number:,} of them about {hours:.0f} "
                f"hours on a CPU in single precision; {half}a GPU, smaller patches, a narrower network or fewer epochs "
                "are faster"
            )

    def _like(self, spec: CaseSpec[Any]) -> int | None:
        """Return which channel of the features the target is brought to size like.

        Raises:
            MethodError: there is no such channel, or the features are not brought to size that way.
        """
        if self.target.kind != "minmax":
            return None
        names = self.examples.channels_shown(spec)
        if self.target.like not in names:
            message = f"method.target.like={self.target.like}: of which channel is it; there are {', '.join(names)}"
            raise MethodError(message)
        return names.index(self.target.like)

    def files(self) -> tuple[Path, ...]:
        """Return the files that the objective names."""
        return self.objective.files()

    def require_hardware(self, hardware: Hardware) -> None:
        """Look whether devices can share batches, in that precision, and whether the network is too large for a CPU."""
        on_cpu = hardware.device == "cpu" or (hardware.device == "auto" and chosen_device(hardware) == "cpu")
        if on_cpu and not hardware.force and (why := self.network.beyond_cpu()):
            message = (
                f"{why}; or name the device of the machine that trains (hardware.device=cuda); hardware.force=true "
                "trains it on a CPU all the same"
            )
            raise MethodError(message)
        if hardware.device == "cpu" and self.train.precision == "16-mixed":
            message = "method.train.precision=16-mixed needs a GPU; take bf16-mixed or 32-true"
            raise MethodError(message)
        if self.train.turn and self.examples.n_symmetries == 1:
            message = f"{type(self.examples).__name__} know no symmetries of the sphere; take method.train.turn=false"
            raise MethodError(message)
        if self.objective.one_device and hardware.devices > 1:
            message = f"{self.name} cannot be trained on several devices at once; take hardware.devices=1"
            raise MethodError(message)
        if self.train.batch_size % hardware.devices:
            message = (
                f"method.train.batch_size={self.train.batch_size} cannot be shared by hardware.devices="
                f"{hardware.devices}; take a multiple of it"
            )
            raise MethodError(message)

    def outline(self, n_in: int, n_out: int) -> nn.Module:
        """Make a network whose weights take no memory, if that is possible: some look at values while they are made."""
        try:
            with torch.device("meta"):
                return self.objective.build(self.network, n_in, n_out)
        except (RuntimeError, NotImplementedError):
            return self.objective.build(self.network, n_in, n_out)

    def _train(
        self,
        model: Normalised,
        lesson: Lesson,
        hardware: Hardware,
        device: str,
        phase: Phase,
        start: Mapping[str, Any] | None,
    ) -> None:
        train, last = self.train, lesson.workdir / LAST
        for folder in (lesson.workdir, lesson.logdir):
            folder.mkdir(parents=True, exist_ok=True)
        if last.exists():
            lesson.report(f"going on after epoch {read_checkpoint(last)['epoch'] + 1}, from {last}")
        elif start is not None:
            weights = {name.removeprefix("model."): value for name, value in start["state_dict"].items()}
            model.load_state_dict({name: value for name, value in weights.items() if name.startswith("network.")})
            lesson.report(f"going on from the best epoch for {phase.epochs} epochs of {phase.steps} steps")
        apart = hardware.devices > 1
        # Dask's workers are daemons, so that none outlives its job.
        if apart and current_process().daemon:
            message = "hardware.devices: a worker of this runner may start no processes; take runner=serial"
            raise MethodError(message)
        workers = hardware.workers_used(on_cpu=device == "cpu")
        threads = max(1, hardware.threads_used // hardware.devices)
        seed = mixed_seed(lesson.seed, train.seed, *(() if phase.first else (1,)))
        pairs = (self._training_pairs(lesson, seed), Pairs(*lesson.valid))
        objective = self.objective.on(self.examples.describe(lesson.spec))
        memories = None if start is None else start["optimizer_states"]
        names = list(lesson.names)
        folded = hardware.fold_used(on_cuda=device == "cuda", compiled=train.compile)
        trainee = Trainee(model, objective, train, pairs, names, seed, workers, threads, phase, memories, folded=folded)
        with (
            out_of_memory("method.train.batch_size", train.batch_size, hardware.devices),
            told_by_processes(),
            interruptible(),
            relayed(lesson.report) if apart else nullcontext(lesson.report) as report,
        ):
            if device == "cpu" and phase.first:
                self._say_what_is_slow(lesson, hardware)
            writer = WholeCheckpoints()
            trainer = Trainer(
                accelerator="gpu" if device == "cuda" else device,
                devices=hardware.devices,
                # Lightning's other way would run the whole program once for each device.
                strategy="ddp_spawn" if apart else "auto",
                # Or each would normalise by its share of the batch; on CPUs torch has no such layer.
                sync_batchnorm=apart and device == "cuda",
                precision=train.precision,
                max_epochs=phase.epochs,
                callbacks=self._callbacks(lesson, report, phase, writer),
                plugins=[writer, LightningEnvironment()],
                # An interrupt may keep its thread from hearing that it is to end, until it flushes the next time.
                logger=TensorBoardLogger(lesson.logdir, "", "", flush_secs=5),
                default_root_dir=lesson.workdir,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                log_every_n_steps=1,
                enable_model_summary=False,
                enable_progress_bar=os.isatty(2),
            )
            trainer.fit(trainee, ckpt_path=last if last.exists() else None, weights_only=True)

    def _training_pairs(self, lesson: Lesson, seed: int) -> Pairs:
        if not (self.train.mix or self.train.turn):
            return Pairs(*lesson.train)
        turn = partial(self.examples.turned, n_field=self.examples.shapes(lesson.spec)[1][0])
        if not self.train.mix:
            return Turned(*lesson.train, turn, self.examples.n_symmetries, seed)
        if lesson.parts is None:
            message = "method.train.mix=true needs what signal and noise are in the arrays; take stages=learn_mixed"
            raise MethodError(message)
        return Mixtures(*lesson.train, lesson.parts, turn, self.examples.n_symmetries, seed)

    def _callbacks(
        self, lesson: Lesson, report: Callable[[str], None], phase: Phase, writer: WholeCheckpoints
    ) -> list[Callback]:
        curve = Curve(lesson.logdir)
        clock, keeper = Clock(curve, report, phase.every), Keeper(curve, lesson.workdir, writer, phase.every)
        callbacks = [curve, clock, LearningRateMonitor("epoch"), keeper]
        if self.train.ema_decay:
            callbacks.append(MovingAverage(self.train.ema_decay))
        if self.train.patience and phase.first:
            callbacks.append(Patience(curve, self.train.patience))
        return callbacks

    def require_score(self, state: State, lesson: Lesson, hardware: Hardware) -> None:
        """Validate a state once more in a fresh network, without `torch.compile`, and compare the loss.

        Raises:
            MethodError: it is not the loss that was validated when the state was kept.
        """
        device, size = chosen_device(hardware), self.train.batch_size // hardware.devices
        if self.objective.population:
            size = len(lesson.valid[0])
        with threads_of(hardware), out_of_memory("method.train.batch_size", size):
            model = self.rebuilt(state).to(device)
            objective = self.objective.on(state.about["holds_for"]["observations"])
            found = validation_loss(model, objective, self.train, Pairs(*lesson.valid), size, device)
        told = state.about["training"]
        require_agreement(found, told["valid_loss"], told["kept_epoch"], self.train, objective)

    def rebuilt(self, state: State) -> Normalised:
        """Make a fresh network of a state, to be asked and not trained."""
        features, target = (Scaling.from_plain(state.about[name]) for name in ("features", "target"))
        network = self.objective.build(self.network, *state.about["channels"])
        require_weights(network, state)
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.arrays.items()})
        return Normalised(network, features, target, self.train.channels_last).eval()

    def predict(self, state: State, features: Iterable[NDArray[np.float32]], hardware: Hardware) -> Iterator[Reply]:
        """Run the network on batches of features.

        Raises:
            MethodError: the weights are not this network's, or there is no such device.
        """
        device = chosen_device(hardware)
        model = self.rebuilt(state).to(device)
        stream = iter(features)
        while batch := list(islice(stream, hardware.predict_batch)):
            with threads_of(hardware), torch.inference_mode(), out_of_memory("hardware.predict_batch", len(batch)):
                shown = torch.from_numpy(np.stack(batch)).to(device)
                value, sigma = self.objective.reply(model, shown)
                away = beyond_training(state.about, model, shown)
                values, sigmas = value.cpu().numpy(), [None] * len(batch) if sigma is None else sigma.cpu().numpy()
            # Outside: what stands above would hold for the caller, too, until it asks for the next.
            yield from (
                Reply(*told, beyond=far) for told, far in zip(zip(values, sigmas, strict=True), away, strict=True)
            )


@dataclass(frozen=True)
class _Reached:
    """What a phase of a training has left: its last and its best checkpoint, and the curve; epochs go on counting."""

    last: Mapping[str, Any]
    best: Mapping[str, Any]
    before: int

    @classmethod
    def of(cls, folder: Path, before: int) -> "_Reached":
        return cls(read_checkpoint(folder / LAST), read_checkpoint(folder / BEST), before)

    @property
    def rows(self) -> list[list[float]]:
        return [[row[0] + self.before, *row[1:]] for row in self.last["callbacks"][Curve.__qualname__]["rows"]]

    def row(self, checkpoint: Mapping[str, Any]) -> dict[str, float]:
        # Of the checkpoint's own: a training killed before it could write `last`, too, may have gone on otherwise.
        values = checkpoint["callbacks"][Curve.__qualname__]["rows"][-1]
        return dict(zip(COLUMNS, [values[0] + self.before, *values[1:]], strict=True))


def require_weights(network: nn.Module, state: State) -> None:
    """Check that weights are a network's, and are numbers.

    Raises:
        MethodError: they are of another network, or damaged.
    """
    wanted = {name: tuple(weights.shape) for name, weights in network.state_dict().items()}
    found = {name: array.shape for name, array in state.arrays.items()}
    wrong = [
        f"{name} is {found.get(name, 'not there')}, not {wanted.get(name, 'asked for')}"
        for name in (wanted | found)
        if wanted.get(name) != found.get(name)
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        message = f"these weights are of another network: {'; '.join(wrong[:3])}{more}"
        raise MethodError(message)
    if bad := [name for name, array in state.arrays.items() if not np.isfinite(array).all()]:
        message = f"these weights are damaged: {', '.join(bad[:3])} holds values that are no numbers"
        raise MethodError(message)
