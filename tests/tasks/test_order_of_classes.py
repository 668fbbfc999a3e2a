"""The order of the classes, judged on few frames: a right one is not accused, and two that are swapped are found."""

import numpy as np
import pytest

from edgeprune.tasks.identify import best_order

DRAWS = 200


def answers(classes, right, seed):
    """Shares of each output for each class, of a network that is right so often and else names any other class."""
    shares = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(shares, right)
    return shares


def untrained(classes, _, seed):
    """A network in which a few outputs answer most frames, whatever their class."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.1) * rng.dirichlet(np.full(classes, 0.3)) * classes + 1e-3, size=classes)


def confused(classes, right, seed):
    """A network that cannot tell the first two classes apart, nor, as often, the next two."""
    shares = answers(classes, right, seed)
    for first in (0, 2):
        shares[first : first + 2] = 0
        shares[first : first + 2, first : first + 2] = 0.5
    return shares


def accused(network, classes, per_class, right, reorder=lambda shares, rng: shares):
    """Share of draws of so many frames of each class in which another order is taken for the right one."""
    rng = np.random.default_rng(classes * per_class)
    found = 0
    for seed in range(DRAWS):
        shares = reorder(network(classes, right, seed), rng)
        found += best_order(np.stack([rng.multinomial(per_class, row) for row in shares]))[1]
    return found / DRAWS


def swapped(shares, rng):
    first, second = rng.choice(len(shares), 2, replace=False)
    shares = shares.copy()
    shares[:, [first, second]] = shares[:, [second, first]]
    return shares


@pytest.mark.parametrize("per_class", [5, 25, 80])
@pytest.mark.parametrize("classes", [5, 11, 24])
class TestOrder:
    @pytest.mark.parametrize("right", [0.95, 0.5, 0.3])
    def test_a_right_order_is_not_accused(self, classes, per_class, right):
        assert accused(answers, classes, per_class, max(right, 1.5 / classes)) <= 0.01

    def test_classes_that_cannot_be_told_apart_are_not_accused(self, classes, per_class):
        assert accused(confused, classes, per_class, 0.9) <= 0.03

    def test_an_untrained_network_is_told_as_such_and_not_for_its_order(self, classes, per_class):
        assert accused(untrained, classes, per_class, None) <= (0.05 if classes > 5 else 0.2)

    def test_two_classes_that_are_swapped_are_found(self, classes, per_class):
        assert accused(answers, classes, per_class, 0.95, swapped) >= (0.8 if per_class == 5 else 0.99)
        if per_class > 5:
            assert accused(answers, classes, per_class, 0.6, swapped) >= 0.9


def test_the_order_is_that_of_the_outputs():
    shares = answers(5, 1.0, 0)[:, [2, 0, 1, 4, 3]]
    outputs, misordered = best_order((shares * 20).astype(int))
    assert misordered
    assert outputs.tolist() == [1, 2, 0, 4, 3]
