"""Standard deviations that are multiplied by what makes them right where the truth is known.

A network's own standard deviations are rarely those of its errors. On cases that it has not learnt from, the ratio of
error and standard deviation is measured in classes of pixels, by how bright the sky is in a tracer of dust, and in each
bin of the spectra; elsewhere standard deviations are multiplied by it. The value is left as it is.

- `variance`: by the rms of the ratio, so that its square is one on average.
- `conformal`: by the quantile of its absolute value that leaves the wanted part inside (Angelopoulos & Bates 2023,
  sections 1 and 2.3), over that of a Gaussian. For exchangeable pixels the coverage at that level is then right
  whatever the errors are.

A method that tells no standard deviation is given one per class: what its errors have there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.special import ndtri

from cmbml.methods.base import ChannelName, MethodError
from cmbml.settings import Fraction, settings
from cmbml.sky.case import Answer, Bandpowers, CaseSpec
from cmbml.sky.maps import SkyMap
from cmbml.sky.patches import Patches

Float = NDArray[np.float64]
LEAST, MOST, PER_DECADE = -6, 6, 500
"""Ratios of error and standard deviation are counted in bins of their logarithm, half a per cent wide."""


@final
@settings
class Recalibration:
    """How standard deviations are made right.

    Attributes:
        kind: `variance` or `conformal`; see the module.
        level: the part that `conformal` leaves inside.
        tracer: the channel whose brightness says in which class a pixel is; None: the one of the highest frequency.
        classes: of pixels, each as many on the validation split.
        simulations: on how many of its simulations ratios are measured: the first ones; None: on all.
    """

    kind: Literal["variance", "conformal"] = "variance"
    level: Fraction = 0.68
    tracer: ChannelName | None = None
    classes: PositiveInt = 20
    simulations: PositiveInt | None = None

    def tracer_of(self, spec: CaseSpec[Any]) -> str:
        """Return the channel by which pixels are sorted.

        Raises:
            MethodError, MapError: there is no such channel, or there are no channels.
        """
        if self.tracer is not None:
            spec.require_channel(self.tracer)
            return self.tracer
        if not spec.channels:
            message = "recalibration sorts pixels by the brightness of a channel, and these cases show none"
            raise MethodError(message)
        return max(spec.channels, key=lambda name: spec.channels[name].freq_ghz)

    def edges(self, brightness: Float) -> Float:
        """Return what separates the classes of one case, `(classes - 1,)`."""
        found: Float = np.quantile(brightness, np.arange(1, self.classes) / self.classes)
        return found

    def factors(self, ratios: "Ratios") -> Float:
        """Return by what to multiply standard deviations, shaped as the classes of the ratios.

        Raises:
            MethodError: a class is empty, or its errors are all zero.
        """
        if self.kind == "variance":
            found = np.sqrt(ratios.squares / np.maximum(ratios.count, 1))
        else:
            found = ratios.quantiles(self.level) / float(ndtri(0.5 + self.level / 2))
        if not (np.isfinite(found) & (found > 0)).all():
            message = (
                f"{np.count_nonzero(~(found > 0))} of {found.size} classes have no pixel with an error on the "
                "validation split; take fewer recalibration.classes"
            )
            raise MethodError(message)
        return np.asarray(found, float)


@dataclass(frozen=True)
class Ratios:
    """What is known of |error / sigma| in each class, of however many cases.

    Attributes:
        count: `(...,)`, how many ratios.
        squares: `(...,)`, the sum of their squares.
        histogram: `(..., n)`, how many lie in each bin of their logarithm.
    """

    count: Float
    squares: Float
    histogram: NDArray[np.int64] = field(repr=False)

    @classmethod
    def none(cls, *shape: int) -> Self:
        """Know nothing of classes of a shape."""
        n_bin = (MOST - LEAST) * PER_DECADE
        return cls(np.zeros(shape), np.zeros(shape), np.zeros((*shape, n_bin), np.int64))

    def add(self, place: tuple[int, ...], error: NDArray[Any], sigma: NDArray[Any]) -> None:
        """Add the errors of one class.

        Raises:
            MethodError: a standard deviation is not positive.
        """
        if not (sigma > 0).all():
            message = (
                f"{np.count_nonzero(~(sigma > 0))} of {sigma.size} standard deviations of the method are zero, "
                "negative or NaN: they cannot be recalibrated; more passes or members may help"
            )
            raise MethodError(message)
        ratio = np.abs(error.astype(np.float64) / sigma)
        self.count[place] += ratio.size
        self.squares[place] += np.square(ratio).sum()
        with np.errstate(divide="ignore"):
            number = np.floor((np.log10(ratio) - LEAST) * PER_DECADE)
        n_bin = self.histogram.shape[-1]
        self.histogram[place] += np.bincount(np.clip(number, 0, n_bin - 1).astype(np.int64).ravel(), minlength=n_bin)

    def quantiles(self, level: float) -> Float:
        """Return the least ratio that leaves a part inside, with the correction of a finite number, per class."""
        rising = self.histogram.cumsum(axis=-1)
        wanted = np.minimum(np.ceil((self.count + 1) * level), self.count)
        bins = (rising < wanted[..., None]).sum(axis=-1)
        found: Float = np.where(self.count > 0, 10 ** (LEAST + (bins + 0.5) / PER_DECADE), np.nan)
        return found


def fields_first(values: SkyMap | Patches) -> NDArray[Any]:
    """Return the values of a field with the fields as first axis: `(n_field, n_pix)` or `(n_field, n_patch, h, w)`."""
    return values.values if isinstance(values, SkyMap) else np.moveaxis(values.values, 1, 0)


def brightness(tracer: SkyMap | Patches) -> Float:
    """Return the intensity of a tracer, `(n_pix,)` or `(n_patch, height, width)`."""
    found: Float = fields_first(tracer)[0].astype(np.float64)
    return found


def sigma_or_ones(answer: Answer[Any]) -> SkyMap | Patches:
    """Return the standard deviations of an answer, or ones where it has none."""
    given: SkyMap | Patches | None = answer.sigma
    return given if given is not None else replace(answer.value, values=np.ones_like(answer.value.values))


def gather(
    pixels: Ratios, answer: Answer[Any], truth: SkyMap | Patches, tracer: SkyMap | Patches, edges: Float
) -> None:
    """Add the errors of one case to what is known of pixels.

    Args:
        pixels: of classes `(n_field, n_class)`.
        answer: of the method.
        truth: what it should have been.
        tracer: the channel that sorts the pixels.
        edges: what separates the classes.
    """
    number = np.digitize(brightness(tracer), edges)
    error = fields_first(answer.value).astype(np.float64) - fields_first(truth)
    sigma = fields_first(sigma_or_ones(answer))
    for i in range(len(error)):
        for k in range(len(edges) + 1):
            pixels.add((i, k), error[i][number == k], sigma[i][number == k])


def recalibrated(answer: Answer[Any], tracer: SkyMap | Patches, calibration: Mapping[str, Any]) -> Answer[Any]:
    """Return an answer with other standard deviations.

    Args:
        answer: of the method.
        tracer: the channel that sorts the pixels.
        calibration: `edges` `(n_class - 1,)`, `factors` `(n_field, n_class)` and `bandpowers` `(n_bin,)`, or None.

    Raises:
        MethodError: the calibration is of other spectra.
    """
    number = np.digitize(brightness(tracer), np.array(calibration["edges"]))
    factors = np.array(calibration["factors"])[:, number]
    sigma = sigma_or_ones(answer)
    values = fields_first(sigma) * factors
    values = values if isinstance(sigma, SkyMap) else np.moveaxis(values, 0, 1)
    told: Bandpowers | None = answer.bandpowers
    if told is not None:
        wanted = calibration["bandpowers"] or []
        if len(wanted) != told.d_ell.shape[1]:
            message = f"the calibration is of {len(wanted)} bins of l, and the spectra have {told.d_ell.shape[1]}"
            raise MethodError(message)
        told = replace(told, sigma=told.sigma * np.array(wanted))
    return replace(answer, sigma=replace(sigma, values=values.astype(np.float32)), bandpowers=told)
