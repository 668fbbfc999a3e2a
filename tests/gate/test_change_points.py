import itertools

import numpy as np
import pytest

from edgeprune.gate import change_points as s


def places(values):
    return [step.at for step in s.steps(np.asarray(values))]


def test_a_step_is_found_where_it_is_and_with_its_levels():
    random = np.random.default_rng(0)
    values = np.concatenate([np.zeros(20), np.full(15, 0.05), np.full(10, -0.02)]) + 0.005 * random.standard_normal(45)
    found = s.steps(values)
    assert [step.at for step in found] == [20, 35]
    assert found[0].before == pytest.approx(0.0, abs=0.005)
    assert found[0].after == found[1].before == pytest.approx(0.05, abs=0.005)


def test_nothing_is_found_in_noise():
    random = np.random.default_rng(1)
    assert sum(bool(places(0.01 * random.standard_normal(60))) for _ in range(100)) <= 5


@pytest.mark.parametrize("at", [0, 1, 10, 38, 39])
def test_a_single_wild_point_is_no_step(at):
    values = 0.005 * np.random.default_rng(2).standard_normal(40)
    values[at] += 0.3
    assert places(values) == []


def test_a_step_at_the_newest_two_points_is_found():
    values = 0.005 * np.random.default_rng(3).standard_normal(40)
    values[-2:] += 0.1
    assert places(values) == [38]


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0]])
def test_too_few_points_have_no_steps(values):
    assert places(values) == []


def test_the_levels_are_the_best_of_all():
    values = np.random.default_rng(4).standard_normal(11)

    def total(bounds, cost):
        parts = [values[low:high] for low, high in itertools.pairwise(bounds)]
        return sum(((part - part.mean()) ** 2).sum() for part in parts) + cost * (len(parts) - 1)

    for cost in (0.1, 0.5, 2.0):
        every = [
            (0, *inner, 11)
            for count in range(5)
            for inner in itertools.combinations(range(2, 10), count)
            if min(np.diff((0, *inner, 11))) >= 2
        ]
        best = min(total(bounds, cost) for bounds in every)
        assert total(s._levels(values, cost), cost) == pytest.approx(best)
