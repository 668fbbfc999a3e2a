"""Unfolded modules against the modules of torch that they unfold: same outputs, same gradients, same weights."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from edgeprune.network.compute import copied
from edgeprune.network.unfold import (
    EncoderLayer,
    EncoderStack,
    RecurrentStack,
    Skipped,
    SkippedPair,
    stand_in,
    unfolded,
)

KINDS = (nn.LSTM, nn.GRU, nn.RNN)


class OwnLSTM(nn.LSTM): ...


STATES = {
    "the last layer's": lambda h: h[-1],
    "the first layer's": lambda h: h[0],
    "both directions of the last layer": lambda h: torch.cat([h[-2], h[-1]], dim=1),
    "a slice": lambda h: h[1:3],
    "a row of a row": lambda h: h[-1, 0],
    "all": lambda h: h.transpose(0, 1).flatten(1),
    "a function of all": lambda h: torch.tanh(h),
    "their number": lambda h: torch.tensor(len(h) + h.shape[0] + h.size(1)),
    "one after the other": lambda h: torch.stack([row * place for place, row in enumerate(h)]),
    "added to a tensor": lambda h: h + torch.ones(2, 1, 1).sum(),
}


def agree(one, other, **options):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, **options)


def same_gradients(model, other, loss_of):
    """Whether a backward pass leaves the same gradients in the weights of the same name in both."""
    for network in (model, other):
        network.zero_grad()
        loss_of(network).backward()
    # The names differ, the order of weights within a layer does not.
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        agree(one.grad, two.grad)


class TestRecurrent:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("layers", [2, 3])
    @pytest.mark.parametrize("both", [False, True])
    @pytest.mark.parametrize("batch_first", [False, True])
    def test_outputs_states_and_gradients_are_those_of_the_folded_module(self, kind, layers, both, batch_first):
        folded = kind(3, 4, layers, batch_first=batch_first, bidirectional=both)
        stack = unfolded(folded)
        assert isinstance(stack, RecurrentStack)
        x = torch.randn(5, 6, 3)
        rows = layers * (2 if both else 1)
        state = torch.randn(rows, 5 if batch_first else 6, 4)
        for given in (None, (state, state + 1) if kind is nn.LSTM else state):
            wanted, finals = folded(x, given)
            output, found = stack(x, given)
            agree(output, wanted)
            pairs = zip(finals, found, strict=True) if kind is nn.LSTM else [(finals, found)]
            for final, own in pairs:
                agree(own.joined(), final)
        same_gradients(folded, stack, lambda network: network(x)[0].square().sum())

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("read", STATES.values(), ids=STATES)
    def test_final_states_are_read_as_before(self, kind, read):
        folded = kind(3, 4, 2, bidirectional=True)
        x = torch.randn(5, 2, 3)
        final, own = (network(x)[1] for network in (folded, unfolded(folded)))
        if kind is nn.LSTM:
            final, own = final[0], own[0]
        agree(read(own), read(final))

    def test_a_row_that_is_not_there(self):
        _, states = unfolded(nn.GRU(3, 4, 2))(torch.randn(5, 2, 3))
        with pytest.raises(IndexError):
            states[2]

    def test_a_row_depends_on_its_own_layer_and_those_before_alone(self):
        stack = unfolded(nn.GRU(3, 4, 2))
        _, states = stack(torch.randn(5, 2, 3))
        states[0].sum().backward()
        assert all(parameter.grad is None for parameter in stack.layers[1].parameters())

    @pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
    @pytest.mark.parametrize("both", [False, True])
    def test_a_projection_of_an_lstm_is_kept(self, both):
        folded = nn.LSTM(3, 6, 2, proj_size=4, bidirectional=both)
        stack, x = unfolded(folded), torch.randn(5, 2, 3)
        (wanted, (h, c)), (output, (own_h, own_c)) = folded(x), stack(x)
        agree(output, wanted)
        agree(own_h.joined(), h)
        agree(own_c.joined(), c)
        same_gradients(folded, stack, lambda network: network(x)[0].square().sum())

    @pytest.mark.parametrize("options", [{"bias": False}, {"nonlinearity": "relu"}, {"dtype": torch.float64}])
    def test_options_are_kept(self, options):
        folded = nn.RNN(3, 4, 2, **options)
        x = torch.randn(5, 2, 3, dtype=options.get("dtype"))
        agree(unfolded(folded)(x)[0], folded(x)[0])

    def test_frames_need_not_come_in_a_batch(self):
        folded, x = nn.GRU(3, 4, 2), torch.randn(5, 3)
        agree(unfolded(folded)(x)[0], folded(x)[0])

    def test_dropout_lies_between_the_layers_and_only_in_training(self):
        folded = nn.GRU(3, 4, 2, dropout=0.5)
        stack, x = unfolded(folded), torch.randn(5, 2, 3)
        agree(stack.eval()(x)[0], folded.eval()(x)[0])
        stack.train()
        torch.manual_seed(1)
        output, _ = stack(x)
        torch.manual_seed(1)
        between = nn.functional.dropout(stack.layers[0](x)[0], 0.5)
        agree(output, stack.layers[1](between)[0])

    def test_a_layer_that_is_left_out_hands_its_input_on(self):
        stack, x = unfolded(nn.LSTM(4, 4, 3, batch_first=True)), torch.randn(2, 5, 4)
        first, _, third = stack.layers
        stack.layers[1] = stand_in(stack.layers[1])
        wanted, (h, _) = third(first(x)[0])
        output, (own, _) = stack(x)
        agree(output, wanted)
        agree(own[-1], h[0])
        for place in (0, 2):
            stack.layers[place] = stand_in(stack.layers[place])
        assert torch.equal(stack(x)[0], x)
        assert stack(x)[1] is None


class TestEncoder:
    @pytest.mark.parametrize("norm_first", [False, True])
    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("activation", ["relu", "gelu"])
    def test_computes_what_the_folded_one_does(self, norm_first, batch_first, activation):
        layer = nn.TransformerEncoderLayer(
            8, 2, 12, dropout=0.0, activation=activation, norm_first=norm_first, batch_first=batch_first
        )
        folded = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
        stack = unfolded(folded)
        assert isinstance(stack, EncoderStack)
        assert all(isinstance(each, EncoderLayer) for each in stack.layers)
        x = torch.randn(3, 5, 8)
        same_by_name(folded, stack, lambda network: network(x).square().sum())
        agree(stack(x), folded(x))
        with torch.no_grad():
            agree(stack.eval()(x), folded.eval()(x))

    def test_masks_are_passed_on(self):
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        folded = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        x, mask = torch.randn(3, 5, 8), nn.Transformer.generate_square_subsequent_mask(5)
        padding = torch.tensor([[0.0] * 5, [0.0] * 5, [0, 0, 0, 0, float("-inf")]])
        stack = unfolded(folded)
        for options in (
            {"mask": mask},
            {"mask": mask, "is_causal": True},
            {"src_key_padding_mask": padding},
            {"mask": mask, "src_key_padding_mask": padding},
        ):
            agree(stack(x, **options), folded(x, **options))
        agree(unfolded(layer)(x, src_mask=mask), layer(x, src_mask=mask))

    def test_dropout_is_where_it_was(self):
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.3)
        x = torch.randn(5, 3, 8)
        torch.manual_seed(1)
        wanted = layer(x)
        torch.manual_seed(1)
        agree(unfolded(layer)(x), wanted)

    def test_a_part_that_is_left_out_hands_its_input_on(self):
        layer = unfolded(nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0))
        x = torch.randn(5, 3, 8)
        layer.attention = stand_in(layer.attention)
        assert torch.equal(layer(x, src_mask=torch.zeros(5, 5)), layer.feed_forward(x))


def same_by_name(folded, stack, loss_of):
    """Gradients of a network and its unfolded copy, whose weights come in another order."""
    for network in (folded, stack):
        network.zero_grad()
        loss_of(network).backward()
    norms = sorted(float(parameter.grad.norm()) for parameter in folded.parameters())
    own = sorted(float(parameter.grad.norm()) for parameter in stack.parameters())
    assert own == pytest.approx(norms, rel=1e-4)
    assert len(own) == len(norms)


class Holder(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class TestUnfolded:
    def test_what_has_nothing_to_unfold_is_itself(self):
        model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.LSTM(2, 2), nn.ReLU())
        assert unfolded(model) is model

    def test_the_network_is_untouched_and_shares_nothing(self):
        model = Holder(rnn=nn.GRU(2, 2, 2))
        copied = unfolded(model)
        assert isinstance(model.rnn, nn.GRU)
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.fill_(9.0)
        assert not any((parameter == 9.0).any() for parameter in model.parameters())
        assert unfolded(copied) is copied

    @pytest.mark.parametrize("training", [True, False])
    def test_the_mode_is_kept(self, training):
        model = Holder(rnn=nn.GRU(2, 2, 2), encoder=nn.TransformerEncoderLayer(4, 2, 4)).train(training)
        assert {module.training for module in unfolded(model).modules()} == {training}

    def test_a_shared_module_stays_shared(self):
        layer = nn.TransformerEncoderLayer(4, 2, 4)
        model = Holder(layers=nn.ModuleList([layer] * 3), rnn=nn.GRU(2, 2, 2))
        model.other = model.rnn
        copied = unfolded(model)
        assert copied.layers[0] is copied.layers[1] is copied.layers[2]
        assert copied.rnn is copied.other
        assert unfolded(copied) is copied

    def test_a_subclass_or_a_module_with_hooks_is_left_as_it_is(self):
        class Own(nn.TransformerEncoderLayer):
            def forward(self, src, **_):
                return src * 2

        normed = parametrizations.weight_norm(nn.GRU(2, 2, 2), "weight_hh_l0")
        hooked = nn.GRU(2, 2, 2)
        spectral_norm(hooked, "weight_hh_l1")
        model = Holder(a=Own(4, 2, 4), b=OwnLSTM(2, 2, 2), c=normed, d=hooked)
        assert unfolded(model) is model

    @pytest.mark.parametrize(
        ("module", "kind"),
        [
            (nn.LSTM(2, 2), SkippedPair),
            (nn.MultiheadAttention(2, 1), SkippedPair),
            (RecurrentStack(nn.GRU(2, 2, 2)), SkippedPair),
            (nn.Conv1d(2, 2, 1), Skipped),
            (OwnLSTM(2, 2), SkippedPair),
        ],
        ids=lambda value: type(value).__name__,
    )
    @pytest.mark.parametrize("duplicate", [False, True])
    def test_what_stands_in_for_a_module_returns_as_much(self, module, kind, duplicate):
        stands = copied(stand_in(module)) if duplicate else stand_in(module)
        assert not stands.state_dict()
        x = torch.randn(3, 2)
        assert type(stands) is kind
        answer = stands(x, "whatever", more=1)
        assert (answer[0] if kind is SkippedPair else answer) is x
