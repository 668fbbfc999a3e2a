"""How many units stay, and which: by hand, and against all ways to share them out."""

import itertools
from fractions import Fraction

import pytest
import synthetic
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeprune.errors import ConfigError
from edgeprune.prune.planning import allot, plan, units_to_keep
from edgeprune.records.pruning import Edit, LayerChain, Scores, Segmentation, Unit


def unit(index, drop="identity", collapses=False):
    reason = "why it is as it is" if drop else "changes the shape"
    edit = Edit(f"unit.{index}", drop, (4, 8) if collapses else None) if drop else None
    return Unit(index, f"unit.{index}", "conv", (4, 8), (4, 8), 10, 100, reason, drop, collapses, edit)


def chain_of(drops):
    """A chain whose units are dropped as said; 'pooled' is a shortcut that collapses."""
    units = tuple(
        unit(index, "shortcut" if drop == "pooled" else drop, drop == "pooled") for index, drop in enumerate(drops)
    )
    return LayerChain("sha of the file", units, 10 * len(units), 100 * len(units))


def segmentation(*segments):
    return Segmentation("sha", segments, (), "rows", "given")


def scores(values):
    return Scores("sha", "synflow", values)


class TestUnitsToKeep:
    CHAIN = chain_of([None, *["identity"] * 27, None])

    @pytest.mark.parametrize(("keep", "droppable"), [(2, 0), (5, 3), (29, 27)])
    def test_a_number_counts_those_that_must_stay(self, keep, droppable):
        assert units_to_keep(self.CHAIN, keep, 0.33) == droppable

    @pytest.mark.parametrize(("ratio", "droppable"), [(0.0, 0), (0.33, 9), (0.11, 3), (1.0, 27)])
    def test_a_ratio_is_of_the_droppable_units(self, ratio, droppable):
        assert units_to_keep(self.CHAIN, None, ratio) == droppable

    @pytest.mark.parametrize("keep", [-1, 0, 1, 30, 1000])
    def test_a_number_out_of_range_is_a_config_error_with_the_range(self, keep):
        with pytest.raises(ConfigError) as caught:
            units_to_keep(self.CHAIN, keep, 0.33)
        assert f"`keep={keep}` is not possible: 2 of the network's 29 units cannot be dropped" in caught.value.message
        assert caught.value.hint == "Allowed: 2 to 29"

    @pytest.mark.parametrize("ratio", [-0.1, 1.01, float("nan"), float("inf")])
    def test_a_ratio_out_of_range_is_a_config_error_with_the_range(self, ratio):
        with pytest.raises(ConfigError, match=f"`keep_ratio={ratio}` is not a share. Allowed: 0 to 1"):
            units_to_keep(self.CHAIN, None, ratio)

    def test_a_chain_with_nothing_to_drop_says_why(self):
        with pytest.raises(ConfigError, match=r"none of the network's 2 units can be dropped \(unit.0: changes"):
            units_to_keep(chain_of([None, None]), None, 0.5)


SIZES = st.lists(st.integers(0, 7), min_size=1, max_size=5)


class TestAllot:
    @pytest.mark.parametrize(
        ("sizes", "total", "counts"),
        [
            ([10, 10, 10], 3, [1, 1, 1]),
            ([9, 9, 9], 9, [3, 3, 3]),
            ([1, 11, 16], 14, [1, 5, 8]),  # shares 0.5, 5.5, 8: one each, then the larger remainders
            ([27], 9, [9]),
            ([3, 20, 2], 2, [1, 1, 0]),  # not enough for all: the larger segments
            ([2, 2, 2], 2, [1, 1, 0]),  # of equal ones the earlier
            ([0, 4, 0], 2, [0, 2, 0]),
            ([11, 11, 5], 18, [8, 7, 3]),  # all remainders are a third: the earliest gets the odd one
            ([5, 1], 6, [5, 1]),
            ([5, 1], 0, [0, 0]),
        ],
    )
    def test_by_hand(self, sizes, total, counts):
        assert allot(sizes, total) == counts

    @settings(deadline=None)
    @given(sizes=SIZES, data=st.data())
    def test_gives_out_exactly_the_total_within_each_segment(self, sizes, data):
        total = data.draw(st.integers(0, sum(sizes)))
        assume(sum(sizes))
        counts = allot(sizes, total)
        assert sum(counts) == total
        assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
        with_units = sum(size > 0 for size in sizes)
        assert sum(count > 0 for count in counts) == min(total, with_units) or total > with_units
        if total >= with_units:
            assert all(count >= 1 for count, size in zip(counts, sizes, strict=True) if size)

    @settings(deadline=None, max_examples=60)
    @given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
    def test_no_other_way_with_one_each_is_nearer_to_proportion(self, sizes, data):
        total = data.draw(st.integers(len(sizes), sum(sizes)))
        shares = [Fraction(total * size, sum(sizes)) for size in sizes]

        def distance(counts):
            return sum((count - share) ** 2 for count, share in zip(counts, shares, strict=True))

        ways = [way for way in itertools.product(*(range(1, size + 1) for size in sizes)) if sum(way) == total]
        nearest = min(map(distance, ways))
        # The nearest way that gives most to the earliest segment.
        assert tuple(allot(sizes, total)) == max(way for way in ways if distance(way) == nearest)


