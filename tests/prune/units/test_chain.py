"""The chain of the registered networks and of networks made for the purpose."""

import pytest
import synthetic
import torch
from synthetic import Doing
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Edit, InputSpec

NETWORKS = [("resnet56-1d", 32, 3), ("resnet56", 128, 11), ("resnet110", 128, 11)]


def chain_of(model, length=16, channels=2):
    return layers_of(model, InputSpec(channels, length), "sha of the file")


def refused(model):
    with pytest.raises(ModelError) as caught:
        chain_of(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def swish(x):
    return x * torch.sigmoid(x)


def conv(channels_in=4, channels_out=4, **options):
    return nn.Conv1d(channels_in, channels_out, 3, padding=1, **options)


class TestRegistered:
    @pytest.mark.parametrize(
        ("name", "length", "classes", "millions"),
        [("resnet56", 128, 11, 41.92), ("resnet110", 128, 11, 84.69), ("resnet56", 512, 12, 167.69)],
    )
    def test_cost_is_the_published_one(self, name, length, classes, millions):
        # The published figures count a multiply-accumulate once and each output of a batch norm twice.
        chain, network = synthetic.chain(name, length, classes), synthetic.network(name, length, classes)
        cost = chain.macs + 2 * synthetic.batch_norm_outputs(network, length)
        assert cost / 1e6 == pytest.approx(millions, abs=0.005)

    @pytest.mark.parametrize(("name", "length", "classes"), NETWORKS)
    def test_cost_is_what_pytorch_counts_over_the_whole_network(self, name, length, classes):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            synthetic.network(name, length, classes)(synthetic.signals(1, length))
        chain = synthetic.chain(name, length, classes)
        assert chain.macs == counter.get_total_flops() // 2
        assert chain.macs == sum(unit.macs for unit in chain.units)

    @pytest.mark.parametrize(("name", "length", "classes"), NETWORKS)
    def test_every_parameter_belongs_to_the_unit_of_its_module(self, name, length, classes):
        chain, network = synthetic.chain(name, length, classes), synthetic.network(name, length, classes)
        for unit in chain.units:
            module = network.get_submodule(unit.path)
            assert unit.params == sum(parameter.numel() for parameter in module.parameters()), unit.path
        assert chain.params == sum(unit.params for unit in chain.units)
        assert chain.params == sum(parameter.numel() for parameter in network.parameters())

    @pytest.mark.parametrize(
        ("name", "length", "classes", "blocks"),
        [("resnet56-1d", 32, 3, 27), ("resnet56", 128, 11, 27), ("resnet110", 128, 11, 54)],
    )
    def test_units_are_the_stem_the_blocks_and_the_head(self, name, length, classes, blocks):
        chain = synthetic.chain(name, length, classes)
        assert [unit.path for unit in chain.units] == ["stem", *(f"blocks.{block}" for block in range(blocks)), "fc"]
        assert [unit.index for unit in chain.units] == list(range(blocks + 2))
        assert [unit.kind for unit in chain.units] == ["conv", *["residual"] * blocks, "linear"]
        assert chain.droppable == tuple(range(1, blocks + 1))
        assert chain.model_sha256 == "0" * 64
        assert all(unit.reason for unit in chain.units)

    @pytest.mark.parametrize(("name", "length", "classes"), NETWORKS)
    def test_transitions_become_their_shortcut_and_all_other_blocks_nothing(self, name, length, classes):
        chain = synthetic.chain(name, length, classes)
        third = len(chain.droppable) // 3
        transitions = [1 + third, 1 + 2 * third]
        assert [unit.index for unit in chain.units if unit.drop == "shortcut"] == transitions
        assert {unit.drop for unit in chain.units[1:-1] if unit.index not in transitions} == {"identity"}
        pooled = not name.endswith("-1d")
        assert [unit.index for unit in chain.units if unit.collapses] == (transitions if pooled else [])

    def test_a_pooled_shortcut_says_what_is_lost(self):
        unit = synthetic.chain("resnet56", 128, 11).units[10]
        assert unit.reason == "its shortcut 32×1×1 stays, broadcast to 32×1×64"

    @pytest.mark.parametrize(("name", "length", "classes"), NETWORKS)
    def test_shapes_are_those_that_modules_put_out(self, name, length, classes):
        chain, network = synthetic.chain(name, length, classes), synthetic.network(name, length, classes)
        seen = {}
        hooks = [
            network.get_submodule(unit.path).register_forward_hook(
                lambda _module, _inputs, output, path=unit.path: seen.update({path: tuple(output.shape[1:])})
            )
            for unit in chain.units
        ]
        with torch.no_grad():
            network(synthetic.signals(1, length))
        for hook in hooks:
            hook.remove()
        assert [unit.out_shape for unit in chain.units] == [seen[unit.path] for unit in chain.units]
        assert [unit.in_shape for unit in chain.units[1:]] == [unit.out_shape for unit in chain.units[:-1]]
        assert chain.units[0].in_shape == (2, length)

    def test_the_network_is_left_as_it_is(self):
        network = ResNet(1, 1, 3).train()
        network.fc.weight.requires_grad_(False)
        before = synthetic.frozen(network)
        chain_of(network)
        assert synthetic.unchanged(network, before)


class TestPlainChains:
    def test_a_layer_takes_its_norm_and_activation_along_and_pooling_goes_to_the_next(self):
        model = nn.Sequential(
            conv(2, 4),
            nn.BatchNorm1d(4),
            nn.ReLU(),
            nn.MaxPool1d(2),
            conv(4, 6, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48, 10),
            nn.ReLU(),
            nn.Linear(10, 3),
        )
        chain = chain_of(model)
        table = [(unit.path, unit.kind, unit.out_shape, unit.params, unit.macs) for unit in chain.units]
        assert table == [
            ("0+1+2", "conv", (4, 16), 2 * 4 * 3 + 4 + 8, 2 * 4 * 3 * 16),
            ("3+4+5", "conv", (6, 8), 4 * 6 * 3, 4 * 6 * 3 * 8),
            ("6+7+8", "linear", (10,), 490, 480),
            ("9", "linear", (3,), 33, 30),
        ]
        assert [unit.drop for unit in chain.units] == [None, "adapter", "adapter", None]
        assert [unit.edit for unit in chain.units[1:3]] == [Edit("4+5", "adapter"), Edit("7+8", "adapter")]
        assert all("changes the shape" in unit.reason for unit in chain.units)
        assert chain.units[0].reason.endswith("it reads the network input")
        assert chain.units[1].reason.endswith("the layers after it are rebuilt for 4×8")
        assert chain.units[3].reason.endswith("it gives the network output")

    def test_a_module_of_the_same_shape_in_and_out_can_go(self):
        def layer():
            return nn.Sequential(conv(), nn.BatchNorm1d(4), nn.ReLU())

        chain = chain_of(nn.Sequential(conv(2, 4), layer(), layer(), nn.Flatten(), nn.Linear(64, 3)))
        assert [(unit.path, unit.drop) for unit in chain.units] == [
            ("0", None),
            ("1", "identity"),
            ("2", "identity"),
            ("3+4", None),
        ]

    def test_several_modules_go_as_one(self):
        chain = chain_of(nn.Sequential(conv(2, 4), conv(), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)))
        assert chain.units[1].path == "1+2"
        assert chain.units[1].edit == Edit("1+2", "identity")

    def test_code_between_modules_goes_with_them(self):
        model = Doing(
            lambda self, x: self.last(torch.tanh(self.middle(self.first(x)))).mean(2),
            first=conv(2, 4),
            middle=conv(),
            last=conv(4, 3),
        )
        unit = chain_of(model).units[1]
        assert (unit.path, unit.drop) == ("middle", "identity")
        assert unit.edit == Edit("", "identity", None, ("first", "tanh"))
        assert "cut out of the code of the network" in unit.reason

    def test_an_activation_in_several_steps_is_no_unit_and_goes_with_its_layer(self):
        model = Doing(
            lambda self, x: self.last(swish(self.middle(swish(self.first(x))))).mean(2),
            first=conv(2, 4),
            middle=conv(),
            last=conv(4, 3),
        )
        chain = chain_of(model)
        assert [(unit.path, unit.kind) for unit in chain.units] == [
            ("first", "conv"),
            ("middle", "conv"),
            ("last", "conv"),
        ]
        assert chain.units[1].edit == Edit("", "identity", None, ("mul", "mul_1"))

    def test_a_module_that_gives_two_things_gives_its_input_for_the_one_that_is_taken(self):
        pair = Doing(lambda self, x: (torch.relu(self.conv(x)), x.mean()), conv=conv())

        def forward(self, x):
            x, _ = self.pair(self.first(x))
            return self.fc(x.mean(-1))

        unit = chain_of(Doing(forward, first=conv(2, 4), pair=pair, fc=nn.Linear(4, 3))).units[1]
        assert unit.edit == Edit("pair", "identity", returns=('{"tuple": [{"input": 0}, null]}',))

    def test_code_that_looks_at_shapes_is_cut_all_the_same(self):
        def forward(self, x):
            frames, _, length = x.shape
            x = self.first(x).transpose(1, 2).reshape(frames * length, 4)
            x = torch.relu(self.middle(x))
            return self.fc(x.reshape(frames, length, 4).mean(1))

        unit = chain_of(Doing(forward, first=conv(2, 4), middle=nn.Linear(4, 4), fc=nn.Linear(4, 3))).units[1]
        assert unit.edit == Edit("", "identity", None, ("reshape", "relu"))

    def test_weights_under_two_names_are_found_to_be_shared(self):
        first, second = conv(), conv()
        second.weight = first.weight
        chain = chain_of(nn.Sequential(conv(2, 4), first, second, nn.Flatten(), nn.Linear(64, 3)))
        assert chain.droppable == ()
        assert chain.units[1].reason == "shares its weights with unit 2 (2): neither can be dropped alone"

    def test_branches_that_are_joined_are_one_unit(self):
        branched = Doing(lambda self, x: torch.cat([self.a(x), self.b(x)], 1), a=conv(4, 2), b=nn.Conv1d(4, 2, 1))
        chain = chain_of(nn.Sequential(conv(2, 4), branched, nn.Flatten(), nn.Linear(64, 3)))
        assert [(unit.path, unit.drop) for unit in chain.units] == [("0", None), ("1", "identity"), ("2+3", None)]
        assert chain.units[1].params == (4 * 2 * 3 + 2) + (4 * 2 + 2)

    def test_a_recurrent_layer_is_a_unit_of_the_shape_it_hands_on(self):
        recurrent = Doing(lambda self, x: self.lstm(x)[0], lstm=nn.LSTM(4, 4, batch_first=True))
        model = Doing(
            lambda self, x: self.fc(self.recurrent(self.first(x).transpose(1, 2))[:, -1]),
            first=conv(2, 4),
            recurrent=recurrent,
            fc=nn.Linear(4, 3),
        )
        chain = chain_of(model)
        unit = chain.units[1]
        assert (unit.kind, unit.out_shape) == ("recurrent", (16, 4))
        assert unit.params == 4 * (4 * 4 + 4 * 4 + 4 + 4)
        assert unit.path == "recurrent"

    def test_weights_that_are_computed_from_parameters_are_counted(self):
        model = nn.Sequential(weight_norm(conv(2, 4)), weight_norm(conv()), nn.Flatten(), nn.Linear(64, 3))
        chain = chain_of(model)
        assert [unit.params for unit in chain.units] == [4 + 24 + 4, 4 + 48 + 4, 195]
        assert sum(unit.params for unit in chain.units) == chain.params


