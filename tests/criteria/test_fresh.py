import pytest
import synthetic
import torch
from torch import nn

from edgeprune.criteria._fresh import fresh
from edgeprune.models.resnet import ResNet


class Gated(nn.Module):
    """A module with weights of its own and no way to reset them."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(3 + 2 * torch.randn(4000))
        self.level = nn.Parameter(torch.full((5,), 7.0))


def test_modules_that_can_be_reset_are():
    model = synthetic.shaken(ResNet(1, 1, 3))
    renewed = fresh(model, 3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = nn.Sequential(nn.Conv1d(2, 16, 3, padding=1, bias=False), nn.BatchNorm1d(16))
    for name, value in expected.state_dict().items():
        assert torch.equal(renewed.stem.state_dict()[name], value)


def test_other_weights_keep_their_mean_and_variance():
    model = Gated()
    renewed = fresh(model, 0)
    assert not torch.equal(renewed.gate, model.gate)
    assert renewed.gate.mean().item() == pytest.approx(3, abs=0.15)
    assert renewed.gate.std().item() == pytest.approx(2, abs=0.1)
    assert torch.equal(renewed.level, model.level)


def test_the_seed_decides_and_nothing_else_changes():
    model = synthetic.shaken(ResNet(1, 1, 3))
    torch.rand(1)
    before, random = synthetic.frozen(model), torch.get_rng_state()
    first, again, other = fresh(model, 1), fresh(model, 1), fresh(model, 2)
    assert synthetic.unchanged(model, before)
    assert torch.equal(torch.get_rng_state(), random)
    assert synthetic.unchanged(first, synthetic.frozen(again))
    assert not torch.equal(first.fc.weight, other.fc.weight)
