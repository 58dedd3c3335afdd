"""The work of one batch, for Lightning."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import nn

from cmbml.methods.base import MethodError
from cmbml.methods.normalisation import Scaling
from cmbml.methods.training.allocator import keep_memory
from cmbml.methods.training.data import Batch, Batches, Pairs, loader
from cmbml.methods.training.devices import hush
from cmbml.methods.training.faults import require_finite
from cmbml.methods.training.folding import fold
from cmbml.methods.training.objective import Objective
from cmbml.methods.training.settings import Phase, Training


def mixed_seed(*numbers: int) -> int:
    """Return a seed that differs with any of the numbers also in its last 32 bits: torch looks at no more on a CPU."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class Normalised(nn.Module):
    """A network between normalisations, from uK_CMB to uK_CMB.

    Args:
        network: what is in between.
        features: normalisation of what comes in.
        target: normalisation of what the network gives.
        channels_last: whether arrays lie in memory with their channels innermost.
    """

    run: Callable[[torch.Tensor], torch.Tensor]
    mixing: torch.Tensor | None
    features_offset: torch.Tensor
    features_scale: torch.Tensor
    target_offset: torch.Tensor
    target_scale: torch.Tensor

    def __init__(self, network: nn.Module, features: Scaling, target: Scaling, channels_last: bool) -> None:
        super().__init__()
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network
        self.__dict__["run"] = network  # beside the modules, so that weights have one name
        self.limit = features.limit
        self.per_sample, self.like = features.per_sample, target.like
        mixing = None if features.mixing is None else torch.tensor(features.mixing, dtype=torch.float32)
        self.register_buffer("mixing", mixing, persistent=False)
        for name, scaling in (("features", features), ("target", target)):
            for part in ("offset", "scale"):
                value = torch.tensor(getattr(scaling, part), dtype=torch.float32)
                self.register_buffer(f"{name}_{part}", value, persistent=False)

    def compile_network(self) -> None:
        """Let `torch.compile` speed the network up; its weights keep their names."""
        self.network.to(memory_format=self.format)  # type: ignore[call-overload]
        self.__dict__["run"] = torch.compile(self.network)

    def bring_in(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise features, in full precision: mixtures are small differences of large values."""
        with torch.autocast(features.device.type, enabled=False):
            offset, scale = (_beside(part, features) for part in (self.features_offset, self.features_scale))
            if self.per_sample:
                offset, scale = _range(features)
            found = (features - offset) / scale
            if self.mixing is not None:
                found = torch.einsum("ij,bj...->bi...", self.mixing, found)
        if self.limit is not None:
            beyond = found.abs() - self.limit
            found = torch.where(beyond > 0, found.sign() * (self.limit + beyond.clamp(min=0).log1p()), found)
        # The memory formats are of planes; a batch of anything else lies as it comes.
        return found.contiguous(memory_format=self.format) if found.ndim == 4 else found.contiguous()

    def normalise_target(self, target: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Normalise targets; features as they came, for what is measured in each sample."""
        offset, scale = self._target_scaling(target, features)
        return (target - offset) / scale

    def bring_out(self, answer: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Turn answers of the network back to the target's unit."""
        offset, scale = self._target_scaling(answer, features)
        return answer * scale + offset

    def bring_out_sigma(self, sigma: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Turn standard deviations of answers back to the target's unit."""
        return sigma * self._target_scaling(sigma, features)[1]

    def _target_scaling(self, target: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.like is not None:
            return _range(features[:, self.like : self.like + 1])
        return _beside(self.target_offset, target), _beside(self.target_scale, target)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Answer features, `(batch, n_in, ...)`; both in their own units."""
        return self.bring_out(self.run(self.bring_in(features)), features)


def _beside(values: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """Shape what there is one of per channel, so that it meets the channels of a batch, `(batch, channel, ...)`."""
    return values.reshape(-1, *(1 for _ in batch.shape[2:]))


def _range(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the lowest value of each sample and channel, and how far the highest lies above it."""
    axes = tuple(range(2, batch.ndim))
    low = batch.amin(dim=axes, keepdim=True)
    return low, (batch.amax(dim=axes, keepdim=True) - low).clamp(min=torch.finfo(batch.dtype).tiny)


class Trainee(LightningModule):
    """A network that is being trained.

    Args:
        model: the network between its normalisations.
        objective: what it is trained for.
        training: how it is trained.
        pairs: training and validation samples.
        names: of the training samples, for messages.
        seed: root of all randomness.
        workers: threads that read ahead.
        threads: CPU threads of each process that trains.
        phase: which part of the training it is.
        memories: the states of the optimisers to start with; fresh ones where None.
        folded: whether layers that can be are computed at half the resolution.
    """

    def __init__(
        self,
        model: Normalised,
        objective: Objective,
        training: Training,
        pairs: tuple[Pairs, Pairs],
        names: list[str],
        seed: int,
        workers: int,
        threads: int,
        phase: Phase,
        memories: list[dict[str, Any]] | None = None,
        *,
        folded: bool = False,
    ) -> None:
        super().__init__()
        self.phase, self.memories, self.folded = phase, memories, folded
        self.model, self.objective = model, objective
        self.training_settings, self.pairs, self.names = training, pairs, names
        self.seed, self.workers, self.threads = seed, workers, threads
        self.automatic_optimization = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in another process."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        hush()

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Prepare the process that trains, which may be a new one."""
        torch.set_num_threads(self.threads)
        if self.trainer.strategy.root_device.type == "cpu":
            keep_memory()
        if self.folded:
            fold(self.model.network)
        if self.training_settings.compile:
            self.model.compile_network()

    def train_dataloader(self) -> Batches:
        """Read the training simulations in an order of each epoch's own."""
        return self._loader(0, self.seed)

    def val_dataloader(self) -> Batches:
        """Read the validation simulations."""
        return self._loader(1, None)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Copy a batch, and wait for it: where it was read to is read to again. Lightning's own does not wait."""
        features, target, numbers = (part.to(device) for part in batch)
        return features, target, numbers

    def _factor(self, batch: int, total: int) -> float:
        """Return by how much the learning rate has changed: a later phase keeps what the first ended with."""
        return self.training_settings.factor(batch if self.phase.first else total, total)

    def _loader(self, which: int, seed: int | None) -> Batches:
        ranks = self.trainer.world_size
        size = self.training_settings.batch_size // ranks
        if which and self.objective.population:
            size = len(self.pairs[1])
        pin = self.trainer.strategy.root_device.type == "cuda"
        rank, steps = self.trainer.global_rank, self.phase.steps
        return loader(self.pairs[which], size, self.workers, seed, rank, ranks, pin, steps)

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        """Set an optimiser up for each of the players, and a learning rate that changes with every batch."""
        settings = self.training_settings
        total = int(self.trainer.estimated_stepping_batches)
        found = []
        for number, weights in enumerate(self.objective.players(self.model.network)):
            optimiser = settings.optimiser_of(weights)
            if self.memories is not None:
                optimiser.load_state_dict(self.memories[number])
            schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda batch: self._factor(batch, total))
            found.append({"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}})
        return found

    def on_train_epoch_start(self) -> None:
        """Seed what networks draw, so that a training that goes on draws what it would have drawn."""
        torch.manual_seed(mixed_seed(self.seed, self.current_epoch, self.global_rank))

    def training_step(self, batch: Batch, index: int) -> None:
        """Take `passes` steps of the optimiser on one batch.

        Raises:
            MethodError: the loss is no number.
        """
        optimisers = _several(self.optimizers())
        features, target = self.model.bring_in(batch[0]), self.model.normalise_target(batch[1], batch[0])
        for _ in range(self.training_settings.passes):
            losses = self.objective.losses(self.model, features, target)
            for number, (player, loss) in enumerate(zip(self.objective.turns(len(optimisers)), losses, strict=True)):
                optimiser = optimisers[player]
                optimiser.zero_grad()
                self.manual_backward(loss)
                self._clip(optimiser)
                optimiser.step()
                if not number:
                    first = loss
                self._require_number(loss, batch, index)
        for schedule in _several(self.lr_schedulers()):
            schedule.step()
        self.log("train_loss", first, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(target))

    def validation_step(self, batch: Batch, index: int) -> None:  # noqa: ARG002
        """Measure loss and error on samples that are not learnt from."""
        target, size = self.model.normalise_target(batch[1], batch[0]), len(batch[0])
        found = self.objective.validate(self.model, self.model.bring_in(batch[0]), target)
        self.log("valid_loss", found["loss"], sync_dist=True, batch_size=size)
        if "reply" in found:
            error = self.model.bring_out(found["reply"], batch[0]) - batch[1]
            self.log("valid_mse_uk2", error.square().mean(), sync_dist=True, batch_size=size)

    def _clip(self, optimiser: Any) -> None:  # noqa: ANN401
        """Clip the gradient. Lightning's own way refuses an optimiser that works on all weights at once."""
        largest = self.training_settings.gradient_clip
        if largest is None:
            return
        if scaler := getattr(self.trainer.precision_plugin, "scaler", None):
            scaler.unscale_(optimiser.optimizer)
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, largest)

    def _require_number(self, loss: torch.Tensor, batch: Batch, index: int) -> None:
        if torch.isfinite(loss):
            return
        settings = self.training_settings
        names = [self.names[number] for number in batch[2].tolist()]
        place = f"epoch {self.current_epoch + 1}, batch {index + 1}, step {self.global_step} ({', '.join(names)})"
        require_finite({"features": batch[0], "target": batch[1]}, names, f"the loss became {loss.item()} in {place}")
        advice = [f"a lower method.train.learning_rate (it is {settings.learning_rate:g})"]
        if settings.gradient_clip is None:
            advice.append("method.train.gradient_clip=1")
        if settings.precision != "32-true":
            advice.append("method.train.precision=32-true")
        message = f"the loss became {loss.item()} in {place}; try {', or '.join(advice)}"
        raise MethodError(message)


def _several(found: Any) -> list[Any]:  # noqa: ANN401
    """Return a list of what Lightning gives alone where there is but one."""
    return list(found) if isinstance(found, list) else [found]
