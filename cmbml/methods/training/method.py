"""A method whose work is done by a network."""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from numpy.typing import NDArray
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.normalisation import Scaling, Normalisation
from cmbml.methods.trained import Hardware, Lesson, State, Trained, TrainedMethod
from cmbml.methods.training.allocator import keep_memory
from cmbml.methods.training.callbacks import COLUMNS, Clock, Curve
from cmbml.methods.training.checkpoint import WholeCheckpoints, read_checkpoint
from cmbml.methods.training.data import Pairs
from cmbml.methods.training.module import Normalised, Trainee
from cmbml.methods.training.network import Network
from cmbml.methods.training.settings import Training
from cmbml.settings import settings
from cmbml.sky.maps import MapSpec
from cmbml.sky.observation import ObservationSpec


@settings
class NetworkMethod(TrainedMethod):
    """Show examples to a network, and take its answers for the CMB.

    Attributes:
        network: its shape.
        features: how what it is shown is brought to size.
        target: how what it should answer is.
        train: how it is trained.
    """

    network: Network
    features: Normalisation
    target: Normalisation
    train: Training

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look whether the examples fit the network, too."""
        if self.target.kind == "whiten" or self.target.limit is not None:
            message = "method.target: kind=whiten and limit= are for features alone, as answers must be brought back"
            raise MethodError(message)
        promised = self.examples.accepts(spec)
        self.network.require_shape(*self.examples.shapes(spec)[0][1:])
        return promised

    def about(self, spec: ObservationSpec) -> dict[str, Any]:
        """Say what the network is, and what it is shown."""
        return {
            "network": {"kind": type(self.network).__name__, **_plain(self.network)},
            "examples": {"kind": type(self.examples).__name__, **_plain(self.examples, "name")},
            "observations": self.examples.describe(spec),
        }

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Train the network with Lightning."""
        device = chosen_device(hardware)
        if device == "cpu":
            keep_memory()
        with _threads(hardware), _quiet():
            norms = (self.features.scaling(lesson.moments[0]), self.target.scaling(lesson.moments[1]))
            torch.manual_seed(lesson.seed % 2**63)
            model = self._model(lesson.spec, *norms)
            if self.train.compile:
                model.compile_network()
            workers = hardware.workers if hardware.workers is not None else 0 if device == "cpu" else 4
            pairs = (Pairs(*lesson.train), Pairs(*lesson.valid))
            trainee = Trainee(model, self.train, pairs, list(lesson.names), lesson.seed, workers)
            n_parameters = sum(weights.numel() for weights in model.parameters())
            lesson.report(
                f"training {self.name}: {n_parameters:,} parameters, {len(pairs[0])} simulations, on "
                f"{hardware.devices} x {device}, {torch.get_num_threads()} threads"
            )
            curve = Curve()
            clock = Clock(curve, lesson.report)
            self._train(trainee, [curve, clock], lesson, hardware, device)
        last = read_checkpoint(lesson.workdir / "last.ckpt")
        kept = last if self.train.keep == "last" else read_checkpoint(lesson.workdir / "best.ckpt")
        rows = last["callbacks"][curve.state_key]["rows"]
        columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
        best = int(np.argmin(columns["valid_loss"])) if self.train.keep == "best" else len(rows) - 1
        found = {"n_parameters": n_parameters, "epochs": len(rows), "kept_epoch": best} | {
            name: columns[name][best] for name in COLUMNS[3:]
        }
        about = {
            "method": self.name,
            "holds_for": self.about(lesson.spec),
            "channels": [len(norm.scale) for norm in norms],
            "features": norms[0].plain(),
            "target": norms[1].plain(),
            "training": _plain(self.train) | {"seed": lesson.seed, "simulations": len(lesson.names)} | found,
        }
        arrays = {
            name.removeprefix("model.network."): weights.numpy()
            for name, weights in kept["state_dict"].items()
            if name.startswith("model.network.")
        }
        return Trained(State(arrays, about), columns, found | {"device": device} | clock.summary())

    def _model(self, spec: ObservationSpec, features: Scaling, target: Scaling) -> Normalised:
        shapes = self.examples.shapes(spec)
        network = self.network.build(shapes[0][0], shapes[1][0])
        return Normalised(network, features, target, self.train.channels_last)

    def _train(
        self, trainee: Trainee, callbacks: list[Callback], lesson: Lesson, hardware: Hardware, device: str
    ) -> None:
        train, last = self.train, lesson.workdir / "last.ckpt"
        if train.ema_decay:
            callbacks.append(EMAWeightAveraging(decay=train.ema_decay))
        if train.patience:
            callbacks.append(EarlyStopping("valid_loss", patience=train.patience))
        common = {"dirpath": lesson.workdir, "enable_version_counter": False, "save_on_train_epoch_end": True}
        callbacks.append(ModelCheckpoint(filename="best", monitor="valid_loss", save_top_k=1, **common))
        callbacks.append(ModelCheckpoint(filename="last", save_top_k=1, monitor=None, **common))
        if last.exists():
            done = read_checkpoint(last)["epoch"] + 1
            lesson.report(f"going on after epoch {done}, from {last}")
        trainer = Trainer(
            accelerator="gpu" if device == "cuda" else device,
            devices=hardware.devices,
            strategy="ddp_spawn" if hardware.devices > 1 else "auto",
            precision=train.precision,
            max_epochs=train.epochs,
            callbacks=callbacks,
            plugins=[WholeCheckpoints()],
            logger=[CSVLogger(lesson.logdir, "", ""), TensorBoardLogger(lesson.logdir, "", "")],
            default_root_dir=lesson.workdir,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_model_summary=False,
            enable_progress_bar=os.isatty(2),
        )
        with _out_of_memory("method.train.batch_size", train.batch_size):
            trainer.fit(trainee, ckpt_path=last if last.exists() else None, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt

    def predict(
        self, state: State, features: Iterable[NDArray[np.float32]], hardware: Hardware
    ) -> Iterator[NDArray[np.float32]]:
        """Run the network on batches of features.

        Raises:
            MethodError: the weights are not this network's, or there is no such device.
        """
        device = chosen_device(hardware)
        norms = (Scaling.from_plain(state.about[name]) for name in ("features", "target"))
        network = self.network.build(*state.about["channels"])
        _load(network, state)
        model = Normalised(network, *norms, self.train.channels_last).to(device).eval()
        stream = iter(features)
        while batch := list(islice(stream, hardware.predict_batch)):
            with _threads(hardware), torch.inference_mode(), _out_of_memory("hardware.predict_batch", len(batch)):
                yield from model(torch.from_numpy(np.stack(batch)).to(device)).cpu().numpy()


def chosen_device(hardware: Hardware) -> str:
    """Return the device that is used: `cuda`, `mps` or `cpu`.

    Raises:
        MethodError: the one asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if hardware.device == "auto":
        return next(name for name, found in there.items() if found)
    if not there[hardware.device]:
        message = (
            f"hardware.device={hardware.device}: there is none here; there is {', '.join(n for n in there if there[n])}"
        )
        raise MethodError(message)
    return hardware.device


def _load(network: nn.Module, state: State) -> None:
    """Give a network its weights.

    Raises:
        MethodError: they are of another network.
    """
    try:
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.arrays.items()})
    except RuntimeError as error:
        message = f"these weights are of another network: {str(error).splitlines()[-1].strip()}"
        raise MethodError(message) from error


def _plain(entry: Any, *without: str) -> dict[str, Any]:  # noqa: ANN401
    """Return settings as plain values."""
    return {name: value for name, value in asdict(entry).items() if name not in without}


@contextmanager
def _threads(hardware: Hardware) -> Iterator[None]:
    """Let networks use the CPU threads that they may."""
    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(hardware.threads or cores)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _out_of_memory(setting: str, size: int) -> Iterator[None]:
    """Answer memory that is used up with the batch size to try.

    Raises:
        MethodError: it is used up.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "t allocate memory" not in text:
            raise
        advice = f"try {setting}={size // 2}" if size > 1 else "take a smaller network, or hardware.device=cpu"
        message = f"the memory is used up with {setting}={size}; {advice} ({text.splitlines()[0]})"
        raise MethodError(message) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice to itself: what matters is reported."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", module="torch.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