class TestShortcuts:
    def unit_of(self, block, out_channels=4):
        model = nn.Sequential(conv(2, 4), block, nn.Flatten(), nn.Linear(16 * out_channels, 3))
        return chain_of(model).units[1]

    def test_a_shortcut_with_weights_stays_even_where_the_shape_is_the_same(self):
        unit = self.unit_of(
            Doing(lambda self, x: self.a(torch.relu(self.b(x))) + self.c(x), a=conv(), b=conv(), c=conv())
        )
        assert (unit.kind, unit.drop, unit.collapses) == ("residual", "shortcut", False)
        assert "its shortcut stays" in unit.reason

    def test_a_shortcut_without_weights_that_is_not_the_input_stays_too(self):
        unit = self.unit_of(Doing(lambda self, x: self.a(x) + self.pool(x), a=conv(), pool=nn.AvgPool1d(3, 1, 1)))
        assert (unit.kind, unit.drop, unit.collapses) == ("residual", "shortcut", False)

    def test_a_bias_after_the_addition_is_no_shortcut(self):
        bias = nn.Parameter(torch.ones(1))
        block = Doing(
            lambda self, x: (self.a(torch.relu(self.b(x))) + self.c(x)) + self.bias,
            a=conv(6, 6),
            b=conv(4, 6),
            c=conv(4, 6),
        )
        block.bias = bias
        unit = self.unit_of(block, out_channels=6)
        assert (unit.drop, unit.collapses) == ("shortcut", False)

    def test_a_block_that_cannot_be_traced_but_keeps_the_shape_can_go(self):
        def forward(self, x):
            return self.a(x) + (x if bool(torch.tensor(x.shape[0] > 0)) and len(x) else -x)

        unit = self.unit_of(Doing(forward, a=conv()))
        assert unit.drop == "identity"

    def test_a_block_that_cannot_be_traced_and_changes_the_shape_is_bridged(self):
        def forward(self, x):
            return self.a(x) + (self.b(x) if len(x) else -self.b(x))

        unit = self.unit_of(Doing(forward, a=conv(4, 6), b=conv(4, 6)), out_channels=6)
        assert unit.edit == Edit("1", "adapter")
        assert unit.reason == "changes the shape from 4×16 to 6×16: the layers after it are rebuilt for 4×16"

    def test_a_block_in_the_code_of_the_network_is_cut_out_of_it(self):
        def forward(self, x):
            x = torch.relu(self.first(x))
            x = x + torch.tanh(self.body(x))
            x = self.project(x) + torch.tanh(self.wide(x))
            x = x.mean(2, keepdim=True) + torch.tanh(self.last(x))
            return self.fc(x.flatten(1))

        parts = {"first": conv(2, 4), "body": conv(), "project": conv(4, 6), "wide": conv(4, 6), "last": conv(6, 6)}
        chain = chain_of(Doing(forward, **parts, fc=nn.Linear(6 * 16, 3)))
        assert [unit.edit for unit in chain.units] == [
            None,
            Edit("", "identity", None, ("relu", "add")),
            Edit("", "shortcut", None, ("add", "add_1")),
            Edit("", "shortcut", (-1, 16), ("add_1", "add_2")),
            None,
        ]
        assert [unit.collapses for unit in chain.units] == [False, False, False, True, False]


