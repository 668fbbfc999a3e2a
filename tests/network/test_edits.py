import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.errors import ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.network.edits import apply_edits, lost_parameters, shortcut_of, skip_is_begin, skip_is_input
from edgeprune.network.tracing import Code
from edgeprune.records.pruning import Edit, Unit

SHAPE = (2, synthetic.LENGTH)


@pytest.fixture
def small():
    """A residual network of six blocks over time."""
    return synthetic.shaken(ResNet(1, 2, 3))


class TestShortcut:
    @torch.no_grad()
    def test_over_time_is_the_projection_and_what_follows_the_addition(self, small):
        state = small.state_dict()
        x = synthetic.signals(3, 20).repeat(1, 8, 1)
        left = shortcut_of(Code(small, SHAPE), "blocks.2", None)
        projected = functional.conv1d(x, state["blocks.2.shortcut.0.weight"], stride=2)
        expected = functional.batch_norm(
            projected,
            *(state[f"blocks.2.shortcut.1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")),
        )
        torch.testing.assert_close(left(x), expected.relu(), rtol=0, atol=0)
        assert left(x).shape == (3, 32, 10)

    @torch.no_grad()
    def test_over_the_map_is_the_mean_padded_with_zeros_and_broadcast(self):
        small = synthetic.shaken(ResNet(2, 2, 3))
        x = torch.randn(3, 16, 2, 20)
        left = shortcut_of(Code(small, SHAPE), "blocks.2", (32, 1, 10))(x)
        expected = torch.zeros(3, 32, 1, 10)
        expected[:, :16] = (x.sum((2, 3)) / 40)[:, :, None, None]
        torch.testing.assert_close(left, expected.relu())

    @torch.no_grad()
    def test_of_a_block_without_a_transition_is_its_input(self, small):
        x = synthetic.signals(2).repeat(1, 8, 1).abs()
        assert torch.equal(shortcut_of(Code(small, SHAPE), "blocks.0", None)(x), x)

    def test_holds_the_weights_of_the_shortcut_and_no_others(self, small):
        left = shortcut_of(Code(small, SHAPE), "blocks.2", None)
        assert sorted(left.state_dict()) == sorted(
            name for name in small.blocks[2].state_dict() if name.startswith("shortcut.")
        )
        assert left.get_submodule("shortcut.0").weight is small.blocks[2].shortcut[0].weight

    @pytest.mark.parametrize("how", ["operator", "torch.add", "method", "in place"])
    @torch.no_grad()
    def test_every_way_to_write_an_addition(self, how):
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Conv1d(4, 4, 3, padding=1)
                self.skip = nn.Conv1d(4, 4, 1)

            def forward(self, x):
                body, skip = torch.tanh(self.body(x)), self.skip(x)
                if how == "torch.add":
                    return torch.add(body, skip)
                if how == "method":
                    return body.add(skip)
                if how == "in place":
                    body += skip
                    return body
                return body + skip

        block, x = Block(), torch.randn(2, 4, 8)
        torch.testing.assert_close(shortcut_of(Code(block, (4, 8)), "", None)(x), block.skip(x))

    def test_a_module_without_an_addition_is_named(self, small):
        with pytest.raises(ModelError, match=r"stem does not add a body to a skip branch"):
            shortcut_of(Code(small, SHAPE), "stem", None)

    def test_an_addition_of_a_bias_is_not_one_of_branches(self):
        class Shifted(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Conv1d(4, 4, 1)
                self.bias = nn.Parameter(torch.ones(1))

            def forward(self, x):
                return self.body(x) + self.bias

        with pytest.raises(ModelError, match="does not add a body to a skip branch"):
            shortcut_of(Code(Shifted(), (4, 8)), "", None)

    def test_a_module_that_cannot_be_traced_is_named_with_the_reason(self):
        class Looking(nn.Module):
            def forward(self, x):
                return x + 1 if x.sum() > 0 else x

        with pytest.raises(ModelError, match="its shortcut is not found: the network's own code cannot be") as caught:
            shortcut_of(Code(Looking(), SHAPE), "", None)
        assert "\n" not in str(caught.value)


class TestApply:
    @torch.no_grad()
    def test_nothing_dropped_is_the_same_network_bit_for_bit(self, small):
        edited = apply_edits(small, (), SHAPE)
        assert edited is not small
        x = synthetic.signals()
        assert torch.equal(edited(x), small(x))

    @torch.no_grad()
    def test_a_dropped_block_is_left_out_of_the_computation(self, small):
        x = synthetic.signals()
        by_hand = small.stem(x)
        for index in (0, 2, 3, 4):
            by_hand = small.blocks[index](by_hand)
        edited = apply_edits(small, (Edit("blocks.1", "identity"), Edit("blocks.5", "identity")), SHAPE)
        assert torch.equal(edited(x), small.fc(by_hand.mean(-1)))

    def test_the_network_is_untouched_and_shares_nothing(self, small):
        small.train()
        before = synthetic.frozen(small)
        edited = apply_edits(small, (Edit("blocks.1", "identity"), Edit("blocks.2", "shortcut")), SHAPE)
        with torch.no_grad():
            for parameter in edited.parameters():
                parameter.fill_(9.0)
        edited(synthetic.signals())
        assert synthetic.unchanged(small, before)

    @pytest.mark.parametrize("training", [True, False])
    def test_the_mode_is_that_of_the_network(self, small, training):
        edits = (Edit("blocks.0", "identity"), Edit("blocks.2", "shortcut", (32, 16)))
        edited = apply_edits(small.train(training), edits, SHAPE)
        assert {module.training for module in edited.modules()} == {training}

    def test_weights_of_what_stays_are_kept_and_those_of_what_goes_are_gone(self, small):
        edited = apply_edits(small, (Edit("blocks.1", "identity"), Edit("blocks.2", "shortcut")), SHAPE)
        gone = ("blocks.1.", "blocks.2.conv", "blocks.2.bn")
        expected = {name: value for name, value in small.state_dict().items() if not name.startswith(gone)}
        assert edited.state_dict().keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in edited.state_dict().items())

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (Edit("blocks.99", "identity"), "drops 'blocks.99', which the network does not have"),
            (Edit("nowhere.at.all", "shortcut"), "drops 'nowhere.at.all', which the network does not have"),
            (Edit("", "identity"), "drops the whole network"),
            (Edit("stem", "shortcut"), "stem does not add a body to a skip branch"),
            (
                Edit("blocks.0", "identity", None, ("x", "nothing")),
                "drops 'nothing' in the code of blocks.0, which has",
            ),
        ],
    )
    def test_an_edit_that_cannot_be_made_is_a_model_error(self, small, edit, message):
        before = synthetic.frozen(small)
        with pytest.raises(ModelError, match=message):
            apply_edits(small, (Edit("blocks.1", "identity"), edit), SHAPE)
        assert synthetic.unchanged(small, before)


