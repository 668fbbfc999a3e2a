"""A training that was killed and started again ends with the weights of one that was not."""

import random

import numpy as np
import pytest
import synthetic
import torch
from torch import nn

from edgeprune import registry
from edgeprune.network.running import seeded
from edgeprune.train.feed import TrainingData
from edgeprune.train.finetune import Recipe, train

RECIPE = Recipe(epochs=2, batch_size=6, learning_rate=0.05)
LENGTH, CLASSES = 64, 3


@pytest.fixture(scope="module")
def few():
    """6 frames to learn from in one step, and 3 to choose by."""
    iq = synthetic.signals(9, LENGTH)
    labels = torch.arange(9) % CLASSES
    return TrainingData(iq[:6], labels[:6], iq[6:], labels[6:])


def begun(make, data, **options):
    """A network of this kind, trained; the same fresh weights each time."""
    with seeded(1):
        network = make()
    train(network, data, RECIPE, options.pop("progress", synthetic.Silent()), **options)
    return network.state_dict()


def killed_and_resumed(make, data, folder):
    """The same, killed in the second epoch; every global generator stands elsewhere when it is started again."""
    kept = {"state_path": folder / "state"}
    with pytest.raises(KeyboardInterrupt):
        begun(make, data, progress=synthetic.Silent("epoch 2"), **kept)
    torch.rand(5)
    random.random()
    np.random.random()
    again = synthetic.Silent()
    weights = begun(make, data, progress=again, **kept)
    assert (1, "continued after epoch 1") in again.said
    return weights


@pytest.mark.parametrize("name", registry.model_names())
def test_every_network(few, tmp_path, name):
    def make():
        return registry.family_of(name).build(name, channels=2, length=LENGTH, classes=CLASSES)

    whole, resumed = begun(make, few), killed_and_resumed(make, few, tmp_path)
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


class Careless(nn.Module):
    """Scales what it sees by numbers of every global generator, as a network from elsewhere may."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2 * LENGTH, CLASSES)

    def forward(self, x):
        if self.training:
            x = x * random.random() * np.random.random() * torch.rand(len(x), 1, 1)
        return self.last(x.flatten(1))


def test_a_network_that_draws_from_every_global_generator(few, tmp_path):
    whole, resumed = begun(Careless, few), killed_and_resumed(Careless, few, tmp_path)
    assert torch.equal(whole["last.weight"], resumed["last.weight"])


def test_no_global_generator_is_changed_outside(few):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    begun(Careless, few)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_every_epoch_drops_other_features(few):
    """Train on one batch an epoch in one order, so that nothing but dropout can differ."""
    seen = []

    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.last = nn.Dropout(0.5), nn.Linear(2 * LENGTH, CLASSES)

        def forward(self, x):
            kept = self.drop(torch.ones_like(x.flatten(1)))
            if self.training:
                seen.append(kept)
            return self.last(x.flatten(1) * kept)

    train(Dropping(), few, Recipe(epochs=3, batch_size=6), synthetic.Silent())
    train(Dropping(), few, Recipe(epochs=1, batch_size=6, seed=1), synthetic.Silent())
    assert not any(torch.equal(seen[0], other) for other in seen[1:])
