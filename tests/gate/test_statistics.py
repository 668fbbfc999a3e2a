import math

import numpy as np
import pytest
from scipy import signal, stats

from edgeprune.bench.estimate import Estimate
from edgeprune.gate import statistics as s

REPETITIONS = 120
PROCESSES = np.repeat(range(5), 13).tolist()


def wandering(carry, n, seed):
    random = np.random.default_rng(seed)
    steps = random.standard_normal(n)
    steps[1:] *= math.sqrt(1 - carry**2)
    return signal.lfilter([1.0], [1.0, -carry], steps)


def test_a_shift_is_students_test_of_a_difference():
    found = s.shift_of(Estimate(0.03, 0.01, 8), 0.01)
    assert (found.log, found.share) == (0.03, pytest.approx(math.expm1(0.03)))
    assert found.p == pytest.approx(stats.t.sf(3, 8))
    assert found.p_faster == pytest.approx(1 - found.p)
    assert found.resolution == pytest.approx(stats.t.isf(0.01, 8) * 0.01)
    just = s.shift_of(Estimate(found.resolution, 0.01, 8), 0.01)
    assert just.p == pytest.approx(0.01)


@pytest.mark.parametrize(("mean", "p"), [(0.0, 0.5), (0.1, 0.0), (-0.1, 1.0)])
def test_rounds_that_are_all_alike_leave_no_doubt(mean, p):
    assert s.shift_of(Estimate(mean, 0.0, 4), 0.01).p == p


def test_holm_agrees_with_his_procedure_step_by_step():
    # Wikipedia's example: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.5, 0.9]) == [1.0, 1.0]
    assert s.holm([0.2]) == [0.2]
    assert s.holm([]) == []


def test_the_false_alarms_of_many_tests_together_are_those_of_one():
    random = np.random.default_rng(0)
    alarms = [min(s.holm(random.random(10).tolist())) < 0.05 for _ in range(2000)]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("carry", [0.0, 0.3, 0.6, 0.9])
def test_the_interval_of_the_median_holds_it(carry):
    held = np.zeros(2)
    for seed in range(REPETITIONS):
        random = np.random.default_rng(seed)
        levels = 0.05 * wandering(carry, 65, seed + 1000)
        rounds = [np.exp(level + 0.05 * random.standard_normal(40)) for level in levels]
        medians = np.array([np.median(each) for each in rounds])
        by_medians = s.median_interval(medians, PROCESSES)
        found = by_medians, s.quantile_interval(rounds, 0.5, PROCESSES) or by_medians
        held += np.array([low <= 1 <= high for low, high in found])
    assert min(held) / REPETITIONS >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / REPETITIONS)


@pytest.mark.parametrize("carry", [0.0, 0.6, 0.9])
def test_the_interval_of_the_99th_percentile_holds_it_or_there_is_none(carry):
    true = math.exp(stats.norm.ppf(0.99, scale=math.hypot(0.03, 0.05)))
    told = held = 0
    for seed in range(REPETITIONS):
        random = np.random.default_rng(seed)
        levels = 0.03 * wandering(carry, 65, seed + 1000)
        found = s.quantile_interval(
            [np.exp(level + 0.05 * random.standard_normal(60)) for level in levels], 0.99, PROCESSES
        )
        told += found is not None
        held += found is not None and found[0] <= true <= found[1]
    assert told >= (0.95 if carry == 0 else 0) * REPETITIONS
    assert told - held <= (0.07 + 2 * math.sqrt(0.93 * 0.07 / REPETITIONS)) * REPETITIONS
    if carry < 0.9:
        assert held / told >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / told)
    else:
        assert told < 0.2 * REPETITIONS


def test_independent_times_have_the_interval_of_order_statistics():
    random = np.random.default_rng(0)
    rounds = [random.standard_normal(200) for _ in range(65)]
    low, high = s.quantile_interval(rounds, 0.5, PROCESSES)
    n = 65 * 200
    ends = np.sort(np.concatenate(rounds))[[int(stats.binom.ppf(share, n, 0.5)) for share in (0.025, 0.975)]]
    width = ends[1] - ends[0]
    assert low < ends.mean() < high
    assert 0.8 * width < high - low < 3 * width  # Student's with four degrees of freedom in place of the normal


def test_where_one_process_holds_all_slow_times_a_percentile_has_no_interval():
    slow = [np.arange(100) < (10 if number < 13 else 0) for number in range(65)]
    rounds = [1.0 + one + 1e-3 * np.arange(100) for one in slow]
    assert s.quantile_interval(rounds, 0.99, PROCESSES) is None


def test_the_mean_of_rounds_has_students_interval():
    values = np.array([1.0, 2.0, 4.0, 3.0, 2.5])
    assert s.mean_interval(values) == pytest.approx(stats.t.interval(0.95, 4, np.mean(values), stats.sem(values)))
