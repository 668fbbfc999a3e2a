import pytest
import torch
from judged import BLOCKS, chain_of, frames, subject_of, trained
from torch import nn

from edgeprune.criteria import _subject
from edgeprune.criteria._subject import batches, spread
from edgeprune.criteria.taylor import criterion
from edgeprune.errors import ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.protocols import Labelled


def test_one_weight_by_hand():
    # p = softmax(w x) over two logits (w x, 0) with label 0: dL/dw = (p0 - 1) x.
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.unit = nn.Linear(1, 1, bias=False)

        def forward(self, x):
            first = self.unit(x[:, :1, 0])
            return torch.cat([first, torch.zeros_like(first)], dim=1)

    model = One()
    nn.init.constant_(model.unit.weight, 2.0)
    x = torch.zeros(1, 2, 4)
    x[0, 0, 0] = 0.5
    found = criterion.scores(subject_of(model, chain_of("unit"), 4, train=Labelled(x, torch.tensor([0]))))
    p0 = 1 / (1 + torch.exp(torch.tensor(-1.0)).item())
    assert found == {0: pytest.approx(abs((p0 - 1) * 0.5 * 2.0), rel=1e-6)}


def test_a_residual_network_against_backward(monkeypatch):
    monkeypatch.setattr(_subject, "BATCH", 50)
    subject = subject_of(trained(), BLOCKS)
    found = criterion.scores(subject)
    model = ResNet(1, 1, 3).eval()
    model.load_state_dict(subject.model.state_dict())
    parts = batches(spread(subject.train, 1024, subject.seed))
    assert len(parts) == 3
    expected = dict.fromkeys(range(1, 4), 0.0)
    for part in parts:
        model.zero_grad()
        nn.functional.cross_entropy(model(part.iq), part.labels).backward()
        for index in expected:
            block = model.blocks[index - 1]
            lost = [parameter for name, parameter in block.named_parameters() if "shortcut" not in name]
            expected[index] += sum((p.grad * p).abs().sum().item() for p in lost) / len(parts)
    assert found == {index: pytest.approx(score, rel=1e-4) for index, score in expected.items()}


def test_frozen_weights_count_like_all_others():
    model = ResNet(1, 1, 3)
    model.load_state_dict(trained().state_dict())
    free = criterion.scores(subject_of(model, BLOCKS))
    assert criterion.scores(subject_of(model.requires_grad_(False), BLOCKS)) == free


def test_a_unit_that_the_answer_does_not_depend_on_counts_nothing():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, x):
            self.unused(x.mean(-1))
            return self.used(x.mean(-1))

    found = criterion.scores(subject_of(Beside(), chain_of("used", "unused")))
    assert found[0] > 0
    assert found[1] == 0


def test_gradients_that_are_not_finite():
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
    nn.init.constant_(model[1].bias, float("nan"))
    with pytest.raises(ModelError, match="the network's gradients are not finite"):
        criterion.scores(subject_of(model, chain_of("1")))


def test_frames_are_spread_over_the_whole_split_and_shuffled():
    labelled = Labelled(torch.arange(100.0).reshape(100, 1, 1), torch.arange(100))
    few = spread(labelled, 10, 3)
    assert sorted(few.labels.tolist()) == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert few.labels.tolist() != sorted(few.labels.tolist())
    assert few.iq.flatten().tolist() == few.labels.tolist()
    assert sorted(spread(labelled, 1000, 3).labels.tolist()) == list(range(100))
    assert torch.equal(spread(labelled, 10, 3).labels, few.labels)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (64, [64]), (65, [33, 32]), (150, [50, 50, 50])])
def test_batches_are_of_equal_size(count, sizes):
    whole = frames(60)
    parts = batches(Labelled(whole.iq[:count], whole.labels[:count]))
    assert [len(part.labels) for part in parts] == sizes
    assert torch.equal(torch.cat([part.iq for part in parts]), whole.iq[:count])
