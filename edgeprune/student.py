"""Student's t distribution, for programs that must start at once: importing SciPy takes longer than what it is for."""

import math
from functools import cache
from statistics import NormalDist

import numpy as np

_NODES = 96
_STEPS = 60

_rule = cache(np.polynomial.legendre.leggauss)


def survival(t: float, freedom: float) -> float:
    """P(T > t) with `freedom` degrees of freedom, to 1e-10 down to 2 of them.

    With t = sqrt(freedom) tan(a) the density becomes a power of the cosine, which Gauss and Legendre's rule integrates.

    Args:
        t: Any number.
        freedom: At least 1; need not be whole.
    """
    if t < 0:
        return 1 - survival(-t, freedom)
    low, high = math.atan(t / math.sqrt(freedom)), math.pi / 2
    nodes, weights = _rule(_NODES)
    angles = (high - low) / 2 * nodes + (high + low) / 2
    integral = float(np.sum(weights * np.cos(angles) ** (freedom - 1))) * (high - low) / 2
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return scale * integral


def quantile(upper: float, freedom: float) -> float:
    """The t above which lies a share of `upper`, 0 < upper < 0.5; found by halving."""
    low, high = 0.0, 1.0
    while survival(high, freedom) > upper:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if survival(middle, freedom) > upper else (low, middle)
    return (low + high) / 2


def expanded_tail(n: float, tail: float) -> float:
    """The quantile of a bootstrap from n values that a percentile interval should take in place of `tail`.

    Phi(-sqrt(n / (n - 1)) t), the expanded percentile interval of Hesterberg 2015 (What Teachers Should Know About the
    Bootstrap, The American Statistician 69:4): it makes up for the bootstrap's being too narrow for few values.
    """
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * quantile(tail, n - 1))
