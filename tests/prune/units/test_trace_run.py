"""Networks found by watching them run: against what torch's own export finds, and what cannot be exported."""

from dataclasses import replace

import any_network
import pytest
import synthetic
import torch
from any_network import KINDS, Drawn, Part
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError
from edgeprune.network.edits import apply_edits
from edgeprune.network.unfold import unfolded
from edgeprune.prune.units import chain as layers
from edgeprune.prune.units.chain import layers_of
from edgeprune.prune.units.trace import NotExportedError, pieces_of
from edgeprune.prune.units.trace_run import watched_pieces
from edgeprune.records.pruning import InputSpec

LENGTH = 16
SHAPE = InputSpec(2, LENGTH)


def units_of(model):
    """Its units without the names of those that are no modules, which are not the same in every trace."""
    modules = dict(unfolded(model).named_modules())
    units = layers_of(model, SHAPE, "").units
    return [unit if unit.path.split("+")[0] in modules else replace(unit, path="code", reason="") for unit in units]


def watched(monkeypatch):
    def refuse(*_):
        raise NotExportedError("not today")

    monkeypatch.setattr(layers, "pieces_of", refuse)


@pytest.mark.parametrize("module", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_finds_what_the_export_finds(kind, module, monkeypatch):
    model = Drawn((Part(kind, any_network.WIDTH, module), Part("plain", 12))).build()
    exported = units_of(model)
    watched(monkeypatch)
    assert units_of(model) == exported


def test_finds_what_the_export_finds_in_a_whole_network(monkeypatch):
    exported = synthetic.chain("resnet56", 128, 11)
    watched(monkeypatch)
    assert layers_of(synthetic.network("resnet56", 128, 11), InputSpec(2, 128), "0" * 64) == exported


class Gate(nn.Module):
    """Which way the data go depends on the data."""

    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 1)

    def forward(self, x):
        return torch.relu(self.conv(x)) if x.mean() > 0 else torch.tanh(self.other(x))


class Gated(nn.Module):
    def __init__(self, *inner):
        super().__init__()
        self.stem, self.inner, self.fc = nn.Conv1d(2, 4, 3, padding=1), nn.Sequential(*inner), nn.Linear(4, 3)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        return self.fc(self.inner(x).mean(-1))


class Leaving(nn.Module):
    """Computes outside of torch."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return torch.from_numpy(x.numpy() * self.scale.detach().numpy()[:, None]) * 2


class TestNotExported:
    def test_a_network_that_looks_at_its_data_is_divided(self, capfd):
        model = synthetic.shaken(Gated(Gate(), Gate()))
        with pytest.raises(NotExportedError, match="cannot be traced"):
            pieces_of(model, 2, LENGTH)
        chain = layers_of(model, SHAPE, "")
        assert [(unit.path, unit.drop) for unit in chain.units] == [
            ("stem", None), ("inner.0", "identity"), ("inner.1", "identity"), ("fc", None),
        ]  # fmt: skip
        assert chain.params == sum(parameter.numel() for parameter in model.parameters())
        assert "".join(capfd.readouterr()) == ""  # torch prints pages of it otherwise
        x = synthetic.signals(4, LENGTH)
        pruned = apply_edits(model, [chain.units[1].edit], (2, LENGTH))
        with torch.no_grad():
            expected = model.fc(model.inner[1](functional.relu(model.stem(x))).mean(-1))
            assert torch.equal(pruned(x), expected)

    def test_the_way_that_was_not_taken_is_no_part_of_a_unit(self):
        model = Gated(Gate()).eval()
        nn.init.constant_(model.stem.bias, 5.0)  # relu(...) is positive
        (gate,) = layers_of(model, SHAPE, "").units[1:-1]
        assert gate.params == sum(parameter.numel() for parameter in model.inner[0].conv.parameters())
        assert gate.macs == 4 * 4 * 3 * LENGTH

    @pytest.mark.filterwarnings("ignore:`torch.jit.trace")
    def test_code_that_is_compiled_is_seen_too(self):
        compiled = torch.jit.trace(nn.Sequential(nn.Conv1d(4, 4, 1), nn.ReLU()), torch.zeros(2, 4, LENGTH))
        model = Gated(Gate(), compiled).eval()
        nodes = [node for piece in watched_pieces(model, 2, LENGTH) for node in piece.nodes]
        inside = [node for node in nodes if "inner.1" in node.modules]
        assert {name for node in inside for name, _ in node.parameters} == {"inner.1.0.weight", "inner.1.0.bias"}
        assert inside[-1].shape == (4, LENGTH)

    def test_a_module_that_leaves_torch_is_one_operation(self):
        model = Gated(Leaving(), nn.Conv1d(4, 4, 1)).eval()
        nodes = [node for piece in watched_pieces(model, 2, LENGTH) for node in piece.nodes]
        (node,) = [node for node in nodes if "inner.0" in node.modules]
        assert (node.operation, node.shape, node.parameters) == ("leaving", (4, LENGTH), (("inner.0.scale", 4),))

    def test_what_is_written_into_a_tensor_is_part_of_it(self):
        class Writing(Gate):
            def forward(self, x):
                kept = torch.zeros_like(x)
                kept[:, :2] = self.conv(x)[:, :2]
                kept += 1.0
                return kept.relu_() if x.mean() > 0 else kept

        pieces = watched_pieces(Gated(Writing()).eval(), 2, LENGTH)
        inside = [node for piece in pieces for node in piece.nodes if "inner.0" in node.modules]
        assert {name for node in inside for name, _ in node.parameters} == {"inner.0.conv.weight", "inner.0.conv.bias"}
        assert [piece.nodes[-1].operation for piece in pieces][-2:] == ["mean", "linear"]


class TestWatching:
    def test_costs_are_what_pytorch_counts(self):
        model = Drawn((Part("attention", 8), Part("gru of two", 12), Part("separable", 12)), "flat").build()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(synthetic.signals(1, LENGTH))
        counted = sum(node.macs for piece in watched_pieces(model, 2, LENGTH) for node in piece.nodes)
        exported = sum(node.macs for piece in pieces_of(model, 2, LENGTH) for node in piece.nodes)
        assert counted == exported >= counter.get_total_flops() // 2 > 0

    def test_no_hooks_are_left_and_nothing_is_changed(self):
        model = Drawn((Part("residual", 12),)).build().train()
        before = synthetic.frozen(model)
        watched_pieces(model.eval(), 2, LENGTH)
        assert synthetic.unchanged(model.train(), before)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        hooks = torch.nn.modules.module
        assert not hooks._global_forward_hooks
        assert not hooks._global_forward_pre_hooks

    def test_several_outputs_are_refused(self):
        with pytest.raises(ModelError, match="the network's output is not one tensor, and a chain of layers needs one"):
            watched_pieces(Pair(), 2, LENGTH)

    @pytest.mark.parametrize("network", [nn.Identity(), nn.Sequential(nn.Identity())])
    def test_a_network_that_does_nothing_has_no_pieces(self, network):
        assert watched_pieces(network, 2, LENGTH) == ()

    def test_a_network_that_fails_tells_its_own_error(self):
        with pytest.raises(RuntimeError, match="to have 3 channels"):
            watched_pieces(nn.Conv1d(3, 2, 1), 2, LENGTH)


class Pair(nn.Module):
    def forward(self, x):
        return x + 1, x
