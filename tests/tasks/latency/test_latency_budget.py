"""The search for units within a latency budget, on made-up clocks whose costs are known."""

import itertools

import pytest

from edgeprune.errors import ConfigError, ModelError
from edgeprune.protocols import NullProgress
from edgeprune.prune.selection import worth_of
from edgeprune.prune.shape_paths import END, PathNode, Routes
from edgeprune.records.constraints import Timing
from edgeprune.records.pruning import LayerChain, Scores, Segmentation, Unit
from edgeprune.targets import Target
from edgeprune.tasks.latency import budget
from edgeprune.tasks.latency import unit_costs as costs
from edgeprune.tasks.latency.budget import LatencyBudget, plan_within
from edgeprune.tasks.latency.unit_costs import fitted, kinds_of, probed, probes_of, work_of

UNPRUNED_MS = 2.0
TARGET = Target(name="made-up", description="", runtime="none", opset=18, precisions=("fp32",))
SEGMENTS = ((0, 4), (5, 7))
SCORES = {1: 5.0, 2: 4.0, 3: 3.0, 4: 9.0, 5: 1e6, 6: 3e6, 7: 2e6}


def unit(index, channels, droppable=True):
    shape = (channels, 8)
    drop = "identity" if droppable else None
    return Unit(index, f"unit.{index}", "conv", shape, shape, 10 * channels, 100 * channels, "why", drop)


# Kinds: 1 to 4 are alike, 5 to 7 are alike.
CHAIN = LayerChain(
    "sha", (unit(0, 2, False), *(unit(i, 4) for i in range(1, 5)), *(unit(i, 8) for i in range(5, 8))), 1, 1
)
ROUTES = Routes(tuple(PathNode(i, 1.0, i if i < 7 else END, i if i < 7 else END) for i in range(1, 8)))


class Clock:
    """A target where every unit of a kind costs the same, plus what the crowd adds: a share for each unit kept."""

    def __init__(self, costs=(0.1, 0.15), fixed=0.15, crowd=0.0, broken=frozenset()):
        self.costs, self.fixed, self.crowd, self.broken = costs, fixed, crowd, broken
        self.asked = []

    def ratio(self, kept):
        plain = self.fixed + sum(self.costs[index > 4] for index in kept)
        return plain * (1 + self.crowd * len(kept) * (7 - len(kept)))

    def time(self, kept, progress):
        self.asked.append(kept)
        if kept in self.broken:
            raise ModelError("cannot be exported")
        ratio = self.ratio(kept)
        units = tuple(unit.index for unit in CHAIN.units if not unit.droppable or unit.index in kept)
        return Timing(units, "0" * 64, ratio * UNPRUNED_MS, UNPRUNED_MS, ratio, (ratio, ratio), "latency/x.npz")


class Notes(NullProgress):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def search(clock, budget_ms, notes=None):
    cut = Segmentation("sha", SEGMENTS, (), "rows", "auto")
    return budget._Search(
        clock,
        CHAIN,
        cut,
        Scores("sha", "s", SCORES),
        ROUTES,
        LatencyBudget(budget_ms, TARGET, "fp32"),
        notes or Notes(),
    ).run()


def best_by_trying_all(clock, budget_ms):
    members = [[1, 2, 3, 4], [5, 6, 7]]
    sets = [frozenset(kept) for size in range(8) for kept in itertools.combinations(range(1, 8), size)]
    within = [kept for kept in sets if clock.ratio(kept) * UNPRUNED_MS <= budget.AIM * budget_ms + 1e-9]
    return max(worth_of(kept, members, SCORES) for kept in within)


@pytest.mark.parametrize("budget_ms", [0.4, 0.6, 0.85, 1.0, 1.3, 1.7, 1.95])
def test_on_an_honest_clock_the_first_choice_is_the_best_of_all_and_right(budget_ms):
    clock = Clock()
    plan = search(clock, budget_ms)
    (candidate,) = plan.candidates
    assert candidate.kept == plan.kept
    assert candidate.predicted_ms == pytest.approx(candidate.median_ms)
    assert plan.predicted_ms == candidate.predicted_ms
    kept = frozenset(plan.kept) - {0}
    assert worth_of(kept, [[1, 2, 3, 4], [5, 6, 7]], SCORES) == best_by_trying_all(clock, budget_ms)
    assert clock.ratio(kept) * UNPRUNED_MS <= budget_ms


def test_costs_are_those_of_the_clock_in_milliseconds():
    plan = search(Clock(), 1.0)
    assert plan.fixed_ms == pytest.approx(0.3)
    assert plan.costs_ms == pytest.approx({**dict.fromkeys(range(1, 5), 0.2), **dict.fromkeys(range(5, 8), 0.3)})
    assert (plan.baseline_ms, plan.budget_ms, plan.target) == (UNPRUNED_MS, 1.0, "made-up")


def test_where_units_in_a_crowd_cost_more_the_choice_is_made_again_until_it_holds(monkeypatch):
    monkeypatch.setattr(costs, "MOST_DOUBTED", 0)
    clock = Clock(crowd=0.03)
    plan = search(clock, 1.2)
    assert plan.candidates[0].median_ms > 1.2
    assert plan.candidates[0].predicted_ms < 1.2
    assert 2 <= len(plan.candidates) <= budget.MOST_CANDIDATES
    assert clock.ratio(frozenset(plan.kept) - {0}) * UNPRUNED_MS <= 1.2
    assert len({candidate.kept for candidate in plan.candidates}) == len(plan.candidates)


