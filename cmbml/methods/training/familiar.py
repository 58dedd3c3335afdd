"""How far what a network is shown lies from what it was trained on.

What a network says of its own error holds for samples such as it has learnt from. Whether a new one is such a sample
can be seen without its truth, by traits of each channel as the network sees it: how strong it is, how rough, and how
much of it stands out. How far they are from those of the training samples, and from how these went together, is
Mahalanobis' distance.
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
"""Of how many training samples traits are measured, spread evenly over all."""
LEAST_SPREAD = 1e-3
"""The least standard deviation of a logarithm that counts: rounding is no strangeness."""


USUAL = 0.99
"""The part of the samples that counts as usual: the farthest one alone may be anywhere."""
LEAST = float(np.finfo(np.float32).tiny)
"""Below which a mean is taken for this, so that a channel of zeros has traits, too."""


def traits(shown: NDArray[Any]) -> Float:
    """Return logarithms of what each channel of a sample is like, `(n_channel, ...)` to `(3 n_channel,)`.

    Of each channel the mean square; that of differences of neighbours over it; and the mean absolute value over its
    root, which is the smaller the more of the square is in few places.
    """
    values = shown.astype(np.float64)
    axes = tuple(range(1, values.ndim))
    square = np.maximum(np.square(values).mean(axis=axes), LEAST)
    steps = (np.square(np.diff(values, axis=axis)).mean(axis=axes) for axis in axes if values.shape[axis] > 1)
    rough = np.maximum(sum(steps, start=np.zeros(len(values))), LEAST) / square
    spread = np.maximum(np.abs(values).mean(axis=axes), LEAST) / np.sqrt(square)
    found: Float = np.log(np.concatenate([square, rough, spread]))
    return found


@dataclass(frozen=True)
class Familiar:
    """The traits of the samples that a network has seen.

    Attributes:
        mean: `(n_trait,)`.
        inverse: `(n_trait, n_trait)`, of their covariance.
        limit: the distance that 99 in 100 of the samples that the training knew keep, those it was validated on, too.
    """

    mean: Float
    inverse: Float
    limit: float

    @classmethod
    def of(cls, train: Float, valid: Float) -> "Familiar":
        """Measure rows of traits, `(n_sample, n_trait)`; a covariance of few samples is drawn to its diagonal."""
        n_sample, n_trait = train.shape
        covariance = np.atleast_2d(np.cov(train, rowvar=False, bias=True))
        share = n_trait / (n_trait + n_sample)
        diagonal = np.diag(np.diag(covariance) + LEAST_SPREAD**2)
        found = cls(train.mean(axis=0), np.linalg.inv((1 - share) * covariance + share * diagonal), 0.0)
        distances = [found.distance(row) for row in (*train, *valid)]
        return cls(found.mean, found.inverse, float(np.quantile(distances, USUAL)))

    def distance(self, row: Float) -> float:
        """Return the distance of one sample's traits from the mean of the training's."""
        away = row - self.mean
        return float(np.sqrt(away @ self.inverse @ away))

    def beyond(self, row: Float) -> float:
        """Return its distance over that which 99 in 100 samples of the training keep."""
        return self.distance(row) / self.limit

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {"mean": self.mean.tolist(), "inverse": self.inverse.tolist(), "limit": self.limit}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Familiar":
        """Read what `plain` returned.

        Raises:
            MethodError: it is damaged.
        """
        found = cls(np.array(plain["mean"], float), np.array(plain["inverse"], float), float(plain["limit"]))
        if found.inverse.shape != (found.mean.size, found.mean.size) or not found.limit > 0:
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
    return [familiar.beyond(traits(sample)) for sample in model.bring_in(batch).cpu().numpy()]
