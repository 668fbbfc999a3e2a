"""The data flow cut into pieces: within a long shortcut too."""

import pytest
import synthetic
import torch
from synthetic import Doing
from torch import nn

from edgeprune.network.edits import apply_edits
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Edit, InputSpec


def chain_of(model):
    return layers_of(model, InputSpec(2, 16), "")


def conv(width=4):
    return nn.Conv1d(width, 4, 3, padding=1)


@pytest.mark.parametrize("joined", [torch.add, torch.sub])
def test_blocks_under_one_long_shortcut_are_units_and_its_end_is_nobodys(joined):
    def block():
        return Doing(lambda self, x: x + self.conv(x), conv=conv())

    def forward(self, x):
        x = self.first(x)
        return self.fc(torch.relu(joined(self.blocks(x), x)).mean(-1))

    blocks = nn.Sequential(*[block() for _ in range(4)])
    model = Doing(forward, first=conv(2), blocks=blocks, fc=nn.Linear(4, 3))
    units = chain_of(model).units
    assert [unit.path for unit in units] == ["first", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "fc"]
    assert [unit.edit for unit in units[1:-1]] == [Edit(f"blocks.{place}", "identity") for place in range(4)]
    edited, x = apply_edits(model, [unit.edit for unit in units[1:-1]], (2, 16)), synthetic.signals()
    first = model.first(x)
    torch.testing.assert_close(edited(x), model.fc(torch.relu(joined(first, first)).mean(-1)))


def test_a_long_shortcut_and_its_blocks_in_one_forward():
    def forward(self, x):
        x = start = self.first(x)
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        return self.fc((x + start).mean(-1))

    layers = nn.ModuleList(conv() for _ in range(3))
    model = Doing(forward, first=conv(2), layers=layers, fc=nn.Linear(4, 3))
    units = chain_of(model).units
    assert [unit.path for unit in units] == ["first", "layers.0", "layers.1", "layers.2", "fc"]
    assert [unit.drop for unit in units] == [None, "identity", "identity", "identity", None]
    edited, x = apply_edits(model, [unit.edit for unit in units[1:-1]], (2, 16)), synthetic.signals()
    torch.testing.assert_close(edited(x), model.fc(2 * model.first(x).mean(-1)))


def test_the_shortcut_over_the_layers_of_one_block_is_not_long():
    def forward(self, x):
        x = self.first(x)
        return self.fc((x + self.b(torch.relu(self.a(x)))).mean(-1))

    model = Doing(forward, first=conv(2), a=conv(), b=conv(), fc=nn.Linear(4, 3))
    assert [unit.path for unit in chain_of(model).units] == ["first", "a+b", "fc"]
