"""Student's distribution; pure.

`scipy.special` has it, too, and takes 0.4 CPU seconds to import: more than all else that `show`
does, and each worker and each launch would wait for it as they end.
"""

from __future__ import annotations

import math
import statistics

NORMAL = 1e6  # degrees of freedom of an error that is known
_CLOSE = 1e-15
_MOST_TERMS = 10_000  # some root of the degrees of freedom is enough


def two_sided_p(freedom: float, distance: float) -> float:
    """How likely a value is to lie further from 0 than `distance`, by its degrees of freedom.

    The incomplete beta function at freedom / (freedom + distance^2):
    Abramowitz and Stegun, 26.7.

    >>> round(two_sided_p(1, 1), 6), round(two_sided_p(9, 2.262157), 6)
    (0.5, 0.05)
    """
    square = distance * distance
    if freedom >= NORMAL:
        return math.erfc(abs(distance) / math.sqrt(2))
    if square == 0:
        return 1.0
    first, second = freedom / 2, 0.5
    below, above = 1 / (1 + square / freedom), 1 / (1 + freedom / square)  # their sum is 1
    log_factor = (
        *(math.lgamma(first + second), -math.lgamma(first), -math.lgamma(second)),
        *(-first * math.log1p(square / freedom), -second * math.log1p(freedom / square)),
    )
    factor = math.exp(math.fsum(log_factor))
    if below < (first + 1) / (first + second + 2):
        return factor * _fraction(first, second, below) / first
    return 1 - factor * _fraction(second, first, above) / second


def distance(freedom: float, level: float) -> float:
    """What a value lies further from 0 than with a probability of `level`, in (0, 1).

    >>> round(distance(9, 0.05), 6)
    2.262157
    """
    if freedom >= NORMAL:
        return statistics.NormalDist().inv_cdf(1 - level / 2)
    low, high = 0.0, 1.0
    while two_sided_p(freedom, high) > level:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if two_sided_p(freedom, middle) > level else (low, middle)
    return middle


def _fraction(first: float, second: float, at: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method.

    Press and others, Numerical Recipes, 6.4.
    """
    numerator, denominator = 1.0, 1 / (1 - (first + second) * at / (first + 1))
    result = denominator
    for term in range(1, _MOST_TERMS):
        place = first + 2 * term
        for factor in (
            term * (second - term) * at / ((place - 1) * place),
            -(first + term) * (first + second + term) * at / (place * (place + 1)),
        ):
            denominator = 1 / (1 + factor * denominator)
            numerator = 1 + factor / numerator
            result *= denominator * numerator
        if abs(denominator * numerator - 1) < _CLOSE:
            break
    return result
