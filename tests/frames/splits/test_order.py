"""Dependence in the order of frames: all orders of a small cell, sets without dependence, and real signals."""

import itertools

import numpy as np
import pytest
from scipy import stats

from edgeprune import datasets
from edgeprune.files.shipped import shipped
from edgeprune.frames.labelled import table_of
from edgeprune.frames.splits.order import described, looked_at, order_dependence, ranked


def neighbours(ranks, order):
    return sum(float(ranks[a] @ ranks[b]) / ranks.shape[1] for a, b in itertools.pairwise(order))


def test_ranks_are_scipys_with_mean_0_and_mean_square_1():
    values = np.array([[3.0, 1.0], [1.0, 1.0], [3.0, 1.0], [9.0, 1.0]])
    expected = stats.rankdata(values[:, 0]) - 2.5
    found = ranked(values)
    np.testing.assert_allclose(found[:, 0], expected / np.sqrt(np.mean(expected**2)))
    assert not found[:, 1].any()


def test_the_p_value_is_the_share_of_all_orders():
    values = np.random.default_rng(3).normal(size=(6, 2)) + np.arange(6)[:, None] * 0.6
    ranks = ranked(values)
    here = neighbours(ranks, range(6))
    sums = [neighbours(ranks, order) for order in itertools.permutations(range(6))]
    exact = np.mean(np.array(sums) >= here - 1e-9)
    found = order_dependence([values], orders=20_000)
    assert 0.001 < exact < 0.5
    assert found.correlation == pytest.approx(here / 5)
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_without_dependence_it_alarms_as_often_as_it_says():
    """Features that correlate with one another and are far from normal, in cells of different sizes."""
    generator = np.random.default_rng(0)
    p_values = []
    for seed in range(400):
        cells = [np.exp(generator.normal(size=(count, 1)) + generator.normal(size=(count, 4))) for count in (5, 12, 30)]
        p_values.append(order_dependence(cells, seed, orders=199).p_value)
    for limit in (0.05, 0.2, 0.5):
        alarms = int((np.array(p_values) <= limit).sum())
        assert stats.binomtest(alarms, 400, limit).pvalue > 0.001


def test_a_state_that_lasts_ten_frames_is_found_and_its_reach():
    generator = np.random.default_rng(0)
    states = np.repeat(generator.normal(size=(20, 3)), 10, axis=0)
    found = order_dependence([states + 0.5 * generator.normal(size=(200, 3)) for _ in range(3)])
    assert found.shown
    assert found.p_value == 0.001
    # of neighbours 10 frames in one state k apart share it in (10 - k) / 10 of cases, times 1 / 1.25 of the variance
    assert found.correlation == pytest.approx(0.9 * 0.8, abs=0.1)
    assert found.reach_frames in (8, 9, 10)


def test_too_little_to_tell():
    assert order_dependence([]) is None
    assert order_dependence([np.zeros((2, 3))]) is None
    assert order_dependence([np.ones((20, 3))]) is None


def test_real_frames_in_the_order_of_their_transmission_and_out_of_it():
    frames = datasets.read(shipped("calib_data") / "gr2016a-high" / "frames.npz")
    groups = [described(frames.iq[cell]) for cell in looked_at(table_of(frames))]
    assert len(groups) == 55
    assert order_dependence(groups).shown
    generator = np.random.default_rng(0)
    mixed = order_dependence([group[generator.permutation(len(group))] for group in groups])
    assert not mixed.shown
    assert abs(mixed.correlation) < 0.05


def test_scale_and_carrier_phase_say_nothing():
    generator = np.random.default_rng(0)
    iq = generator.normal(size=(5, 2, 64)).astype(np.float32)
    signal = (iq[:, 0] + 1j * iq[:, 1]) * np.exp(1j * generator.uniform(0, 6, (5, 1))) * generator.uniform(1, 9, (5, 1))
    turned = np.stack([signal.real, signal.imag], axis=1).astype(np.float32)
    np.testing.assert_allclose(described(turned), described(iq), rtol=1e-4, atol=1e-5)
    assert not described(np.zeros((2, 2, 64), np.float32)).any()
