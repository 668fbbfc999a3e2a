"""Bridges: least squares against NumPy's on windows cut by hand, and what the other kinds promise."""

import copy

import numpy as np
import pytest
import synthetic
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from edgeprune.network.edits import apply_edits
from edgeprune.prune import bridge as bridges
from edgeprune.prune.bridge import bridge, rebuilt_layers
from edgeprune.records.names import BRIDGES
from edgeprune.records.pruning import Edit

LENGTH = 16
BATCHES = [synthetic.signals(8, LENGTH, seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def _all_rows(monkeypatch):
    """Every frame counts, also where fewer would do."""
    monkeypatch.setattr(bridges, "_ROWS_A_FEATURE", 10**6)


def plain(*layers):
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 6, 3, padding=1), nn.Tanh(), *layers)


def without(model, path="2+3"):
    return apply_edits(model, [Edit(path, "adapter")], (2, LENGTH)).eval()


def least_squares(rows, answers):
    """Weights (features, outputs) and offsets by numpy.linalg.lstsq, the ridge as further equations."""
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype(np.float64)
    ridge = np.sqrt(1e-3 * (rows**2).sum() / rows.shape[1])
    whole = np.concatenate([rows, ridge * np.eye(rows.shape[1])])
    wanted = np.concatenate([answers, np.zeros((rows.shape[1], answers.shape[1]))])
    solved = np.linalg.lstsq(whole, wanted, rcond=None)[0]
    return solved[:-1], solved[-1]


def through(model, end):
    """What comes out of the first `end` layers of a chain for all frames."""
    with torch.no_grad():
        return model[:end](torch.cat(BATCHES)).double().numpy()


def windows(signals, size, padding=(0, 0), stride=1, dilation=1, mode="constant"):
    """The inputs (positions, channels * size) of a convolution at every position of every frame."""
    padded = np.pad(signals, ((0, 0), (0, 0), padding), mode=mode)
    reach = dilation * (size - 1) + 1
    cut = sliding_window_view(padded, reach, axis=2)[:, :, ::stride, ::dilation]
    return cut.transpose(0, 2, 1, 3).reshape(-1, signals.shape[1] * size)


def rows_of(signals):
    """(positions, channels) of maps (frames, channels, length)."""
    return signals.transpose(0, 2, 1).reshape(-1, signals.shape[1])


