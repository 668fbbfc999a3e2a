"""What the rounds of a measurement prove: intervals of quantiles, and shifts between two measurements. Pure.

Rounds follow one another on a machine whose clock drifts, and every process places a network elsewhere in memory. All
that is said here rests on `bench.estimate`, which counts both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune.bench import student_t
from edgeprune.bench.estimate import Estimate, mean_of
from edgeprune.bench.stats import Values as Values
from edgeprune.bench.stats import quantile, round_medians

MOST_CARRIED = 0.5
"""First autocorrelation of rounds up to which they tell of a percentile; simulated in benchmarks/gate.py."""
_TAIL = 0.1


@dataclass(frozen=True)
class Shift:
    """How much larger one series is than another, in logarithms; 0.05 is about 5 %.

    Attributes:
        log: The difference of their means.
        resolution: The smallest shift that this comparison could have shown to be above 0.
        p: Probability of a shift so far up when nothing changed.
        p_faster: Probability of one so far down.
    """

    log: float
    resolution: float
    p: float
    p_faster: float

    @property
    def share(self) -> float:
        """The shift as a share: 0.05 for 5 % more."""
        return float(np.expm1(self.log))


def shift_of(difference: Estimate, alpha: float) -> Shift:
    """The shift that a difference of means shows, by Student's t.

    Args:
        difference: After less before, in logarithms.
        alpha: Probability of a false alarm that `resolution` is for.
    """
    if difference.error == 0:
        p = 0.5 if difference.mean == 0 else float(difference.mean < 0)
    else:
        p = student_t.survival(difference.mean / difference.error, difference.freedom)
    return Shift(difference.mean, difference.reach(alpha), p, 1 - p)


def across(whole: Shift, pairs: Sequence[Shift]) -> Shift:
    """A shift that also lies between every two builds, since two builds of one model can be two engines.

    More rounds do not narrow what one build proves, so that what is significant must be so whichever two are compared
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
    """The p values of several tests, adjusted so that the level holds for all of them together.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6:2.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def mean_interval(values: Values) -> tuple[float, float]:
    """The 95 % interval of the mean of one value a round.

    Args:
        values: In the order of the rounds, (rounds,) with at least two.
    """
    return mean_of(values, centre=_mean).interval()


def median_interval(medians_ms: Values, processes: Sequence[int] = ()) -> tuple[float, float]:
    """The 95 % interval of the median where single times are missing: Student's on the medians of the processes.

    Args:
        medians_ms: Median of each round, (rounds,).
        processes: In which process each was; empty where all were in one.
    """
    low, high = mean_of(np.log(medians_ms), processes).interval()
    return math.exp(low), math.exp(high)


def quantile_interval(
    rounds: Sequence[Values], share: float, processes: Sequence[int] = ()
) -> tuple[float, float] | None:
    """The 95 % interval of a quantile over all times of all rounds, or None where the rounds do not hold one.

    The share of times below the quantile has an interval of its own, which counts that rounds and processes differ,
    taken of its logit, since it lies within 0..1; the interval's ends are looked up among the times (Woodruff 1952,
    Confidence Intervals for Medians and Other Position Measures, Journal of the American Statistical Association 47).
    There is none where an end lies beyond all times, nor for a percentile of rounds that resemble their neighbours so
    much that too few of them are unlike (`MOST_CARRIED`).

    Args:
        rounds: Milliseconds of each inference, one array a round.
        share: Which quantile, 0.99 for the 99th percentile.
        processes: In which process each round was; empty where all were in one.
    """
    times = np.concatenate(rounds)
    found = quantile(times, share)
    below = np.array([float(np.mean(each <= found)) for each in rounds])
    reach = mean_of(below, processes, centre=_mean).reach(0.025) / (share * (1 - share))
    low, high = (1 / (1 + math.exp(min(700.0, -math.log(share / (1 - share)) + side * reach))) for side in (1, -1))
    is_tail = not _TAIL < share < 1 - _TAIL
    if min(low, 1 - high) * len(times) < 1 or (is_tail and _carried(rounds, processes) > MOST_CARRIED):
        return None
    return quantile(times, low), quantile(times, high)


def _carried(rounds: Sequence[Values], processes: Sequence[int]) -> float:
    """How much of a round's median is that of the one before."""
    return mean_of(np.log(round_medians(rounds)), processes).carried


def _mean(values: Values) -> float:
    return float(np.mean(values))
