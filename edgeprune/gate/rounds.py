"""What the rounds of a measurement prove: intervals of quantiles, and shifts between two measurements. Pure.

Rounds follow one another on a machine whose clock drifts, so even they are not independent. All that is said here
therefore counts a round for less the more it resembles the one before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune import student
from edgeprune.bench.stats import Values as Values
from edgeprune.bench.stats import median, quantile, round_medians

_RESAMPLES = 1000
_GRID = 401
_SEED = 0
_MOST_CARRIED = 0.95
_LEAST_WORTH = 3.0


@dataclass(frozen=True)
class Shift:
    """How much larger one series is than another, in logarithms; 0.05 is about 5 %.

    Attributes:
        log: Hodges and Lehmann's estimate, the median of all differences of a value of one and a value of the other.
        resolution: The smallest shift that this comparison could have shown to be above 0; infinite when none.
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


def carried(values: Values) -> float:
    """How much of a round is that of the round before, 0..0.95: the first autocorrelation of ranks.

    Ranks, so that a single wild round does not hide it; corrected for its bias in short series (Marriott and Pope
    1954, Bias in the Estimation of Autocorrelations, Biometrika 41), and never below 0.
    """
    n = len(values)
    ranks = _ranks(values) - (n + 1) / 2
    total = float(ranks @ ranks)
    if n < 3 or total == 0:
        return 0.0
    first = float(ranks[:-1] @ ranks[1:]) / total
    return float(np.clip(first + (1 + 3 * first) / n, 0.0, _MOST_CARRIED))


def worth(values: Values) -> float:
    """Number of independent rounds that tell as much as these: n (1 - r) / (1 + r), with r what is carried."""
    carry = carried(values)
    return len(values) * (1 - carry) / (1 + carry)


def shift(before: Values, after: Values, alpha: float, worths: tuple[float, float] | None = None) -> Shift:
    """Whether `after` is larger than `before`, by the test of Mann and Whitney on as many rounds as they are worth.

    The share of pairs in which `after` is larger has, when nothing changed, the variance (1/m + 1/n + 1/mn) / 12, where
    m and n are what the rounds are worth; it is held against Student's t with m + n - 2 degrees of freedom. The
    resolution is how far the same variance reaches on the ordered differences.

    Args:
        before: Logarithms of one value a round, in the order of the rounds.
        after: The same of the other measurement.
        alpha: Probability of a false alarm that `resolution` is for.
        worths: What the rounds are worth, where more is known of that than they tell themselves.
    """
    differences = np.sort((after[:, None] - before[None, :]).ravel())
    larger = float(np.sum(differences > 0) + 0.5 * np.sum(differences == 0)) / len(differences)
    m, n = worths or (worth(before), worth(after))
    deviation = math.sqrt((1 / m + 1 / n + 1 / (m * n)) / 12)
    freedom = max(1.0, m + n - 2)
    log = float(median(differences))
    far = 0.5 + student.quantile(alpha, freedom) * deviation
    resolution = quantile(differences, far) - log if far <= 1 else math.inf
    t = (larger - 0.5) / deviation
    return Shift(log, resolution, student.survival(t, freedom), student.survival(-t, freedom))


def across(whole: Shift, pairs: Sequence[Shift]) -> Shift:
    """A shift that also lies between every two builds, since two builds of one model can be two engines.

    More rounds do not narrow what one build proves, so that what is significant must be so whichever two are compared
    (Berger 1982, Technometrics 24:4: the largest p of all tests keeps the level).

    Args:
        whole: Of all rounds.
        pairs: Of the rounds of each build before and each build after.
    """
    return Shift(
        log=whole.log,
        resolution=max(each.resolution - (each.log - whole.log) for each in pairs),
        p=max(each.p for each in pairs),
        p_faster=max(each.p_faster for each in pairs),
    )


def mean_interval(values: Values) -> tuple[float, float]:
    """The 95 % interval of the mean of one value a round, by Student's t on as many rounds as they are worth.

    Args:
        values: In the order of the rounds, (rounds,) with at least two.
    """
    n = max(_LEAST_WORTH, worth(values))
    reach = student.quantile(0.025, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    middle = float(np.mean(values))
    return middle - reach, middle + reach


def quantile_interval(rounds: Sequence[Values], share: float) -> tuple[float, float]:
    """The 95 % interval of a quantile over all times of all rounds.

    A bootstrap of runs of neighbouring rounds (the circular one of Politis and Romano 1992), as long as what is carried
    asks for (Carlstein 1986, The Annals of Statistics 14:3), with percentiles expanded by what the rounds are worth;
    the same rounds give the same interval every time. Quantiles are looked up on a grid of the observed times, so that
    a resample costs no sorting.

    Args:
        rounds: Milliseconds of each inference, one array a round; at least `stats.MIN_ROUNDS`.
        share: Which quantile, 0.5 for the median.
    """
    medians = round_medians(rounds)
    weights = _resampled(len(rounds), _run_length(medians))
    times = np.sort(np.concatenate(rounds))
    reached = np.ceil(len(times) * np.linspace(max(0.0, 1 - 6 * (1 - share)), 1, _GRID) - 1)
    grid = times[np.maximum(reached, 0).astype(np.int64)]
    below = np.stack([np.searchsorted(np.sort(each), grid, side="right") for each in rounds]).astype(np.float64)
    sizes = np.array([len(each) for each in rounds], dtype=np.float64)
    shares = (weights @ below) / (weights @ sizes)[:, None]
    found = grid[np.argmax(shares >= share - 1e-12, axis=1)]
    tail = student.expanded_tail(max(_LEAST_WORTH, worth(medians)), 0.025)
    return quantile(found, tail), quantile(found, 1 - tail)


def _resampled(n: int, length: int) -> Values:
    """How often each of n rounds is in each resample, (resamples, n), made of runs of `length` rounds."""
    runs = -(-n // length)
    starts = np.random.default_rng(_SEED).integers(0, n, (_RESAMPLES, runs, 1))
    picks = ((starts + np.arange(length)) % n).reshape(_RESAMPLES, -1)[:, :n]
    flat = (picks + n * np.arange(_RESAMPLES)[:, None]).ravel()
    return np.bincount(flat, minlength=n * _RESAMPLES).reshape(_RESAMPLES, n).astype(np.float64)


def _run_length(medians: Values) -> int:
    """Rounds in one run: (sqrt(6) r / (1 - r^2))^(2/3) n^(1/3), at most a quarter of all."""
    carry, n = carried(medians), len(medians)
    wanted = (np.sqrt(6) * carry / (1 - carry**2)) ** (2 / 3) * n ** (1 / 3)
    return max(1, min(int(np.ceil(wanted)), n // 4))


def _ranks(values: Values) -> Values:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Values = (last - (count - 1) / 2)[place]
    return ranks
