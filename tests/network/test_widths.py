"""Modules of other widths: what they inherit, worked out by hand or by slicing, and how a network is rebuilt."""

import copy

import pytest
import torch
import torch_pruning
from synthetic import Padding
from torch import nn
from torch.nn import functional

from edgeprune.errors import ModelError
from edgeprune.network.widths import can_pick, is_channelwise, is_depthwise, picked, replace, resize, resized, sizes_of


class OwnConv(nn.Conv1d):
    """A subclass, which may hold anything."""


KINDS = {
    "conv1d": (nn.Conv1d(4, 6, 3), (4, 6)),
    "conv2d": (nn.Conv2d(3, 5, (2, 3), bias=False), (3, 5)),
    "conv3d": (nn.Conv3d(1, 2, 1), (1, 2)),
    "grouped": (nn.Conv1d(4, 6, 3, groups=2), (4, 6)),
    "depthwise": (nn.Conv1d(4, 4, 3, groups=4), (4, 4)),
    "linear": (nn.Linear(7, 3), (7, 3)),
    "batch norm": (nn.BatchNorm1d(5), (5, 5)),
    "batch norm without scales": (nn.BatchNorm2d(5, affine=False), (5, 5)),
    "layer norm": (nn.LayerNorm(5), (5, 5)),
    "group norm": (nn.GroupNorm(2, 6), (6, 6)),
    "prelu": (nn.PReLU(3), (3, 3)),
    "lstm": (nn.LSTM(4, 8, 2, bidirectional=True), (4, 8)),
    "gru": (nn.GRU(4, 8), (4, 8)),
    "rnn": (nn.RNN(4, 8), (4, 8)),
    "own": (Padding(2, 5), (2, 5)),
}
STIFF = {
    "relu": nn.ReLU(),
    "prelu of one slope": nn.PReLU(),
    "layer norm of two axes": nn.LayerNorm((2, 3)),
    "subclass": OwnConv(2, 2, 1),
    "weight norm": nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    "embedding": nn.Embedding(3, 2),
}


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class TestSizes:
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_every_kind(self, kind):
        module, size = KINDS[kind]
        assert sizes_of(nn.Sequential(nn.ReLU(), module)) == {"1": size}

    @pytest.mark.parametrize("kind", STIFF)
    def test_of_what_cannot_be_resized(self, kind):
        assert "" not in sizes_of(STIFF[kind])
        with pytest.raises(ModelError, match="cannot be resized"):
            resized(STIFF[kind], (1, 1))

    def test_of_a_shared_module_once(self):
        shared = nn.Linear(2, 2)
        assert sizes_of(nn.Sequential(shared, nn.Sequential(shared))) == {"0": (2, 2)}

    def test_kinds_of_modules(self):
        modules = {kind: module for kind, (module, _) in KINDS.items()}
        assert [kind for kind in KINDS if is_depthwise(modules[kind])] == ["depthwise"]
        channelwise = {"depthwise", "batch norm", "batch norm without scales", "layer norm", "group norm", "prelu"}
        assert {kind for kind in KINDS if is_channelwise(modules[kind])} == channelwise
        assert {kind for kind in KINDS if not can_pick(modules[kind])} == {"grouped", "group norm"}
        assert not any(can_pick(module) for module in STIFF.values())


