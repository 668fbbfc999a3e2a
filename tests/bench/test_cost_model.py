"""Costs of units from timed networks: by hand, and planted costs found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from edgeprune.bench import cost_model
from edgeprune.bench.cost_model import Costs, Observation, fit
from edgeprune.errors import ConfigError


def test_by_hand():
    # 0.1 + 4 a + 2 b = 1, 0.1 alone, 0.1 + 4 a = 0.7: a = 0.15, b = 0.15.
    observed = [Observation((4.0, 2.0), 1.0), Observation((0.0, 0.0), 0.1), Observation((4.0, 0.0), 0.7)]
    model = fit(observed)
    assert model.costs.fixed == pytest.approx(0.1)
    assert model.costs.each == pytest.approx((0.15, 0.15))
    assert model.latency((1.0, 0.5)) == pytest.approx(0.1 + 0.15 + 0.075)


def test_a_kind_that_seems_to_cost_less_than_nothing_costs_nothing():
    # Without the bound: b = -0.1. With it, 0.5 and 0.6 are best met by one a, relative to what was measured.
    observed = [Observation((0.0, 0.0), 0.1), Observation((1.0, 0.0), 0.6), Observation((1.0, 1.0), 0.5)]
    costs = fit(observed).costs
    assert costs.each[1] == 0
    # minimise ((f - .1)/.1)^2 + ((f + a - .6)/.6)^2 + ((f + a - .5)/.5)^2: f = 0.1, f + a by weights 1/.36 and 1/.25.
    assert costs.fixed == pytest.approx(0.1)
    assert costs.fixed + costs.each[0] == pytest.approx((1 / 0.6 + 1 / 0.5) / (1 / 0.36 + 1 / 0.25))


@settings(deadline=None, max_examples=50)
@given(
    costs=st.lists(st.floats(0.001, 0.2), min_size=1, max_size=6),
    fixed=st.floats(0.01, 0.3),
    seed=st.integers(0, 2**32 - 1),
)
def test_planted_costs_are_found_again(costs, fixed, seed):
    rng = np.random.default_rng(seed)
    alone = [np.eye(len(costs))[kind] * rng.integers(1, 9) for kind in range(len(costs))]
    work = [np.zeros(len(costs)), *alone, *rng.random((3, len(costs)))]
    model = fit([Observation(tuple(row.tolist()), fixed + float(row @ costs)) for row in work])
    assert model.costs.fixed == pytest.approx(fixed, rel=1e-6)
    assert model.costs.each == pytest.approx(costs, rel=1e-6)
    elsewhere = rng.random(len(costs)) * 5
    assert model.latency(elsewhere.tolist()) == pytest.approx(fixed + elsewhere @ costs, rel=1e-6)


def test_of_noisy_timings_no_other_costs_come_nearer():
    rng = np.random.default_rng(3)
    work = rng.integers(0, 5, (12, 3)).astype(float)
    measured = (0.1 + work @ [0.05, 0.1, 0.02]) * rng.normal(1, 0.05, 12)
    observed = [Observation(tuple(row), float(each)) for row, each in zip(work.tolist(), measured, strict=True)]
    costs = fit(observed).costs

    def error(values):
        return float((((values[0] + work @ values[1:]) / measured - 1) ** 2).sum())

    other = minimize(error, np.full(4, 0.05), bounds=[(0, None)] * 4, options={"ftol": 1e-15, "gtol": 1e-12})
    assert error(np.array([costs.fixed, *costs.each])) == pytest.approx(other.fun, rel=1e-6)


@pytest.mark.parametrize("latency", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_that_is_none_is_refused(latency):
    with pytest.raises(ConfigError, match="positive numbers"):
        fit([Observation((1.0,), 1.0), Observation((0.0,), latency)])


@pytest.mark.parametrize("observed", [[], [Observation((1.0,), 1.0), Observation((1.0, 2.0), 1.0)]])
def test_measurements_of_other_kinds_are_refused(observed):
    with pytest.raises(ConfigError, match="same kinds"):
        fit(observed)


def test_costs_add_up():
    assert Costs(0.2, (0.1, 0.3)).total((2.0, 1.0)) == pytest.approx(0.7)


def crowded(work):
    """A target where a network costs the more than its units the larger it is, by up to a quarter."""
    plain = 0.05 + work @ [0.05, 0.1]
    return plain * (1 + 0.25 * plain)


def test_what_the_costs_leave_over_is_smoothed_as_by_a_gaussian_process():
    rng = np.random.default_rng(5)
    work = rng.integers(0, 6, (9, 2)).astype(float)
    observed = [Observation(tuple(row.tolist()), float(crowded(row))) for row in work]
    model = fit(observed)
    totals = np.array([model.costs.total(observation.work) for observation in observed])

    def place(row):
        parts = np.array([model.costs.fixed, *(row * model.costs.each)])
        return [*(parts / parts.sum()), cost_model._SIZE * np.log(parts.sum())]

    kernel = ConstantKernel(cost_model._SYSTEMATIC**2) * RBF(cost_model._ALIKE)
    process = GaussianProcessRegressor(kernel, alpha=cost_model._TIMING**2, optimizer=None)
    process.fit([place(row) for row in work], np.log(np.array([each.latency for each in observed]) / totals))
    for row in rng.random((5, 2)) * 5:
        expected = np.exp(process.predict([place(row)])[0])
        assert model.factor(row.tolist()) == pytest.approx(expected, rel=1e-6)
        assert model.latency(row.tolist()) == pytest.approx(model.costs.total(row.tolist()) * expected, rel=1e-6)
        _, doubt = process.predict([place(row)], return_std=True)
        assert model.doubt(row.tolist()) == pytest.approx(model.spread * doubt[0] / cost_model._SYSTEMATIC, rel=1e-4)
    left = np.log(np.array([each.latency for each in observed]) / totals)
    parameters = np.count_nonzero([model.costs.fixed, *model.costs.each])
    assert model.spread == pytest.approx(np.sqrt((left**2).sum() / (len(left) - parameters)))


def test_where_costs_do_not_add_up_the_factor_comes_nearer_than_costs_alone():
    work = np.array([(0, 0), (5, 0), (0, 5), (5, 5), (3, 1), (1, 3)], dtype=float)
    model = fit([Observation(tuple(row.tolist()), float(crowded(row))) for row in work])
    between = [np.array(row, dtype=float) for row in ((4, 4), (2, 2), (4, 2), (1, 1))]
    with_factor = [abs(model.latency(row.tolist()) / crowded(row) - 1) for row in between]
    without = [abs(model.costs.total(row.tolist()) / crowded(row) - 1) for row in between]
    assert max(with_factor) < 0.5 * max(without)
