"""How far what a network is shown lies from what it was trained on.

What a network says of its own error holds for samples such as it has learnt from. Whether a new one is such a sample
can be seen without its truth: by how strong each channel is, as the network sees it, beside how strong it was in the
training samples, and how these strengths went together (Mahalanobis' distance of their logarithms).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cmbml.methods.base import MethodError
from cmbml.methods.training.module import Normalised

Float = NDArray[np.float64]
MOST_SAMPLES = 512
"""Of how many training samples strengths are measured, spread evenly over all."""
LEAST_SPREAD = 1e-3
"""The least standard deviation of a logarithm that counts: rounding is no strangeness."""


def strengths(shown: NDArray[Any]) -> Float:
    """Return the logarithm of the mean square of each channel of a sample, `(n_channel, ...)` to `(n_channel,)`."""
    squares = np.square(shown.reshape(len(shown), -1), dtype=np.float64).mean(axis=1)
    found: Float = np.log(np.maximum(squares, np.finfo(np.float32).tiny))
    return found


@dataclass(frozen=True)
class Familiar:
    """The strengths that a network has seen.

    Attributes:
        mean: `(n_channel,)`.
        inverse: `(n_channel, n_channel)`, of their covariance.
        farthest: the largest distance of a sample that the training knew, of those it was validated on, too.
    """

    mean: Float
    inverse: Float
    farthest: float

    @classmethod
    def of(cls, train: Float, valid: Float) -> "Familiar":
        """Measure rows of strengths, `(n_sample, n_channel)`; a covariance of few samples is drawn to its diagonal."""
        n_sample, n_channel = train.shape
        covariance = np.atleast_2d(np.cov(train, rowvar=False, bias=True))
        share = n_channel / (n_channel + n_sample)
        diagonal = np.diag(np.diag(covariance) + LEAST_SPREAD**2)
        found = cls(train.mean(axis=0), np.linalg.inv((1 - share) * covariance + share * diagonal), 0.0)
        return cls(found.mean, found.inverse, max(found.distance(row) for row in (*train, *valid)))

    def distance(self, row: Float) -> float:
        """Return the distance of one sample's strengths from the mean of the training's."""
        away = row - self.mean
        return float(np.sqrt(away @ self.inverse @ away))

    def beyond(self, row: Float) -> float:
        """Return its distance over that of the farthest sample that the training knew."""
        return self.distance(row) / self.farthest

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {"mean": self.mean.tolist(), "inverse": self.inverse.tolist(), "farthest": self.farthest}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Familiar":
        """Read what `plain` returned.

        Raises:
            MethodError: it is damaged.
        """
        found = cls(np.array(plain["mean"], float), np.array(plain["inverse"], float), float(plain["farthest"]))
        if found.inverse.shape != (found.mean.size, found.mean.size) or not found.farthest > 0:
            message = "what these weights say of their training samples is damaged; take another copy of the file"
            raise MethodError(message)
        return found


def beyond_training(about: Mapping[str, Any], model: Normalised, batch: Tensor) -> list[float | None]:
    """Return how far each sample of a batch is beyond those of the training; None where the state does not know.

    Args:
        about: of the state.
        model: what it was rebuilt to.
        batch: `(batch, n_in, ...)`, features as they come.
    """
    known = about.get("familiar")
    if known is None:
        return [None] * len(batch)
    familiar = Familiar.from_plain(known)
    return [familiar.beyond(strengths(sample)) for sample in model.bring_in(batch).cpu().numpy()]
