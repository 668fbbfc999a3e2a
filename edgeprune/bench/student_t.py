"""Student's t distribution without SciPy, whose import takes longer than the programs that use this."""

import math
from functools import cache
from statistics import NormalDist

_STEPS = 100
_MOST_TERMS = 500
_TINY = 1e-300


def survival(t: float, freedom: float) -> float:
    """P(T > t) with `freedom` degrees of freedom, to 1e-12.

    Half the regularised incomplete beta function I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t^2).

    Args:
        t: Any number.
        freedom: At least 1; need not be whole.
    """
    if t < 0:
        return 1 - survival(-t, freedom)
    a, b, x, rest = freedom / 2, 0.5, freedom / (freedom + t * t), t * t / (freedom + t * t)
    if rest == 0 or x == 0:
        return 0.5 if rest == 0 else 0.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    if x < (a + 1) / (a + b + 2):
        return 0.5 * math.exp(front) * _fraction(a, b, x) / a
    return 0.5 - 0.5 * math.exp(front) * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function, 8.17.22 of https://dlmf.nist.gov, by Lentz's method."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _MOST_TERMS):
        before = found
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            c, d = _not_zero(1 + term / c), 1 / _not_zero(1 + term * d)
            found *= c * d
        if abs(found - before) < 1e-15 * abs(found):
            break
    return found


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


@cache
def quantile(upper: float, freedom: float) -> float:
    """Quantile t above which a share of `upper` lies, 0 < upper < 0.5.

    Newton's method starts from 0: the tail is convex there, so no step overshoots.
    """
    t = 0.0
    for _ in range(_STEPS):
        step = (survival(t, freedom) - upper) / _density(t, freedom)
        t += step
        if abs(step) <= 1e-14 * t:
            break
    return t


def _density(t: float, freedom: float) -> float:
    front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(math.pi * freedom) / 2
    return math.exp(front - (freedom + 1) / 2 * math.log1p(t * t / freedom))


def expanded_tail(n: float, tail: float) -> float:
    """Bootstrap quantile that a percentile interval from n values should use in place of `tail`.

    Phi(-sqrt(n / (n - 1)) t), the expanded percentile interval of Hesterberg 2015 (What Teachers Should Know About the
    Bootstrap, The American Statistician 69:4): it corrects the bootstrap, which is too narrow for few values.
    """
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * quantile(tail, n - 1))
