"""The two criteria that look at nothing but places: random and uniform."""

import itertools

import numpy as np
import pytest
from judged import chain_of, subject_of
from torch import nn

from edgeprune.criteria import random, uniform


def subject(count, fixed=(), seed=0):
    model = nn.Sequential(*(nn.Identity() for _ in range(count)))
    return subject_of(model, chain_of(*map(str, range(count)), fixed=fixed), seed=seed)


def test_random_scores_are_those_of_the_seed():
    first, again, other = (random.criterion.scores(subject(9, (0, 8), seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert list(first) == [1, 2, 3, 4, 5, 6, 7]
    assert list(first.values()) == np.random.default_rng(1).random(7).tolist()


@pytest.mark.parametrize(
    ("size", "count", "kept"),
    [
        (9, 3, {1, 4, 7}),
        (9, 1, {4}),
        (8, 2, {2, 6}),
        (5, 4, {0, 1, 3, 4}),
        (5, 5, {0, 1, 2, 3, 4}),
        (5, 0, set()),
    ],
)
def test_uniform_keeps_the_middle_of_equal_stretches(size, count, kept):
    assert uniform.criterion.choose(subject(size), [range(size)], [count]) == kept


def test_uniform_spaces_units_of_each_segment_and_counts_only_those_that_can_go():
    judged = subject(12, fixed=(0, 5, 11))
    assert uniform.criterion.choose(judged, [range(5), range(5, 12)], [2, 3]) == {2, 4, 6, 8, 10}


@pytest.mark.parametrize("size", [1, 2, 7, 27, 54])
def test_uniform_gaps_differ_by_one_at_most(size):
    for count in range(1, size + 1):
        kept = sorted(uniform.criterion.choose(subject(size), [range(size)], [count]))
        assert len(kept) == count
        gaps = {after - before for before, after in itertools.pairwise(kept)}
        assert max(gaps, default=0) - min(gaps, default=0) <= 1
        assert abs(kept[0] - (size - 1 - kept[-1])) <= 1


def test_uniform_scores_fill_the_largest_gaps_first():
    scores = uniform.criterion.scores(subject(9, fixed=(0, 8)))
    assert sorted(scores, key=scores.__getitem__, reverse=True) == [4, 2, 6, 1, 3, 5, 7]