class TestRefused:
    def test_two_inputs(self):
        class TwoInputs(nn.Module):
            def forward(self, x, y):
                return x + y

        assert "takes 2 inputs (x, y), and a chain of layers needs one" in refused(TwoInputs())

    def test_a_second_input_that_can_be_left_out_is_none(self):
        class Optional(Doing):
            def forward(self, x, mask=None):
                return self.a(x) if mask is None else self.a(x * mask)

        assert len(chain_of(Optional(None, a=conv(2, 2))).units) == 1

    def test_two_outputs(self):
        message = refused(Doing(lambda self, x: (self.a(x), x), a=conv(2, 4)))
        assert "1 inputs and 2 outputs" in message
        assert "one of each" in message

    def test_a_network_that_looks_at_its_data(self):
        model = Doing(lambda self, x: self.a(x) if x.sum() > 0 else x, a=conv(2, 2))
        assert refused(model).startswith("the network cannot be traced: ")

    def test_a_network_that_is_random_in_evaluation_mode(self):
        message = refused(Doing(lambda self, x: self.a(x) + torch.rand(1), a=conv(2, 2)))
        assert message.startswith("the network's outputs for the same frames differ each time, in evaluation mode")
        dropping = Doing(lambda self, x: nn.functional.dropout(self.a(x), 0.5, self.training), a=conv(2, 2))
        assert len(chain_of(dropping).units) == 1

    def test_two_outputs_of_a_network_that_looks_at_its_data(self):
        message = refused(Doing(lambda self, x: (self.a(x), x) if x.sum() > -1 else x, a=conv(2, 2)))
        assert message.startswith("the network's output is not one tensor")

    def test_a_network_that_fails(self):
        assert "cannot be traced: division by zero" in refused(Doing(lambda self, x: 1 / 0))

    def test_a_network_for_other_frames(self):
        message = refused(Doing(lambda self, x: self.a(x), a=conv(3, 2)))
        assert "expected input[2, 2, 16] to have 3 channels" in message

    @pytest.mark.parametrize("answer", [None, 3])
    def test_a_network_that_answers_no_tensor(self, answer):
        assert f"returns {answer} for every frame" in refused(Doing(lambda self, x: answer))

    def test_a_network_that_ignores_its_input(self):
        model = Doing(lambda self, x: self.a.weight.sum((1, 2)), a=conv(2, 2))
        assert "does not depend on its input" in refused(model)

    def test_a_network_without_weights(self):
        assert "no layer with weights" in refused(nn.Sequential(nn.ReLU(), nn.Flatten()))
