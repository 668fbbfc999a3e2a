"""Narrowed networks: what they cost, which channels are left by hand, and that they can be rebuilt and used."""

import copy

import numpy as np
import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.errors import ConfigError, ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.network.edits import apply_edits
from edgeprune.network.widths import resize, sizes_of
from edgeprune.prune.channels.allotment import TOLERANCE, macs_of
from edgeprune.prune.channels.narrow import narrow, soften
from edgeprune.prune.channels.scores import METHODS
from edgeprune.prune.units.trace import pieces_of
from edgeprune.records.pruning import Edit, InputSpec

SHAPE = InputSpec(2, 16)
each_method = pytest.mark.parametrize("method", METHODS)


def small(dims=1):
    """A residual network of three blocks."""
    torch.manual_seed(3)
    return synthetic.shaken(ResNet(dims, 1, 3))


def stack(*filters, classes=1):
    """Pointwise convolutions of these weights (outputs, inputs), batch norm and ReLU after each; a linear layer."""
    layers = []
    for weights in filters:
        weights = torch.as_tensor(weights, dtype=torch.float32)
        layer = nn.Conv1d(weights.shape[1], weights.shape[0], 1, bias=False)
        layer.weight.data = weights[..., None]
        layers += [layer, nn.BatchNorm1d(len(weights)), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(len(filters[-1]), classes)).eval()


def left(original, narrowed, path):
    """Which filters of a layer are left, found by their weights; those of the layer before must all be there."""
    old, new = (model.get_submodule(path).weight.detach() for model in (original, narrowed))
    return [next(k for k, row in enumerate(old) if torch.equal(row, kept)) for kept in new]


def traced_macs(model, length):
    """Multiply-accumulates of every operation of the exported network."""
    return sum(node.macs for piece in pieces_of(model, 2, length) for node in piece.nodes)


class TestCost:
    @pytest.mark.parametrize("keep", [0.6, 0.2])
    @each_method
    def test_is_at_most_what_was_asked_for_and_little_less(self, method, keep):
        model = small()
        narrowed, _ = narrow(model, SHAPE, method, keep)
        share = traced_macs(narrowed, 16) / traced_macs(model, 16)
        assert (1 - TOLERANCE) * keep <= share <= keep

    def test_is_counted_as_in_the_trace(self):
        model = synthetic.network("cnn1d", 64, 3)
        assert macs_of(model, InputSpec(2, 64)) == traced_macs(model, 64)

    def test_of_a_recurrent_layer_is_that_of_its_products(self):
        layer = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (-1, 4)), nn.LSTM(4, 5, batch_first=True), Outputs())
        assert macs_of(layer, SHAPE) == 8 * 4 * 5 * (4 + 5)  # 8 steps, 4 gates

    def test_of_what_does_not_run_on_shapes(self):
        with pytest.raises(ModelError, match="cannot be counted"):
            macs_of(nn.Sequential(Listed()), SHAPE)

    def test_what_the_code_multiplies_is_counted(self):
        """A filter over time between two layers: 256 MACs a channel, beside 64 and 48 for each."""
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv1d(2, 16, 2, padding="same"), Filtered(16), nn.Conv1d(16, 3, 1), nn.Flatten())
        narrowed, sizes = narrow(model, SHAPE, "l1", 0.5)
        assert macs_of(model, SHAPE) == 16 * (64 + 256 + 48)
        assert (macs_of(narrowed, SHAPE), sizes) == (8 * (64 + 256 + 48), {"0": (2, 8), "2": (8, 3)})

    def test_a_channel_that_saves_too_much_is_passed_over(self):
        """4 + 20 + 10 MACs a sample. By shares, 4 of the 10 channels go, then one of 2, which leaves 14: 41 %."""
        model = stack(np.eye(2), np.arange(20).reshape(10, 2), np.ones((1, 10)))
        spec = InputSpec(2, 1)
        assert macs_of(model, spec) == 4 + 20 + 10 + 1
        narrowed, sizes = narrow(model, spec, "l1", 0.575)
        assert macs_of(narrowed, spec) == 4 + 10 + 5 + 1
        assert sizes == {"3": (2, 5), "4": (5, 5), "6": (5, 1)}