class InCode(nn.Module):
    """Two residual layers and one that changes the width, in the code of the network."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(2, 4, 1)
        self.a, self.b, self.wide = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 1), nn.Conv1d(4, 6, 1)
        self.skip, self.bn = nn.Conv1d(4, 4, 1), nn.BatchNorm1d(6)
        self.spare = nn.Linear(3, 3)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + torch.tanh(self.a(x))
        x = self.skip(x) + torch.tanh(self.b(x))
        x = functional.dropout(torch.relu(self.bn(self.wide(x))), 0.5, self.training)
        return self.fc(x.mean(-1))


A = Edit("", "identity", None, ("relu", "add"))
B = Edit("", "shortcut", None, ("add", "add_1"))
WIDE = Edit("", "adapter", None, ("add_1", "relu_1"))


def unit(edit):
    return Unit(0, "x", "conv", (), (), 0, 0, "", edit.drop, edit=edit)


class TestCode:
    @pytest.fixture
    def model(self):
        return synthetic.shaken(InCode())

    @torch.no_grad()
    def test_a_body_is_cut_out_and_the_shortcut_stays(self, model):
        x = synthetic.signals()
        edited = apply_edits(model, (B, A), SHAPE)
        after = torch.relu(model.bn(model.wide(model.skip(torch.relu(model.stem(x))))))
        assert torch.equal(edited(x), model.fc(after.mean(-1)))
        assert {path for path, module in edited.named_modules() if list(module.parameters(recurse=False))} == {
            "stem", "skip", "wide", "bn", "fc",
        }  # fmt: skip

    @torch.no_grad()
    def test_what_comes_after_is_rebuilt_for_the_width_that_arrives(self, model):
        x = synthetic.signals()
        edited = apply_edits(model, (WIDE,), SHAPE)
        x = torch.relu(model.stem(x))
        x = x + torch.tanh(model.a(x))
        x = model.skip(x) + torch.tanh(model.b(x))
        expected = functional.linear(x.mean(-1), model.fc.weight[:, :4], model.fc.bias)
        torch.testing.assert_close(edited(synthetic.signals()), expected)

    def test_dropout_in_code_still_follows_the_mode(self, model):
        edited, x = apply_edits(model, (A,), SHAPE), synthetic.signals()
        assert torch.equal(edited(x), edited(x))
        assert torch.equal(edited(x), apply_edits(model.train(), (A,), SHAPE).eval()(x))
        edited.train()
        assert not torch.equal(edited(x), edited(x))

    @pytest.mark.parametrize(
        ("edit", "names"),
        [
            (A, ["a.weight", "a.bias"]),
            (B, ["b.weight", "b.bias"]),
            (WIDE, ["wide.weight", "wide.bias", "bn.weight", "bn.bias"]),
            (Edit("a+b", "identity"), ["a.weight", "a.bias", "b.weight", "b.bias"]),
        ],
    )
    def test_lost_parameters_are_those_of_the_unit_alone(self, model, edit, names):
        own = dict(model.named_parameters())
        assert [id(parameter) for parameter in lost_parameters(Code(model, SHAPE), unit(edit))] == [
            id(own[name]) for name in names
        ]

    def test_of_a_shortcut_that_stays_nothing_is_lost(self, small):
        lost = set(map(id, lost_parameters(Code(small, SHAPE), unit(Edit("blocks.2", "shortcut")))))
        block = small.blocks[2]
        assert lost == {id(p) for name, p in block.named_parameters() if not name.startswith("shortcut.")}

    def test_whether_the_shortcut_is_the_input(self, model, small):
        assert skip_is_begin(Code(model, SHAPE), "", ("relu", "add"))
        assert not skip_is_begin(Code(model, SHAPE), "", ("add", "add_1"))
        assert skip_is_input(Code(small, SHAPE), "blocks.0")
        assert not skip_is_input(Code(small, SHAPE), "blocks.2")

    def test_several_modules_go_as_one(self, small):
        edited = apply_edits(small, (Edit("blocks.0+blocks.1", "identity"),), SHAPE)
        alone = apply_edits(small, (Edit("blocks.0", "identity"), Edit("blocks.1", "identity")), SHAPE)
        assert torch.equal(edited(synthetic.signals()), alone(synthetic.signals()))

    def test_the_shorter_branch_with_fewer_layers_is_the_shortcut(self):
        class Pooled(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Conv1d(4, 4, 1)

            def forward(self, x):
                return self.body(x) + functional.pad(x.mean(2, keepdim=True), (0, 0, 0, 0)).expand(-1, -1, 8)

        x = torch.randn(2, 4, 8)
        expected = x.mean(2, keepdim=True).expand(-1, -1, 8)
        assert torch.equal(shortcut_of(Code(Pooled(), (4, 8)), "", None)(x), expected)


class TestCodeThatCannotBeCut:
    def test_what_overwrites_a_tensor_in_passing(self):
        class Passing(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 3, 1)

            def forward(self, x):
                x = self.a(x)
                x.relu_()
                return self.b(x).mean(-1)

        with pytest.raises(ModelError, match="no part of it can be cut out: relu_ changes a tensor in place"):
            apply_edits(Passing(), (Edit("", "identity", None, ("x", "a")),), SHAPE)

    def test_what_looks_at_the_data(self):
        class Looking(nn.Module):
            def forward(self, x):
                return x + 1 if x.sum() > 0 else x

        with pytest.raises(ModelError, match="the network's own code cannot be traced"):
            apply_edits(Looking(), (Edit("", "identity", None, ("x", "add")),), SHAPE)

    def test_what_no_longer_runs_says_so(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(4, 5, 1), nn.MultiheadAttention(5, 1))
        with pytest.raises(ModelError, match="the network cannot run without what was dropped: "):
            apply_edits(model, (Edit("1", "adapter"),), SHAPE)