class TestNarrower:
    @torch.no_grad()
    def test_a_convolution_has_the_leading_channels(self):
        old = nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="circular")
        x = noise(2, 4, 8, 8)
        blind = copy.deepcopy(old)
        blind.weight[:, 3:] = 0
        torch.testing.assert_close(resized(old, (3, 5))(x[:, :3]), blind(x)[:, :5])

    @torch.no_grad()
    def test_a_linear_layer_has_the_leading_features(self):
        old, x = nn.Linear(5, 4), noise(3, 5)
        torch.testing.assert_close(
            resized(old, (3, 2))(x[:, :3]), functional.linear(x[:, :3], old.weight[:2, :3], old.bias[:2])
        )

    @torch.no_grad()
    def test_a_depthwise_convolution_stays_one(self):
        old, x = nn.Conv1d(4, 4, 3, groups=4), noise(2, 4, 9)
        new = resized(old, (2, 2))
        assert (new.groups, new.weight.shape) == (2, (2, 1, 3))
        torch.testing.assert_close(new(x[:, :2]), old(x)[:, :2])

    @torch.no_grad()
    def test_a_depthwise_convolution_of_two_outputs_each(self):
        old, x = nn.Conv1d(3, 6, 3, groups=3), noise(2, 3, 9)
        torch.testing.assert_close(resized(old, (2, 4))(x[:, :2]), old(x)[:, :4])
        torch.testing.assert_close(resized(old, (2, 2))(x[:, :2]), old(x)[:, [0, 2]])

    @torch.no_grad()
    def test_a_grouped_convolution_has_those_of_each_group(self):
        old, x = nn.Conv1d(4, 6, 1, groups=2, bias=False), noise(2, 4, 5)
        new = resized(old, (2, 4))
        first, second = new(x[:, [0, 2]]).chunk(2, dim=1)
        torch.testing.assert_close(first, functional.conv1d(x[:, :1], old.weight[:2, :1]))
        torch.testing.assert_close(second, functional.conv1d(x[:, 2:3], old.weight[3:5, :1]))

    @pytest.mark.parametrize("kind", ["batch norm", "prelu"])
    @torch.no_grad()
    def test_what_works_on_each_channel_has_the_leading_ones(self, kind):
        old = copy.deepcopy(KINDS[kind][0])
        for value in (*old.parameters(), *(buffer for buffer in old.buffers() if buffer.dim())):
            value.copy_(0.5 + torch.rand(value.shape))
        old.eval()
        channels = KINDS[kind][1][0]
        x = noise(2, channels, 7)
        torch.testing.assert_close(resized(old, (2, 2))(x[:, :2]), old(x)[:, :2])

    @pytest.mark.parametrize("old", [nn.LayerNorm(5), nn.LayerNorm(5, bias=False), nn.GroupNorm(2, 6)])
    @torch.no_grad()
    def test_a_norm_over_channels_has_the_leading_scales(self, old):
        old.weight.copy_(torch.rand(old.weight.shape))
        new = resized(old, (4, 4))
        scales = (old.weight[:4], None if old.bias is None else old.bias[:4])
        if isinstance(old, nn.LayerNorm):
            x = noise(2, 3, 4)
            torch.testing.assert_close(new(x), functional.layer_norm(x, (4,), *scales))
        else:
            x = noise(2, 4, 3)
            torch.testing.assert_close(new(x), functional.group_norm(x, 2, *scales))

    @pytest.mark.parametrize("old", [nn.LSTM(4, 3, 2, batch_first=True), nn.GRU(4, 3, bidirectional=True)])
    @torch.no_grad()
    def test_a_recurrent_layer_reads_fewer_inputs(self, old):
        x = noise(2, 6, 4)
        x[..., 2:] = 0
        torch.testing.assert_close(resized(old, (2, 3))(x[..., :2])[0], old(x)[0])

    def test_a_module_of_the_networks_own_makes_itself(self):
        assert resized(Padding(2, 5), (1, 3))(noise(1, 1, 4)).shape == (1, 3, 4)
        assert [resized(Padding(2, 5).train(mode), (1, 3)).training for mode in (True, False)] == [
            True,
            False,
        ]


class TestWider:
    @pytest.mark.parametrize("old", [nn.Conv1d(3, 4, 3), nn.Conv1d(3, 3, 3, groups=3)])
    @torch.no_grad()
    def test_new_channels_are_zero_and_new_inputs_are_not_read(self, old):
        x = noise(2, 5, 9)
        new = resized(old, (5, 5))(x)
        torch.testing.assert_close(new[:, : old.out_channels], old(x[:, :3]))
        assert torch.equal(new[:, old.out_channels :], torch.zeros_like(new[:, old.out_channels :]))

    @torch.no_grad()
    def test_recurrent_layers_do_not_read_new_inputs(self):
        old, x = nn.LSTM(2, 3), noise(5, 2, 4)
        torch.testing.assert_close(resized(old, (4, 3))(x)[0], old(x[..., :2])[0])

    @pytest.mark.parametrize("training", [True, False])
    @torch.no_grad()
    def test_batch_norm_passes_new_zeros_on(self, training):
        old = nn.BatchNorm1d(2).train(training)
        old.weight.fill_(3), old.bias.fill_(1), old.running_var.fill_(4)
        x = noise(6, 2, 5)
        new = resized(old, (3, 3))
        y = new(torch.cat([x, torch.zeros(6, 1, 5)], dim=1))
        torch.testing.assert_close(y[:, :2], old(x))
        assert torch.equal(y[:, 2], torch.zeros(6, 5))
        assert (float(new.weight[2]), float(resized(old.eval(), (3, 3)).running_var[2])) == (1, 1)

    def test_new_channels_learn(self):
        body = nn.Sequential(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2), nn.Conv1d(2, 1, 1))
        resize(body, {"0": (2, 4), "1": (4, 4), "2": (4, 1)})
        nn.init.ones_(body[2].weight)
        body(noise(6, 2, 5)).square().sum().backward()
        assert (body[0].weight.grad[2:].abs().sum(dim=(1, 2)) > 0).all()


