"""Accuracy by counting one frame at a time; intervals and tests by their textbook formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgeprune.records.frames import Frames
from edgeprune.train.accuracy import accuracy, compare, paired_interval, rate

CLASSES = ("AM", "CW", "FM")


def frames_and_logits(count=200, seed=0, snrs=True):
    generator = np.random.default_rng(seed)
    frames = Frames(
        iq=np.zeros((count, 2, 1), np.float32),
        labels=generator.integers(0, 3, count),
        snrs=generator.choice([-6, 0, 10], count) if snrs else None,
        classes=CLASSES,
        split=None,
        source="signals.npz",
        sha256="0" * 64,
    )
    logits = generator.normal(size=(2, count, 3)).astype(np.float32)
    logits[:, np.arange(count), frames.labels] += 1
    return frames, logits[0], logits[1]


def wilson(right, count):
    """Wilson (1927), as in Agresti & Coull (1998), equation 2."""
    z, share = 1.959963984540054, right / count
    middle = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - half) / (1 + z**2 / count), (middle + half) / (1 + z**2 / count)


class TestRate:
    @pytest.mark.parametrize(("right", "count"), [(0, 10), (1, 10), (5, 10), (10, 10), (925, 1000), (1, 1)])
    def test_interval_is_wilsons(self, right, count):
        found = rate(right, count)
        assert found.top1 == right / count
        assert found.frames == count
        assert found.ci95 == pytest.approx(wilson(right, count), abs=1e-12)

    def test_a_worked_example(self):
        # Newcombe (1998), table I: 81 of 263, score method without continuity correction.
        assert rate(81, 263).ci95 == pytest.approx((0.2553, 0.3662), abs=5e-5)


class TestAccuracy:
    def test_counts_one_by_one(self):
        frames, logits, _ = frames_and_logits()
        found = accuracy(logits, frames, "test")
        confusion = [[0] * 3 for _ in range(3)]
        for row, label in zip(logits.tolist(), frames.labels, strict=True):
            confusion[label][row.index(max(row))] += 1
        right = sum(confusion[label][label] for label in range(3))
        assert found.confusion == tuple(map(tuple, confusion))
        assert (found.split, found.frames, found.top1) == ("test", 200, right / 200)
        assert found.ci95 == pytest.approx(wilson(right, 200))
        assert {name: (each.top1, each.frames) for name, each in found.by_class.items()} == {
            name: (confusion[label][label] / sum(confusion[label]), sum(confusion[label]))
            for label, name in enumerate(CLASSES)
        }

    def test_by_snr(self):
        frames, logits, _ = frames_and_logits()
        found = accuracy(logits, frames, "test")
        assert list(found.by_snr) == ["-6", "0", "10"]
        for snr, each in found.by_snr.items():
            at = [index for index in range(200) if frames.snrs[index] == int(snr)]
            right = sum(int(logits[index].argmax()) == frames.labels[index] for index in at)
            assert (each.top1, each.frames) == (right / len(at), len(at))
            assert each.ci95 == pytest.approx(wilson(right, len(at)))

    def test_without_snr_there_is_no_table_of_it(self):
        frames, logits, _ = frames_and_logits(snrs=False)
        assert accuracy(logits, frames, "validation").by_snr == {}

    def test_a_class_without_frames_has_no_rate_but_its_row(self):
        frames, logits, _ = frames_and_logits()
        some = frames.labels != 1
        frames = Frames(frames.iq[some], frames.labels[some], None, CLASSES, None, "", "")
        found = accuracy(logits[some], frames, "test")
        assert set(found.by_class) == {"AM", "FM"}
        assert found.confusion[1] == (0, 0, 0)
        assert len(found.confusion) == 3


class TestCompare:
    def test_pairs_one_by_one(self):
        frames, baseline, pruned = frames_and_logits()
        found = compare(baseline, pruned, frames, "test")
        before = [int(row.argmax()) == label for row, label in zip(baseline, frames.labels, strict=True)]
        after = [int(row.argmax()) == label for row, label in zip(pruned, frames.labels, strict=True)]
        lost = sum(bool(was and not now) for was, now in zip(before, after, strict=True))
        gained = sum(bool(now and not was) for was, now in zip(before, after, strict=True))
        assert lost
        assert gained
        assert found.drop == pytest.approx((sum(before) - sum(after)) / 200)
        assert found.drop == pytest.approx(found.baseline.top1 - found.pruned.top1)
        assert found.drop_ci95 == paired_interval(lost, gained, 200)
        # McNemar's exact test: two tails of a fair coin over the discordant pairs.
        discordant = lost + gained
        tail = sum(math.comb(discordant, k) for k in range(min(lost, gained) + 1)) / 2**discordant
        assert found.mcnemar_p == pytest.approx(min(1.0, 2 * tail))
        assert found.baseline == accuracy(baseline, frames, "test")
        assert found.pruned == accuracy(pruned, frames, "test")

    def test_five_of_five_discordant_pairs_lost_by_hand(self):
        frames, _, _ = frames_and_logits(count=20)
        perfect = np.eye(3, dtype=np.float32)[frames.labels]
        worse = perfect.copy()
        worse[:5] = worse[:5, [1, 2, 0]]
        found = compare(perfect, worse, frames, "test")
        assert found.drop == 0.25
        assert found.mcnemar_p == pytest.approx(2 / 2**5)
        assert compare(worse, perfect, frames, "test").drop == -0.25

    def test_the_same_answers_lose_nothing(self):
        frames, logits, _ = frames_and_logits()
        found = compare(logits, logits, frames, "test")
        assert (found.drop, found.mcnemar_p) == (0.0, 1.0)
        assert found.drop_ci95[0] < 0 < found.drop_ci95[1]


class TestPairedInterval:
    def test_a_worked_example(self):
        # Approval of a prime minister, Agresti (2002), table 10.1: 794, 150, 86, 570 of 1600. With half a pair more in
        # each cell the difference is (150.5 - 86.5) / 1602 = 0.03995 with standard error 0.009558.
        assert paired_interval(150, 86, 1600) == pytest.approx((0.02122, 0.05868), abs=1e-5)

    @settings(deadline=None)
    @given(counts=st.lists(st.integers(0, 400), min_size=4, max_size=4).filter(any))
    def test_is_walds_over_the_table_with_half_a_pair_more_in_each_cell(self, counts):
        both, lost, gained, none = counts
        table = np.array([[both, lost], [gained, none]]) + 0.5
        shares = table / table.sum()
        difference = shares[0].sum() - shares[:, 0].sum()
        variance = (shares[0, 1] + shares[1, 0] - (shares[0, 1] - shares[1, 0]) ** 2) / table.sum()
        interval = stats.norm.interval(0.95, difference, math.sqrt(variance))
        assert paired_interval(lost, gained, sum(counts)) == pytest.approx(interval)

    def test_swapping_the_networks_mirrors_it(self):
        low, high = paired_interval(12, 5, 100)
        assert paired_interval(5, 12, 100) == pytest.approx((-high, -low))
