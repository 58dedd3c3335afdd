"""What brings arrays to the size that networks learn well with, taken from training simulations alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmbml.settings import PositiveFloat, settings


@dataclass(frozen=True)
class Moments:
    """Count, mean and variance of every channel; those of two sets of arrays make those of both.

    Attributes:
        count: values per channel.
        mean: `(n_channel,)`.
        variance: `(n_channel,)`.
    """

    count: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Moments":
        """Measure one array, `(n_channel, ...)`."""
        flat = values.reshape(len(values), -1)
        return cls(flat.shape[1], flat.mean(axis=1, dtype=np.float64), flat.var(axis=1, dtype=np.float64))

    def joined(self, other: "Moments") -> "Moments":
        """Return the moments of both sets together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        shift, part = other.mean - self.mean, other.count / count
        variance = (1 - part) * self.variance + part * other.variance + part * (1 - part) * shift**2
        return Moments(count, self.mean + part * shift, variance)

    @classmethod
    def of_all(cls, parts: Iterable["Moments"]) -> "Moments":
        """Return the moments of all sets together."""
        return reduce(cls.joined, parts)

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {"count": self.count, "mean": self.mean.tolist(), "variance": self.variance.tolist()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Moments":
        """Read what `plain` returned."""
        return cls(int(plain["count"]), np.array(plain["mean"], float), np.array(plain["variance"], float))


@dataclass(frozen=True)
class Affine:
    """`(value - offset) / scale`, per channel.

    Attributes:
        offset: `(n_channel,)`.
        scale: `(n_channel,)`, none of them zero.
    """

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {"offset": self.offset.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Affine":
        """Read what `plain` returned."""
        return cls(np.array(plain["offset"], float), np.array(plain["scale"], float))


@settings
class Normalisation:
    """How features and targets are brought to size.

    Attributes:
        kind: `fixed` divides by the number `by`; `scale` by the standard deviation of each channel over the training
            simulations; `standardise` subtracts its mean, too.
        by: what `fixed` divides by, in the arrays' unit.
    """

    kind: Literal["fixed", "scale", "standardise"]
    by: PositiveFloat = 1.0

    def affine(self, moments: Moments) -> Affine:
        """Work out the numbers for arrays that have these moments."""
        zero = np.zeros_like(moments.mean)
        if self.kind == "fixed":
            return Affine(zero, np.full_like(moments.mean, self.by))
        # A channel that never changes says nothing; it is left at zero rather than divided by zero.
        scale = np.where(moments.variance > 0, np.sqrt(moments.variance), 1.0)
        return Affine(moments.mean if self.kind == "standardise" else zero, scale)
