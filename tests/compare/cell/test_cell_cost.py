"""What networks take, against the published tables and the formulas of recurrent layers."""

import pytest
import synthetic
import torch
from torch import nn

from edgeprune import registry
from edgeprune.compare.cell.cost import cost_of
from edgeprune.records.pruning import InputSpec


@pytest.mark.parametrize(
    ("name", "flops", "params"),
    [("resnet56", 41.92e6, 852_795), ("resnet110", 84.69e6, 1_727_739), ("vgg16", 918.9e6, 8_854_475)],
)
def test_flops_are_those_of_the_published_table(name, flops, params):
    network = registry.family_of(name).build(name, channels=2, length=128, classes=11)
    cost = cost_of(network, InputSpec(2, 128))
    assert cost.flops == pytest.approx(flops, rel=1e-4)
    assert cost.params == params


def test_flops_are_multiply_accumulates_and_twice_the_outputs_of_batch_norm():
    network = synthetic.network("resnet56-1d", 32, 3)
    cost = cost_of(network, InputSpec(2, 32))
    assert cost.macs == synthetic.chain("resnet56-1d", 32, 3).macs
    assert cost.flops == cost.macs + 2 * synthetic.batch_norm_outputs(network, 32)


class Recurrent(nn.Module):
    """One recurrent layer over time, its last state to two classes."""

    def __init__(self, kind):
        super().__init__()
        self.cells = kind(2, 5, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        return self.fc(self.cells(x.transpose(1, 2))[0][:, -1])


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
def test_recurrent_layers_count_every_step(kind, gates):
    cost = cost_of(Recurrent(kind), InputSpec(2, 16))
    assert cost.macs == 16 * gates * 5 * (2 + 5) + 5 * 2
    assert cost.flops == cost.macs


def test_the_network_is_left_as_it_was():
    network = synthetic.network("resnet56-1d", 32, 3)
    before = synthetic.frozen(network)
    cost_of(network, InputSpec(2, 32))
    assert synthetic.unchanged(network, before)
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.backends.mkldnn.enabled
