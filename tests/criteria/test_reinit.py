import copy

import pytest
import torch
from judged import BLOCKS, chain_of, subject_of, top1, trained
from torch import nn

from edgeprune.criteria import reinit
from edgeprune.criteria._fresh import fresh
from edgeprune.criteria._subject import lost_state
from edgeprune.criteria.reinit import REPEATS, criterion
from edgeprune.models.resnet import ResNet
from edgeprune.network.tracing import Code
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import InputSpec


def test_a_residual_network_against_blocks_swapped_by_hand():
    subject = subject_of(trained(), BLOCKS, seed=7)
    expected = {}
    for index in range(3):
        found = []
        for repeat in range(REPEATS):
            model = copy.deepcopy(subject.model)
            renewed = fresh(subject.model, 7 + repeat).blocks[index]
            for part in ("conv1", "bn1", "conv2", "bn2"):
                setattr(model.blocks[index], part, getattr(renewed, part))
            found.append(top1(model.eval(), subject.validation))
        expected[index + 1] = top1(subject.model, subject.validation) - sum(found) / REPEATS
    assert criterion.scores(subject) == {k: pytest.approx(score, abs=1e-6) for k, score in expected.items()}
    assert max(expected.values()) > 0.05


def test_a_unit_that_makes_no_difference_scores_zero():
    class Muted(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gain = nn.Conv1d(2, 2, 3, padding=1), nn.Linear(1, 1)
            self.fc = nn.Linear(2, 3)

        def forward(self, x):
            return self.fc((x + 0 * self.conv(x)).mean(-1))

    subject = subject_of(Muted(), chain_of("conv", "fc"))
    assert criterion.scores(subject)[0] == 0


def test_the_shortcut_that_stays_is_not_touched():
    model = ResNet(1, 1, 3).eval()
    units = layers_of(model, InputSpec(2, 16), "sha").units
    assert units[2].edit.drop == "shortcut"
    names = lost_state(Code(model, (2, 16)), units[2])
    assert {name.split(".")[2] for name in names} == {"conv1", "bn1", "conv2", "bn2"}
    assert {"blocks.1.bn1.running_mean", "blocks.1.bn2.running_var"} <= set(names)


def test_the_mean_over_several_seeds(monkeypatch):
    subject = subject_of(trained(), BLOCKS)
    several = criterion.scores(subject)
    monkeypatch.setattr(reinit, "REPEATS", 1)
    single = []
    for repeat in range(3):
        single.append(criterion.scores(subject_of(trained(), BLOCKS, seed=repeat)))
    assert several == {k: pytest.approx(sum(found[k] for found in single) / 3, abs=1e-6) for k in (1, 2, 3)}
    assert any(found != single[0] for found in single)


def test_the_accuracy_is_that_of_the_validation_frames():
    subject = subject_of(trained(), BLOCKS)
    other = subject_of(trained(), BLOCKS, validation=subject.train)
    assert top1(trained(), subject.train) > top1(trained(), subject.validation)
    assert criterion.scores(subject) != criterion.scores(other)
    assert torch.is_grad_enabled()
