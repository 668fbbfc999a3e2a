"""Design effects by hand and against survey formulas; coverage of intervals by simulation."""

import numpy as np
import pytest

from edgeprune.records.frames import Frames
from edgeprune.train.accuracy import accuracy, compare, paired, rate
from edgeprune.train.design_effect import Grouping, grouping_of


def grouping(sizes, cells=None):
    """Groups of these sizes, each in a cell."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return Grouping(groups, np.zeros(len(groups), int) if cells is None else np.repeat(cells, sizes))


def frames(labels, groups, snrs=None):
    iq = np.zeros((len(labels), 2, 1), np.float32)
    return Frames(iq, labels, snrs, ("AM", "FM"), None, "signals.npz", "0" * 64, groups=groups)


class TestEffect:
    def test_by_hand(self):
        # 4 groups of 5, of which 5, 5, 1 and 5 are right: p = 0.8; errors 1, 1, -3, 1; 12 * 4 / 3 = 16 over 20 * 0.16
        right = np.repeat([1, 1, 0, 1], 5)
        right[10] = 1
        assert right.mean() == 0.8
        assert grouping([5] * 4).effect(right, 0.16).design_effect == pytest.approx(5.0)

    def test_is_kishs_one_plus_the_correlation_for_all_further_frames_of_a_group(self):
        generator = np.random.default_rng(0)
        shared = np.repeat(generator.normal(size=4000), 8)
        values = (np.sqrt(0.3) * shared + np.sqrt(0.7) * generator.normal(size=32_000) > 1).astype(int)
        p = values.mean()
        within = values.reshape(4000, 8)
        pairs = (within.sum(axis=1) ** 2 - within.sum(axis=1)).sum() / (4000 * 8 * 7)
        correlation = (pairs - p**2) / (p * (1 - p))
        found = grouping([8] * 4000).effect(values, p * (1 - p)).design_effect
        assert found == pytest.approx(1 + 7 * correlation, rel=0.01)

    def test_of_independent_frames_is_one_whatever_the_sizes_of_groups(self):
        generator = np.random.default_rng(0)
        found = []
        for _ in range(300):
            sizes = generator.integers(1, 30, 5)
            values = generator.normal(size=sizes.sum())
            of = grouping(sizes)
            raw = of.effect(values * 1e6, 1e11).design_effect  # so small a variance that no effect is cut off at 1
            found.append(raw * 1e11 / 1e12)
        assert np.mean(found) == pytest.approx(1, abs=0.1)

    def test_cells_of_another_accuracy_are_no_dependence(self):
        right = np.concatenate([np.tile([1, 0], 50), np.ones(100, int)])
        apart = grouping([10] * 20, np.repeat([0, 1], 10)).effect(right, 0.1875)
        together = grouping([10] * 20).effect(right, 0.1875)
        assert apart.design_effect == 1
        assert together.design_effect == pytest.approx(10 * 0.0625 / 0.1875 * 20 / 19)

    def test_where_nothing_varies_a_group_is_one_frame(self):
        found = grouping([25] * 4).effect(np.ones(100, int), 0.0)
        assert (found.design_effect, found.share) == (25, 0.04)
        assert grouping([100]).effect(np.tile([0, 1], 50), 0.25).share == 0.01

    def test_groups_of_one_frame_change_nothing(self):
        found = grouping([1] * 30).effect(np.tile([0, 1, 1], 10), 2 / 9)
        assert (found.design_effect, found.share) == (1, 1)

    def test_a_cell_of_a_single_group_is_pooled(self):
        right = np.concatenate([np.tile([1, 0], 20), np.ones(40, int)])
        alone = grouping([10] * 4 + [40], [0] * 4 + [1]).effect(right, 0.1875)
        assert alone.design_effect > 1


def beta_binomial(generator, cells, groups, size, correlation):
    """Right or wrong, by cell and group, with the true share of right ones."""
    shares = np.linspace(0.75, 0.98, cells)
    a = shares * (1 - correlation) / correlation
    b = (1 - shares) * (1 - correlation) / correlation
    drawn = generator.beta(np.repeat(a, groups), np.repeat(b, groups))
    return (generator.random((cells * groups, size)) < drawn[:, None]).reshape(-1), float(shares.mean())


class TestCoverage:
    """The true value is in the nominal 95 % interval in 93 % of simulated sets or more; see benchmarks/accuracy.py."""

    @pytest.mark.parametrize(("cells", "groups", "size"), [(55, 4, 50), (11, 4, 40), (1, 20, 50), (5, 4, 50)])
    def test_of_top1(self, cells, groups, size):
        generator = np.random.default_rng(cells)
        of = grouping([size] * (cells * groups), np.repeat(np.arange(cells), groups))
        held = {"groups": 0, "wilson": 0}
        for _ in range(500):
            right, truth = beta_binomial(generator, cells, groups, size, 0.05)
            p = right.mean()
            share = of.effect(right, p * (1 - p)).share
            for name, used in (("groups", share), ("wilson", 1.0)):
                low, high = rate(int(right.sum()), len(right), used).ci95
                held[name] += low <= truth <= high
        assert held["groups"] >= 0.93 * 500
        assert held["wilson"] < 0.85 * 500

    def test_of_the_paired_drop_and_its_test(self):
        generator = np.random.default_rng(7)
        of = grouping([50] * 44, np.repeat(np.arange(11), 4))
        held = called = 0
        for _ in range(500):
            before, _ = beta_binomial(generator, 11, 4, 50, 0.05)
            flips = np.repeat(generator.beta(1, 9, 44), 50)  # a group that is hard is so for both, and changes together
            after = np.where(generator.random(2200) < flips, generator.random(2200) < 0.5, before)
            before = np.where(generator.random(2200) < flips, generator.random(2200) < 0.5, before)
            _, (low, high), p_value = paired(before, after, of)
            held += low <= 0 <= high
            called += p_value < 0.05
        assert held >= 0.93 * 500
        assert called <= 0.07 * 500


class TestAccuracy:
    def test_top1_and_each_table_are_of_groups(self):
        generator = np.random.default_rng(0)
        labels, snrs = np.repeat([0, 1], 200), np.tile(np.repeat([0, 10], 100), 2)
        groups = np.arange(400) // 20
        logits = np.zeros((400, 2), np.float32)
        logits[np.arange(400), labels] = np.repeat(generator.random(20) < 0.8, 20) - 0.5
        found = accuracy(logits, frames(labels, groups, snrs), "test")
        alone = accuracy(logits, frames(labels, None, snrs), "test")
        assert (found.groups, alone.groups, alone.design_effect) == (20, None, None)
        assert found.design_effect == pytest.approx(20, rel=0.4)
        assert found.top1 == alone.top1
        for wide, narrow in [
            (found.ci95, alone.ci95),
            *((found.by_snr[key].ci95, alone.by_snr[key].ci95) for key in alone.by_snr),
            *((found.by_class[key].ci95, alone.by_class[key].ci95) for key in alone.by_class),
        ]:
            assert wide[0] < narrow[0]
            assert wide[1] >= narrow[1]

    def test_a_drop_that_one_group_makes_is_not_significant(self):
        labels, groups = np.zeros(200, int), np.arange(200) // 20
        before = np.tile(np.array([[1, 0]], np.float32), (200, 1))
        after = before.copy()
        after[:20] = [0, 1]
        single = compare(before, after, frames(labels, None), "test")
        grouped = compare(before, after, frames(labels, groups), "test")
        assert single.mcnemar_p < 1e-4 < 0.05 < grouped.mcnemar_p
        assert single.drop_ci95[0] > 0 > grouped.drop_ci95[0]
        assert grouped.drop == single.drop == 0.1

    def test_frames_that_nobody_groups_have_no_grouping(self):
        assert grouping_of(frames(np.zeros(3, int), None)) is None
