import math

import numpy as np
import pytest
from scipy import signal
from scipy import stats as reference

from edgeprune.bench import estimate as e
from edgeprune.bench import stats
from edgeprune.errors import ConfigError

FIVE = np.repeat(np.arange(1, 6), 13)


def correlations(length, autocorrelation):
    """Autocorrelations of a first-order process, (length, length)."""
    return autocorrelation ** np.abs(np.subtract.outer(np.arange(length), np.arange(length)))


def wandering(autocorrelation, shape, random):
    """Series of variance 1, each value keeping so much of the one before, (series, length)."""
    steps = random.standard_normal(shape)
    steps[:, 1:] *= math.sqrt(1 - autocorrelation**2)
    return signal.lfilter([1.0], [1.0, -autocorrelation], steps, axis=1)


@pytest.mark.parametrize("autocorrelation", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("length", [3, 13])
def test_the_variance_of_a_mean_is_that_of_the_whole_matrix_of_correlations(length, autocorrelation):
    assert e._variance_of_mean(length, autocorrelation) == pytest.approx(correlations(length, autocorrelation).mean())


def test_expected_autocorrelations_are_those_of_many_short_series():
    random = np.random.default_rng(3)
    series = math.sqrt(0.6) * wandering(0.9, (40_000, 13), random) + math.sqrt(0.4) * random.standard_normal(
        (40_000, 13)
    )
    away = series - series.mean(axis=1, keepdims=True)
    found = [np.sum(away[:, lag:] * away[:, :-lag]) / np.sum(away**2) for lag in range(1, 5)]
    table = e._expected(13)
    place = np.argmin(np.abs(e._SHARES - 0.6)), np.argmin(np.abs(e._CARRIES - 0.9))
    assert table[place] == pytest.approx(found, abs=0.01)


def test_five_unlike_processes_have_students_interval():
    values = np.repeat([1.0, 2.0, 4.0, 3.0, 2.5], 5)
    found = e.mean_of(values, np.repeat(range(5), 5))
    levels = [1.0, 2.0, 4.0, 3.0, 2.5]
    assert (found.mean, found.freedom) == (pytest.approx(2.5), 4)
    assert found.interval() == pytest.approx(reference.t.interval(0.95, 4, np.mean(levels), reference.sem(levels)))


def test_alike_processes_have_at_least_the_error_of_their_rounds():
    one = np.array([-1.0, 1.0, -1.0, 1.0])
    found = e.mean_of(np.tile(one, 5), np.repeat(range(5), 4), centre=np.mean)
    # variance 1 within, 4/3 of it unbiased, over 20 rounds, of which none resembles the one before
    assert found.error == pytest.approx(math.sqrt(4 / 3 / 20))


@pytest.mark.parametrize("autocorrelation", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("between", [0.0, 0.7])
def test_the_interval_holds_the_truth_though_rounds_and_processes_resemble_themselves(autocorrelation, between):
    random = np.random.default_rng(7)
    series = wandering(autocorrelation, (400, 65), random) + np.repeat(
        between * random.standard_normal((400, 5)), 13, axis=1
    )
    ends = np.array([e.mean_of(values, FIVE).interval() for values in series])
    held = np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    assert held >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / 400)


def test_noise_of_single_rounds_does_not_hide_that_the_rest_wanders():
    random = np.random.default_rng(8)
    series = wandering(0.9, (400, 65), random) + random.standard_normal((400, 65))
    ends = np.array([e.mean_of(values, FIVE).interval() for values in series])
    assert np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0)) >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / 400)


def test_a_bootstrap_of_rounds_alone_would_not():
    random = np.random.default_rng(7)
    series = wandering(0.9, (60, 65), random)
    held = [low <= 1 <= high for low, high in (stats.compare(np.exp(x), np.ones(65)).ci95 for x in series)]
    assert np.mean(held) < 0.7


def test_processes_of_few_rounds_are_taken_together_with_their_neighbours():
    assert [len(places) for places in e.grouped(65, FIVE)] == [13] * 5
    assert [len(places) for places in e.grouped(64, list(range(64)))] == [13, 13, 13, 13, 12]
    assert [len(places) for places in e.grouped(130, np.repeat(range(10), 13))] == [13] * 10
    assert [len(places) for places in e.grouped(6)] == [2, 1, 1, 1, 1]
    assert [places.tolist() for places in e.grouped(6, [1, 1, 1, 2, 2, 4])] == [[0, 1, 2], [3, 4], [5]]


def test_the_difference_of_two_means_is_that_of_welch():
    random = np.random.default_rng(1)
    first, second = random.normal(0, 1, 5), random.normal(0.3, 2, 7)
    one, other = (e.Estimate(float(np.mean(x)), float(reference.sem(x)), len(x) - 1) for x in (first, second))
    theirs = reference.ttest_ind(second, first, equal_var=False)
    found = other.minus(one)
    assert found.mean / found.error == pytest.approx(theirs.statistic)
    assert found.freedom == pytest.approx(theirs.df)


def test_speedup_of_hand_worked_processes():
    # medians of the ratios: 2, 4 and 8 in three processes, whose mean in logarithms is 4
    baseline, pruned = [2, 2, 4, 4, 8, 8], [1] * 6
    found = e.speedup(baseline, pruned, [1, 1, 2, 2, 3, 3])
    assert found.ratio == pytest.approx(4.0)
    half = reference.t.ppf(0.975, 2) * math.log(2) / math.sqrt(3)
    assert found.ci95 == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)))
    back = e.speedup(pruned, baseline, [1, 1, 2, 2, 3, 3])
    assert back.ci95 == pytest.approx((1 / found.ci95[1], 1 / found.ci95[0]))


def test_builds_widen_the_interval_by_how_far_they_lie_apart():
    builds = np.tile([1, 2], 32)
    rounds = list(range(64))
    jitter = 1e-6 * np.random.default_rng(0).standard_normal(64)
    before, after = np.exp(jitter), np.exp(np.where(builds == 1, -1.00, -1.02))
    found = e.speedup(before, after, rounds, builds)
    assert found.ratio == pytest.approx(math.exp(1.01), rel=1e-5)
    # the pruned builds differ by 0.02 and the others not: a variance of 2e-4 for one build, half for the mean of two
    # and to its square comes that of the rounds, which alternate by 0.01 and resemble their neighbours in nothing
    of_rounds = reference.t.ppf(0.975, 4) * 1.4826 * 0.01 * math.sqrt(math.pi / 2 / 64)
    half = math.hypot(reference.t.ppf(0.975, 2) * math.sqrt(2e-4 / 2), of_rounds)
    assert np.log(found.ci95) == pytest.approx((1.01 - half, 1.01 + half), rel=1e-2)
    one = e.speedup(before, np.exp(np.full(64, -1.0)), rounds, builds)
    assert one.ci95[1] - one.ci95[0] < 1e-4


@pytest.mark.parametrize("builds", [None, [1, 2] * 4])
def test_too_few_rounds_cannot_be_compared(builds):
    count = 5 if builds is None else 8
    with pytest.raises(ConfigError, match=f"{count} rounds of the baseline"):
        e.speedup([1.0] * count, [1.0] * count, [1] * count, builds)
