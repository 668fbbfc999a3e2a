import itertools

import numpy as np
import pytest
import torch
from judged import BLOCKS, chain_of, frames, subject_of, trained
from sklearn.metrics.pairwise import paired_cosine_distances
from torch import nn

from edgeprune.criteria.block_influence import comparable, criterion
from edgeprune.errors import ModelError
from edgeprune.protocols import Labelled


class Turned(nn.Module):
    """Turns (I, Q) by an angle and scales it."""

    def __init__(self, degrees, scale):
        super().__init__()
        angle = np.deg2rad(degrees)
        self.matrix = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).float()

    def forward(self, x):
        return torch.einsum("ij,njl->nil", self.matrix, x)


def scores(model, *paths, **options):
    return criterion.scores(subject_of(model, chain_of(*paths), **options))


def test_the_influence_of_a_turn_is_one_minus_its_cosine():
    model = nn.Sequential(Turned(0, 3.0), Turned(60, 1.0), Turned(90, 0.1), Turned(180, 2.0))
    found = scores(model, "0", "1", "2", "3")
    assert found == pytest.approx({0: 0.0, 1: 0.5, 2: 1.0, 3: 2.0}, abs=1e-6)


class Transposing(nn.Module):
    """A turn of (I, Q) by 60 degrees, and code around it that puts time first, or joins pairs of samples."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.first, self.block, self.last = Turned(90, 1.0), Turned(60, 1.0), Turned(180, 1.0)

    def forward(self, x):
        x = self.first(x)
        if self.how == "reshape":
            apart = x.unflatten(2, (-1, 2)).movedim(3, 1).flatten(0, 1)  # (2 n, 2, L / 2)
            return self.last(self.block(apart).unflatten(0, (-1, 2)).movedim(1, 3).flatten(2))
        if self.how == "mirror":
            return self.last(self.block(x.flip(2)).flip(2))
        return self.last(self.block(x.roll(5, dims=2)).roll(-5, dims=2))


@pytest.mark.parametrize("how", ["reshape", "mirror", "roll"])
def test_a_unit_is_compared_with_what_it_takes_in_itself(how):
    # 1 - cos 90, 1 - cos 60 and 1 - cos 180; what the unit before puts out lies in another order.
    found = scores(Transposing(how), "first", "block", "last")
    assert found == pytest.approx({0: 1.0, 1: 0.5, 2: 2.0}, abs=1e-6)


def test_a_residual_block_between_transposes_against_scikit_learn(monkeypatch):
    monkeypatch.setattr("edgeprune.criteria.block_influence.FRAMES", 1024)

    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(5)
            self.stem = nn.Conv1d(2, 8, 3, padding=1)
            self.attention = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
            self.fc = nn.Linear(8, 3)

        def forward(self, x):
            x = self.stem(x).transpose(1, 2)
            x = x + self.attention(x)
            return self.fc(x.transpose(1, 2).mean(2))

    model = Mixer()
    subject = subject_of(model)
    found = criterion.scores(subject)
    (block,) = [unit.index for unit in subject.chain.units if unit.kind == "residual"]
    with torch.no_grad():
        x = model.stem(frames().iq).transpose(1, 2)
        y = x + model.attention(x)
    expected = paired_cosine_distances(x.flatten(1).double(), y.flatten(1).double()).mean()
    wrong = paired_cosine_distances(x.transpose(1, 2).flatten(1).double(), y.flatten(1).double()).mean()
    assert found[block] == pytest.approx(expected, abs=1e-6)
    assert abs(wrong - expected) > 0.1


def test_a_residual_network_against_scikit_learn(monkeypatch):
    monkeypatch.setattr("edgeprune.criteria.block_influence.FRAMES", 1024)
    model = trained()
    found = criterion.scores(subject_of(model, BLOCKS))
    with torch.no_grad():
        passed = [model.stem(frames().iq)]
        for block in model.blocks:
            passed.append(block(passed[-1]))
    assert found.keys() == {1, 2, 3}
    for unit, (x, y) in enumerate(itertools.pairwise(passed), start=1):
        if x.shape == y.shape:
            expected = paired_cosine_distances(x.flatten(1).double(), y.flatten(1).double()).mean()
            assert found[unit] == pytest.approx(expected, abs=1e-7)
        else:  # half as long, twice the channels
            averaged = x.unflatten(2, (-1, 2)).mean(-1)
            padded = torch.cat([averaged, torch.zeros_like(averaged)], dim=1)
            expected = paired_cosine_distances(padded.flatten(1).double(), y.flatten(1).double()).mean()
            assert found[unit] == pytest.approx(expected, abs=1e-7)


def test_layers_that_work_in_place():
    torch.manual_seed(3)
    convolutions = [nn.Conv1d(2, 2, 3, padding=1) for _ in range(2)]
    plain = nn.Sequential(convolutions[0], nn.Hardtanh(), convolutions[1], nn.Hardtanh())
    in_place = nn.Sequential(convolutions[0], nn.Hardtanh(inplace=True), convolutions[1], nn.Hardtanh(inplace=True))
    assert scores(plain, "0", "1", "2", "3") == scores(in_place, "0", "1", "2", "3")


def test_frames_already_seen_are_left_as_they_are():
    given = frames()
    before = given.iq.clone()
    found = scores(nn.Sequential(nn.Hardtanh(-0.1, 0.1, inplace=True)), "0", train=given)
    assert found[0] > 0
    assert torch.equal(given.iq, before)


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [
        ((2, 4), (2, 4), (8, 8)),
        ((2, 6), (3, 3), (9, 9)),
        ((2, 3), (3, 6), (9, 9)),
        ((2, 4, 6), (3, 2, 3), (18, 18)),
        ((2, 6), (5,), (5, 5)),
        ((4,), (2,), (4, 4)),
        ((1, 2, 4), (3, 4), (6, 6)),
    ],
)
def test_shapes_are_brought_together(first, second, rows):
    x, y = comparable(torch.rand(5, *first), torch.rand(5, *second))
    assert (x.shape, y.shape) == ((5, rows[0]), (5, rows[1]))


def test_a_longer_signal_is_averaged_and_missing_channels_are_zeros():
    long = torch.tensor([[[1.0, 3.0, 5.0, 7.0]]])
    short = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    x, y = comparable(long, short)
    assert x.tolist() == [[2.0, 6.0, 0.0, 0.0]]
    assert y.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert [row.tolist() for row in comparable(short, long)] == [y.tolist(), x.tolist()]


def test_a_unit_that_silences_frames_turns_them_wholly():
    found = scores(nn.Sequential(nn.Threshold(1e9, 0.0), nn.Identity()), "0", "1")
    assert found == {0: 1.0, 1: 1.0}


def test_values_that_are_not_finite():
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1))
    nn.init.constant_(model[1].bias, float("nan"))
    with pytest.raises(ModelError, match=r"the outputs of unit 1 \(1\) are not finite"):
        scores(model, "0", "1")


def test_a_last_batch_of_few_frames():
    whole = frames()
    model = nn.Sequential(nn.Conv1d(2, 2, 3), nn.Conv1d(2, 4, 3))
    few = Labelled(whole.iq[:2], whole.labels[:2])
    one_by_one = [scores(model, "0", "1", train=Labelled(whole.iq[k : k + 1], whole.labels[k : k + 1])) for k in (0, 1)]
    found = scores(model, "0", "1", train=few)
    assert found == pytest.approx({k: (one_by_one[0][k] + one_by_one[1][k]) / 2 for k in (0, 1)}, abs=1e-6)
