import statistics

import numpy as np
import pytest
from scipy import special
from scipy import stats as reference

from edgeprune.bench import stats
from edgeprune.errors import ConfigError, DeviceError


def test_summary_of_hand_worked_times():
    summary = stats.summarise([np.array([1.0, 3.0, 2.0]), np.array([10.0])], "samples.npz")
    assert (summary.median_ms, summary.mean_ms, summary.samples) == (2.5, 4.0, 4)
    assert summary.round_medians_ms == (2.0, 10.0)
    assert summary.samples_path == "samples.npz"


def test_percentiles_agree_with_the_standard_library():
    times = np.random.default_rng(1).gamma(2.0, 1.0, 900)
    summary = stats.summarise(np.split(times, 3), "s")
    cuts = statistics.quantiles(times.tolist(), n=100, method="inclusive")
    assert summary.p90_ms == pytest.approx(cuts[89])
    assert summary.p99_ms == pytest.approx(cuts[98])


def test_medians_and_quantiles_are_those_of_numpy_to_the_last_bit():
    random = np.random.default_rng(0)
    for n in range(1, 60):
        values = random.lognormal(size=n)
        assert float(stats.median(values)) == float(np.median(values))
        for share in (0.0, 0.05, 0.5, 0.9, 0.99, 1.0, float(random.random())):
            assert stats.quantile(values, share) == float(np.quantile(values, share))
    table = random.lognormal(size=(7, 12))
    assert stats.median(table).tolist() == np.median(table, axis=1).tolist()


@pytest.mark.parametrize(("samples", "claimed"), [(63, set()), (64, {90}), (661, {90}), (662, {90, 99})])
def test_a_percentile_without_enough_samples_is_not_claimed(samples, claimed):
    summary = stats.summarise([np.linspace(1, 2, samples)], "s")
    values = {90: summary.p90_ms, 99: summary.p99_ms}
    assert {percent for percent, value in values.items() if value is not None} == claimed


@pytest.mark.parametrize("percent", [90, 99])
def test_least_samples_are_those_of_the_binomial_bound(percent):
    needed = stats.MIN_SAMPLES[percent]
    above = 1 - percent / 100
    assert reference.binom.cdf(1, needed, above) <= 0.01 < reference.binom.cdf(1, needed - 1, above)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_what_is_not_a_time_is_an_error(bad):
    with pytest.raises(DeviceError, match="round 1"):
        stats.summarise([np.array([1.0]), np.array([1.0, bad])], "s")


@pytest.mark.parametrize("rounds", [[], [np.array([])]])
def test_no_time_at_all_is_an_error(rounds):
    with pytest.raises(DeviceError, match=r"returned no (round|time)"):
        stats.summarise(rounds, "s")


def test_speedup_of_hand_worked_rounds():
    # ratios 2, 4, 3, 4, 2, 4: the middle two are 3 and 4, and their mean in logarithms is sqrt(12)
    speedup = stats.compare([2, 4, 6, 8, 10, 12], [1, 1, 2, 2, 5, 3])
    assert speedup.ratio == pytest.approx(12**0.5)
    # six rounds widen the quantiles to 0.24 %, and 3 % of resamples have only 2s and 4s at their middle
    assert speedup.ci95 == pytest.approx((2.0, 4.0))


def test_drift_of_the_machine_cancels():
    drift = np.linspace(1, 3, 8)
    speedup = stats.compare(5 * drift, 2 * drift)
    assert speedup.ratio == pytest.approx(2.5)
    assert speedup.ci95 == pytest.approx((2.5, 2.5))


def test_swapping_the_models_gives_the_reciprocal():
    rng = np.random.default_rng(2)
    first, second = rng.lognormal(0, 0.1, 9), rng.lognormal(0.2, 0.1, 9)
    there, back = stats.compare(first, second), stats.compare(second, first)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert back.ci95 == pytest.approx((1 / there.ci95[1], 1 / there.ci95[0]))


def test_interval_agrees_with_scipy_at_the_widened_level():
    rng = np.random.default_rng(3)
    baseline, pruned = rng.lognormal(0.5, 0.05, 21), rng.lognormal(0, 0.05, 21)
    tail = special.ndtr(-((21 / 20) ** 0.5) * reference.t.ppf(0.975, 20))
    expected = reference.bootstrap(
        (np.log(baseline / pruned),),
        np.median,
        confidence_level=1 - 2 * tail,
        method="percentile",
        n_resamples=20_000,
        random_state=np.random.default_rng(4),
    ).confidence_interval
    assert stats.compare(baseline, pruned).ci95 == pytest.approx(np.exp(expected), rel=0.005)


@pytest.mark.parametrize("rounds", [6, 16])
@pytest.mark.parametrize("noise", ["normal", "outliers"])
def test_interval_covers_the_truth_as_often_as_it_says(rounds, noise):
    rng = np.random.default_rng(5)
    trials, covered = 150, 0
    for _ in range(trials):
        drift = np.cumsum(rng.normal(0, 0.02, rounds))
        errors = rng.normal(0, 0.02, (2, rounds))
        if noise == "outliers":
            errors += 0.5 * (rng.random((2, rounds)) < 0.15)
        low, high = stats.compare(np.exp(drift + errors[0]) * 1.7, np.exp(drift + errors[1])).ci95
        covered += low <= 1.7 <= high
    # 0.91 is two standard errors of 150 trials below 0.95
    assert covered / trials >= 0.91


@pytest.mark.parametrize(("baseline", "pruned"), [([1.0] * 5, [1.0] * 5), ([1.0] * 7, [1.0] * 6), ([], [])])
def test_too_few_or_unpaired_rounds_cannot_be_compared(baseline, pruned):
    with pytest.raises(ConfigError, match=f"{len(baseline)} rounds of the baseline and {len(pruned)}"):
        stats.compare(baseline, pruned)


def test_least_rounds_are_those_of_the_sign_test():
    n = stats.MIN_ROUNDS
    assert reference.binomtest(0, n, 0.5).pvalue <= 0.05 < reference.binomtest(0, n - 1, 0.5).pvalue


@pytest.mark.parametrize(("ci95", "faster"), [((1.01, 1.2), True), ((1.0, 1.2), False), ((0.8, 0.9), False)])
def test_faster_only_when_the_whole_interval_is_above_one(ci95, faster):
    assert stats.is_faster(ci95) is faster


def test_variation_agrees_with_scipy():
    medians = [1.0, 1.2, 0.9, 1.1]
    assert stats.variation(medians) == pytest.approx(reference.variation(medians, ddof=1))
    assert stats.variation([1.0]) == 0
