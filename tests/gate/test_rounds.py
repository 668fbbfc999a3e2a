import itertools
import math

import numpy as np
import pytest
from scipy import stats

from edgeprune.gate import rounds as r

REPETITIONS = 60


def wandering(carry, n, seed):
    random = np.random.default_rng(seed)
    values = [random.standard_normal()]
    for _ in range(n - 1):
        values.append(carry * values[-1] + math.sqrt(1 - carry**2) * random.standard_normal())
    return np.array(values)


def uncarried(values):
    """The same values in an order in which nothing is carried."""
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(values)
        if r.carried(order) == 0:
            return order
    raise AssertionError("no such order")


def test_independent_rounds_are_worth_themselves_and_wandering_ones_less():
    assert np.mean([r.worth(wandering(0.0, 200, seed)) for seed in range(40)]) == pytest.approx(200, rel=0.1)
    for carry in (0.5, 0.8):
        known = 200 * (1 - carry) / (1 + carry)  # variance of the mean of an AR(1) series
        assert np.mean([r.worth(wandering(carry, 200, seed)) for seed in range(40)]) == pytest.approx(known, rel=0.2)


def test_one_wild_round_does_not_hide_what_is_carried():
    values = wandering(0.9, 100, 1)
    wild = values.copy()
    wild[50] = 1e6
    assert r.carried(wild) == pytest.approx(r.carried(values), abs=0.05)


@pytest.mark.parametrize("values", [np.ones(20), np.array([1.0, 2.0]), np.tile([1.0, 2.0], 10)])
def test_nothing_is_carried_by_rounds_that_are_all_alike_few_or_alternate(values):
    assert r.carried(values) == 0


def test_the_shift_is_the_median_of_all_differences_and_its_p_that_of_mann_and_whitney():
    random = np.random.default_rng(5)
    before, after = uncarried(random.standard_normal(300)), uncarried(random.standard_normal(250) + 0.15)
    found = r.shift(before, after, 0.01)
    assert found.log == pytest.approx(np.median([b - a for a, b in itertools.product(before, after)]))
    theirs = stats.mannwhitneyu(after, before, alternative="greater", method="asymptotic", use_continuity=False)
    assert found.p == pytest.approx(theirs.pvalue, rel=0.05)


def test_swapping_the_two_turns_the_shift_around():
    before, after = wandering(0.3, 40, 1), wandering(0.3, 30, 2) + 0.5
    there, back = r.shift(before, after, 0.01), r.shift(after, before, 0.01)
    assert back.log == pytest.approx(-there.log)
    assert back.p == pytest.approx(1 - there.p)


def test_a_shift_as_large_as_the_resolution_is_just_significant():
    before, after = uncarried(wandering(0.0, 64, 3)), uncarried(wandering(0.0, 64, 4))
    found = r.shift(before, after, 0.01)
    moved = r.shift(before, after - found.log + found.resolution, 0.01)
    assert moved.p == pytest.approx(0.01, rel=0.25)


def test_few_wandering_rounds_cannot_resolve_anything():
    before, after = np.arange(8.0), np.arange(8.0) + 100
    found = r.shift(before, after, 0.001)
    assert found.resolution == math.inf
    assert found.p > 0.001


def test_the_same_rounds_have_no_shift():
    values = wandering(0.2, 64, 9)
    found = r.shift(values, values, 0.01)
    assert (found.log, found.p) == (0, pytest.approx(0.5))


def test_the_median_of_single_times_has_the_interval_of_an_ordinary_bootstrap():
    random = np.random.default_rng(0)
    values = uncarried(random.lognormal(0, 0.1, 80))
    low, high = r.quantile_interval([np.array([value]) for value in values], 0.5)
    theirs = stats.bootstrap((values,), np.median, method="percentile", rng=np.random.default_rng(1), n_resamples=4000)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.3 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.3 * width)


@pytest.mark.parametrize(("share", "wander"), [(0.5, 0.1), (0.99, 0.03)])
def test_intervals_hold_the_true_quantile_about_as_often_as_they_say(share, wander):
    true = stats.norm.ppf(share, scale=math.hypot(wander, 0.1))
    held = 0
    for seed in range(REPETITIONS):
        random = np.random.default_rng(seed)
        made = [level + 0.1 * random.standard_normal(50) for level in wander * wandering(0.6, 40, seed + 1000)]
        low, high = r.quantile_interval([np.exp(each) for each in made], share)
        held += low <= math.exp(true) <= high
    assert held / REPETITIONS >= 0.88


def test_rounds_that_wander_together_widen_the_interval():
    values = np.sort(np.random.default_rng(2).lognormal(0, 0.1, 60))
    shuffled = np.random.default_rng(3).permutation(values)
    as_rounds = [[np.array([value]) for value in each] for each in (values, shuffled)]
    drifting, mixed = (r.quantile_interval(each, 0.5) for each in as_rounds)
    assert drifting[1] - drifting[0] > 1.5 * (mixed[1] - mixed[0])
