import contextlib
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune import registry
from edgeprune.errors import DataError, ModelError
from edgeprune.files.store import record_sha256
from edgeprune.prune.similarity import similarity_of
from edgeprune.records.pruning import LayerChain, Unit


class Steps:
    """Remembers what it was told."""

    def __init__(self):
        self.done = []
        self.total = None

    def stage(self, title, reused=False): ...

    def note(self, text): ...

    @contextlib.contextmanager
    def track(self, label, total):
        self.total = total
        yield lambda steps, text: self.done.append((steps, text))


def chain_of(*paths):
    units = [Unit(i, path, "conv", (1,), (1,), 1, 1, "identity", "") for i, path in enumerate(paths)]
    return LayerChain("sha", tuple(units), len(units), len(units))


def compare(model, chain, batches, metric="cka-unbiased", progress=None):
    plug_in = registry.get("similarity", metric) if isinstance(metric, str) else metric
    return similarity_of(model, chain, batches, plug_in, "named", "data", progress or Steps())


def frames(*sizes, length=16):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 2, length, generator=generator) for size in sizes]


@pytest.fixture
def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Conv1d(4, 3, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(21, 5),
    )


NETWORK_CHAIN = chain_of("0+1+2", "3+4", "6")


def unbiased_cka(units):
    """CKA from Song's estimator in float64, its mean over batches weighted by their frames."""
    products = np.zeros((len(units), len(units)))
    for batch in zip(*units, strict=True):
        n = len(batch[0])
        grams = [rows @ rows.T for rows in (unit.double().flatten(1).numpy() for unit in batch)]
        grams = [gram - np.diag(np.diag(gram)) for gram in grams]
        for i, k in enumerate(grams):
            for j, el in enumerate(grams):
                products[i, j] += (n / (n * (n - 3))) * (
                    np.trace(k @ el)
                    + k.sum() * el.sum() / ((n - 1) * (n - 2))
                    - 2 * k.sum(axis=0) @ el.sum(axis=1) / (n - 2)
                )
    return products / np.sqrt(np.outer(np.diag(products), np.diag(products)))


def test_compares_what_leaves_the_last_module_of_each_unit(network):
    batches = frames(32, 20)
    result = compare(network, NETWORK_CHAIN, batches)
    with torch.no_grad():
        units = [[network.eval()[:end](batch) for batch in batches] for end in (3, 5, 7)]
    np.testing.assert_allclose(result.matrix, unbiased_cka(units), atol=1e-5)
    assert result.frames == 52
    assert (result.metric, result.data_sha256) == ("named", "data")
    assert result.chain_sha256 == record_sha256(NETWORK_CHAIN)


@pytest.mark.parametrize("metric", registry.names("similarity"))
def test_symmetric_with_ones_and_the_same_again(network, metric):
    result = compare(network, NETWORK_CHAIN, frames(16, 16), metric)
    assert np.array_equal(result.matrix, np.transpose(result.matrix))
    assert [result.matrix[i][i] for i in range(3)] == [1, 1, 1]
    assert compare(network, NETWORK_CHAIN, frames(16, 16), metric) == result


def test_a_small_last_batch_is_left_out(network):
    whole, rest = frames(16, 3)
    assert compare(network, NETWORK_CHAIN, [whole, rest]) == compare(network, NETWORK_CHAIN, [whole])


@pytest.mark.parametrize(("sizes", "found"), [((3, 16), 3), ((2,), 2), ((), 0)])
def test_too_few_frames(network, sizes, found):
    with pytest.raises(DataError, match=f"a batch of {found} frames is too small to compare units, at least 4"):
        compare(network, NETWORK_CHAIN, iter(frames(*sizes)))


def test_says_how_far_it_is(network):
    progress = Steps()
    compare(network, NETWORK_CHAIN, frames(16, 8), progress=progress)
    assert progress.total == 2
    assert progress.done == [(1, "16 frames"), (1, "24 frames")]


class Counting:
    """Keeps only weak references, and counts how many activations are alive at a time."""

    def __init__(self):
        self.seen = []
        self.most_alive = 0

    def summarise(self, activations):
        self.seen.append(weakref.ref(activations.untyped_storage()))
        self.most_alive = max(self.most_alive, sum(seen() is not None for seen in self.seen))
        assert not activations.requires_grad
        return activations.mean().reshape(1)

    def products(self, summaries):
        return torch.eye(len(summaries), dtype=torch.float64)

    def finish(self, products):
        return products


class Failing(Counting):
    def summarise(self, activations):
        raise DataError("no summary")


FAILURE = pytest.raises(DataError, match="no summary")


def hooks_of(model):
    return [hook for part in model.modules() for hook in (*part._forward_hooks, *part._forward_pre_hooks)]


