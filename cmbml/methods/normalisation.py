"""What brings arrays to the size that networks learn well with, taken from training simulations alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.methods.base import MethodError
from cmbml.settings import PositiveFloat, settings

ARRAYS = ("mean", "covariance", "median", "spread")
ENDS = ("lowest", "highest")


@dataclass(frozen=True)
class Moments:
    """How the values of every channel are distributed; what holds for two sets of arrays makes what holds for both.

    Attributes:
        count: values per channel.
        mean: `(n_channel,)`.
        covariance: `(n_channel, n_channel)`.
        median: `(n_channel,)`; of several arrays, the mean of their medians.
        spread: `(n_channel,)`: half of what lies between the 16th and the 84th percentile; of several arrays, the mean.
        lowest: `(n_channel,)`; None where arrays were measured by an earlier release.
        highest: the same.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    median: NDArray[np.float64]
    spread: NDArray[np.float64]
    lowest: NDArray[np.float64] | None = None
    highest: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Moments":
        """Measure one array, `(n_channel, ...)`."""
        flat = values.reshape(len(values), -1)
        low, median, high = np.percentile(flat, (16, 50, 84), axis=1).astype(np.float64)
        mean, covariance = flat.mean(axis=1, dtype=np.float64), np.atleast_2d(np.cov(flat, bias=True, dtype=np.float64))
        ends = (flat.min(axis=1).astype(np.float64), flat.max(axis=1).astype(np.float64))
        return cls(flat.shape[1], mean, covariance, median, (high - low) / 2, *ends)

    def joined(self, other: "Moments") -> "Moments":
        """Return the moments of both sets together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        shift, part = other.mean - self.mean, other.count / count
        between = part * (1 - part) * np.outer(shift, shift)
        covariance = (1 - part) * self.covariance + part * other.covariance + between
        median, spread = (
            (1 - part) * getattr(self, name) + part * getattr(other, name) for name in ("median", "spread")
        )
        lowest, highest = (_either(name, self, other) for name in ENDS)
        return Moments(count, self.mean + part * shift, covariance, median, spread, lowest, highest)

    @classmethod
    def of_all(cls, parts: Iterable["Moments"]) -> "Moments":
        """Return the moments of all sets together."""
        return reduce(cls.joined, parts)

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        known = [name for name in (*ARRAYS, *ENDS) if getattr(self, name) is not None]
        return {"count": self.count} | {name: getattr(self, name).tolist() for name in known}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Moments":
        """Read what `plain` returned."""
        known = {name: np.array(plain[name], float) for name in (*ARRAYS, *ENDS) if name in plain}
        return cls(count=int(plain["count"]), **known)


def _either(name: str, first: Moments, second: Moments) -> NDArray[np.float64] | None:
    """Return the lower or the higher of two ends; None where one is not known."""
    one, two = getattr(first, name), getattr(second, name)
    if one is None or two is None:
        return None
    found: NDArray[np.float64] = (np.minimum if name == "lowest" else np.maximum)(one, two)
    return found


@dataclass(frozen=True)
class Scaling:
    """`z = (value - offset) / scale`, per channel, or a mixture of these; beyond the limit only its logarithm counts.

    A |z| above the limit L becomes L + ln(1 + |z| - L), with its sign: smooth, monotonic, and the Galactic plane no
    longer outshines all else a thousandfold.

    Attributes:
        offset: `(n_channel,)`.
        scale: `(n_channel,)`, none of them zero.
        mixing: `(n_channel, n_channel)`: which mixture of channels each z is; None for the channels themselves.
        limit: L; None for none.
        per_sample: whether each sample and channel is brought to [0, 1] by its own extremes, whatever stands above.
        like: of targets, the channel of the features whose extremes bring them to size; None for the numbers above.
    """

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    mixing: NDArray[np.float64] | None = None
    limit: float | None = None
    per_sample: bool = False
    like: int | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        mixing = None if self.mixing is None else self.mixing.tolist()
        numbers = {"offset": self.offset.tolist(), "scale": self.scale.tolist(), "mixing": mixing, "limit": self.limit}
        return numbers | {"per_sample": self.per_sample, "like": self.like}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Scaling":
        """Read what `plain` returned."""
        mixing = None if plain["mixing"] is None else np.array(plain["mixing"], float)
        numbers = np.array(plain["offset"], float), np.array(plain["scale"], float), mixing, plain["limit"]
        return cls(*numbers, plain.get("per_sample", False), plain.get("like"))


@settings
class Normalisation:
    """How features or targets are brought to size.

    Attributes:
        kind: `fixed` divides by the number `by`; `scale` by the standard deviation of each channel over the training
            simulations; `standardise` subtracts its mean, too; `robust` subtracts the median and divides by half of
            what lies between the 16th and the 84th percentile, which the Galactic plane does not move; `whiten` mixes
            the channels to ones that have unit variance and no correlation, so that what little the channels differ
            in is as large as what they share. Of features only. `minmax` brings each sample and channel to [0, 1] by
            its own extremes;
            `range` brings all of them together to [-1, 1].
        by: what `fixed` divides by, in the arrays' unit.
        limit: how many such units a feature grows in proportion; only its logarithm counts beyond. None: without end.
            Targets have none.
        like: of a target with `minmax`, the channel of the features whose extremes are taken: its own are not known.
    """

    kind: Literal["fixed", "scale", "standardise", "robust", "whiten", "minmax", "range"]
    by: PositiveFloat = 1.0
    limit: PositiveFloat | None = None
    like: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None

    def scaling(self, moments: Moments, like: int | None = None) -> Scaling:
        """Work out the numbers for arrays that have these moments.

        Args:
            moments: of the training samples.
            like: of targets, which channel of the features they are brought to size like, if they are.
        """
        zero, std = np.zeros_like(moments.mean), np.sqrt(np.diag(moments.covariance))
        if self.kind == "minmax":
            return Scaling(zero, np.ones_like(std), None, self.limit, per_sample=True, like=like)
        if self.kind == "range":
            if moments.lowest is None or moments.highest is None:
                message = "the arrays do not say how far they reach, as those of an earlier release: make them again"
                raise MethodError(message)
            half = (moments.highest - moments.lowest) / 2
            return Scaling(moments.lowest + half, np.where(half > 0, half, 1.0), None, self.limit)
        if self.kind == "whiten":
            return Scaling(moments.mean, np.ones_like(std), whitening(moments.covariance), self.limit)
        offset, scale = {
            "fixed": (zero, np.full_like(std, self.by)),
            "scale": (zero, std),
            "standardise": (moments.mean, std),
            "robust": (moments.median, moments.spread),
        }[self.kind]
        # A channel that never changes says nothing; it is left as it is rather than divided by zero.
        return Scaling(offset, np.where(scale > 0, scale, 1.0), None, self.limit)


def whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the principal components of unit variance, from the weakest to the strongest, `(n_channel, n_channel)`.

    Args:
        covariance: `(n_channel, n_channel)`.
    """
    variances, vectors = np.linalg.eigh(covariance)
    # A mixture that never changes (a channel given twice) is left out, not blown up from rounding.
    weak = variances <= 1e-14 * variances[-1]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))])
    scaled: NDArray[np.float64] = (vectors * signs / np.sqrt(np.where(weak, np.inf, variances))).T
    return scaled
