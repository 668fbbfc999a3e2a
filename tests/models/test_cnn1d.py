import pytest
import synthetic
import torch
from torch.nn import functional

from edgeprune.errors import ModelError
from edgeprune.models.cnn1d import ResidualUnit, family

PUBLISHED = [(128, 11, 100_907), (512, 12, 125_612), (1024, 24, 159_928)]


@pytest.mark.parametrize(("length", "classes", "count"), PUBLISHED)
def test_number_of_parameters(built, parameters, length, classes, count):
    assert parameters(built("cnn1d", length, classes)) == count


@pytest.mark.parametrize(
    ("length", "classes", "millions"), [(128, 11, "9.53"), (512, 12, "38.13"), (1024, 24, "76.25")]
)
def test_cost_as_published(built, thop_flops, length, classes, millions):
    assert f"{thop_flops(built('cnn1d', length, classes), length) / 1e6:.2f}" == millions


@pytest.mark.parametrize(("length", "classes", "count"), [(128, 11, 47_659), (512, 12, 72_364), (1024, 24, 106_680)])
def test_parameters_without_four_stacks_are_those_of_the_published_pruned_network(
    built, parameters, length, classes, count
):
    network = built("cnn1d", length, classes)
    for place in (2, 4, 6, 10):
        network.stacks[place] = torch.nn.Identity()
    assert parameters(network) == count
    assert network(torch.zeros(2, 2, length, device="meta")).shape == (2, classes)


def test_frames_of_which_nothing_would_be_left():
    with pytest.raises(ModelError, match="takes frames of 64 samples or more, not 63"):
        family.build("cnn1d", channels=2, length=63, classes=3)


def test_residual_unit_by_hand():
    double = torch.nn.Conv1d(1, 1, 1, bias=False)
    torch.nn.init.constant_(double.weight, 2.0)
    x = torch.tensor([[[1.0, -3.0]]])
    # relu(2 relu(2 x) + x): 5 for 1; for -3 the body is silent and the shortcut negative.
    assert ResidualUnit(double, double)(x).tolist() == [[[5.0, 0.0]]]


@torch.no_grad()
def test_forward_pass_against_the_functional_form(built):
    network = built("cnn1d", 70, 5, "cpu")
    state = network.state_dict()
    frames = synthetic.signals(3, 70)
    x = functional.conv2d(frames[:, None], state["stacks.0.0.weight"])
    for unit in ("stacks.0.1", "stacks.0.2"):
        body = functional.conv2d(functional.pad(x, (1, 1, 1, 1)), state[f"{unit}.conv1.weight"]).relu()
        x = (functional.conv2d(functional.pad(body, (1, 1)), state[f"{unit}.conv2.weight"]) + x).relu()
    x = functional.max_pool1d(x.amax(dim=2), 2)
    for stack in (2, 4, 6, 8, 10):
        x = functional.conv1d(x, state[f"stacks.{stack}.0.weight"])
        for unit in (f"stacks.{stack}.1", f"stacks.{stack}.2"):
            body = functional.conv1d(x, state[f"{unit}.conv1.weight"], padding=1).relu()
            x = (functional.conv1d(body, state[f"{unit}.conv2.weight"], padding=1) + x).relu()
        x = functional.max_pool1d(x, 2)
    x = x.flatten(1) @ state["hidden.0.weight"].T + state["hidden.0.bias"]
    torch.testing.assert_close(network(frames), x @ state["fc.weight"].T + state["fc.bias"], rtol=1e-4, atol=1e-5)
