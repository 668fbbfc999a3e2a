"""Change points in a history: lasting changes of level. Pure."""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_SHORTEST = 2
_LEAST_NOISE = 1e-3
_COST_OF_A_STEP = 5.0
_MAD = 1.4826


@dataclass(frozen=True)
class ChangePoint:
    """Change of level: `at` is the first point of the new level."""

    at: int
    before: float
    after: float


def steps(values: Values) -> list[ChangePoint]:
    """Find the steps of a series, by least squares over piecewise constant levels.

    Each step costs 5 s² ln n, about twice the penalty of the Bayesian information criterion, where s is the noise from
    one point to the next (median absolute difference, so that steps do not count as noise). Levels last at least two
    points. The series is first smoothed by a running median of three, which removes single outliers and preserves
    steps.

    Args:
        values: One value a commit, in order; logarithms where ratios matter.
    """
    n = len(values)
    if n < 2 * _SHORTEST:
        return []
    middle = np.median([values[:-2], values[1:-1], values[2:]], axis=0)
    smooth = np.concatenate([middle[:1], middle, middle[-1:]])
    noise = max(_LEAST_NOISE, float(_MAD * np.median(np.abs(np.diff(values))) / np.sqrt(2)))
    bounds = _levels(smooth, _COST_OF_A_STEP * noise**2 * np.log(n))
    levels = [float(np.median(values[low:high])) for low, high in itertools.pairwise(bounds)]
    return [ChangePoint(at, *pair) for at, pair in zip(bounds[1:-1], itertools.pairwise(levels), strict=True)]


def _levels(values: Values, cost: float) -> list[int]:
    """Find the bounds of the best levels, 0 and n included: optimal partitioning (Jackson et al. 2005)."""
    n = len(values)
    sums, squares = np.concatenate([[0], np.cumsum(values)]), np.concatenate([[0], np.cumsum(values**2)])
    best, origin = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=np.int64)
    best[0] = -cost
    for end in range(_SHORTEST, n + 1):
        starts = np.arange(0, end - _SHORTEST + 1)
        spread = squares[end] - squares[starts] - (sums[end] - sums[starts]) ** 2 / (end - starts)
        totals = best[starts] + spread + cost
        origin[end] = int(np.argmin(totals))
        best[end] = totals[origin[end]]
    bounds = [n]
    while bounds[-1] > 0:
        bounds.append(int(origin[bounds[-1]]))
    return bounds[::-1]
