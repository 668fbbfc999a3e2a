"""Which channels hang together, on networks small enough to say it by hand, and what a network is without some."""

import copy
import sys

import pytest
import synthetic
import torch
import torch_pruning
from synthetic import Doing, Padding
from torch import nn
from torch.nn import functional

from edgeprune.errors import ConfigError, ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.network.edits import apply_edits
from edgeprune.prune.channels.removal import groups_of, without
from edgeprune.records.pruning import Edit, InputSpec

SHAPE = InputSpec(2, 16)


def conv(inputs, outputs, **options):
    return nn.Conv1d(inputs, outputs, 3, padding=1, **options)


def built(forward, **modules):
    """The network with a linear layer `fc` of three classes behind it."""
    torch.manual_seed(0)
    return Doing(lambda net, x: net.fc(forward(net, x).mean(dim=2)), **modules).eval()


def sides(group):
    return {member.path: member.side for member in group.members}


def found(model, **options):
    """Channels and sides of every group."""
    return [(group.channels, sides(group)) for group in groups_of(model, SHAPE, **options)]


class TestGroups:
    def test_of_a_chain_are_each_layers_outputs(self):
        model = nn.Sequential(
            conv(2, 4), nn.BatchNorm1d(4), nn.PReLU(4), conv(4, 6), nn.Flatten(), nn.Linear(6 * 16, 3)
        )
        assert found(model.eval()) == [
            (4, {"0": "outputs", "1": "both", "2": "both", "3": "inputs"}),
            (6, {"3": "outputs", "5": "inputs"}),
        ]

    def test_a_flattened_channel_is_all_its_samples(self):
        model = nn.Sequential(conv(2, 3), nn.Flatten(), nn.Linear(3 * 16, 3)).eval()
        (group,) = groups_of(model, SHAPE)
        assert group.members[-1].indices == tuple(tuple(range(16 * k, 16 * k + 16)) for k in range(3))

    def test_added_channels_hang_together(self):
        net = built(
            lambda m, x: m.b(torch.relu(m.a(m.stem(x)))) + m.stem(x),
            stem=conv(2, 4),
            a=conv(4, 5),
            b=conv(5, 4),
            fc=nn.Linear(4, 3),
        )
        assert found(net) == [
            (4, {"stem": "outputs", "a": "inputs", "b": "outputs", "fc": "inputs"}),
            (5, {"a": "outputs", "b": "inputs"}),
        ]

    def test_joined_channels_do_not_but_are_counted_on(self):
        net = built(
            lambda m, x: m.c(torch.cat((m.a(x), m.b(x)), dim=1)),
            a=conv(2, 3),
            b=conv(2, 2),
            c=conv(5, 4),
            fc=nn.Linear(4, 3),
        )
        groups = groups_of(net, SHAPE)
        assert [sides(group) for group in groups[:2]] == [
            {"a": "outputs", "c": "inputs"},
            {"b": "outputs", "c": "inputs"},
        ]
        assert groups[1].members[-1].indices == ((3,), (4,))

    def test_a_depthwise_convolution_passes_each_channel_on(self):
        net = built(lambda m, x: m.b(m.a(x)), a=conv(2, 4), b=conv(4, 4, groups=4), fc=nn.Linear(4, 3))
        assert found(net) == [(4, {"a": "outputs", "b": "both", "fc": "inputs"})]

    def test_padded_channels_make_two_groups(self):
        net = built(
            lambda m, x: m.b(m.a(x)) + m.pad(m.a(x)),
            a=conv(2, 3),
            b=conv(3, 5),
            pad=Padding(3, 5),
            fc=nn.Linear(5, 3),
        )
        both, beyond = groups_of(net, SHAPE)
        assert both.channels == 3
        assert {(member.path, member.side) for member in both.members} == {
            ("a", "outputs"),
            ("b", "inputs"),
            ("b", "outputs"),
            ("pad", "inputs"),
            ("pad", "outputs"),
            ("fc", "inputs"),
        }
        assert (beyond.channels, sides(beyond)) == (2, {"b": "outputs", "pad": "outputs", "fc": "inputs"})
        assert beyond.members[0].indices == ((3,), (4,))
        left = without(net, [(both, [1]), (beyond, [0])])
        assert (left.a.out_channels, left.b.out_channels, left.pad.size) == (2, 3, (2, 3))

    def test_a_recurrent_layer_reads_fewer_inputs_and_keeps_its_states(self):
        model = nn.Sequential(conv(2, 4), nn.Flatten(2), Transposed(), LastState(4, 3), nn.Linear(3, 2)).eval()
        assert found(model) == [(4, {"0": "outputs", "3.lstm": "inputs"})]

    def test_a_protected_module_keeps_what_it_makes(self):
        model = nn.Sequential(nn.Sequential(conv(2, 4)), nn.ReLU(), conv(4, 4), nn.Flatten(), nn.Linear(64, 3)).eval()
        assert found(model, protect=("0",)) == [(4, {"2": "outputs", "4": "inputs"})]
        assert found(model, protect=("0.0", "2")) == []
        with pytest.raises(ConfigError, match="no module 'stem' to protect"):
            groups_of(model, SHAPE, ("stem",))


