"""Ways for a network to compute for a while."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.network.running import seeded


def drawn():
    """What the next number of every global generator is."""
    return torch.rand(()).item(), random.random(), np.random.random()


def states():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


class TestSeeded:
    def test_every_global_generator_draws_what_its_own_seed_gives(self):
        with seeded(7):
            found = drawn()
        generator = torch.Generator().manual_seed(7)
        expected = (
            torch.rand((), generator=generator).item(),
            random.Random(7).random(),
            np.random.RandomState(7).rand(),
        )
        assert found == expected

    def test_afterwards_they_go_on_as_if_nothing_had_been_drawn(self):
        before = states()
        with seeded(7):
            drawn()
        assert states() == before

    def test_also_when_something_goes_wrong(self):
        def interrupted():
            with seeded(7):
                drawn()
                raise KeyboardInterrupt

        before = states()
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert states() == before

    def test_dropout_keeps_the_same_features(self):
        dropout, ones = nn.Dropout(0.5), torch.ones(100)
        with seeded(3):
            first = dropout(ones)
        drawn()
        with seeded(3):
            assert torch.equal(dropout(ones), first)
        with seeded(4):
            assert not torch.equal(dropout(ones), first)
