"""Means of values that depend on their neighbours and on the process they come from, with standard errors. Pure.

Rounds of a measurement resemble the ones before, and a process in which the networks were loaded anew has a placement
in memory of its own. Rounds are therefore taken together by process; what the processes' values differ by gives the
standard error, corrected for the correlation that neighbouring processes still have, and never less than what the
rounds within them give (batch means: Law and Kelton, Simulation Modeling and Analysis, section 9.5).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from edgeprune.bench import student_t
from edgeprune.bench.stats import MIN_ROUNDS, Speedup, Values, median
from edgeprune.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt

FEWEST_GROUPS = 5
ROUNDS_A_GROUP = 12  # fewer do not show how much is carried from round to round
_LAGS = 4
_SHARES, _CARRIES = np.linspace(0, 1, 21), np.linspace(0, 0.95, 20)
_MAD = 1.4826  # standard deviation of normal values over their median absolute deviation
_OF_MEDIAN = math.pi / 2  # variance of the median of normal values over that of their mean


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Attributes:
        mean: The mean of the groups' values.
        error: Its standard error.
        freedom: Degrees of freedom of Student's t that go with it, at least 1.
        carried: How much of a value is that of the one before, 0..0.95: the first autocorrelation within groups.
    """

    mean: float
    error: float
    freedom: float
    carried: float = 0.0

    def reach(self, tail: float) -> float:
        """Distance from the mean beyond which lies a share of `tail` on one side."""
        return student_t.quantile(tail, self.freedom) * self.error

    def interval(self, tail: float = 0.025) -> tuple[float, float]:
        """The interval that leaves a share of `tail` on either side: 95 % by default."""
        return self.mean - self.reach(tail), self.mean + self.reach(tail)

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference of two independent means, its degrees of freedom by Welch and Satterthwaite."""
        own, others = self.error**2, other.error**2
        total = own + others
        freedom = total**2 / (own**2 / self.freedom + others**2 / other.freedom) if total else self.freedom
        return Estimate(self.mean - other.mean, math.sqrt(total), max(1.0, freedom))


def mean_of(
    values: Values, processes: Sequence[int] = (), centre: Callable[[Values], "Values | float"] = median
) -> Estimate:
    """The mean of values in the order of time, with a standard error that holds for dependent ones.

    Args:
        values: One a round, (rounds,) with at least two.
        processes: The process of each round, rising; empty where all are of one, which is then cut into
            `FEWEST_GROUPS` runs of neighbouring rounds.
        centre: What a group comes to; its median by default.
    """
    groups = [values[places] for places in grouped(len(values), processes)]
    each = np.array([float(centre(group)) for group in groups])
    count, length = len(groups), max(1, round(len(values) / len(groups)))
    memory = _memory(groups, length)
    own, whole = memory.variance_of_mean(length), memory.variance_of_mean(length * count)
    shared = (count * whole - own) / (count - 1)  # covariance of two groups
    between = float(np.var(each, ddof=1)) / count * whole / ((own - shared) / count)
    deviations = np.concatenate([group - middle for group, middle in zip(groups, each, strict=True)])
    robust = centre is median
    variance = _OF_MEDIAN * (_MAD * float(median(np.abs(deviations)))) ** 2 if robust else float(np.var(deviations))
    within = variance / max(1 - own, 1 / length) * whole
    return Estimate(float(np.mean(each)), math.sqrt(max(between, within)), count - 1, memory.share * memory.carry)


def speedup(
    baseline_ms: "Sequence[float] | Values",
    pruned_ms: "Sequence[float] | Values",
    processes: Sequence[int],
    builds: Sequence[int] | None = None,
) -> Speedup:
    """How many times faster the pruned model is, measured in several processes.

    The ratio is the mean of what the processes come to, each the median of its rounds' own ratios; all in logarithms,
    so that swapping the models gives the reciprocal.

    Where engines were built several times, a build of one model is compared with every build of the other, and the
    interval also counts how far builds lie apart: its half is sqrt(a^2 + b^2), where a is that of the rounds and b that
    of a mean of so many builds, whose variance is taken from both models together. It covers every two builds.

    Args:
        baseline_ms: Median of each round of the baseline, (rounds,).
        pruned_ms: Median of each round of the pruned model, (rounds,), paired with it.
        processes: In which process each round was, rising.
        builds: Which build both models were in, in each round; None where nothing is built.

    Raises:
        ConfigError: Fewer than `MIN_ROUNDS` rounds, of a build where there are builds, or not as many of each model.
    """
    labels = np.ones(len(baseline_ms), np.int64) if builds is None else np.asarray(builds, np.int64)
    if len(baseline_ms) != len(pruned_ms) or min(np.unique(labels, return_counts=True)[1], default=0) < MIN_ROUNDS:
        raise ConfigError(
            f"{len(baseline_ms)} rounds of the baseline and {len(pruned_ms)} of the pruned model cannot be compared",
            f"Measure as many of each, at least {MIN_ROUNDS} a build: fewer cannot hold a 95 % interval",
        )
    before, after = np.log(np.asarray(baseline_ms)), np.log(np.asarray(pruned_ms))
    found = mean_of(before - after, processes)
    low, high = found.interval()
    if len(np.unique(labels)) > 1:
        ratios = between_builds(after, before, labels)
        spread = float(np.var(ratios.mean(axis=1), ddof=1) + np.var(ratios.mean(axis=0), ddof=1))
        built = Estimate(found.mean, math.sqrt(spread / len(ratios)), 2 * (len(ratios) - 1))
        half = math.hypot(found.reach(0.025), built.reach(0.025))
        low, high = min(found.mean - half, float(ratios.min())), max(found.mean + half, float(ratios.max()))
    return Speedup(math.exp(found.mean), (math.exp(low), math.exp(high)))


def between_builds(before: Values, after: Values, builds: "npt.NDArray[np.int64]") -> Values:
    """Median of `after` less `before`, of each build of the one (rows) and each of the other (columns).

    Builds take turns, so that the rounds of two builds are paired in their order and what slows the machine cancels.

    Args:
        before: One value a round, (rounds,).
        after: The same of the other model.
        builds: Which build both were in, (rounds,).
    """
    own = [np.flatnonzero(builds == number) for number in np.unique(builds)]
    least = min(map(len, own))
    return np.array([[float(median(after[b[:least]] - before[a[:least]])) for b in own] for a in own])


def grouped(rounds: int, processes: Sequence[int] = ()) -> list["npt.NDArray[np.int64]"]:
    """Places of the rounds that are taken together: of a process, or of neighbouring ones where they have few each.

    Args:
        rounds: How many there are.
        processes: The process of each, rising; empty where all are of one.
    """
    if len(set(processes)) < 2:
        return np.array_split(np.arange(rounds), min(rounds, FEWEST_GROUPS))
    number = np.unique(np.asarray(processes), return_inverse=True)[1]
    parts = np.array_split(
        np.arange(number.max() + 1), min(number.max() + 1, max(FEWEST_GROUPS, rounds // ROUNDS_A_GROUP))
    )
    return [np.flatnonzero((number >= part[0]) & (number <= part[-1])) for part in parts]


@dataclass(frozen=True)
class _Memory:
    """How rounds depend on earlier ones: a share of each is a first-order process, the rest is its own.

    Attributes:
        share: Share of the variance that wanders, 0..1.
        carry: How much of that is of the round before, 0..0.95.
    """

    share: float
    carry: float

    def variance_of_mean(self, length: int) -> float:
        """Variance of the mean of so many rounds, over that of one round."""
        return self.share * _variance_of_mean(length, self.carry) + (1 - self.share) / length


def _memory(groups: Sequence[Values], length: int) -> _Memory:
    """The memory whose expected autocorrelations within groups are nearest to those found, by least squares.

    Several lags are needed: noise of single rounds hides how slowly the rest wanders from the first one alone. What is
    expected is that of deviations from the mean of a short group, which correlate less than the values themselves
    (Marriott and Pope 1954, Bias in the Estimation of Autocorrelations, Biometrika 41).
    """
    deviations = [group - np.mean(group) for group in groups]
    total = sum(float(each @ each) for each in deviations)
    lags = min(_LAGS, length - 2)
    if lags < 1 or total == 0:
        return _Memory(0.0, 0.0)
    found = np.array(
        [sum(float(each[lag:] @ each[:-lag]) for each in deviations) / total for lag in range(1, lags + 1)]
    )
    table = _expected(length)[:, :, :lags]
    share, carry = np.unravel_index(np.argmin(np.sum((table - found) ** 2, axis=2)), table.shape[:2])
    return _Memory(float(_SHARES[share]), float(_CARRIES[carry]))


@cache
def _expected(length: int) -> "npt.NDArray[np.float64]":
    """Autocorrelations around its own mean that a group of so many rounds shows, (shares, carries, lags)."""
    away = np.eye(length) - 1 / length
    lags = range(min(_LAGS, length - 2) + 1)

    def sums(carry: float) -> Values:
        around = away @ carry ** np.abs(np.subtract.outer(np.arange(length), np.arange(length))) @ away
        return np.array([np.trace(around, offset=lag) for lag in lags])

    alone = sums(0.0)
    each = np.array([[share * sums(carry) + (1 - share) * alone for carry in _CARRIES] for share in _SHARES])
    found: Values = each[:, :, 1:] / each[:, :, :1]
    return found


@cache
def _variance_of_mean(length: int, carried: float) -> float:
    """Variance of the mean of so many rounds of a first-order autoregressive process, over that of one round."""
    far = 2 * carried * (1 - carried**length) / (length * (1 - carried) ** 2)
    return ((1 + carried) / (1 - carried) - far) / length
