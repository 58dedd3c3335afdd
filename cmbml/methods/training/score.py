"""Whether weights that were kept are those that were trained: they are validated once more, from the outside."""

import torch

from cmbml.methods.base import MethodError
from cmbml.methods.training.data import Pairs, loader
from cmbml.methods.training.module import Normalised
from cmbml.methods.training.objective import Objective
from cmbml.methods.training.settings import Training

HALF = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}

AGREEMENT = {"32-true": 1e-3, "16-mixed": 3e-3, "bf16-mixed": 1e-2}
"""By how much, relative, rounding may change a validation loss: compiled kernels round elsewhere than others."""


def validation_loss(
    model: Normalised, objective: Objective, training: Training, pairs: Pairs, batch_size: int, device: str
) -> float:
    """Validate a network as a training does, with neither Lightning nor `torch.compile`.

    Args:
        model: the network between its normalisations, in evaluation mode, on the device.
        objective: what it was trained for.
        training: how it was trained.
        pairs: the validation samples.
        batch_size: samples per batch.
        device: `cuda`, `mps` or `cpu`.

    Returns:
        The mean loss over samples, in normalised units.
    """
    half, total = HALF.get(training.precision), 0.0
    with torch.inference_mode():
        for features, target, _ in loader(pairs, batch_size, 0, None):
            seen = features.to(device)
            shown, wanted = model.bring_in(seen), model.normalise_target(target.to(device), seen)
            with torch.autocast(device, dtype=half, enabled=half is not None):
                total += len(target) * float(objective.validate(model, shown, wanted)["loss"])
    return total / len(pairs)


def require_agreement(found: float, validated: float, epoch: int, training: Training, objective: Objective) -> None:
    """Check that weights score what was validated when they were kept.

    Args:
        found: validation loss of the weights as they were read back.
        validated: what was validated in the training.
        epoch: in which they were kept, from 0.
        training: how they were trained.
        objective: what they were trained for.

    Raises:
        MethodError: they score something else.
    """
    if abs(found - validated) <= AGREEMENT[training.precision] * max(abs(validated), objective.loss_unit):
        return
    message = (
        f"the weights of epoch {epoch + 1}, read back, have a validation loss of {found:.6g}, and {validated:.6g} was "
        "validated: they are not what was trained, and are not kept. Train with method.train.compile=false, "
        "method.train.precision=32-true or method.train.channels_last=false "
        f"(now {str(training.compile).lower()}, {training.precision}, {str(training.channels_last).lower()})"
    )
    raise MethodError(message)
