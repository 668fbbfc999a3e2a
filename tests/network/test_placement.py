"""Every stage that runs a network runs it on a card: on a simulated one, which refuses tensors in two places.

The expected values are those of the CPU: the simulated card computes with the same kernels.
"""

import copy
import functools
import math

import pytest
import synthetic
import torch
from simulated_card import CARD, HOST, SIMULATED, card
from torch import nn

from edgeprune import registry
from edgeprune.models.resnet import ResNet
from edgeprune.network.compute import CPU, brought_home, device_of
from edgeprune.network.edits import apply_edits
from edgeprune.network.normalisation import normalise
from edgeprune.network.statistics import reestimate
from edgeprune.network.unfold import unfolded
from edgeprune.protocols import Labelled, Search, Subject
from edgeprune.prune.bridge import bridge
from edgeprune.prune.channels.narrow import narrow, soften
from edgeprune.prune.similarity import similarity_of
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.names import BRIDGES, CHANNEL_METHODS
from edgeprune.records.pruning import InputSpec
from edgeprune.train.evaluate import predict

SHAPE = InputSpec(2, 16)


class Narrowing(nn.Module):
    """Units that change the shape, dropout, and a stack of recurrent layers that takes four steps."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv1d(inner, outer, 3, padding=1), nn.BatchNorm1d(outer), nn.ReLU(), nn.Dropout(0.1))
                for inner, outer in ((2, 4), (4, 8), (8, 8))
            )
        )
        self.pool = nn.MaxPool1d(4)
        self.stack = nn.GRU(8, 8, num_layers=2, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.stack(self.pool(self.layers(x)).transpose(1, 2))[0][:, -1])


SEARCHES = [name for name in registry.names("criteria") if isinstance(registry.get("criteria", name), Search)]
NETWORKS = {"residual": lambda: ResNet(1, 1, 3), "narrowing": Narrowing}


@functools.cache
def frames():
    found = synthetic.frames_of(synthetic.cells(4, SHAPE.length))
    return Labelled(normalise(torch.from_numpy(found.iq), "rms"), torch.from_numpy(found.labels))


@functools.cache
def made(name):
    """A network in evaluation mode with its chain. Read only."""
    torch.manual_seed(3)
    network = unfolded(synthetic.shaken(NETWORKS[name]()).eval())
    return network, layers_of(network, SHAPE, "sha")


def subject(name):
    """A copy, so that a test may leave marks."""
    model, chain = made(name)
    return Subject(copy.deepcopy(model), chain, SHAPE, frames(), frames(), 0, synthetic.Silent())


def on_both(work, *networks):
    """What some work gives on the CPU, and what it gives on the card; the networks must come back."""
    with CPU.lent(*networks):
        expected = work()
    before = [{name: value.clone() for name, value in each.state_dict().items()} for each in networks]
    with card():
        with SIMULATED.lent(*networks):
            assert {device_of(each) for each in networks} == {CARD}
            found = work()
            moved = {tensor.device for each in networks for tensor in each.state_dict().values()}
            assert moved == {CARD}
        assert {tensor.device for each in networks for tensor in each.state_dict().values()} == {HOST}
    return expected, found, before


def unchanged(network, before):
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("criterion", registry.names("criteria"))
def test_every_criterion(criterion):
    network = "residual" if criterion == "synflow-search" else "narrowing"
    given, chosen = subject(network), registry.get("criteria", criterion)
    expected, found, before = on_both(lambda: chosen.scores(given), given.model)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert unchanged(given.model, before[0])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("criterion", SEARCHES)
def test_every_search(criterion, network):
    given, chosen = subject(network), registry.get("criteria", criterion)
    units = list(given.chain.droppable)
    expected, found, _ = on_both(lambda: chosen.choose(given, [units], [math.ceil(len(units) / 2)]), given.model)
    assert found == expected


@pytest.mark.parametrize("metric", registry.names("similarity"))
def test_every_metric(metric):
    given, chosen = subject("narrowing"), registry.get("similarity", metric)
    batches = list(torch.split(frames().iq, 12))

    def work():
        return similarity_of(given.model, given.chain, batches, chosen, metric, "sha", given.progress).matrix

    expected, found, before = on_both(work, given.model)
    assert torch.tensor(found) == pytest.approx(torch.tensor(expected), rel=1e-4, abs=1e-9)
    assert unchanged(given.model, before[0])


@pytest.mark.parametrize("how", BRIDGES)
def test_every_bridge_and_batch_norm(how):
    given = subject("narrowing")
    edits = [unit.edit for unit in given.chain.units if unit.index == 1 and unit.edit is not None]
    pruned = apply_edits(given.model, edits, (SHAPE.channels, SHAPE.length)).eval()
    start = copy.deepcopy(pruned.state_dict())
    batches = list(torch.split(frames().iq, 12))

    def work():
        pruned.load_state_dict(start)
        torch.manual_seed(0)
        paths = bridge(given.model, pruned, batches, how, seed=0)
        reestimate(pruned, batches)
        return paths, {name: value.cpu().clone() for name, value in pruned.state_dict().items()}

    (paths, expected), (again, found), _ = on_both(work, given.model, pruned)
    assert paths == again
    assert (how == "inherit") == all(torch.equal(start[f"{path}.weight"], expected[f"{path}.weight"]) for path in paths)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", CHANNEL_METHODS)
def test_every_way_to_remove_channels(method):
    pytest.importorskip("torch_pruning", reason="channels are removed with the optional package torch-pruning")
    given = subject("residual")

    def work():
        network, sizes = narrow(given.model, SHAPE, method, 0.6)
        state = {name: value.cpu() for name, value in network.state_dict().items()}
        assert device_of(brought_home(network)) == HOST
        return sizes, state

    (sizes, expected), (again, found), _ = on_both(work, given.model)
    assert sizes == again
    assert sizes
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_filters_that_are_softened():
    pytest.importorskip("torch_pruning", reason="channels are removed with the optional package torch-pruning")
    given = subject("residual")
    start = copy.deepcopy(given.model.state_dict())

    def work():
        given.model.load_state_dict(start)
        soften(given.model, SHAPE, 0.6)(given.model)
        return {name: value.cpu().clone() for name, value in given.model.state_dict().items()}

    expected, found, _ = on_both(work, given.model)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert any(not torch.equal(start[name], value) for name, value in expected.items())


def test_predictions():
    given = subject("narrowing")
    iq = frames().iq.numpy()

    def work():
        return predict(given.model, iq, SHAPE, given.progress, "")

    expected, found, _ = on_both(work, given.model)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_simulated_card_finds_a_misplaced_tensor():
    with card(), pytest.raises(RuntimeError, match="same device"):
        torch.zeros(2) + torch.zeros(2, device="cuda:0")
