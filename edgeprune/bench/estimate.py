"""Means of dependent values from several processes, with standard errors. Pure.

Successive rounds of a measurement are correlated. A process that loads the networks anew also has its own placement in
memory. Rounds are therefore grouped by process. The spread between processes gives the standard error, corrected for
the correlation between neighboring processes and never smaller than the error estimated from the rounds within them
(batch means: Law and Kelton, Simulation Modeling and Analysis, section 9.5).
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
ROUNDS_A_GROUP = 12  # fewer do not show the autocorrelation of rounds
_LAGS = 4
_SHARES, _CARRIES = np.linspace(0, 1, 21), np.linspace(0, 0.95, 20)
_MAD = 1.4826  # standard deviation of normal values over their median absolute deviation
_OF_MEDIAN = math.pi / 2  # variance of the median of normal values over that of their mean


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Attributes:
        mean: Mean of the groups' values.
        error: Standard error of the mean.
        freedom: Degrees of freedom of the corresponding Student's t, at least 1.
        autocorrelation: Lag-1 autocorrelation within groups, 0..0.95.
    """

    mean: float
    error: float
    freedom: float
    autocorrelation: float = 0.0

    def reach(self, tail: float) -> float:
        """Distance from the mean beyond which a share of `tail` lies on one side."""
        return student_t.quantile(tail, self.freedom) * self.error

    def interval(self, tail: float = 0.025) -> tuple[float, float]:
        """Interval that leaves a share of `tail` on either side: 95 % by default."""
        return self.mean - self.reach(tail), self.mean + self.reach(tail)

    def minus(self, other: "Estimate") -> "Estimate":
        """Subtract an independent mean; the degrees of freedom are those of Welch and Satterthwaite."""
        own, others = self.error**2, other.error**2
        total = own + others
        freedom = total**2 / (own**2 / self.freedom + others**2 / other.freedom) if total else self.freedom
        return Estimate(self.mean - other.mean, math.sqrt(total), max(1.0, freedom))


def mean_of(
    values: Values, processes: Sequence[int] = (), centre: Callable[[Values], "Values | float"] = median
) -> Estimate:
    """Mean of values in order of time, with a standard error that holds for dependent values.

    Args:
        values: One a round, (rounds,) with at least two.
        processes: Process of each round, rising; empty where all are of one, which is then cut into
            `FEWEST_GROUPS` runs of neighboring rounds.
        centre: Value of a group; its median by default.
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
    """Estimate how many times faster the pruned model is, measured in several processes.

    The ratio is the mean over processes of the median ratio of each process's rounds. All is in logarithms, so that
    swapping the models gives the reciprocal.

    Where engines were built several times, each build of one model is compared with each build of the other. The
    interval then covers the spread between builds as well: its half-width is sqrt(a^2 + b^2), where a is the half-width
    over rounds and b that of a mean over the builds, with a variance pooled over both models. It covers every pair of
    builds.

    Args:
        baseline_ms: Median of each round of the baseline, (rounds,).
        pruned_ms: Median of each round of the pruned model, (rounds,), paired with it.
        processes: Process of each round, rising.
        builds: Build that both models were in, for each round; None where nothing is built.

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
    """Median of `after` minus `before`, for each build of the one (rows) and each of the other (columns).

    Builds take turns: the rounds of two builds are paired in order, so that any slow-down of the machine cancels.

    Args:
        before: One value a round, (rounds,).
        after: One value a round of the other model, (rounds,).
        builds: Build that both models were in, for each round, (rounds,).
    """
    own = [np.flatnonzero(builds == number) for number in np.unique(builds)]
    least = min(map(len, own))
    return np.array([[float(median(after[b[:least]] - before[a[:least]])) for b in own] for a in own])


def grouped(rounds: int, processes: Sequence[int] = ()) -> list["npt.NDArray[np.int64]"]:
    """Group the rounds by process, or group neighboring rounds where processes have few each; gives their indices.

    Args:
        rounds: Number of rounds.
        processes: Process of each round, rising; empty where all are of one.
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
    """Dependence of rounds on earlier ones: a first-order autoregressive share, the rest independent.

    Attributes:
        share: Share of the variance that is autoregressive, 0..1.
        carry: Autocorrelation of that share from round to round, 0..0.95.
    """

    share: float
    carry: float

    def variance_of_mean(self, length: int) -> float:
        """Variance of the mean of `length` rounds, relative to that of one round."""
        return self.share * _variance_of_mean(length, self.carry) + (1 - self.share) / length


def _memory(groups: Sequence[Values], length: int) -> _Memory:
    """Fit the memory whose expected autocorrelations within groups are nearest to the observed ones, by least squares.

    Several lags are needed: noise of single rounds hides from the first lag how slowly the rest decays. The expected
    autocorrelations are those of deviations from the mean of a short group, which are smaller than those of the values
    themselves (Marriott and Pope 1954, Bias in the Estimation of Autocorrelations, Biometrika 41).
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
    """Expected autocorrelations around the sample mean of a group of `length` rounds, (shares, carries, lags)."""
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
def _variance_of_mean(length: int, autocorrelation: float) -> float:
    """Variance of the mean of `length` rounds of a first-order autoregressive process, over that of one round."""
    far = 2 * autocorrelation * (1 - autocorrelation**length) / (length * (1 - autocorrelation) ** 2)
    return ((1 + autocorrelation) / (1 - autocorrelation) - far) / length
