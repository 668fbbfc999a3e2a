"""What holds for every network that can be built by name; a new one is tested by being there."""

import itertools
import re
import warnings
from pathlib import Path

import pytest
import synthetic
import torch
from torch import nn

from edgeprune import registry
from edgeprune.errors import ModelError
from edgeprune.train import precision

NAMES = registry.model_names()
SLOW = ("resnet56", "resnet110", "resnet110-1d", "signet50")  # to capture, and nothing in them is new beside the rest
PAGE = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("length", "classes"), [(128, 11), (512, 12), (1024, 24)])
def test_frames_of_every_data_set_become_logits(runnable, name, length, classes):
    network, frame = runnable(name, length, classes)
    assert network(frame).shape == (1, classes)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_frame_is_classified_alike_in_any_company(built, name):
    network = synthetic.shaken(built(name, 64, 5, "cpu"))
    frames = synthetic.signals(2, 64)
    together, alone = network(frames), network(frames[:1])
    assert torch.isfinite(together).all()
    assert not torch.equal(together[0], together[1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_other_channels_than_i_and_q(name, channels):
    with pytest.raises(ModelError, match=rf"{name} takes 2 channels \(I and Q\), not {channels}"):
        registry.family_of(name).build(name, channels=channels, length=128, classes=11)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_training_changes_every_weight(built, name):
    network = built(name, 64, 4, "cpu").train()
    before = {key: values.detach().clone() for key, values in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    with precision.autocast(torch.device("cpu")):  # as training computes on this machine: not every CPU has bf16's LSTM
        logits = network(synthetic.signals(8, 64))
    assert logits.shape == (8, 4)
    nn.functional.cross_entropy(logits.float(), torch.arange(8) % 4).backward()
    optimizer.step()
    changed = {key for key, values in network.named_parameters() if not torch.equal(values, before[key])}
    assert all(torch.isfinite(values).all() for values in network.state_dict().values())
    assert before.keys() - changed <= shifts_in_front_of_a_norm(network)


def shifts_in_front_of_a_norm(network: nn.Module) -> set[str]:
    """Names of biases that a batch norm right after them takes away, so that no gradient reaches them."""
    names = list(network.named_modules())
    return {
        f"{path}.bias"
        for (path, _), (_, follower) in itertools.pairwise(names)
        if isinstance(follower, nn.BatchNorm1d | nn.BatchNorm2d)
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_every_network_can_be_captured_as_one_graph(built, name):
    network = built(name, 64, 4, "cpu")
    frames = synthetic.signals(2, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (frames,), strict=False)
    torch.testing.assert_close(program.module()(frames), network(frames))


def table() -> dict[str, tuple[int, int]]:
    """Parameters and MACs in the page, by name of the network."""
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| ([\d,]+) \| ([\d,]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: (int(count.replace(",", "")), int(macs.replace(",", ""))) for name, count, macs in rows}


def test_the_page_lists_every_network():
    assert sorted(table()) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_tells_size_and_cost(runnable, parameters, macs, name):
    network, frame = runnable(name, 128, 11)
    assert table()[name] == (parameters(network), macs(network, frame))
