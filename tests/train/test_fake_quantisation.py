"""Training for int8: the network computes as its export will, learns, and is left as a plain network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from edgeprune.errors import ModelError
from edgeprune.network.compute import copied
from edgeprune.train.fake_quantisation import fake_quantised, rounded_input


def rounded(values, scale):
    return np.clip(np.round(values / scale), -127, 127) * scale


def test_a_layer_computes_with_rounded_weights_and_inputs():
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 3), torch.randn(5, 6)
    weight, bias, values = layer.weight.detach().numpy(), layer.bias.detach().numpy(), x.numpy()
    step = np.abs(weight).max(axis=1, keepdims=True) / 127
    by_hand = rounded(values, np.abs(values).max() / 127) @ rounded(weight, step).T + bias
    with fake_quantised(layer):
        assert np.allclose(layer(x).detach().numpy(), by_hand, atol=1e-5)
    assert np.allclose(layer(x).detach().numpy(), values @ weight.T + bias, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Conv1d(2, 4, 3), nn.ConvTranspose1d(2, 4, 3), nn.Conv2d(2, 4, 3)])
def test_scales_are_of_output_channels(layer):
    with torch.no_grad():  # the second output channel is a million times smaller and must survive
        small = layer.weight[:, 1] if isinstance(layer, nn.ConvTranspose1d) else layer.weight[1]
        small *= 1e-6
    before = layer.weight.detach().clone()
    with fake_quantised(layer):
        after = layer.weight.detach()
    axis = 1 if isinstance(layer, nn.ConvTranspose1d) else 0
    one, other = (each.select(axis, 1) for each in (before, after))
    assert other.abs().max() == pytest.approx(float(one.abs().max()), rel=1e-4)
    assert (one - other).abs().max() <= one.abs().max() / 127


def test_gradients_pass_the_rounding_and_what_is_learnt_stays():
    torch.manual_seed(0)
    network, x = (
        nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(24, 3)),
        torch.randn(9, 2, 8),
    )
    before, names = copy.deepcopy(network.state_dict()), set(network.state_dict())
    with fake_quantised(network):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        network(x).square().sum().backward()
        optimizer.step()
    after = network.state_dict()
    assert set(after) == names
    for name in ("0.weight", "3.weight"):
        assert (after[name] - before[name]).abs().max() > 1e-4


def test_an_error_meanwhile_leaves_a_plain_network():
    layer = nn.Linear(2, 2)
    names = list(layer.state_dict())
    with pytest.raises(RuntimeError), fake_quantised(layer):
        raise RuntimeError
    assert sorted(layer.state_dict()) == sorted(names)
    assert not layer._forward_pre_hooks


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2

    def right_inverse(self, weight):
        return 2 * weight


def halved(layer):
    parametrize.register_parametrization(layer, "weight", Halved())
    return layer


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize(
    "compute",
    [
        halved,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        nn.utils.weight_norm,  # by hooks
        nn.utils.spectral_norm,
    ],
)
def test_weights_that_a_network_computes_are_rounded_after_that_and_computed_as_before_in_the_end(compute):
    torch.manual_seed(0)
    layer, x = compute(nn.Linear(6, 3)).eval(), torch.randn(5, 6)
    before, names = layer(x).detach(), list(layer.state_dict())
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    step = np.abs(weight).max(axis=1, keepdims=True) / 127
    by_hand = rounded(x.numpy(), np.abs(x.numpy()).max() / 127) @ rounded(weight, step).T + bias
    with fake_quantised(layer):
        assert np.allclose(layer(x).detach().numpy(), by_hand, atol=1e-5)
        layer(x).square().sum().backward()
        assert all(parameter.grad is not None for parameter in layer.parameters())
    assert list(layer.state_dict()) == names
    assert torch.allclose(layer(x), before, atol=1e-6)
    copy_of_it = copied(layer)
    assert torch.allclose(copy_of_it(x), before, atol=1e-6)
    copy_of_it.load_state_dict(layer.state_dict())


def test_silence_is_rounded_to_silence():
    assert not rounded_input(torch.zeros(3, 2)).any()


def test_a_network_without_such_layers_is_refused():
    with pytest.raises(ModelError, match="no convolution or linear layer"), fake_quantised(nn.ReLU()):
        pass
