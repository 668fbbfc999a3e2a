import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.edits import apply_edits, shortcut_of
from edgeprune.errors import ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.records import Edit


@pytest.fixture
def small():
    """A residual network of six blocks over time."""
    return synthetic.shaken(ResNet(1, 2, 3))


class TestShortcut:
    @torch.no_grad()
    def test_over_time_is_the_projection_and_what_follows_the_addition(self, small):
        state = small.state_dict()
        x = synthetic.signals(3, 20).repeat(1, 8, 1)
        left = shortcut_of(small.blocks[2], "blocks.2", None)
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
        left = shortcut_of(small.blocks[2], "blocks.2", (32, 1, 10))(x)
        expected = torch.zeros(3, 32, 1, 10)
        expected[:, :16] = (x.sum((2, 3)) / 40)[:, :, None, None]
        torch.testing.assert_close(left, expected.relu())

    @torch.no_grad()
    def test_of_a_block_without_a_transition_is_its_input(self, small):
        x = synthetic.signals(2).repeat(1, 8, 1).abs()
        assert torch.equal(shortcut_of(small.blocks[0], "blocks.0", None)(x), x)

    def test_holds_the_weights_of_the_shortcut_and_no_others(self, small):
        left = shortcut_of(small.blocks[2], "blocks.2", None)
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
        torch.testing.assert_close(shortcut_of(block, "block", None)(x), block.skip(x))

    def test_a_module_without_an_addition_is_named(self, small):
        with pytest.raises(ModelError, match=r"stem does not add a body to a skip branch"):
            shortcut_of(small.stem, "stem", None)

    def test_an_addition_of_a_bias_is_not_one_of_branches(self):
        class Shifted(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Conv1d(4, 4, 1)
                self.bias = nn.Parameter(torch.ones(1))

            def forward(self, x):
                return self.body(x) + self.bias

        with pytest.raises(ModelError, match="does not add a body to a skip branch"):
            shortcut_of(Shifted(), "block", None)

    def test_a_module_that_cannot_be_traced_is_named_with_the_reason(self):
        class Looking(nn.Module):
            def forward(self, x):
                return x + 1 if x.sum() > 0 else x

        with pytest.raises(ModelError, match="block cannot be traced, so its shortcut is not found: ") as caught:
            shortcut_of(Looking(), "block", None)
        assert "\n" not in str(caught.value)


class TestApply:
    @torch.no_grad()
    def test_nothing_dropped_is_the_same_network_bit_for_bit(self, small):
        edited = apply_edits(small, ())
        assert edited is not small
        x = synthetic.signals()
        assert torch.equal(edited(x), small(x))

    @torch.no_grad()
    def test_a_dropped_block_is_left_out_of_the_computation(self, small):
        x = synthetic.signals()
        by_hand = small.stem(x)
        for index in (0, 2, 3, 4):
            by_hand = small.blocks[index](by_hand)
        edited = apply_edits(small, (Edit("blocks.1", "identity"), Edit("blocks.5", "identity")))
        assert torch.equal(edited(x), small.fc(by_hand.mean(-1)))

    def test_the_network_is_untouched_and_shares_nothing(self, small):
        small.train()
        before = synthetic.frozen(small)
        edited = apply_edits(small, (Edit("blocks.1", "identity"), Edit("blocks.2", "shortcut")))
        with torch.no_grad():
            for parameter in edited.parameters():
                parameter.fill_(9.0)
        edited(synthetic.signals())
        assert synthetic.unchanged(small, before)

    @pytest.mark.parametrize("training", [True, False])
    def test_the_mode_is_that_of_the_network(self, small, training):
        edited = apply_edits(
            small.train(training), (Edit("blocks.0", "identity"), Edit("blocks.2", "shortcut", (32, 16)))
        )
        assert {module.training for module in edited.modules()} == {training}

    def test_weights_of_what_stays_are_kept_and_those_of_what_goes_are_gone(self, small):
        edited = apply_edits(small, (Edit("blocks.1", "identity"), Edit("blocks.2", "shortcut")))
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
            (Edit("blocks.0", "adapter"), "drops 'blocks.0' as 'adapter'"),
        ],
    )
    def test_an_edit_that_cannot_be_made_is_a_model_error(self, small, edit, message):
        before = synthetic.frozen(small)
        with pytest.raises(ModelError, match=message):
            apply_edits(small, (Edit("blocks.1", "identity"), edit))
        assert synthetic.unchanged(small, before)
