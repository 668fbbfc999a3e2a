import pytest
import synthetic
import torch
from torch.nn import functional

from edgeprune.errors import ModelError
from edgeprune.models.resnet import PooledShortcut, ResNet, family


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


class TestPublished:
    @pytest.mark.parametrize(
        ("name", "classes", "count"),
        [
            ("resnet56", 11, 852_795),
            ("resnet56", 12, 852_860),
            ("resnet56", 24, 853_640),
            ("resnet110", 11, 1_727_739),
            ("resnet110", 12, 1_727_804),
            ("resnet110", 24, 1_728_584),
        ],
    )
    def test_number_of_parameters(self, name, classes, count):
        assert parameters(family.build(name, channels=2, length=128, classes=classes)) == count

    @pytest.mark.parametrize("name", ["resnet56", "resnet110"])
    def test_depth_is_in_the_name(self, name):
        network = family.build(name, channels=2, length=128, classes=11)
        weighted = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
        assert f"resnet{len(weighted)}" == name


@pytest.mark.parametrize("name", family.names)
@pytest.mark.parametrize(("length", "classes"), [(1, 2), (31, 3)])
def test_any_length_and_number_of_classes(name, length, classes):
    network = family.build(name, channels=2, length=length, classes=classes).eval()
    with torch.no_grad():
        logits = network(synthetic.signals(2, length))
    assert logits.shape == (2, classes)
    assert torch.isfinite(logits).all()


def test_one_dimension_counts_by_hand():
    # Stem 2*16*3 + 2*16; a block of width w: 2 * (3 w² + 2 w); a transition from w/2: 3 w²/2 + 3 w² + 4 w and a
    # projection of w²/2 + 2 w; the head 64 * 11 + 11.
    blocks = {width: 2 * (3 * width**2 + 2 * width) for width in (16, 32, 64)}
    transitions = {width: 5 * width**2 + 6 * width for width in (32, 64)}
    by_hand = 128 + 9 * blocks[16] + 8 * (blocks[32] + blocks[64]) + transitions[32] + transitions[64] + 715
    assert parameters(family.build("resnet56-1d", channels=2, length=128, classes=11)) == by_hand


@pytest.mark.parametrize("channels", [1, 3])
def test_other_channels_than_i_and_q(channels):
    with pytest.raises(ModelError, match=f"takes 2 channels .* not {channels}"):
        family.build("resnet56-1d", channels=channels, length=128, classes=11)


def test_pooled_shortcut_by_hand():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert PooledShortcut(1, 3)(x).tolist() == [[[[3.0]], [[0.0]], [[0.0]]]]


@torch.no_grad()
@pytest.mark.parametrize("dims", [1, 2])
def test_forward_pass_against_the_functional_form(dims):
    network = synthetic.shaken(ResNet(dims, 2, 5))
    state = network.state_dict()
    convolve = functional.conv1d if dims == 1 else functional.conv2d

    def normed(x, conv, norm, stride=1, padding=1):
        x = convolve(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        shape = (1, -1, *[1] * dims)
        mean, variance, weight, bias = (
            state[f"{norm}.{name}"].reshape(shape) for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    frames = synthetic.signals(3, 20)
    x = frames if dims == 1 else frames[:, None]
    x = normed(x, "stem.0", "stem.1").relu()
    for block in range(6):
        path, transition = f"blocks.{block}", block in (2, 4)
        if transition and dims == 1:
            skip = normed(x, f"{path}.shortcut.0", f"{path}.shortcut.1", stride=2, padding=0)
        elif transition:
            mean = x.mean(dim=(2, 3), keepdim=True)
            skip = torch.cat([mean, torch.zeros_like(mean)], dim=1)
        else:
            skip = x
        body = normed(x, f"{path}.conv1", f"{path}.bn1", stride=2 if transition else 1).relu()
        x = (normed(body, f"{path}.conv2", f"{path}.bn2") + skip).relu()
    expected = x.flatten(2).mean(2) @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(network(frames), expected, rtol=1e-4, atol=1e-5)


def test_initial_weights_keep_the_variance_of_the_signal():
    # He et al. 2015: standard deviation sqrt(2 / (kernel size * channels out)).
    network = family.build("resnet110-1d", channels=2, length=128, classes=11)
    for block in (1, 20, 40):
        weight = network.blocks[block].conv2.weight
        expected = (2 / (weight.shape[0] * weight.shape[2])) ** 0.5
        assert weight.std().item() == pytest.approx(expected, rel=0.15)
        assert abs(weight.mean().item()) < expected / 10


def test_gradient_reaches_the_stem_through_a_pooled_shortcut():
    network = ResNet(2, 1, 3)
    for block in network.blocks:
        torch.nn.init.zeros_(block.bn2.weight)
    network(synthetic.signals(4)).sum().backward()
    assert network.stem[0].weight.grad.abs().sum() > 0