class TestPlan:
    def test_in_each_segment_those_with_the_highest_score_stay(self):
        chain = chain_of([None, *["identity"] * 6, None])
        made = plan(
            chain,
            segmentation((0, 3), (4, 7)),
            scores({1: 5.0, 2: 7.0, 3: 6.0, 4: 1.0, 5: 3.0, 6: 2.0}),
            "cka-unbiased",
            keep=3,
        )
        # Three droppable units in each segment: shares 1.5 and 1.5, the odd one to the earlier.
        assert made.kept == (0, 2, 3, 5, 7)
        assert made.dropped == (1, 4, 6)
        assert [decision.segment for decision in made.decisions] == [0, 0, 0, 0, 1, 1, 1, 1]
        assert made.decisions[3].reason == "ranks 2 of 3 in its segment, which keeps 2"
        assert made.decisions[6].reason == "ranks 2 of 3 in its segment, which keeps 1; why it is as it is"
        assert made.decisions[0].reason == "must stay: changes the shape"
        assert [decision.score for decision in made.decisions] == [None, 5.0, 7.0, 6.0, 1.0, 3.0, 2.0, None]
        assert (made.model_sha256, made.metric, made.criterion) == ("sha of the file", "cka-unbiased", "synflow")

    def test_of_equal_scores_the_earlier_stays(self):
        made = plan(chain_of(["identity"] * 4), segmentation((0, 3)), scores(dict.fromkeys(range(4), 1.0)), "m", keep=2)
        assert made.kept == (0, 1)

    def test_what_would_lose_an_axis_stays_before_all_others(self):
        chain = chain_of(["identity", "pooled", "identity", "shortcut", "identity"])
        values = {0: 9.0, 1: 0.1, 2: 8.0, 3: 0.2, 4: 7.0}
        made = plan(chain, segmentation((0, 2), (3, 4)), scores(values), "m", keep=2)
        assert made.kept == (1, 4)
        assert made.decisions[1].reason.startswith("kept first, since its shortcut would lose an axis")

    def test_edits_say_how_each_dropped_unit_goes(self):
        chain = chain_of(["identity", "pooled", "shortcut", None])
        made = plan(chain, segmentation((0, 3)), scores({0: 1.0, 1: 1.0, 2: 1.0}), "m", keep=0)
        assert made.edits == (
            Edit("unit.0", "identity"),
            Edit("unit.1", "shortcut", (4, 8)),
            Edit("unit.2", "shortcut"),
        )

    def test_a_set_that_a_search_found_stays_whatever_the_scores(self):
        chain = chain_of(["identity"] * 4)
        values = scores({0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0})
        made = plan(chain, segmentation((0, 3)), values, "m", keep=2, stay=frozenset({1, 3}))
        assert (made.kept, made.dropped) == ((1, 3), (0, 2))
        assert made.edits == (Edit("unit.0", "identity"), Edit("unit.2", "identity"))
        assert made.decisions[1].reason == "in the best set of 2 of 4 in its segment"
        assert made.decisions[0].reason == "not in the best set of 2 of 4 in its segment; why it is as it is"

    @settings(deadline=None)
    @given(
        drops=st.lists(st.sampled_from([None, "identity", "shortcut", "adapter", "pooled"]), min_size=2, max_size=12),
        data=st.data(),
    )
    def test_every_unit_is_decided_once_with_a_reason(self, drops, data):
        chain = chain_of(drops)
        assume(chain.droppable)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(drops) - 1))))
        bounds = list(itertools.pairwise([0, *cuts, len(drops)]))
        values = {index: data.draw(st.floats(0, 1)) for index in chain.droppable}
        keep = data.draw(st.integers(0, len(chain.droppable)))
        made = plan(chain, segmentation(*((a, b - 1) for a, b in bounds)), scores(values), "m", keep)
        assert sorted(made.kept + made.dropped) == list(range(len(drops)))
        assert [decision.index for decision in made.decisions] == list(range(len(drops)))
        assert tuple(decision.index for decision in made.decisions if decision.kept) == made.kept
        assert all(decision.reason for decision in made.decisions)
        assert len(set(made.kept) & set(chain.droppable)) == keep
        assert set(made.dropped) <= set(chain.droppable)
        assert [edit.path for edit in made.edits] == [f"unit.{index}" for index in made.dropped]
        for first, end in bounds:
            inside = [chain.units[index] for index in range(first, end) if chain.units[index].droppable]
            stayed = [each for each in inside if each.index in made.kept]
            gone = [each for each in inside if each.index in made.dropped]
            order = [(each.collapses, values[each.index]) for each in stayed]
            assert all(kept >= (each.collapses, values[each.index]) for kept in order for each in gone)

    def test_of_a_real_chain(self):
        chain = synthetic.chain("resnet56", 128, 11)
        values = {index: float(-index) for index in chain.droppable}
        made = plan(chain, segmentation((0, 9), (10, 18), (19, 28)), scores(values), "m", keep=3)
        # One a segment: the best score in stage 1, the pooled transitions in stages 2 and 3.
        assert made.kept == (0, 1, 10, 19, 28)