def test_when_no_choice_held_the_smallest_network_is_taken_which_does():
    class Liar(Clock):
        def ratio(self, kept):
            alone = not kept or kept in ({1, 2, 3, 4}, {5, 6, 7})
            return super().ratio(kept) if alone else 0.95

    plan = search(Liar(), 1.0)
    assert plan.candidates[0].median_ms == pytest.approx(0.95 * UNPRUNED_MS)
    assert len(plan.candidates) <= budget.MOST_CANDIDATES
    assert plan.kept == (0,)


def test_a_budget_below_the_smallest_network_names_it():
    with pytest.raises(ConfigError) as caught:
        search(Clock(), 0.29)
    assert "`latency_budget=0.29`" in caught.value.message
    assert "keeps 1 of 8 units and takes 0.3 ms on made-up" in caught.value.message


def test_a_budget_above_the_unpruned_network_drops_nothing_and_says_so():
    clock, notes = Clock(), Notes()
    plan = search(clock, 2.5, notes)
    assert plan.kept == tuple(range(8))
    assert plan.candidates == ()
    assert plan.costs_ms == {}
    assert clock.asked == [frozenset()]
    assert notes.said == ["the unpruned network takes 2 ms, which is within the budget: nothing is dropped"]


def test_a_probe_that_cannot_be_exported_is_left_out_and_said():
    notes = Notes()
    plan = search(Clock(broken={frozenset({1, 2, 3, 4})}), 1.0, notes)
    assert "not timed: cannot be exported" in notes.said
    assert [probe.kept for probe in plan.probes] == [(0,), (0, 5, 6, 7)]
    assert plan.candidates


def test_units_are_of_a_kind_when_all_that_is_known_of_them_is_alike():
    assert kinds_of(CHAIN) == ((1, 2, 3, 4), (5, 6, 7))


def test_probes_keep_one_kind_each_and_are_joined_by_their_opposites_where_loads_differ():
    assert probes_of(kinds_of(CHAIN), ROUTES) == [frozenset(), {1, 2, 3, 4}, {5, 6, 7}]
    # Unit 2 computes half as much when unit 1 is gone; the network cannot run without unit 1 and unit 3.
    stops = (
        PathNode(1, 1.0, 1, 2),
        PathNode(2, 1.0, 3, 3),
        PathNode(2, 0.5, 4, 4),
        PathNode(3, 1.0, END, END),
        PathNode(3, 1.0, END, None),
    )
    routes = Routes(stops)
    assert routes.fewest == {1}
    assert probes_of([[1], [2], [3]], routes) == [{1}, {1, 2}, {1, 3}]
    assert probes_of(
        [[1], [2]], Routes((PathNode(1, 1.0, 1, 2), PathNode(2, 1.0, END, END), PathNode(2, 0.5, END, END)))
    ) == [
        frozenset(),
        {1},
        {2},
    ]


class Cache(Clock):
    """A target whose units of one kind slow each other down: each kind's time grows with the square of its number."""

    def ratio(self, kept):
        low, high = (sum(self.costs[number] for index in kept if (index > 4) == number) for number in (0, 1))
        return 0.1 + low**2 + high**2 + 1.2 * low * high


def largest_error(clock):
    """Largest error of the latencies predicted for all networks, with the number of networks timed for it."""
    kinds = kinds_of(CHAIN)
    timed = probed(lambda kept: clock.time(kept, NullProgress()), kinds, ROUTES)
    model = fitted(timed, kinds, ROUTES)
    sets = [frozenset(kept) for size in range(8) for kept in itertools.combinations(range(1, 8), size)]
    errors = [model.latency(work_of(kept, kinds, ROUTES)) / clock.ratio(kept) - 1 for kept in sets]
    return max(map(abs, errors)), len(timed)


def test_what_the_costs_do_not_tell_is_asked_of_the_networks_that_are_least_sure(monkeypatch):
    clock = Cache()
    with_doubted, timed = largest_error(clock)
    assert 3 < timed <= 3 + costs.MOST_DOUBTED
    monkeypatch.setattr(costs, "MOST_DOUBTED", 0)
    without, few = largest_error(clock)
    assert few == 3
    assert with_doubted < 0.6 * without


def test_costs_that_tell_all_are_not_doubted():
    error, timed = largest_error(Clock())
    assert timed == 3
    assert error < 1e-9


def test_the_plan_keeps_what_was_chosen_and_says_how_many_of_each_segment():
    chosen = search(Clock(), 1.0)
    cut = Segmentation("sha", SEGMENTS, (), "rows", "auto")
    made = plan_within(CHAIN, cut, Scores("sha", "s", SCORES), "cka-unbiased", chosen)
    assert made.kept == chosen.kept
    for first, last in SEGMENTS:
        kept = len([index for index in made.kept if first <= index <= last and CHAIN.units[index].droppable])
        size = len([index for index in CHAIN.droppable if first <= index <= last])
        reasons = {decision.reason for decision in made.decisions[max(first, 1) : last + 1]}
        assert all(f"in the best set of {kept} of {size} in its segment" in reason for reason in reasons)