class TestKept:
    def test_options_mode_type_and_gradients(self):
        old = nn.Conv1d(4, 4, 5, stride=2, padding=2, dilation=3, bias=False, dtype=torch.float64).eval()
        old.weight.requires_grad_(False)
        new = resized(old, (2, 3))
        assert (new.stride, new.padding, new.dilation, new.bias) == ((2,), (2,), (3,), None)
        assert (new.weight.dtype, new.weight.requires_grad, new.training) == (torch.float64, False, False)
        assert isinstance(new.weight, nn.Parameter)
        assert str(resized(nn.Linear(2, 2, device="meta"), (1, 1)).weight.device) == "meta"

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "own"])
    def test_the_module_and_the_random_numbers(self, kind):
        module, size = KINDS[kind]
        before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
        new = resized(module, size)
        assert torch.equal(torch.get_rng_state(), state)
        with torch.no_grad():
            for value in new.state_dict().values():
                value.zero_()
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
        assert before.keys() == new.state_dict().keys()

    def test_repr_says_the_new_size(self):
        assert "Conv1d(2, 3, " in repr(resized(nn.Conv1d(4, 4, 1), (2, 3)))
        assert "LayerNorm((3,)" in repr(resized(nn.LayerNorm(4), (3, 3)))


class TestPicked:
    @torch.no_grad()
    def test_channels_in_any_order(self):
        old, x = nn.Conv1d(4, 5, 3), noise(2, 4, 9)
        blind = copy.deepcopy(old)
        blind.weight[:, [0, 2]] = 0
        torch.testing.assert_close(picked(old, [3, 1], [4, 0])(x[:, [3, 1]]), blind(x)[:, [4, 0]])

    @pytest.mark.parametrize("kind", ["conv1d", "conv2d", "linear", "depthwise", "batch norm", "layer norm", "lstm"])
    def test_like_torch_pruning(self, kind):
        module, (inputs, outputs) = KINDS[kind]
        if kind == "lstm":
            module = nn.LSTM(inputs, outputs, bidirectional=True)
        theirs = copy.deepcopy(module)
        pruner = torch_pruning.DependencyGraph().get_pruner_of_module(theirs)
        pruner.prune_in_channels(theirs, [1])
        kept_outputs = list(range(outputs))
        if pruner.prune_in_channels == pruner.prune_out_channels:
            kept_outputs.remove(1)
        elif kind != "lstm":
            pruner.prune_out_channels(theirs, [0, 2])
            kept_outputs = [k for k in kept_outputs if k not in (0, 2)]
        ours = picked(module, [k for k in range(inputs) if k != 1], kept_outputs)
        assert theirs.state_dict().keys() == ours.state_dict().keys()
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
        assert repr(ours) == repr(theirs)

    @pytest.mark.parametrize(
        ("kind", "inputs", "outputs"),
        [("grouped", [0, 2], [0, 3]), ("group norm", [0, 3], [0, 3]), ("batch norm", [0, 1], [0, 2])],
    )
    def test_what_cannot_be_chosen(self, kind, inputs, outputs):
        with pytest.raises(ModelError, match="cannot be chosen one by one"):
            picked(KINDS[kind][0], inputs, outputs)


class TestImpossible:
    @pytest.mark.parametrize(
        ("kind", "size", "says"),
        [
            ("conv1d", (0, 3), "cannot have 0 inputs and 3 outputs"),
            ("grouped", (3, 6), "2 groups cannot have 3 inputs and 6 outputs"),
            ("depthwise", (3, 4), "3 groups cannot have 3 inputs and 4 outputs"),
            ("batch norm", (3, 4), "as many outputs as inputs, not 3 and 4"),
            ("group norm", (5, 5), "2 groups cannot have 5 channels"),
            ("lstm", (4, 7), "stays 8, it cannot become 7"),
        ],
    )
    def test_sizes(self, kind, size, says):
        with pytest.raises(ModelError, match=says):
            resized(KINDS[kind][0], size)

    def test_paths(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        with pytest.raises(ModelError, match="no module 'head' to resize"):
            resize(model, {"head": (1, 1)})
        with pytest.raises(ModelError, match="a ReLU cannot be resized"):
            resize(model, {"1": (1, 1)})
        with pytest.raises(ModelError, match="a single layer"):
            resize(nn.Linear(2, 2), {"": (1, 1)})


class TestResize:
    def test_in_place_by_path(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Sequential(nn.BatchNorm1d(4), nn.Conv1d(4, 3, 1)))
        resize(model, {"0": (2, 2), "1.0": (2, 2), "1.1": (2, 3)})
        assert sizes_of(model) == {"0": (2, 2), "1.0": (2, 2), "1.1": (2, 3)}
        assert model(noise(1, 2, 5)).shape == (1, 3, 5)

    def test_a_shared_module_stays_shared(self):
        shared = nn.Linear(4, 4)
        model = nn.Sequential(shared, nn.Sequential(shared))
        resize(model, {"0": (3, 3)})
        assert model[0] is model[1][0]
        assert model[0].in_features == 3

    def test_replacing_says_what_is_not_there(self):
        with pytest.raises(ModelError, match="no module '3'"):
            replace(nn.Sequential(nn.ReLU()), {"3": nn.ReLU()})
