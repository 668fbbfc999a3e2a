import copy
import itertools
import math

import pytest
import torch
from judged import BLOCKS, chain_of, frames, subject_of, top1, trained
from torch import nn
from torch.nn.functional import cross_entropy

from edgeprune.criteria import _subject, leave_one_out
from edgeprune.criteria.leave_one_out import criterion, squeezed
from edgeprune.errors import ModelError
from edgeprune.models.resnet import ResNet


class Sums(nn.Module):
    """Logits are means of two channels after units that each add something to one class."""

    def __init__(self, *offsets):
        super().__init__()
        self.units = nn.ModuleList(nn.Conv1d(2, 2, 1) for _ in offsets)
        for unit, offset in zip(self.units, offsets, strict=True):
            nn.init.dirac_(unit.weight)
            unit.bias = nn.Parameter(torch.tensor([offset, 0.0]))

    def forward(self, x):
        for unit in self.units:
            x = unit(x)
        means = x.mean(-1)
        return torch.cat([means, means.new_full((len(x), 1), -9.0)], dim=1)


def chain(count):
    return chain_of(*(f"units.{k}" for k in range(count)))


def test_a_network_without_batch_norm_by_hand():
    torch.manual_seed(1)
    subject = subject_of(Sums(0.3, -0.2, 0.1), chain(3))
    found = criterion.scores(subject)
    best = top1(subject.model, subject.validation)
    frame = 1 / len(subject.validation.labels)
    for index, offsets in enumerate(((-0.2, 0.1), (0.3, 0.1), (0.3, -0.2))):
        lost = best - top1(Sums(*offsets), subject.validation)
        assert abs(found[index] - lost) < frame / 2


def test_equal_accuracy_is_told_apart_by_the_loss():
    # The class never changes: only how sure the network is of the right or wrong one.
    subject = subject_of(Sums(2.0, 1.0, 4.0), chain(3))
    found = criterion.scores(subject)
    with torch.no_grad():
        losses = [
            float(cross_entropy(Sums(*offsets)(subject.validation.iq), subject.validation.labels))
            for offsets in ((1.0, 4.0), (2.0, 4.0), (2.0, 1.0))
        ]
    assert all(abs(score) < 1 / (2 * len(subject.validation.labels)) for score in found.values())
    assert sorted(range(3), key=lambda k: losses[k]) == sorted(found, key=found.__getitem__)
    assert len(set(found.values())) == 3


def test_a_frame_more_outweighs_any_loss():
    growths = [-1e300, -5.0, 0.0, 1e-3, 5.0, 50.0, math.inf]
    values = [squeezed(growth) for growth in growths]
    assert all(before < after for before, after in itertools.pairwise(values))
    assert values == [-1, pytest.approx(-5 / 6), 0, pytest.approx(1e-3 / 1.001), pytest.approx(5 / 6), 50 / 51, 1]


@torch.no_grad()
def test_batch_norm_is_told_of_what_it_sees_without_the_unit(monkeypatch):
    monkeypatch.setattr(_subject, "BATCH", 120)
    subject = subject_of(trained(), BLOCKS)
    pruned = ResNet(1, 1, 3)
    pruned.load_state_dict(subject.model.state_dict())
    pruned.blocks[0] = nn.Identity()
    # By hand: all train frames are one batch, so the statistics are its mean and unbiased variance, layer by layer.
    norms = [module for module in pruned.modules() if isinstance(module, nn.BatchNorm1d)]

    def settle(module, inputs):
        module.running_mean.copy_(inputs[0].mean((0, 2)))
        module.running_var.copy_(inputs[0].var((0, 2), correction=1))

    handles = [module.register_forward_pre_hook(settle) for module in norms]
    for module in norms:
        module.momentum = 0.0
    pruned.train()(frames().iq)
    for handle in handles:
        handle.remove()
    expected = top1(subject.model, subject.validation) - top1(pruned.eval(), subject.validation)
    found = criterion.scores(subject)
    assert len(subject.train.labels) == 120
    assert abs(found[1] - expected) <= 1 / (2 * len(subject.validation.labels))


def test_dropout_is_off_while_batch_norm_is_told(monkeypatch):
    monkeypatch.setattr(leave_one_out, "spread", lambda frames, _count, _seed: frames)
    layers = [nn.Conv1d(2, 4, 3), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(56, 3), nn.Linear(3, 3)]
    chained = chain_of("0", "5", fixed=(0,))
    found = [criterion.scores(subject_of(copy.deepcopy(nn.Sequential(*layers)), chained, seed=seed)) for seed in (3, 4)]
    layers[1] = nn.Identity()
    assert found == [criterion.scores(subject_of(nn.Sequential(*layers), chained))] * 2


def test_answers_that_are_not_finite_before_any_unit_goes():
    model = Sums(1.0)
    nn.init.constant_(model.units[0].bias, float("nan"))
    with pytest.raises(ModelError, match="the network's outputs are not finite"):
        criterion.scores(subject_of(model, chain(1)))
