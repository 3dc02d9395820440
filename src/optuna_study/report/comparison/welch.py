"""The accuracies of several runs, and what sums and differences of their means tell; pure.

B. L. Welch's test (1947): the error of a sum of means is the root of the sum of every part's
variance over its number of runs, and its degrees of freedom are Welch's and Satterthwaite's.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLD_APART = 0.05  # p below which two figures differ
NO_SPREAD = 1e-30  # the variance of a mean that rounding leaves of equal values


@dataclass(frozen=True)
class Spread:
    """The values of several runs, each a fraction of `pictures` in [0, 1]; there is at least one.

    `assumed` of them were not measured: they are the chance level of runs that were given up.
    """

    values: tuple[float, ...]
    pictures: int | None = None  # None in studies that did not keep it
    assumed: int = 0

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation (n - 1); None of a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def variance(self) -> float | None:
        """The variance to reckon with: theirs, or the binomial one of a run where that is more.

        A run's accuracy is a count of right answers, and two or three such counts often agree by
        chance: taken at their word, two pairs that differ by a single picture are told apart with
        p = 0. To leave only equal runs open would not do, since runs that agree but for a picture
        are as deceptive. So no row spreads less here than p (1 - p) / n, what a count of n
        answers drawn anew varies by. Answers that every run gives alike vary less than that:
        this errs on the side of leaving an order open. p is taken as (right + 1) / (n + 2), since
        100 % of n pictures is not certainty either. None of a single run.
        """
        if len(self.values) < 2:
            return None
        own = statistics.variance(self.values)
        if self.pictures is None:
            return own
        share = (self.mean * self.pictures + 1) / (self.pictures + 2)
        return max(own, share * (1 - share) / self.pictures)


@dataclass(frozen=True)
class Contrast:
    """A sum of means: its value, its standard error and the error's degrees of freedom.

    The error is None where single runs, or equal ones of a study that did not keep how many
    pictures they are of, say nothing of it.
    """

    gain: float
    error: float | None = None
    freedom: float = 1.0

    def p(self, supposed: float = 0.0) -> float | None:
        """The two-sided p of its being `supposed`; None where nothing is known of the error."""
        if self.error is None:
            return None
        from scipy.special import stdtr  # here since `show` of a search does without

        return float(2 * stdtr(self.freedom, -abs(self.gain - supposed) / self.error))


def contrast(parts: Sequence[tuple[int, Spread]]) -> Contrast:
    """The sum of some means, each times a factor, such as 1 and -1 for a difference of two.

    >>> contrast([(1, Spread((0.9, 0.92))), (-1, Spread((0.8, 0.82)))]).p() < 0.05
    True
    """
    gain = math.fsum(factor * spread.mean for factor, spread in parts)
    variances = [spread.variance for _, spread in parts]
    shares = [
        (factor**2 * variance / len(spread.values), len(spread.values) - 1)
        for (factor, spread), variance in zip(parts, variances, strict=True)
        if variance is not None
    ]
    total = math.fsum(share for share, _ in shares)
    if len(shares) < len(parts) or total < NO_SPREAD:
        return Contrast(gain)
    return Contrast(
        gain, math.sqrt(total), total**2 / math.fsum(share**2 / runs for share, runs in shares)
    )
