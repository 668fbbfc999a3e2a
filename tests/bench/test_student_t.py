import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from edgeprune.bench import student_t


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 5, 19, 63, 3000])
@pytest.mark.parametrize("t", [-2.5, 0.0, 0.3, 1.0, 7.0, 40.0])
def test_the_tail_is_that_of_scipy(t, freedom):
    assert student_t.survival(t, freedom) == pytest.approx(stats.t.sf(t, freedom), abs=1e-10)


@pytest.mark.parametrize("freedom", [1, 2, 5, 19, 63.5])
@pytest.mark.parametrize("upper", [0.2, 0.025, 0.01, 1e-4])
def test_the_quantile_is_that_of_scipy(upper, freedom):
    assert student_t.quantile(upper, freedom) == pytest.approx(stats.t.isf(upper, freedom), rel=1e-9)


def test_an_expanded_tail_is_further_out_and_tends_to_the_plain_one():
    by_hand = NormalDist().cdf(-math.sqrt(8 / 7) * stats.t.ppf(0.975, 7))
    assert student_t.expanded_tail(8, 0.025) == pytest.approx(by_hand, rel=1e-9)
    tails = [student_t.expanded_tail(n, 0.025) for n in (6, 20, 100, 10_000)]
    assert np.all(np.diff(tails) > 0)
    assert tails[-1] == pytest.approx(0.025, rel=1e-3)