class Transposed(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class LastState(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


class Own(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels, 1))

    def forward(self, x):
        return x * self.scale


STAYING = {
    "added to the input": built(lambda m, x: x + m.a(x), a=conv(2, 2), fc=nn.Linear(2, 3)),
    "shuffled": built(
        lambda m, x: m.b(m.a(x).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)),
        a=conv(2, 8),
        b=conv(8, 4),
        fc=nn.Linear(4, 3),
    ),
    "a width in code": built(
        lambda m, x: m.b(m.a(x).expand(-1, 8, -1)), a=conv(2, 8), b=conv(8, 4), fc=nn.Linear(4, 3)
    ),
    "padded in code": built(
        lambda m, x: functional.pad(m.a(x), (0, 0, 0, 3)) + m.b(x), a=conv(2, 5), b=conv(2, 8), fc=nn.Linear(8, 3)
    ),
    "scaled by a parameter": built(lambda m, x: m.own(m.a(x)), a=conv(2, 8), own=Own(8), fc=nn.Linear(8, 3)),
    "normalised together": built(
        lambda m, x: m.norm(m.a(x).transpose(1, 2)).transpose(1, 2),
        a=conv(2, 8),
        norm=nn.LayerNorm(8),
        fc=nn.Linear(8, 3),
    ),
    "convolved in groups": built(lambda m, x: m.b(m.a(x)), a=conv(2, 8), b=conv(8, 4, groups=2), fc=nn.Linear(4, 3)),
    "averaged": built(lambda m, x: m.a(x) - m.a(x).mean(dim=1, keepdim=True), a=conv(2, 8), fc=nn.Linear(8, 3)),
}


@pytest.mark.parametrize("why", STAYING)
def test_channels_stay_when(why):
    """Not even those of `a`, though a graph of the operations lets all but the input go."""
    assert all("a" not in sides(group) for group in groups_of(STAYING[why], SHAPE))


def test_a_group_that_stays_does_not_hold_the_others():
    net = built(
        lambda m, x: m.b(m.c(torch.relu(m.a(x))).expand(-1, 8, -1)),
        a=conv(2, 6),
        c=conv(6, 8),
        b=conv(8, 4),
        fc=nn.Linear(4, 3),
    )
    assert [sides(group) for group in groups_of(net, SHAPE)] == [
        {"a": "outputs", "c": "inputs"},
        {"b": "outputs", "fc": "inputs"},
    ]


class TestWithout:
    def test_like_torch_pruning(self):
        """The same channels cut by Torch-Pruning's own code, on a residual network with projections."""
        model = synthetic.shaken(ResNet(1, 1, 3))
        theirs = copy.deepcopy(model)
        graph = torch_pruning.DependencyGraph().build_dependency(theirs, torch.randn(2, 2, 16))
        removed = []
        for group in groups_of(model, SHAPE):
            channels = list(range(group.channels % 5, group.channels, 3))
            removed.append((group, channels))
            maker = next(member for member in group.members if member.side == "outputs")
            assert all(index == (k,) for k, index in enumerate(maker.indices))
            module = theirs.get_submodule(maker.path)
            graph.get_pruning_group(module, torch_pruning.prune_conv_out_channels, channels).prune()
        ours = without(model, removed)
        assert len(removed) == 6
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
        assert repr(ours) == repr(theirs)

    @pytest.mark.parametrize("name", ["resnet56-1d", "resnet56", "vgg16", "mcldnn"])
    @torch.no_grad()
    def test_removing_channels_is_silencing_them(self, name):
        """What a removed channel would carry is multiplied by zero wherever it is made."""
        length = 8
        if name.startswith("resnet"):
            model = synthetic.shaken(ResNet(1 if name.endswith("1d") else 2, 1, 3))
        else:
            model = synthetic.network(name, length, 3)
        groups = groups_of(model, InputSpec(2, length))
        removed = [(group, range(k % 3, group.channels - 1, 4)) for k, group in enumerate(groups)]
        silent = copy.deepcopy(model)
        for group, channels in removed:
            for member in group.members:
                module = silent.get_submodule(member.path)
                for value in module.parameters(recurse=False) if member.side != "inputs" else ():
                    value[[index for channel in channels for index in member.indices[channel]]] = 0
        assert len(groups) >= {"resnet56-1d": 6, "resnet56": 3, "vgg16": 12, "mcldnn": 6}[name]
        frames = synthetic.signals(3, length)
        torch.testing.assert_close(without(model, removed)(frames), silent(frames))

    def test_the_network_is_left_as_it_is(self):
        model = synthetic.shaken(ResNet(1, 1, 3)).train()
        before = synthetic.frozen(model)
        groups = groups_of(model.eval(), SHAPE)
        model.train()
        without(model, [(groups[0], [0])])
        after = synthetic.frozen(model)
        assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
        assert before[1:] == after[1:]

    def test_channels_of_a_network_without_some_units(self):
        model = synthetic.shaken(ResNet(1, 2, 3))
        dropped = apply_edits(model, [Edit("blocks.1", "identity"), Edit("blocks.2", "shortcut")], (2, 16))
        paths = [sides(group) for group in groups_of(dropped, SHAPE)]
        assert not any("blocks.1.conv1" in group or "blocks.2.conv1" in group for group in paths)
        (second_stage,) = [group for group in paths if "blocks.2.shortcut.0" in group and "fc" not in group][1:]
        assert second_stage["blocks.2.shortcut.0"] == "outputs"


class TestRefused:
    def test_without_torch_pruning(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch_pruning", None)
        with pytest.raises(ConfigError, match="needs the package torch-pruning") as caught:
            groups_of(STAYING["averaged"], SHAPE)
        assert "edgeprune[width]" in caught.value.hint

    def test_a_network_that_cannot_run(self):
        with pytest.raises(ModelError, match="channels of the network cannot be traced"):
            groups_of(nn.Sequential(nn.Conv1d(3, 4, 1)), SHAPE)
