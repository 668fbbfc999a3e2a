"""What arrives at units and what they compute there, against networks that were really pruned."""

import itertools

import pytest
import synthetic
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError
from edgeprune.network.edits import apply_edits
from edgeprune.prune import shape_paths as module
from edgeprune.prune.shape_paths import routes_of
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import InputSpec

SHAPE = InputSpec(2, 32)


class Plain(nn.Module):
    """Layers of different widths, the third of which keeps the shape."""

    def __init__(self):
        super().__init__()
        widths = (2, 4, 8, 8, 6, 12)
        self.layers = nn.Sequential(
            *(nn.Sequential(nn.Conv1d(a, b, 3, padding=1), nn.ReLU()) for a, b in itertools.pairwise(widths))
        )
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.layers(x).mean(dim=-1))


class NeedsNumbers(Plain):
    """Code that asks for the value of a tensor, which has none on the meta device."""

    def forward(self, x):
        return super().forward(x * float((x * 0 + 1).max()))


def macs_of_units(network, chain):
    """Multiply-accumulates of each unit's module in a network, counted on real numbers."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 2, 32))
    counts = {name.partition(".")[2]: sum(each.values()) // 2 for name, each in counter.get_flop_counts().items()}
    return {unit.index: counts.get(unit.path, 0) for unit in chain.units}


@pytest.mark.parametrize("kind", [Plain, NeedsNumbers])
def test_loads_are_those_of_the_pruned_networks(kind):
    torch.manual_seed(0)
    model = kind().eval()
    chain = layers_of(Plain().eval(), SHAPE, "sha")
    unpruned = macs_of_units(model, chain)
    routes = routes_of(model, chain, SHAPE)
    assert len(chain.droppable) == 4
    loads_seen = set()
    for size in range(len(chain.droppable) + 1):
        for kept in itertools.combinations(chain.droppable, size):
            edits = [unit.edit for unit in chain.units if unit.droppable and unit.index not in kept]
            pruned = macs_of_units(apply_edits(model, edits, (2, 32)).eval(), chain)
            loads = routes.loads(kept)
            assert loads == {index: pytest.approx(pruned[index] / unpruned[index]) for index in kept}
            loads_seen |= {round(load, 3) for load in loads.values()}
    assert len(loads_seen) > 3


def test_where_all_keep_the_shape_there_is_one_stop_a_unit():
    chain = synthetic.chain("resnet56-1d", 32, 3)
    routes = routes_of(synthetic.network("resnet56-1d", 32, 3), chain, SHAPE)
    assert [(stop.unit, stop.load) for stop in routes.stops] == [(index, 1.0) for index in chain.droppable]
    assert routes.loads({1, 7}) == {1: 1.0, 7: 1.0}
    assert routes.fewest == frozenset()


def test_units_that_the_network_cannot_run_without_stay_in_the_smallest_set():
    stops = (
        module.PathNode(1, 1.0, 1, 2),
        module.PathNode(2, 1.0, 3, 3),
        module.PathNode(2, 1.0, 3, None),
        module.PathNode(3, 1.0, module.END, module.END),
    )
    routes = module.Routes(stops)
    assert routes.loads({3}) is None
    assert routes.loads({1}) == {1: 1.0}
    # Without unit 1 the network cannot run without unit 2: either of them alone.
    assert routes.fewest == {1}


def test_too_many_networks_to_look_at_are_refused(monkeypatch):
    monkeypatch.setattr(module, "_MOST_TRIALS", 3)
    torch.manual_seed(0)
    model = Plain().eval()
    with pytest.raises(ModelError, match="more than 3 different networks"):
        routes_of(model, layers_of(model, SHAPE, "sha"), SHAPE)


def test_the_network_is_left_as_it_was():
    torch.manual_seed(0)
    model = Plain().eval()
    chain = layers_of(model, SHAPE, "sha")
    before = synthetic.frozen(model)
    routes_of(model, chain, SHAPE)
    assert synthetic.unchanged(model, before)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (nn.Conv1d(2, 3, 3, padding=1), (7,)),
        (nn.Conv1d(2, 3, 5, padding="same", dilation=2), (9,)),
        (nn.Conv1d(2, 4, 4, padding="same", dilation=2), (9,)),
        (nn.Conv1d(4, 4, 3, padding=3, stride=2, groups=2), (8,)),
        (nn.Conv2d(2, 3, (3, 5), padding=(1, 2)), (1, 16)),
        (nn.Conv2d(2, 3, 3, padding=3), (2, 9)),
        (nn.Conv2d(2, 3, 3), (5, 5)),
    ],
)
def test_what_is_computed_on_padding_is_what_ones_do_not_see(conv, size):
    frame = torch.ones(1, conv.in_channels, *size)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.bias.zero_()
        seen = conv(frame)  # every multiplication inside the map adds one
    nominal = seen.numel() * conv.weight[0].numel()
    assert module._on_padding(conv, frame.shape, seen.shape) == nominal - seen.sum().item()
