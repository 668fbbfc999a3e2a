"""Scores of channels: each method's choice worked out by hand, and the clusters against another way to find them."""

import itertools

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import nn

from edgeprune.prune.channels.dependencies import Group, Member
from edgeprune.prune.channels.scores import METHODS
from edgeprune.records.names import CHANNEL_METHODS


def one_layer(rows, gammas=None):
    """Two-weight filters of a convolution, with batch norm when its scales are given, and its channels."""
    weights = torch.tensor(rows, dtype=torch.float32)
    model = nn.Sequential(nn.Conv1d(2, len(rows), 1), nn.BatchNorm1d(len(rows)))
    model[0].weight.data = weights[..., None]
    if gammas is not None:
        model[1].weight.data = torch.tensor(gammas)
    indices = tuple((index,) for index in range(len(rows)))
    return model, Group(len(rows), (Member("0", "outputs", indices), Member("1", "both", indices)))


def scores(method, model, group, seed=0):
    return METHODS[method].score(model, group, np.random.default_rng(seed)).tolist()


def order(method, model, group):
    return np.argsort(scores(method, model, group), kind="stable").tolist()


class TestByHand:
    ROWS = ((3, 0), (2, 2), (-1, 1), (0, -5))

    def test_l1_adds_absolute_weights(self):
        norms = np.array([3, 4, 2, 5])
        np.testing.assert_allclose(scores("l1", *one_layer(self.ROWS)), norms / norms.mean())
        assert order("l1", *one_layer(self.ROWS)) == [2, 0, 1, 3]

    def test_sfp_takes_euclidean_norms(self):
        norms = np.sqrt([9, 8, 2, 25])
        np.testing.assert_allclose(scores("sfp", *one_layer(self.ROWS)), norms / norms.mean())
        assert order("sfp", *one_layer(self.ROWS)) == [2, 1, 0, 3]

    def test_fpgm_takes_distances_to_all_filters(self):
        rows = ((0, 0), (4, 0), (5, 0), (6, 0), (20, 0))
        sums = np.array([35, 23, 22, 23, 65])
        np.testing.assert_allclose(scores("fpgm", *one_layer(rows)), sums / sums.mean())
        assert order("fpgm", *one_layer(rows))[0] == 2

    def test_fpgm_sees_signs(self):
        """Opposite filters are far apart, however alike their sizes."""
        assert order("fpgm", *one_layer(((-5, 0), (5, 0), (4, 0), (7, 0), (8, 0)))) == [1, 2, 3, 4, 0]

    def test_fpgm_counts_filters_of_the_layer_outside_the_group(self):
        model, group = one_layer(((0, 0), (1, 0), (9, 0), (9, 1), (9, -1)))
        first = Group(2, tuple(Member(m.path, m.side, m.indices[:2]) for m in group.members))
        assert order("fpgm", model, first) == [1, 0]

    def test_bnp_takes_absolute_scales(self):
        model, group = one_layer(self.ROWS, [0.5, -2.0, 0.1, 1.0])
        np.testing.assert_allclose(scores("bnp", model, group), [0.5, 2, 0.1, 1], rtol=1e-6)

    def test_bnp_says_nothing_without_batch_norm(self):
        model, group = one_layer(self.ROWS)
        alone = Group(group.channels, group.members[:1])
        assert METHODS["bnp"].score(model, alone, np.random.default_rng(0)) is None
        model[1] = nn.BatchNorm1d(4, affine=False)
        assert METHODS["bnp"].score(model, group, np.random.default_rng(0)) is None

    def test_rfp_merges_by_angle_whatever_the_norm(self):
        """Filters at 0°, 60° and 90°: 60° and 90° merge first, then 0° with both."""
        rows = [(7, 0), (0.5, 3**0.5 / 2), (0, 0.1)]
        ranked = sorted(scores("rfp", *one_layer(rows)))
        near, far = 1 - 3**0.5 / 2, 1 - (0.5 + 0) / 2
        np.testing.assert_allclose(ranked, [near, far, np.inf], rtol=1e-6)
        assert scores("rfp", *one_layer(rows)).index(ranked[0]) in (1, 2)

    def test_layers_that_make_the_same_channels_have_one_vote_each(self):
        model = nn.Sequential(nn.Linear(1, 3), nn.Linear(1, 3))
        model[0].weight.data = torch.tensor([[1.0], [2.0], [3.0]])
        model[1].weight.data = torch.tensor([[400.0], [200.0], [300.0]])
        indices = ((0,), (1,), (2,))
        group = Group(3, (Member("0", "outputs", indices), Member("1", "outputs", indices)))
        np.testing.assert_allclose(scores("l1", model, group), [(0.5 + 4 / 3) / 2, (1 + 2 / 3) / 2, (1.5 + 1) / 2])

    def test_scores_stay_numbers_when_all_filters_are_zero(self):
        for method in ("l1", "sfp", "fpgm", "rfp"):
            assert not np.isnan(scores(method, *one_layer(((0, 0), (0, 0), (0, 0))))).any()


def agglomerated(similarity, threshold):
    """Clusters of filters whose mean mutual similarity is above a threshold, merged pair by pair."""
    clusters = [{index} for index in range(len(similarity))]
    while len(clusters) > 1:
        mean = {
            (a, b): np.mean([similarity[i, j] for i in clusters[a] for j in clusters[b]])
            for a, b in itertools.combinations(range(len(clusters)), 2)
        }
        a, b = max(mean, key=mean.get)
        if mean[a, b] < threshold:
            break
        clusters[a] |= clusters.pop(b)
    return {frozenset(cluster) for cluster in clusters}


class TestClusters:
    FILTERS = np.random.default_rng(5).normal((1.5, 0), size=(14, 2))

    @pytest.mark.parametrize("threshold", [0.999, 0.99, 0.9, 0.5, 0.0])
    def test_above_a_threshold_one_filter_of_every_cluster_is_left(self, threshold):
        units = self.FILTERS / np.linalg.norm(self.FILTERS, axis=1, keepdims=True)
        clusters = agglomerated(units @ units.T, threshold)
        labels = fcluster(linkage(self.FILTERS, "average", "cosine"), 1 - threshold, "distance")
        assert clusters == {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels)}
        left = np.flatnonzero(np.array(scores("rfp", *one_layer(self.FILTERS.tolist()))) > 1 - threshold)
        assert sorted(len(cluster & set(left.tolist())) for cluster in clusters) == [1] * len(clusters)

    def test_every_filter_of_a_cluster_represents_it_as_often(self):
        model, group = one_layer(((1, 0), (1, 0.01), (1, 0.03)))
        winners = [scores("rfp", model, group, seed).index(np.inf) for seed in range(600)]
        assert np.abs(np.bincount(winners) - 200).max() < 50  # 4 standard deviations

    def test_layers_that_make_the_same_channels_are_compared_by_their_mean_similarity(self):
        model = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))
        model[0].weight.data = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
        model[1].weight.data = torch.tensor([[1.0, 0], [0, 1], [0, 5]])
        indices = ((0,), (1,), (2,))
        group = Group(3, (Member("0", "outputs", indices), Member("1", "outputs", indices)))
        # similarities 0-1: (1 + 0) / 2, 0-2: 0, 1-2: (0 + 1) / 2
        np.testing.assert_allclose(sorted(scores("rfp", model, group)), [0.5, 0.75, np.inf])


def test_the_methods_are_those_that_options_and_grids_know():
    assert tuple(METHODS) == CHANNEL_METHODS
