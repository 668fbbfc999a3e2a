"""The best set of units under a budget, against all sets."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.prune.selection import select, select_within, worth_of, worths
from edgeprune.prune.shape_paths import END, PathNode, Routes
from edgeprune.records.pruning import LayerChain, Scores, Segmentation, Unit


def straight(count, must_stay=()):
    """Units 0, 1, ... that cost the same whatever else is dropped."""
    ahead = [place + 1 if place + 1 < count else END for place in range(count)]
    return Routes(tuple(PathNode(unit, 1.0, to, None if unit in must_stay else to) for unit, to in enumerate(ahead)))


def forked(data, count):
    """Two stops a unit but for the first: one reached when the unit before was kept, one when it was dropped."""
    stops = []
    for unit in range(count):
        after = 2 * unit + 1
        to = (after, after + 1) if unit + 1 < count else (END, END)
        for _ in range(1 if unit == 0 else 2):
            load = data.draw(st.sampled_from([0.25, 0.5, 1.0, 2.0]))
            stops.append(PathNode(unit, load, to[0], to[1] if data.draw(st.integers(0, 4)) else None))
    return Routes(tuple(stops))


def best_of_all(routes, members, worth, costs, budget, first):
    """By trying every set: (segments that keep a unit, worth) of the best, or None."""
    units = [unit for segment in members for unit in segment]
    best = None
    for size in range(len(units) + 1):
        for chosen in itertools.combinations(units, size):
            kept = set(chosen)
            loads = routes.loads(kept)
            if loads is None or sum(costs[unit] * loads[unit] for unit in kept) > budget + 1e-9:
                continue
            if any(kept & set(own) - first and set(own) & first - kept for own in members):
                continue
            value = sum(bool(kept & set(own)) for own in members), sum(worth[unit] for unit in kept)
            best = value if best is None else max(best, value)
    return best


def value_of(kept, members, worth):
    return sum(bool(kept & set(own)) for own in members), sum(worth[unit] for unit in kept)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(1, 7))
def test_no_set_is_better(data, count):
    routes = data.draw(st.sampled_from([straight(count), forked(data, count)]))
    cuts = sorted(data.draw(st.sets(st.integers(1, count), max_size=2)) - {count})
    members = [list(range(begin, end)) for begin, end in itertools.pairwise([0, *cuts, count])]
    costs = {unit: float(data.draw(st.integers(0, 8))) for unit in range(count)}
    worth = {unit: float(data.draw(st.integers(-2, 9))) for unit in range(count)}
    first = frozenset(data.draw(st.sets(st.integers(0, count - 1), max_size=2)))
    budget = data.draw(st.integers(-1, 20))
    kept = select(routes, members, worth, costs, budget, first)
    best = best_of_all(routes, members, worth, costs, budget, first)
    if best is None:
        assert kept is None
        return
    assert kept is not None
    loads = routes.loads(kept)
    assert loads is not None
    assert sum(costs[unit] * loads[unit] for unit in kept) <= budget
    assert all(not (kept & set(own) - first and set(own) & first - kept) for own in members)
    assert value_of(kept, members, worth) == best


def test_by_hand():
    # Budget 6: {1, 2} is worth 10, {0} 7; with a unit in each segment {0}+{3} costs 7, so {1}+{3} (5 + 2) it is.
    costs, worth = {0: 5.0, 1: 3.0, 2: 3.0, 3: 2.0}, {0: 7.0, 1: 5.0, 2: 5.0, 3: 2.0}
    assert select(straight(4), [[0, 1, 2], [3]], worth, costs, 6.0) in ({1, 3}, {2, 3})
    assert select(straight(4), [[0, 1, 2, 3]], worth, costs, 6.0) == {1, 2}
    assert select(straight(4), [[0, 1, 2], [3]], worth, costs, 1.0) == frozenset()
    assert select(straight(4), [[0, 1, 2], [3]], worth, costs, -1.0) is None


def test_what_would_lose_an_axis_stays_before_the_others_of_its_segment():
    costs, worth = dict.fromkeys(range(3), 1.0), {0: 9.0, 1: 0.1, 2: 8.0}
    assert select(straight(3), [[0, 1], [2]], worth, costs, 2.0, frozenset({1})) == {1, 2}


def test_what_the_network_cannot_run_without_stays():
    costs, worth = {0: 4.0, 1: 1.0}, {0: 0.0, 1: 5.0}
    assert select(straight(2, must_stay={0}), [[0, 1]], worth, costs, 4.0) == {0}
    assert select(straight(2, must_stay={0}), [[0, 1]], worth, costs, 3.0) is None


def test_a_segment_is_worth_as_many_as_it_has_units_whatever_its_scores():
    found = worths([[0, 1], [2, 3, 4], [5], []], {0: 1e30, 1: 3e30, 2: 1e-3, 3: 2e-3, 4: 0.0, 5: 0.0})
    assert found == pytest.approx({0: 0.5, 1: 1.5, 2: 1.0, 3: 2.0, 4: 0.0, 5: 1.0})
    assert worths([[0, 1]], {0: -1.0, 1: 3.0}) == {0: -0.5, 1: 1.5}


def test_a_set_is_worth_the_segments_it_covers_and_then_its_units():
    assert worth_of({0, 3}, [[0, 1], [2], [3]], {0: 1.0, 1: 3.0, 2: 5.0, 3: 7.0}) == (2, 1.5)


def test_of_a_chain_with_raw_scores():
    units = tuple(
        Unit(index, f"unit.{index}", "conv", (4, 8), (4, 8), 10, 100, "why", None if index == 0 else "identity")
        for index in range(5)
    )
    chain = LayerChain("sha", units, 50, 500)
    cut = Segmentation("sha", ((0, 2), (3, 4)), (), "rows", "given")
    scores = Scores("sha", "synflow", {1: 1e6, 2: 3e6, 3: 0.2, 4: 0.1})
    ahead = Routes(tuple(PathNode(unit, 1.0, place, place) for unit, place in ((1, 1), (2, 2), (3, 3), (4, END))))
    costs = dict.fromkeys(range(1, 5), 0.1)
    # The largest raw scores are both in the first segment; a unit of each stays, its best.
    assert select_within(chain, cut, scores, ahead, costs, 0.2) == {2, 3}