@pytest.mark.parametrize(("metric", "ending"), [("cka-unbiased", contextlib.nullcontext()), (Failing(), FAILURE)])
def test_leaves_the_model_as_it_was_even_after_an_error(network, metric, ending):
    network.train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with ending:
        compare(network, NETWORK_CHAIN, frames(16), metric)
    assert hooks_of(network) == []
    assert [part.training for part in network] == [True, False, True, True, True, True, True]
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.is_grad_enabled()


def test_activations_are_let_go():
    model = nn.Sequential(*(nn.Conv1d(2, 2, 1) for _ in range(12)))
    metric = Counting()
    compare(model, chain_of(*map(str, range(12))), frames(8), metric)
    assert len(metric.seen) == 12
    assert metric.most_alive <= 3


class SharedActivation(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 12), nn.Linear(12, 8)
        self.act = nn.Tanh()

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x))))


def test_a_module_called_once_for_each_of_its_units_is_read_in_turn():
    model, batch = SharedActivation(), frames(16)
    result = compare(model, chain_of("first+act", "second+act"), batch)
    with torch.no_grad():
        first = torch.tanh(model.first(batch[0]))
        units = [first, torch.tanh(model.second(first))]
    np.testing.assert_allclose(result.matrix, unbiased_cka([[unit] for unit in units]), atol=1e-5)


def test_a_module_called_more_often_gives_way_to_the_one_before():
    model, batch = SharedActivation(), frames(16)
    result = compare(model, chain_of("first", "second+act"), batch)
    assert result.matrix == compare(model, chain_of("first", "second"), batch).matrix


class PlainCode(nn.Module):
    """Its first and last units are written without modules."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 10))
        self.middle = nn.Linear(10, 10)

    def forward(self, x):
        return torch.tanh(self.middle(torch.relu(x @ self.weight))) @ self.weight.T


def test_a_unit_without_a_module_is_read_at_the_next_one_or_at_the_end():
    model = PlainCode()
    batch = frames(24)
    result = compare(model, chain_of("relu", "middle", "matmul_1"), batch)
    with torch.no_grad():
        units = [
            torch.relu(batch[0] @ model.weight),
            model.middle(torch.relu(batch[0] @ model.weight)),
            model(batch[0]),
        ]
    np.testing.assert_allclose(result.matrix, unbiased_cka([[unit] for unit in units]), atol=1e-5)


class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        states, _ = self.lstm(x.permute(2, 0, 1))
        return self.head(states[-1])


@pytest.mark.parametrize("n", [16, 24])
def test_the_axis_of_the_frames_is_found_even_when_time_is_as_long(n):
    torch.manual_seed(2)
    model = TimeFirst()
    batch = frames(n, length=16)
    result = compare(model, chain_of("lstm", "head"), batch)
    with torch.no_grad():
        states, _ = model.lstm(batch[0].permute(2, 0, 1))
        expected = unbiased_cka([[states.transpose(0, 1)], [model.head(states[-1])]])
    np.testing.assert_allclose(result.matrix, expected, atol=1e-5)


def test_a_unit_that_says_the_same_of_all_frames(network):
    nn.init.zeros_(network[3].weight)
    with pytest.raises(DataError, match=r"unit 1 \(3\+4\) gives the same output for all frames"):
        compare(network, NETWORK_CHAIN, frames(16))


def test_a_unit_whose_frames_are_all_equally_unlike_is_not_said_to_be_dead():
    # Every frame gets an axis of its own, so all are at right angles and the unbiased HSIC is 0.
    class Numbered(nn.Module):
        def forward(self, x):
            return torch.eye(len(x))

    model = nn.Sequential(nn.Conv1d(2, 3, 3), Numbered())
    with pytest.raises(DataError, match=r"unit 1 \(1\) gives outputs in which named finds nothing to compare"):
        compare(model, chain_of("0", "1"), frames(16))


def test_values_that_are_not_finite(network):
    nn.init.constant_(network[3].bias, float("nan"))
    with pytest.raises(ModelError, match=r"unit 1 \(3\+4\) gives values that are not finite"):
        compare(network, NETWORK_CHAIN, frames(16))


def test_a_chain_of_another_network(network):
    with pytest.raises(ModelError, match=r"unit 0 \(conv1\) cannot be read"):
        compare(network, chain_of("conv1", "conv2"), frames(16))


def test_frames_the_network_cannot_run(network):
    with pytest.raises(DataError, match=r"the network fails on frames of shape \(2, 40\)"):
        compare(network, NETWORK_CHAIN, frames(16, length=40))


class Pooled(nn.Module):
    """Mixes the frames of a batch, which no network should."""

    def __init__(self):
        super().__init__()
        self.pool = nn.Identity()

    def forward(self, x):
        return self.pool(x.mean(dim=0))


def test_an_output_without_an_axis_for_the_frames():
    with pytest.raises(ModelError, match=r"has no axis for the frames: 5 give shape \(2, 16\), 9 give \(2, 16\)"):
        compare(Pooled(), chain_of("pool"), frames(9))