class TestLeastSquares:
    @pytest.mark.parametrize(
        ("options", "padding", "mode"),
        [
            ({"kernel_size": 3, "padding": 1}, (1, 1), "constant"),
            ({"kernel_size": 3}, (0, 0), "constant"),
            ({"kernel_size": 5, "padding": 2, "stride": 2}, (2, 2), "constant"),
            ({"kernel_size": 3, "padding": 2, "dilation": 2}, (2, 2), "constant"),
            ({"kernel_size": 4, "padding": "same"}, (1, 2), "constant"),
            ({"kernel_size": 3, "padding": "valid"}, (0, 0), "constant"),
            ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, (1, 1), "wrap"),
            ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (1, 1), "reflect"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
    def test_of_a_convolution_is_numpys(self, options, padding, mode):
        model = plain(nn.Conv1d(6, 5, **options)).eval()
        pruned = without(model)
        assert bridge(model, pruned, BATCHES, "least-squares", 0) == ("4",)
        layer = pruned[4]
        inputs = windows(
            through(pruned, 4),
            options["kernel_size"],
            padding,
            options.get("stride", 1),
            options.get("dilation", 1),
            mode,
        )
        weights, offsets = least_squares(inputs, rows_of(through(model, 5)))
        np.testing.assert_allclose(layer.weight.detach().flatten(1).T, weights, atol=1e-4)
        np.testing.assert_allclose(layer.bias.detach(), offsets, atol=1e-4)

    def test_of_a_linear_layer_is_numpys(self):
        model = plain(nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(12, 5)).eval()
        pruned = without(model)
        bridge(model, pruned, BATCHES, "least-squares", 0)
        weights, offsets = least_squares(through(pruned, 6), through(model, 7))
        np.testing.assert_allclose(pruned[6].weight.detach().T, weights, atol=1e-4)
        np.testing.assert_allclose(pruned[6].bias.detach(), offsets, atol=1e-4)

    def test_over_a_map_of_two_axes_is_numpys(self):
        stem = nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Conv2d(1, 3, 1), nn.Tanh())
        model = nn.Sequential(*stem, nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, (2, 3), stride=(1, 2), padding=(0, 1))).eval()
        pruned = without(model, "3")
        bridge(model, pruned, BATCHES, "least-squares", 0)
        padded = np.pad(through(pruned, 4), ((0, 0), (0, 0), (0, 0), (1, 1)))
        cut = sliding_window_view(padded, (2, 3), axis=(2, 3))[:, :, :, ::2]
        inputs = cut.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 3 * 2 * 3)
        answers = through(model, 5).transpose(0, 2, 3, 1).reshape(-1, 4)
        weights, offsets = least_squares(inputs, answers)
        np.testing.assert_allclose(pruned[4].weight.detach().flatten(1).T, weights, atol=1e-4)
        np.testing.assert_allclose(pruned[4].bias.detach(), offsets, atol=1e-4)

    def test_an_output_for_a_smaller_map_is_repeated(self):
        halves = nn.Conv1d(4, 6, 2, stride=2)
        model = nn.Sequential(
            nn.Conv1d(2, 4, 1), halves, nn.Tanh(), nn.Conv1d(6, 5, 1), nn.Flatten(), nn.Linear(40, 3)
        ).eval()
        pruned = without(model, "1+2")
        assert bridge(model, pruned, BATCHES, "least-squares", 0) == ("3", "5")
        answers = rows_of(np.repeat(through(model, 4), 2, axis=2))
        weights, offsets = least_squares(windows(through(pruned, 3), 1), answers)
        np.testing.assert_allclose(pruned[3].weight.detach().flatten(1).T, weights, atol=1e-4)
        np.testing.assert_allclose(pruned[3].bias.detach(), offsets, atol=1e-4)
        # The layer after it is fitted to what the bridged one hands on.
        weights, _ = least_squares(through(pruned, 5), through(model, 6))
        np.testing.assert_allclose(pruned[5].weight.detach().T, weights, atol=1e-4)

    @torch.no_grad()
    def test_what_can_be_made_up_for_is_made_up_for(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(4, 6, 1), nn.Conv1d(6, 5, 1)).eval()
        pruned = without(model, "1")
        bridge(model, pruned, BATCHES, "least-squares", 0)
        x = synthetic.signals(4, LENGTH, seed=9)
        spread = model(x).var()
        assert (pruned(x) - model(x)).square().mean() < 1e-3 * spread

    @torch.no_grad()
    def test_is_nearer_to_the_unpruned_network_than_the_other_kinds(self):
        model = synthetic.shaken(plain(nn.Conv1d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)))
        x = synthetic.signals(16, LENGTH, seed=9)
        distance = {}
        for how in BRIDGES:
            pruned = without(model)
            bridge(model, pruned, BATCHES, how, 0)
            distance[how] = float((pruned(x) - model(x)).square().mean())
        assert distance["least-squares"] < 0.5 * min(distance["inherit"], distance["kaiming"])

    @pytest.mark.parametrize(
        "layer", [nn.Conv1d(6, 6, 3, padding=1, groups=2), nn.Conv1d(6, 4, 3001, padding=1500)], ids=["groups", "large"]
    )
    def test_what_costs_too_much_or_has_groups_is_left_as_it_is(self, layer):
        model = plain(layer).eval()
        pruned = without(model)
        before = copy.deepcopy(pruned.state_dict())
        bridge(model, pruned, BATCHES, "least-squares", 0)
        assert all(torch.equal(value, before[name]) for name, value in pruned.state_dict().items())

    def test_no_more_frames_are_run_than_the_solution_needs(self, monkeypatch):
        model = plain(nn.Conv1d(6, 5, 1)).eval()
        few, all_of_them = without(model), without(model)
        bridge(model, few, BATCHES[:1], "least-squares", 0)
        monkeypatch.setattr(bridges, "_ROWS_A_FEATURE", 20)  # 5 features, so 100 rows: 8 frames of 16 are enough
        bridge(model, all_of_them, BATCHES, "least-squares", 0)
        assert torch.equal(few[4].weight, all_of_them[4].weight)

    def test_a_layer_without_bias_keeps_none(self):
        model = plain(nn.Conv1d(6, 5, 1, bias=False), nn.BatchNorm1d(5)).eval()
        pruned = without(model)
        bridge(model, pruned, BATCHES, "least-squares", 0)
        assert pruned[4].bias is None
        weights, _ = least_squares(windows(through(pruned, 4), 1), rows_of(through(model, 5)))
        np.testing.assert_allclose(pruned[4].weight.detach().flatten(1).T, weights, atol=1e-4)

    @pytest.mark.parametrize("training", [True, False])
    def test_modes_hooks_and_the_unpruned_network_stay_as_they_were(self, training):
        model = plain(nn.BatchNorm1d(6), nn.Conv1d(6, 5, 1)).train(training)
        pruned = without(model).train(training)
        before = synthetic.frozen(model)
        bridge(model, pruned, BATCHES, "least-squares", 0)
        assert synthetic.unchanged(model, before)
        assert all(module.training is training for module in pruned.modules())
        assert not any(module._forward_hooks for network in (model, pruned) for module in network.modules())
        assert all(parameter.requires_grad for parameter in pruned.parameters())


