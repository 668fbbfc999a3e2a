import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeprune.errors import ConfigError, ModelError
from edgeprune.files.store import record_sha256
from edgeprune.prune.segmentation import diameters, fisher_segments, segment
from edgeprune.records.pruning import LayerChain, Similarity, Unit

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 3))
PROFILES = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-1, 1, width=32)))
TIED_PROFILES = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, 2).map(float)))


def spread(points):
    return float(((points - points.mean(axis=0)) ** 2).sum())


def loss_of(profile, runs):
    return sum(spread(profile[first : last + 1]) for first, last in runs)


def partitions(length, k):
    for cuts in itertools.combinations(range(1, length), k - 1):
        edges = (0, *cuts, length)
        yield tuple((first, end - 1) for first, end in itertools.pairwise(edges))


def chain_of(droppable):
    """A chain with a unit for each letter: '-' must stay, 'd' can be dropped."""
    units = [
        Unit(i, f"layer{i}", "conv", (4,), (4,), 1, 1, "", "identity" if letter == "d" else None)
        for i, letter in enumerate(droppable)
    ]
    return LayerChain("sha", tuple(units), len(units), len(units))


def similarity_with(matrix, chain):
    return Similarity(record_sha256(chain), "data", "metric", 8, tuple(map(tuple, np.asarray(matrix, float).tolist())))


