"""How sure a mean over simulations is, where they are few and their scores skewed.

Student's interval leaves out a skewed mean too often, and percentiles of a bootstrap leave out any mean of few values:
of three they hold it in 75 of 100 cases where 95 are promised. Here Student's t is applied to a transformation of the
studentised mean that takes its skewness out (Hall 1992, J. R. Statist. Soc. B 54, 221), which is exact to the next
order in 1 / n; `benchmarks/intervals.py` measures what it holds on scores of simulations.

Simulations that share foregrounds are no independent witnesses of what a method does to foregrounds. Where they come
from several skies, the skies are what is drawn, and an interval stands on the mean of each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Numbers = NDArray[np.float64]

FEWEST = 3
"""Of fewer independent values there is no interval: of two, Student's is 13 times as long as they are apart."""

ENOUGH, LEAST_HELD = 8, 91
"""From how many independent values on 95 % intervals hold 93 to 96 % on scores of simulations, and the least that they
hold of fewer, in per cent (`benchmarks/intervals.py`, 1,000 simulations)."""


@dataclass(frozen=True)
class Interval:
    """A mean, or a ratio of means, and where it may lie.

    Attributes:
        value: the mean or the ratio; NaN without any value.
        low: lower end; NaN where too little is known.
        high: upper end.
        over: what was taken as independent: simulations, or the skies that they share.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    over: str = "simulations"


@dataclass(frozen=True)
class Moments:
    """What an estimate's interval is made of.

    Attributes:
        mean: of independent values.
        variance: of their mean.
        third: third cumulant of their mean.
        n: how many there are.
    """

    mean: float
    variance: float
    third: float
    n: int

    @classmethod
    def of(cls, values: Numbers) -> "Moments":
        """Estimate the moments of the mean of independent values, `(n,)`, n >= 1."""
        n, mean = len(values), math.fsum(values) / len(values)
        second, third = (math.fsum((values - mean) ** k) / n for k in (2, 3))
        variance = second / (n - 1) if n > 1 else math.nan
        # The skewness with the biased moments: with unbiased ones, few values overdo it, and hold less.
        spread = second**1.5
        skewness = third / spread if spread > 0 else 0.0
        return cls(mean, variance, skewness / math.sqrt(n) * variance**1.5, n)


def by_sky(values: Numbers, skies: Sequence[str] | None) -> tuple[Numbers, str]:
    """Return independent values whose mean is that of all.

    Of G skies with n_g simulations each and means m_g, they are m + G n_g (m_g - m) / n, whose scatter is that of a
    mean of clusters (Cochran 1977, section 9A.1); with as many simulations on each sky they are the m_g.

    Args:
        values: `(n_sim,)`.
        skies: the sky of each; None where nobody knows.

    Returns:
        `(G,)` and `skies` where there are at least 3 of them, else the values and `simulations`.
    """
    _, sky, counts = np.unique(np.array(skies or (), dtype=str), return_inverse=True, return_counts=True)
    if len(counts) < FEWEST or len(counts) == len(values):
        return values, "skies" if len(counts) >= FEWEST else "simulations"
    mean = math.fsum(values) / len(values)
    own = np.split(values[np.argsort(sky, kind="stable")], np.cumsum(counts)[:-1])
    excess = np.array([math.fsum(of - mean) for of in own])
    return mean + len(counts) * excess / len(values), "skies"


def mean_interval(values: Numbers, skies: Sequence[str] | None = None, level: float = 0.95) -> Interval:
    """Return the mean of values, such as differences between two methods, and its interval.

    Args:
        values: `(n_sim,)`, finite.
        skies: the sky of each simulation.
        level: of the interval.

    Example:
        >>> found = mean_interval(np.array([1.0, 2.0, 3.0]))
        >>> round(found.low, 2), found.value, round(found.high, 2)
        (-0.48, 2.0, 4.48)
    """
    if not len(values):
        return Interval(math.nan)
    independent, over = by_sky(values, skies)
    moments = Moments.of(independent)
    if moments.n < FEWEST:
        return Interval(moments.mean, over=over)
    low, high = _ends(moments.mean, moments.variance, moments.third, moments.n - 1, level)
    return Interval(moments.mean, low, high, over)


def ratio_interval(
    reference: Numbers,
    values: Numbers,
    reference_skies: Sequence[str] | None = None,
    skies: Sequence[str] | None = None,
    level: float = 0.95,
) -> Interval:
    """Return the ratio of the means of two independent sets, and its interval, found for its logarithm.

    Args:
        reference: `(n_reference,)`, the means in the denominator.
        values: `(n,)`, the means in the numerator.
        reference_skies: the sky of each simulation in the denominator.
        skies: of each in the numerator.
        level: of the interval.
    """
    sets = [by_sky(*pair) for pair in ((values, skies), (reference, reference_skies))]
    above, below = (Moments.of(independent) for independent, _ in sets)
    over = "skies" if all(over == "skies" for _, over in sets) else "simulations"
    ratio = above.mean / below.mean if below.mean else math.nan
    if min(above.n, below.n) < FEWEST or not min(reference.min(), values.min()) > 0:
        return Interval(ratio, over=over)
    parts = [moments.variance / moments.mean**2 for moments in (above, below)]
    third = above.third / above.mean**3 - below.third / below.mean**3
    # Welch's and Satterthwaite's degrees of freedom.
    freedom = (
        sum(parts) ** 2 / sum(part**2 / (m.n - 1) for part, m in zip(parts, (above, below), strict=True))
        if any(parts)
        else math.inf
    )
    low, high = _ends(math.log(ratio), sum(parts), third, freedom, level)
    return Interval(ratio, math.exp(low), math.exp(high), over)


def _ends(estimate: float, variance: float, third: float, freedom: float, level: float) -> tuple[float, float]:
    """Return the ends that Hall's cubic transformation g gives: |g(T)| <= t, with T the studentised estimate.

    With r the skewness of the estimate, g(T) = T + r T^2 / 3 + r^2 T^3 / 27 + r / 6, whose inverse is
    3 / r ((1 + r (t - r / 6))^(1/3) - 1).
    """
    if variance == 0:
        return estimate, estimate
    error, skewness = math.sqrt(variance), third / variance**1.5
    most = float(stdtrit(freedom, (1 + level) / 2))

    def inverse(t: float) -> float:
        # The root loses its digits where nothing is skewed.
        if abs(skewness) < 1e-6:
            return t
        return float(3 / skewness * (math.cbrt(1 + skewness * (t - skewness / 6)) - 1))

    return estimate - error * inverse(most), estimate - error * inverse(-most)
