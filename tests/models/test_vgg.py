import pytest
import synthetic
import torch
from torch.nn import functional

from edgeprune.models.vgg import map_size

PUBLISHED = [(128, 11, 8_854_475), (512, 12, 12_000_332), (1024, 24, 16_196_184)]


@pytest.mark.parametrize(("length", "classes", "count"), PUBLISHED)
def test_number_of_parameters(built, parameters, length, classes, count):
    assert parameters(built("vgg16", length, classes)) == count


@pytest.mark.parametrize(
    ("length", "classes", "millions"), [(128, 11, "918.9"), (512, 12, "3262.3"), (1024, 24, "6386.8")]
)
def test_cost_as_published(built, thop_flops, length, classes, millions):
    assert f"{thop_flops(built('vgg16', length, classes), length) / 1e6:.1f}" == millions


@pytest.mark.parametrize(("length", "inputs"), [(128, 4608), (512, 16896), (1024, 33280)])
def test_size_of_the_last_map_as_published(length, inputs):
    height, width = map_size(length)
    assert 512 * height * width == inputs


@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_the_last_map_is_what_the_convolutions_leave(built, length):
    features = built("vgg16", length, 3).features
    assert features(torch.zeros(1, 1, 2, length, device="meta")).shape[2:] == map_size(length)


@torch.no_grad()
def test_forward_pass_against_the_functional_form(built):
    network = synthetic.shaken(built("vgg16", 9, 5, "cpu"))
    state = network.state_dict()

    def normed(x, norm):
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, variance, weight, bias = (
            state[f"{norm}.{name}"].reshape(shape) for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    frames = synthetic.signals(3, 9)
    x = frames[:, None]
    for place, padding in enumerate((3, 3, None, 3, 3, None, 1, 1, 1, None, 1, 1, 1, None)):
        if padding is None:
            x = functional.max_pool2d(x, 2)
            continue
        path = f"features.{place}"
        x = functional.conv2d(x, state[f"{path}.0.weight"], state[f"{path}.0.bias"], padding=padding)
        x = normed(x, f"{path}.1").relu()
    x = x.flatten(1)
    for path in ("hidden.0", "hidden.1"):
        x = normed(x @ state[f"{path}.0.weight"].T + state[f"{path}.0.bias"], f"{path}.1").relu()
    expected = x @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(network(frames), expected, rtol=1e-4, atol=1e-5)