class Outputs(nn.Module):
    def forward(self, pair):
        return pair[0]


class Filtered(nn.Module):
    def __init__(self, length):
        super().__init__()
        self.register_buffer("matrix", torch.rand(length, length))

    def forward(self, x):
        return x @ self.matrix


class Listed(nn.Module):
    def forward(self, x):
        return torch.tensor(x.tolist())


class TestChoice:
    """Four filters that point two ways, two large and two small."""

    FIRST = ((1.0, 0.1), (-4, 4), (0.9, 0.2), (-3, 3.1))

    @pytest.mark.parametrize(
        ("method", "first"),
        [("l1", [1, 3]), ("sfp", [1, 3]), ("fpgm", [0, 1]), ("bnp", [0, 2]), ("rfp", None)],
    )
    def test_of_one_layer(self, method, first):
        model = stack(self.FIRST, classes=3)
        model[1].weight.data = torch.tensor([2.0, 0.1, 1.0, 0.2])
        narrowed, sizes = narrow(model, SHAPE, method, 0.51)
        kept = left(model, narrowed, "0")
        assert sizes == {"0": (2, 2), "1": (2, 2), "5": (2, 3)}
        assert torch.equal(narrowed[1].weight, model[1].weight[kept])
        assert torch.equal(narrowed[5].weight, model[5].weight[:, kept])
        if first is None:
            assert (len({0, 2} & set(kept)), len({1, 3} & set(kept))) == (1, 1), "one of each pair of like directions"
        else:
            assert kept == first

    def test_local_methods_remove_the_same_share_of_every_layer(self):
        sizes = (8, 2), (16, 8), (8, 16)
        model = stack(*(np.random.default_rng(k).normal(size=size) * 9**k for k, size in enumerate(sizes)))
        for method in ("l1", "sfp", "fpgm"):
            _, changed = narrow(model, SHAPE, method, 0.27)
            assert [changed[path][1] for path in ("0", "3", "6")] == [4, 8, 4]

    def test_slimming_has_one_threshold_for_the_network(self):
        model = stack(np.eye(16, 2), np.eye(32, 16), np.eye(16, 32))
        scales = torch.linspace(0.1, 1.6, 64)[torch.randperm(64, generator=torch.Generator().manual_seed(1))]
        for place, part in zip((1, 4, 7), scales.split([16, 32, 16]), strict=True):
            model[place].weight.data = part.clone()
        narrowed, _ = narrow(model, SHAPE, "bnp", 0.4)
        kept = torch.cat([narrowed[place].weight for place in (1, 4, 7)])
        assert 30 < len(kept) < 50
        assert sorted(kept.tolist()) == sorted(scales.tolist())[-len(kept) :]

    def test_one_channel_of_every_layer_stays(self):
        model = stack(np.eye(4, 2), np.eye(8, 4), np.eye(4, 8))
        model[1].weight.data.fill_(1e-6)
        narrowed, _ = narrow(model, SHAPE, "bnp", 0.145)
        assert narrowed[0].out_channels == 1
        assert narrowed(synthetic.signals(2, 16)).shape == (2, 1)

    def test_widths_are_multiples(self):
        _, sizes = narrow(small(), SHAPE, "l1", 0.3, round_to=4)
        outputs = {path: size[1] for path, size in sizes.items() if path != "fc"}
        assert len(outputs) > 10
        assert all(width % 4 == 0 for width in outputs.values())

    def test_a_protected_module_keeps_its_channels(self):
        _, sizes = narrow(small(), SHAPE, "l1", 0.6, protect=("stem", "blocks.2"))
        assert all(path.startswith(("blocks.0", "blocks.1", "blocks.2")) for path in sizes)
        last = {path: size for path, size in sizes.items() if path.startswith("blocks.2")}
        assert set(last) == {"blocks.2.conv1", "blocks.2.shortcut.0"}
        assert set(last.values()) == {(sizes["blocks.1.conv2"][1], 64)}

    @pytest.mark.parametrize("method", ["rfp", "fpgm", "bnp"])
    def test_is_the_same_again(self, method):
        first, second = (narrow(small(), SHAPE, method, 0.3) for _ in range(2))
        assert first[1] == second[1]
        assert all(torch.equal(value, second[0].state_dict()[name]) for name, value in first[0].state_dict().items())

    def test_the_seed_draws_who_represents_a_cluster(self):
        drawn = [narrow(small(), SHAPE, "rfp", 0.3, seed=seed)[0] for seed in (0, 1)]
        assert sizes_of(drawn[0]) == sizes_of(drawn[1])
        assert not torch.equal(drawn[0].fc.weight, drawn[1].fc.weight)


