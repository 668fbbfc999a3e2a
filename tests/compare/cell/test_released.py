"""What the released code does otherwise, against its description carried out word by word."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch

from edgeprune.compare.cell import released
from edgeprune.prune.segmentation import fisher_segments


def loss(points):
    return float(((points - points.mean(axis=0)) ** 2).sum())


def least(points, k):
    """Least loss of the points in k runs, over all ways to cut them."""
    cuts = itertools.combinations(range(1, len(points)), k - 1)
    return min(sum(loss(part) for part in np.split(points, list(cut))) for cut in cuts)


def by_its_words(points, k):
    """From the end: the largest n whose L(n, k - 1) is below the loss at hand ends the run before."""
    runs, end, at_hand = [], len(points), least(points, k)
    for remaining in range(k - 1, 0, -1):
        below = [n for n in range(remaining, end) if least(points[:n], remaining) < at_hand]
        n = below[-1] if below else end - 1
        runs.insert(0, (n, end - 1))
        end, at_hand = n, least(points[:n], remaining)
    return ((0, end - 1), *runs)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_released_cuts_are_those_of_the_description(seed, k):
    points = np.random.default_rng(seed).normal(size=(8, 1)).cumsum(axis=0)
    assert released.released_segments(points, k) == by_its_words(points, k)


def test_released_cuts_are_mostly_worse_than_the_optimal_ones():
    def cost(points, cuts):
        return sum(loss(points[first : last + 1]) for first, last in cuts)

    walks = [np.random.default_rng(seed).normal(size=(28, 1)).cumsum(axis=0) for seed in range(20)]
    lost = [cost(walk, released.released_segments(walk, 4)) - fisher_segments(walk, 4)[0][-1] for walk in walks]
    assert min(lost) > -1e-9
    assert sum(each > 1e-6 for each in lost) >= 15


def test_equal_points_are_cut_all_the_same():
    assert released.released_segments(np.zeros((4, 1)), 3) == ((0, 1), (2, 2), (3, 3))


class Probe:
    """Scores every set of units at random, the same set always alike, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def score(self, units):
        self.asked.append(frozenset(units))
        return float(np.random.default_rng(sorted(units)).random())


def unreset_word_by_word(segments, counts):
    """Every set of every segment is copied and judged; what was copied before stays."""
    copied, kept = set(), set()
    for units, count in zip(segments, counts, strict=True):
        scores = {}
        for chosen in itertools.combinations(units, count):
            copied |= set(chosen)
            scores[chosen] = Probe().score(copied)
        kept |= set(min(scores, key=scores.get))
    return kept


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 3, 2), (3, 5, 4), (1, 4, 3)])
def test_a_probe_that_is_never_reset_chooses_as_if_every_set_were_judged(counts):
    segments = [(1, 2, 3), (5, 6, 7, 8, 9), (11, 12, 13, 14)]
    probe = Probe()
    assert released.unreset_search(probe, segments, counts) == unreset_word_by_word(segments, counts)
    assert len(probe.asked) == len(set(probe.asked)) <= sum(map(len, segments))


def test_nothing_is_judged_where_nothing_stays():
    probe = Probe()
    assert released.unreset_search(probe, [(1, 2), (3, 4)], (0, 1)) in ({3}, {4})
    assert all(1 not in units for units in probe.asked)


def test_only_the_named_units_get_fresh_weights():
    trained = synthetic.checkpoint()
    mine = replace(trained, model=synthetic.shaken(copy.deepcopy(trained.model), seed=1))
    with torch.no_grad():
        other = copy.deepcopy(mine.model)
        for parameter in other.parameters():
            parameter.add_(1.0)
    before = {name: value.clone() for name, value in mine.model.state_dict().items()}
    units = synthetic.chain("resnet56-1d", synthetic.LENGTH, 3).units
    path = next(unit.path for unit in units if unit.droppable and unit.in_shape != unit.out_shape)
    after = released.with_fresh_transitions(mine, replace(mine, model=other), [path]).model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(f"{path}.") for name in changed)
    assert all(torch.equal(after[name], other.state_dict()[name]) for name in changed)