class TestInOrder:
    """Layers between normalisations, as a dense network has them: each is fitted to what the one before it makes."""

    @torch.no_grad()
    def test_statistics_before_a_layer_are_new_when_it_is_fitted_and_stay(self):
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(6)
        model = nn.Sequential(
            nn.Conv1d(2, 4, 1), nn.Tanh(), nn.Conv1d(4, 6, 1), nn.Tanh(), norm, nn.ReLU(), nn.Conv1d(6, 5, 1)
        )
        model.train()(torch.cat(BATCHES))
        pruned = without(model.eval(), "2+3")
        with_old = copy.deepcopy(pruned)
        bridge(model, pruned, BATCHES, "least-squares", 0)
        arriving = torch.from_numpy(through(pruned, 4))
        batches = arriving.split([len(batch) for batch in BATCHES])
        means = torch.stack([batch.mean((0, 2)) for batch in batches]).mean(0)
        torch.testing.assert_close(pruned[4].running_mean, means.float(), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(pruned[4].running_mean, with_old[4].running_mean, atol=1e-3)
        weights, offsets = least_squares(windows(through(pruned, 6), 1), rows_of(through(model, 7)))
        np.testing.assert_allclose(pruned[6].weight.flatten(1).T, weights, atol=1e-3)
        np.testing.assert_allclose(pruned[6].bias, offsets, atol=1e-3)


class TestOtherKinds:
    def test_inherit_leaves_the_weights_of_the_leading_channels(self):
        model = plain(nn.Conv1d(6, 5, 3)).eval()
        pruned = without(model)
        bridge(model, pruned, BATCHES, "inherit", 0)
        assert torch.equal(pruned[4].weight, model[4].weight[:, :4])
        assert torch.equal(pruned[4].bias, model[4].bias)

    def test_kaiming_draws_by_the_seed_alone(self):
        model = plain(nn.Conv1d(6, 400, 3)).eval()

        def drawn(seed):
            pruned = without(model)
            state = torch.get_rng_state()
            bridge(model, pruned, BATCHES, "kaiming", seed)
            assert torch.equal(torch.get_rng_state(), state)
            return pruned[4]

        one, other = drawn(3), drawn(4)
        torch.rand(3)
        assert torch.equal(one.weight, drawn(3).weight)
        assert not torch.equal(one.weight, other.weight)
        assert torch.equal(one.bias, torch.zeros(400))
        # He et al.: the variance is 2 over the number of inputs.
        assert float(one.weight.detach().var()) == pytest.approx(2 / (4 * 3), rel=0.1)

    @pytest.mark.parametrize("how", BRIDGES)
    def test_only_rebuilt_layers_are_touched(self, how):
        model = plain(nn.Conv1d(6, 5, 3), nn.Conv1d(5, 3, 1)).eval()
        pruned = without(model)
        bridge(model, pruned, BATCHES, how, 0)
        assert torch.equal(pruned[0].weight, model[0].weight)
        assert torch.equal(pruned[5].weight, model[5].weight)


def test_rebuilt_layers_are_those_of_another_shape_in_order():
    model = plain(nn.Conv1d(6, 6, 3, groups=6, padding=1), nn.BatchNorm1d(6), nn.Conv1d(6, 5, 1), nn.Conv1d(5, 3, 1))
    assert rebuilt_layers(model, without(model)) == ("4", "6")
    assert rebuilt_layers(model, model) == ()
