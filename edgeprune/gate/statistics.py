"""Statistics of rounds: intervals of quantiles, and shifts between two measurements. Pure.

Successive rounds run on a machine whose clock drifts, and every process places a network elsewhere in memory. All
results here rest on `bench.estimate`, which accounts for both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune.bench import student_t
from edgeprune.bench.estimate import Estimate, mean_of
from edgeprune.bench.stats import Values as Values
from edgeprune.bench.stats import quantile, round_medians

MOST_AUTOCORRELATION = 0.5
"""Largest lag-1 autocorrelation of rounds at which they support a percentile; simulated in benchmarks/gate.py."""
_TAIL = 0.1


@dataclass(frozen=True)
class Shift:
    """Shift of one series relative to another, in logarithms; 0.05 is about 5 %.

    Attributes:
        log: Difference of their means.
        resolution: Smallest shift that this comparison could have shown to be above 0.
        p: Probability of a shift at least as far up when nothing changed.
        p_faster: Probability of a shift at least as far down when nothing changed.
    """

    log: float
    resolution: float
    p: float
    p_faster: float

    @property
    def share(self) -> float:
        """Shift as a share: 0.05 for 5 % more."""
        return float(np.expm1(self.log))


def shift_of(difference: Estimate, alpha: float) -> Shift:
    """Compute the shift that a difference of means shows, by Student's t.

    Args:
        difference: After minus before, in logarithms.
        alpha: Probability of a false alarm, for `resolution`.
    """
    if difference.error == 0:
        p = 0.5 if difference.mean == 0 else float(difference.mean < 0)
    else:
        p = student_t.survival(difference.mean / difference.error, difference.freedom)
    return Shift(difference.mean, difference.reach(alpha), p, 1 - p)


def across(whole: Shift, pairs: Sequence[Shift]) -> Shift:
    """Extend a shift to every pair of builds, since two builds of one model can be two engines.

    More rounds of one build do not narrow the result, so a significant shift must be significant for every pair
    (Berger 1982, Technometrics 24:4: the largest p of all tests keeps the level).

    Args:
        whole: Shift over all rounds.
        pairs: Shift of each pair of a build before and a build after.
    """
    return Shift(
        log=whole.log,
        resolution=max(each.resolution - (each.log - whole.log) for each in pairs),
        p=max(each.p for each in pairs),
        p_faster=max(each.p_faster for each in pairs),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of several tests so that the level holds for all of them together.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6:2.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def mean_interval(values: Values) -> tuple[float, float]:
    """Compute the 95 % interval of the mean of one value a round.

    Args:
        values: Values in the order of the rounds, (rounds,) with at least two.
    """
    return mean_of(values, centre=_mean).interval()


def median_interval(medians_ms: Values, processes: Sequence[int] = ()) -> tuple[float, float]:
    """Compute the 95 % interval of the median without single times: Student's on the medians of the processes.

    Args:
        medians_ms: Median of each round, (rounds,).
        processes: Process of each round; empty if all were in one.
    """
    low, high = mean_of(np.log(medians_ms), processes).interval()
    return math.exp(low), math.exp(high)


def quantile_interval(
    rounds: Sequence[Values], share: float, processes: Sequence[int] = ()
) -> tuple[float, float] | None:
    """Compute the 95 % interval of a quantile over all times of all rounds, or None if they do not support one.

    The share of times below the quantile has an interval of its own, which accounts for differences between rounds and
    processes. It is computed on the logit, since the share lies within 0..1. The interval's ends are looked up among
    the times (Woodruff 1952, Confidence Intervals for Medians and Other Position Measures, Journal of the American
    Statistical Association 47). There is none if an end lies beyond all times, or for a percentile if the
    autocorrelation of the rounds exceeds `MOST_AUTOCORRELATION`.

    Args:
        rounds: Milliseconds of each inference, one array a round.
        share: Level of the quantile, 0.99 for the 99th percentile.
        processes: Process of each round; empty if all were in one.
    """
    times = np.concatenate(rounds)
    found = quantile(times, share)
    below = np.array([float(np.mean(each <= found)) for each in rounds])
    reach = mean_of(below, processes, centre=_mean).reach(0.025) / (share * (1 - share))
    low, high = (1 / (1 + math.exp(min(700.0, -math.log(share / (1 - share)) + side * reach))) for side in (1, -1))
    is_tail = not _TAIL < share < 1 - _TAIL
    if min(low, 1 - high) * len(times) < 1 or (is_tail and _autocorrelation(rounds, processes) > MOST_AUTOCORRELATION):
        return None
    return quantile(times, low), quantile(times, high)


def _autocorrelation(rounds: Sequence[Values], processes: Sequence[int]) -> float:
    """Lag-1 autocorrelation of round medians."""
    return mean_of(np.log(round_medians(rounds)), processes).autocorrelation


def _mean(values: Values) -> float:
    return float(np.mean(values))
