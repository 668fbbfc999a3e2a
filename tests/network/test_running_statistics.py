"""Running statistics, against means worked out from the batches, for torch's layers and for a network's own."""

import pytest
import synthetic
import torch
from torch import nn

from edgeprune.models.ulcnn import ComplexBatchNorm1d
from edgeprune.network.statistics import reestimate, with_statistics

BATCHES = [synthetic.signals(8, 16, seed) * (seed + 1) for seed in range(3)]


def mean(values):
    return torch.stack(list(values)).mean(0)


def test_statistics_are_the_means_over_the_batches():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3, momentum=None))
    reestimate(model, BATCHES)
    torch.testing.assert_close(model[0].running_mean, mean(b.mean((0, 2)) for b in BATCHES))
    torch.testing.assert_close(model[0].running_var, mean(b.var((0, 2)) for b in BATCHES))
    with torch.no_grad():
        inner = [
            model[1]((b - b.mean((0, 2))[:, None]) / (b.var((0, 2), correction=0) + 1e-5).sqrt()[:, None])
            for b in BATCHES
        ]
    torch.testing.assert_close(model[2].running_mean, mean(b.mean((0, 2)) for b in inner))
    assert [model[place].momentum for place in (0, 2)] == [0.1, None]


def test_those_of_a_complex_normalisation_are_means_too():
    model = nn.Sequential(ComplexBatchNorm1d(1))
    with torch.no_grad():
        model[0].running_mean.fill_(7.0)
    reestimate(model, BATCHES)
    torch.testing.assert_close(model[0].running_mean[:, 0], mean(b.mean((0, 2)) for b in BATCHES))
    covariances = [torch.cov(b.movedim(1, 0).flatten(1), correction=0) for b in BATCHES]
    rows = [torch.stack([c[0, 0], c[1, 1], c[0, 1]]) for c in covariances]
    torch.testing.assert_close(model[0].running_covariance[:, 0], mean(rows))
    assert model[0].momentum == 0.1


def test_a_normalisation_without_momentum_follows_as_it_does_in_training():
    class Peak(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("running_peak", torch.tensor(1.0))

        def forward(self, x):
            if self.training:
                self.running_peak.copy_(0.5 * self.running_peak + 0.5 * x.abs().max())
            return x / self.running_peak

    model = nn.Sequential(Peak())
    reestimate(model, BATCHES[:2])
    first, second = (float(b.abs().max()) for b in BATCHES[:2])
    assert float(model[0].running_peak) == pytest.approx(0.25 + 0.25 * first + 0.5 * second)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_random_and_nothing_else_changes(training):
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2), nn.Conv1d(2, 2, 1)).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    reestimate(model, BATCHES)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model[1].running_mean, mean(b.mean((0, 2)) for b in BATCHES))  # nothing was left out
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert {module.training for module in model.modules()} == {training}


def test_a_pass_ends_where_it_may_and_the_others_use_what_they_remember():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Conv1d(2, 2, 1))
    ran = []
    model[2].register_forward_hook(lambda *_: ran.append(1))
    reestimate(model, BATCHES, ["1"], until="2")
    assert not ran
    assert torch.equal(model[0].running_mean, torch.zeros(2))
    # The first hands on what it is given, by the statistics that it starts with.
    torch.testing.assert_close(model[1].running_mean, mean(b.mean((0, 2)) for b in BATCHES), atol=1e-4, rtol=1e-4)
    assert not model[2]._forward_pre_hooks


@pytest.mark.parametrize("name", ["resnet56-1d", "ulcnn", "petcgdnn", "vgg16"])
def test_every_running_statistic_of_a_network_is_estimated_again(name):
    model = synthetic.network(name, synthetic.LENGTH, 3)
    buffers = {key for key, _ in model.named_buffers() if key.rsplit(".", 1)[-1].startswith("running_")}
    before = {key: value.clone() for key, value in model.named_buffers()}
    reestimate(model, [synthetic.signals(8)])
    assert {key for key, value in model.named_buffers() if not torch.equal(value, before[key])} >= buffers
    assert bool(with_statistics(model)) == bool(buffers)