def block_matrix(sizes):
    """Units of one block say the same, units of two little that is alike."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(owner[:, None] == owner[None, :], 1.0, 0.1)


@settings(deadline=None)
@given(st.one_of(PROFILES, TIED_PROFILES))
def test_no_partition_is_better(profile):
    length = len(profile)
    losses, found = fisher_segments(profile, length)
    assert len(losses) == len(found) == length
    for k, (loss, runs) in enumerate(zip(losses, found, strict=True), start=1):
        least = min(loss_of(profile, candidate) for candidate in partitions(length, k))
        assert runs in set(partitions(length, k))
        assert loss_of(profile, runs) == pytest.approx(least, abs=1e-12)
        assert loss == pytest.approx(least, abs=1e-12)


@settings(deadline=None)
@given(PROFILES)
def test_the_number_of_runs_asked_for_does_not_change_the_shorter_partitions(profile):
    losses, found = fisher_segments(profile, len(profile))
    few = (len(profile) + 1) // 2
    assert fisher_segments(profile, few) == (losses[:few], found[:few])


def test_cuts_come_from_the_minima_and_not_from_the_largest_smaller_loss():
    # Best in two runs: 0 0 1 | 3, loss 2/3. The published code takes the largest n whose loss in one run is below 2/3:
    # that of 0 0 1 equals it, so n = 2, and 0 0 | 1 3 has loss 2.
    profile = np.array([0.0, 0.0, 1.0, 3.0])[:, None]
    losses, found = fisher_segments(profile, 2)
    assert losses == pytest.approx((6, 2 / 3))
    assert found[1] == ((0, 2), (3, 3))
    published = max(n for n in range(1, 4) if spread(profile[:n]) < losses[1] - 1e-12)
    assert published == 2
    assert loss_of(profile, ((0, published - 1), (published, 3))) == 2


def test_among_equal_cuts_the_last_run_starts_first():
    _, found = fisher_segments(np.ones((5, 2)), 3)
    assert found == (((0, 4),), ((0, 0), (1, 4)), ((0, 0), (1, 1), (2, 4)))


@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_diameters_equal_direct_sums(offset):
    profile = np.random.default_rng(0).normal(size=(40, 3)) + offset
    result = diameters(profile)
    for i, j in itertools.product(range(40), repeat=2):
        expected = spread(profile[i : j + 1]) if i <= j else np.inf
        assert result[i, j] == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_diameters_of_equal_points_are_exactly_zero():
    assert (diameters(np.full((30, 2), 0.1))[np.triu_indices(30)] == 0).all()


@pytest.mark.parametrize("profile", ["rows", "column-sums"])
def test_blocks_are_found_and_the_ends_join_their_neighbours(profile):
    chain = chain_of("--" + "ddd" + "d-ddd" + "dd" + "-")
    matrix = np.zeros((13, 13))
    matrix[2:12, 2:12] = block_matrix([3, 5, 2])
    result = segment(similarity_with(matrix, chain), chain, "auto", profile, 4)
    assert result.segments == ((0, 4), (5, 9), (10, 12))
    assert result.chosen == "auto"
    assert result.profile == profile
    assert len(result.losses) == 4


def test_what_lies_outside_the_droppable_run_has_no_say():
    chain = chain_of("-dddddd-")
    matrix = np.ones((8, 8))
    matrix[1:7, 1:7] = block_matrix([2, 4])
    quiet = segment(similarity_with(matrix, chain), chain, 2, "rows", 7)
    matrix[0, 1:7] = matrix[1:7, 0] = [9, -9, 9, -9, 9, -9]
    loud = segment(similarity_with(matrix, chain), chain, 2, "rows", 7)
    assert quiet.segments == loud.segments == ((0, 2), (3, 7))
    assert quiet.losses == loud.losses


def test_rows_see_blocks_whose_column_sums_are_equal():
    chain = chain_of("dddddd")
    similarity = similarity_with(block_matrix([3, 3]), chain)
    assert segment(similarity, chain, "auto", "rows", 6).segments == ((0, 2), (3, 5))
    assert segment(similarity, chain, "auto", "column-sums", 6).segments == ((0, 5),)


def test_a_given_number_is_used_and_auto_stays_within_its_limit():
    chain = chain_of("dddddddd")
    similarity = similarity_with(block_matrix([2, 2, 2, 2]), chain)
    given_number = segment(similarity, chain, 5, "rows", 2)
    assert (len(given_number.segments), len(given_number.losses), given_number.chosen) == (5, 5, "given")
    assert len(segment(similarity, chain, "auto", "rows", 2).segments) == 2
    assert len(segment(similarity, chain, "auto", "rows", 7).segments) == 4  # no difference is left within any
    assert segment(similarity, chain, "auto", "rows", 0).segments == ((0, 7),)
    assert given_number.similarity_sha256 == record_sha256(similarity)


@pytest.mark.parametrize("limit", [1, 3, 7, 30])
def test_auto_makes_as_many_as_its_limit_of_a_chain_of_noise(limit):
    noise = np.random.default_rng(0).uniform(size=(20, 20))
    chain = chain_of("d" * 20)
    found = segment(similarity_with(noise + noise.T, chain), chain, "auto", "rows", limit)
    assert len(found.segments) == min(limit, 20)
    assert (found.chosen, len(found.losses)) == ("auto", min(limit, 20))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.randoms(use_true_random=False))
def test_segments_are_consecutive_and_cover_the_chain(length, random):
    droppable = "".join(random.choice("d-") for _ in range(length)) + "d-"
    chain = chain_of(droppable)
    matrix = np.array([[random.random() for _ in droppable] for _ in droppable])
    segments = segment(similarity_with(matrix + matrix.T, chain), chain, "auto", "rows", 7).segments
    assert [unit for first, last in segments for unit in range(first, last + 1)] == list(range(len(droppable)))


@pytest.mark.parametrize("segments", [0, -1, 4])
def test_an_impossible_number_of_segments(segments):
    chain = chain_of("-ddd--")
    with pytest.raises(ConfigError, match=f"{segments} segments requested, this network allows 1 to 3"):
        segment(similarity_with(np.eye(6), chain), chain, segments, "rows", 7)


def test_no_droppable_unit():
    chain = chain_of("---")
    with pytest.raises(ModelError, match="no unit of the network can be dropped"):
        segment(similarity_with(np.eye(3), chain), chain, "auto", "rows", 7)


def test_a_similarity_of_another_network():
    with pytest.raises(ModelError, match="computed for another network"):
        segment(similarity_with(np.eye(3), chain_of("ddd")), chain_of("-dd"), "auto", "rows", 7)
