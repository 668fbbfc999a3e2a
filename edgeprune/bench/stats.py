"""Statistics of latency samples: summaries, the speed-up, and its interval. Pure.

Times within a round are not independent, because they share what the machine was doing; rounds are. The interval
therefore resamples rounds, never single times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeprune.bench import student_t
from edgeprune.errors import ConfigError, DeviceError
from edgeprune.records.results import LatencySummary

if TYPE_CHECKING:
    import numpy.typing as npt

Values: TypeAlias = "npt.NDArray[np.float64]"

# Fewest samples for a percentile q: with these the second largest is above it with 99 % confidence, that is
# P(Bin(n, 1 - q) <= 1) <= 0.01 (early stopping in MLPerf Inference's load generator: 64 queries for p90, 662 for p99).
MIN_SAMPLES = {90: 64, 99: 662}

# All rounds lie on the same side of the true median with probability 2 * 0.5**n, so 6 is the least n for which an
# interval made of the observed ratios can hold 95 %.
MIN_ROUNDS = 6

_RESAMPLES = 10_000
_SEED = 0


@dataclass(frozen=True)
class Speedup:
    """Ratio of baseline to pruned time, above 1 when the pruned model is faster, with its 95 % interval."""

    ratio: float
    ci95: tuple[float, float]


def summarise(rounds: Sequence[Values], samples_path: str) -> LatencySummary:
    """Summarize one model's times.

    Args:
        rounds: Milliseconds of each inference, one array a round.
        samples_path: Path of the stored samples, relative to the report.

    Returns:
        Median and percentiles over all times together; a percentile is None below `MIN_SAMPLES`.

    Raises:
        DeviceError: No time at all, or one that is not a positive number.
    """
    medians = round_medians(rounds)
    times = np.concatenate(rounds)
    percentiles = {
        percent: quantile(times, percent / 100) if len(times) >= needed else None
        for percent, needed in MIN_SAMPLES.items()
    }
    return LatencySummary(
        median_ms=float(median(times)),
        mean_ms=float(np.mean(times)),
        samples=len(times),
        samples_path=samples_path,
        round_medians_ms=tuple(medians.tolist()),
        p90_ms=percentiles[90],
        p99_ms=percentiles[99],
    )


def median(values: Values) -> Values:
    """Median over the last axis, bit-identical to `np.median`, which imports the masked arrays first.

    Args:
        values: (..., n) with n > 0.
    """
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    found: Values = (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2
    return found


def quantile(values: Values, share: float) -> float:
    """Compute a quantile, bit-identical to `np.quantile`, which imports the masked arrays first.

    Args:
        values: (n,) with n > 0.
        share: Level of the quantile, 0..1; interpolated linearly between two values.
    """
    ordered, at = np.sort(values), share * (len(values) - 1)
    below, part = int(at), at - int(at)
    low, high = ordered[below], ordered[min(below + 1, len(values) - 1)]
    return float(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))


def round_medians(rounds: Sequence[Values]) -> Values:
    """Median of each round in ms, (rounds,).

    Raises:
        DeviceError: No time at all, or one that is not a positive number.
    """
    if not rounds:
        raise DeviceError("the measurement returned no round")
    for number, times in enumerate(rounds):
        if len(times) == 0:
            raise DeviceError(f"round {number} of the measurement returned no time")
        bad = times[~(np.isfinite(times) & (times > 0))]
        if len(bad):
            raise DeviceError(
                f"round {number} of the measurement has a time of {bad[0]} ms; allowed are positive numbers"
            )
    return np.array([float(median(times)) for times in rounds])


def compare(baseline_ms: "Sequence[float] | Values", pruned_ms: "Sequence[float] | Values") -> Speedup:
    """Estimate how many times faster the pruned model is.

    The ratio is the median of the rounds' own ratios, so that a slow-down of both models in a round cancels; it need
    not equal the quotient of the two overall medians. Medians and quantiles are taken of logarithms, so that swapping
    the models gives the reciprocal. The interval is the bootstrap's expanded percentile interval (Hesterberg 2015, What
    Teachers Should Know About the Bootstrap, The American Statistician 69:4), whose wider quantiles Phi(-sqrt(n / (n -
    1)) t) make up for few rounds; the same rounds give the same interval every time.

    Args:
        baseline_ms: Median of each round of the baseline, (rounds,).
        pruned_ms: Median of each round of the pruned model, (rounds,), paired with it.

    Raises:
        ConfigError: Fewer than `MIN_ROUNDS` rounds, or not as many of one as of the other.
    """
    if len(baseline_ms) != len(pruned_ms) or len(baseline_ms) < MIN_ROUNDS:
        raise ConfigError(
            f"{len(baseline_ms)} rounds of the baseline and {len(pruned_ms)} of the pruned model cannot be compared",
            f"Measure as many of each, at least {MIN_ROUNDS}: fewer cannot hold a 95 % interval",
        )
    logs = np.log(np.asarray(baseline_ms)) - np.log(np.asarray(pruned_ms))
    n = len(logs)
    picks = np.random.default_rng(_SEED).integers(0, n, (_RESAMPLES, n))
    tail = student_t.expanded_tail(n, 0.025)
    found = median(logs[picks])
    low, high = (float(np.exp(quantile(found, share))) for share in (tail, 1 - tail))
    return Speedup(float(np.exp(median(logs))), (low, high))


def compare_builds(
    baseline_ms: "Sequence[float] | Values",
    pruned_ms: "Sequence[float] | Values",
    builds: Sequence[int],
) -> Speedup:
    """Estimate how many times faster the pruned model is, when each was built several times and builds differ.

    Two builds of one model can be two engines, so more rounds of one build do not narrow the interval. The interval
    therefore covers the interval of every build by itself, and the ratio of medians of every build of the one to every
    build of the other.

    Args:
        baseline_ms: Median of each round of the baseline, (rounds,).
        pruned_ms: Median of each round of the pruned model, (rounds,), paired with it.
        builds: Build that both models were in, for each round.

    Raises:
        ConfigError: Fewer than `MIN_ROUNDS` rounds of a build.
    """
    before, after, build = np.asarray(baseline_ms), np.asarray(pruned_ms), np.asarray(builds)
    own = [compare(before[build == number], after[build == number]) for number in np.unique(build)]
    medians = [[float(median(times[build == number])) for number in np.unique(build)] for times in (before, after)]
    ratios = [float(slow / fast) for slow in medians[0] for fast in medians[1]]
    ends = [*ratios, *(end for each in own for end in each.ci95)]
    return Speedup(compare(before, after).ratio, (min(ends), max(ends)))


def is_faster(ci95: tuple[float, float]) -> bool:
    """Return whether the pruned model is shown to be faster: the whole interval of the speed-up is above 1."""
    return ci95[0] > 1


def variation(medians_ms: Sequence[float]) -> float:
    """Coefficient of variation of round medians: standard deviation over mean, at least 0; 0 for a single round."""
    return float(np.std(medians_ms, ddof=1) / np.mean(medians_ms)) if len(medians_ms) > 1 else 0.0