class TestUse:
    @pytest.mark.parametrize("dims", [1, 2])
    @each_method
    def test_the_sizes_and_the_weights_rebuild_it(self, method, dims):
        model, frames = small(dims), synthetic.signals(5, 16)
        before = synthetic.frozen(model)
        narrowed, sizes = narrow(model, SHAPE, method, 0.4)
        rebuilt = ResNet(dims, 1, 3)
        resize(rebuilt, sizes)
        rebuilt.load_state_dict(narrowed.state_dict())
        assert torch.equal(rebuilt.eval()(frames), narrowed(frames))
        assert not any(module.training for module in narrowed.modules())
        after = synthetic.frozen(model)
        assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
        assert before[1:] == after[1:]

    @pytest.mark.parametrize("dims", [1, 2])
    def test_it_answers_learns_and_is_exported_for_any_batch(self, dims):
        narrowed, _ = narrow(small(dims), SHAPE, "fpgm", 0.3)
        frames = synthetic.signals(6, 16)
        program = torch.export.export(
            narrowed, (frames,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False
        )
        torch.testing.assert_close(program.module()(frames[:4]), narrowed(frames[:4]))
        narrowed.train()
        functional.cross_entropy(narrowed(frames), torch.arange(6) % 3).backward()
        assert all(parameter.grad.isfinite().all() for parameter in narrowed.parameters())
        assert narrowed.fc.weight.grad.abs().sum() > 0

    @pytest.mark.parametrize("name", ["cnn1d", "mcldnn"])
    def test_other_networks(self, name):
        length = {"cnn1d": 64, "mcldnn": 8}[name]
        model, spec = synthetic.network(name, length, 3), InputSpec(2, length)
        narrowed, sizes = narrow(model, spec, "l1", 0.6)
        assert narrowed(synthetic.signals(2, length)).shape == (2, 3)
        assert macs_of(narrowed, spec) <= 0.6 * macs_of(model, spec)
        states = [size for path, size in sizes.items() if isinstance(model.get_submodule(path), nn.LSTM)]
        assert [(inputs < 100, hidden) for inputs, hidden in states] == ([(True, 128)] if name == "mcldnn" else [])

    def test_after_units_were_dropped(self):
        edits = [Edit("blocks.1", "identity"), Edit("blocks.2", "shortcut"), Edit("blocks.5", "identity")]
        model = apply_edits(synthetic.shaken(ResNet(1, 2, 3)), edits, (2, 16)).eval()
        narrowed, sizes = narrow(model, SHAPE, "l1", 0.3)
        assert "blocks.2.shortcut.0" in sizes
        rebuilt = apply_edits(ResNet(1, 2, 3), edits, (2, 16))
        resize(rebuilt, sizes)
        rebuilt.load_state_dict(narrowed.state_dict())
        frames = synthetic.signals(3, 16)
        assert torch.equal(rebuilt.eval()(frames), narrowed(frames))


class TestRefused:
    @pytest.mark.parametrize("keep", [0, 1, -0.5, 50])
    def test_a_share_out_of_range(self, keep):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            narrow(small(), SHAPE, "l1", keep)

    def test_an_unknown_method_and_a_strange_width(self):
        with pytest.raises(ConfigError, match="no channel method is named 'l3'"):
            narrow(small(), SHAPE, "l3", 0.5)
        with pytest.raises(ConfigError, match="multiples of 0"):
            narrow(small(), SHAPE, "l1", 0.5, round_to=0)

    @pytest.mark.parametrize("bidirectional", [True, False])
    def test_recurrent_layers_alone(self, bidirectional):
        class Recurrent(nn.Module):
            def __init__(self):
                super().__init__()
                self.gru = nn.GRU(2, 8, 3, batch_first=True, bidirectional=bidirectional)
                self.fc = nn.Linear(16, 3)

            def forward(self, x):
                _, states = self.gru(x.transpose(1, 2))
                return self.fc(torch.cat([states[-2], states[-1]], 1))

        with pytest.raises(ModelError, match=r"nothing to narrow: .*hidden states keep their width"):
            narrow(Recurrent().eval(), InputSpec(2, 16), "l1", 0.5)

    def test_more_than_the_channels_can_save(self):
        with pytest.raises(ModelError, match=r"98\.5% of the MACs are left at least, not 50\.0%") as caught:
            narrow(synthetic.network("ulcnn", 32, 3), InputSpec(2, 32), "l1", 0.5)
        assert "early.0.0.pointwise" in caught.value.hint

    def test_widths_too_coarse_to_come_near(self):
        """16 + 64 + 8 MACs: four channels less leave 8 + 32 + 8 of the first layer, and 16 + 32 + 4 of the second."""
        model = stack(np.eye(8, 2), np.arange(64).reshape(8, 8))
        spec = InputSpec(2, 1)
        with pytest.raises(ModelError, match=r"about 90\.0% of the MACs: the nearest are 59\.1% and 100\.0%"):
            narrow(model, spec, "l1", 0.9, round_to=4)

    def test_slimming_without_batch_norm(self):
        with pytest.raises(ModelError, match="bnp cannot score this network"):
            narrow(synthetic.network("cnn1d", 64, 3), InputSpec(2, 64), "bnp", 0.5)


class TestSoft:
    def test_the_smallest_filters_are_zeroed_and_then_removed(self):
        model, trained = small(), small()
        after_epoch = soften(model, SHAPE, 0.3)
        with torch.no_grad():
            for parameter in trained.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        trained.train()
        before = copy.deepcopy(trained)
        after_epoch(trained)
        narrowed, sizes = narrow(trained, SHAPE, "sfp", 0.3)
        for path, (_, outputs) in sizes.items():
            soft, old = trained.get_submodule(path), before.get_submodule(path)
            if isinstance(soft, nn.Conv1d):
                zero = (soft.weight == 0).all(dim=2).all(dim=1)
                assert int(zero.sum()) == soft.out_channels - outputs
                assert torch.equal(soft.weight[~zero], old.weight[~zero])
                assert torch.equal(narrowed.get_submodule(path).weight.abs().sum((1, 2)) > 0, torch.ones(outputs) > 0)
        assert trained.training
        assert torch.equal(trained.fc.weight, before.fc.weight)

    def test_each_filter_by_hand(self):
        """Three filters of norms 5, 1 and 2; two thirds of them are the whole cost but one."""
        model = stack([[3, 4], [0, 1], [2, 0]])
        model[1].running_mean = torch.tensor([7.0, 8, 9])
        after_epoch = soften(model, SHAPE, 0.67)
        after_epoch(model)
        assert model[0].weight[..., 0].tolist() == [[3, 4], [0, 0], [2, 0]]
        assert model[1].running_mean.tolist() == [7, 0, 9]
        model[0].weight.data[:, :, 0] = torch.tensor([[0.1, 0], [6, 0], [0, 9]])
        after_epoch(model)
        assert model[0].weight[..., 0].tolist() == [[0, 0], [6, 0], [0, 9]]

    @torch.no_grad()
    def test_evaluation_sees_what_training_sees_of_a_zeroed_filter(self):
        model = stack([[3, 4], [0, 1], [2, 0]])
        model[1].bias.data = torch.tensor([0.1, 0.2, 0.3])
        soften(model, SHAPE, 0.67)(model)
        frames = synthetic.signals(8, 16)
        evaluated = model[:2].eval()(frames)[:, 1]
        trained = model[:2].train()(frames)[:, 1]
        torch.testing.assert_close(evaluated, trained)
        torch.testing.assert_close(evaluated, torch.full_like(evaluated, 0.2))
