"""Layers rebuilt for what arrives at them: against the networks that have those widths, and by hand."""

import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.errors import ModelError
from edgeprune.network.refitting import refit

SHAPE = (2, 16)


def frames(count=3):
    return synthetic.signals(count, SHAPE[1])


def sizes(model):
    return [
        tuple(module.weight.shape)
        for module in model.modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear | nn.BatchNorm1d)
    ]


class TestWidths:
    def test_a_network_that_fits_is_left_alone(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(28, 3))
        modules = dict(model.named_modules())
        assert refit(model, SHAPE) == ()
        assert dict(model.named_modules()) == modules

    @torch.no_grad()
    def test_the_next_layer_takes_the_leading_weights(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(6, 5, 3, padding=1), nn.ReLU(), nn.Conv1d(5, 3, 1))
        weight, bias = model[1].weight.clone(), model[1].bias.clone()
        assert refit(model, SHAPE) == ("1",)
        x = model[0](frames())
        expected = functional.conv1d(x, weight[:, :4], bias, padding=1)
        torch.testing.assert_close(model(frames()), model[3](expected.relu()))

    @torch.no_grad()
    def test_weights_for_more_channels_are_zeros(self):
        model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.Conv1d(4, 5, 1))
        weight, bias = model[1].weight.clone(), model[1].bias.clone()
        refit(model, SHAPE)
        torch.testing.assert_close(model(frames()), functional.conv1d(model[0](frames())[:, :4], weight, bias))

    def test_what_works_on_each_channel_alone_hands_the_width_on(self):
        model = nn.Sequential(
            nn.Conv1d(2, 4, 1),
            nn.BatchNorm1d(6),
            nn.Conv1d(6, 6, 3, groups=6, padding=1),
            nn.Conv1d(6, 8, 1),
            nn.BatchNorm1d(8),
        )
        assert refit(model, SHAPE) == ("1", "2", "3")
        assert sizes(model) == [(4, 2, 1), (4,), (4, 1, 3), (8, 4, 1), (8,)]
        assert model(frames()).shape == (3, 8, 16)

    def test_a_linear_layer_over_the_map_takes_the_map_there_is(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Flatten(), nn.Linear(6 * 8, 10), nn.Linear(10, 3))
        assert refit(model, SHAPE) == ("2",)
        assert sizes(model) == [(4, 2, 1), (10, 64), (3, 10)]

    def test_layers_with_the_channels_last(self):
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm, self.rnn, self.fc = nn.LayerNorm(4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

            def forward(self, x):
                return self.fc(self.rnn(self.norm(x.transpose(1, 2)))[0][:, -1])

        model = Last()
        assert refit(model, SHAPE) == ("norm", "rnn")
        assert (model.norm.normalized_shape, model.rnn.input_size) == ((2,), 2)
        assert model(frames()).shape == (3, 3)

    def test_a_shared_layer_is_rebuilt_in_all_its_places(self):
        again = nn.Conv1d(6, 4, 1)
        model = nn.Sequential(nn.Conv1d(2, 4, 1), again, nn.ReLU(), again)
        assert refit(model, SHAPE) == ("1",)
        assert model[1] is model[3]

    def test_a_shared_layer_that_is_fed_two_widths_is_named(self):
        again = nn.Conv1d(6, 6, 1)
        model = nn.Sequential(nn.Conv1d(2, 4, 1), again, again)
        with pytest.raises(ModelError, match="1 is fed different widths, and cannot be rebuilt for one"):
            refit(model, SHAPE)

    def test_the_mode_of_the_network_is_kept(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(6, 5, 1), nn.BatchNorm1d(5)).train()
        refit(model, SHAPE)
        assert all(module.training for module in model.modules())
        assert torch.equal(model[2].running_mean, torch.zeros(5))

    def test_what_cannot_be_rebuilt_is_a_model_error_with_the_reason(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Bilinear(3, 3, 3))
        with pytest.raises(ModelError, match="the network cannot run without what was dropped: "):
            refit(model, SHAPE)

    def test_the_same_network_is_rebuilt_the_same_way(self):
        def build():
            torch.manual_seed(3)
            return nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(6, 5, 1), nn.Flatten(), nn.Linear(60, 3))

        one, other = build(), build()
        refit(one, SHAPE)
        torch.rand(5)
        refit(other, SHAPE)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class TestPooling:
    @pytest.mark.parametrize(
        ("pool", "length", "kernel"),
        [
            (nn.MaxPool1d(8), 16, (8,)),
            (nn.MaxPool1d(20), 16, (16,)),
            (nn.AvgPool1d(20, stride=4), 16, (16,)),
            (nn.MaxPool1d(18, padding=1), 16, (18,)),  # with its padding the map is large enough
            (nn.MaxPool1d(20, padding=1), 16, (16,)),
            (nn.MaxPool1d(3, dilation=10), 16, (3,)),
        ],
    )
    def test_is_cut_to_the_map_only_where_it_is_larger(self, pool, length, kernel):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), pool)
        stride = pool.stride
        refit(model, SHAPE)
        cut = model[1].kernel_size
        assert (cut if isinstance(cut, tuple) else (cut,)) == kernel
        assert model[1].stride == stride
        assert model(frames()).shape[-1] >= 1

    def test_over_a_map_each_axis_for_itself(self):
        model = nn.Sequential(nn.Unflatten(1, (1, 2)), nn.MaxPool2d((3, 4), padding=(1, 0)), nn.AvgPool2d((2, 2)))
        assert refit(model, SHAPE) == ("2",)
        assert (model[1].kernel_size, model[2].kernel_size) == ((3, 4), (1, 2))
        expected = functional.max_pool2d(frames().unsqueeze(1), (3, 4), padding=(1, 0))
        assert torch.equal(model(frames()), functional.avg_pool2d(expected, (1, 2), (2, 2)))
