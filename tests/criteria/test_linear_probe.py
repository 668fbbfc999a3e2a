import numpy as np
import pytest
import torch
from judged import BLOCKS, chain_of, frames, subject_of, trained
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from edgeprune.criteria import linear_probe
from edgeprune.criteria.linear_probe import criterion, pooled, probe_accuracy
from edgeprune.errors import ModelError


def by_scikit_learn(x, labels, y, true):
    """Ridge regression onto -1 and 1 for every class: the same decisions as onto 0 and 1, with half the weights."""
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=linear_probe.PENALTY * len(x)))
    return classifier.fit(x, labels).score(y, true)


@pytest.mark.parametrize(
    ("features", "classes", "penalty", "seed"), [(5, 3, 1e-3, 0), (40, 4, 1e-3, 1), (90, 3, 1e-3, 2), (40, 4, 0.3, 3)]
)
def test_a_probe_against_scikit_learn(features, classes, penalty, seed, monkeypatch):
    monkeypatch.setattr(linear_probe, "PENALTY", penalty)
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(classes, features))
    labels, true = generator.integers(classes, size=60), generator.integers(classes, size=200)
    x = 100 + centres[labels] + 3 * generator.normal(size=(60, features))
    y = 100 + centres[true] + 3 * generator.normal(size=(200, features))
    x[:, 0], y[:, 0] = 0.7, 1e9  # constant where it is fitted, and elsewhere where it is judged
    found = probe_accuracy(*map(torch.from_numpy, (x, labels, y, true)))
    assert found == pytest.approx(by_scikit_learn(x, labels, y, true), abs=1e-12)
    assert 1 / classes < found < 1


def test_a_class_without_train_frames_is_missed():
    x = torch.eye(4)
    assert probe_accuracy(x, torch.tensor([0, 1, 0, 1]), x, torch.tensor([0, 1, 2, 2])) == 0.5


def test_each_unit_by_what_it_adds():
    subject = subject_of(trained(), BLOCKS)
    found = criterion.scores(subject)
    train, validation = frames(20, 16, 0), frames(12, 16, 1)
    accuracies = []
    with torch.no_grad():
        x, y = subject.model.stem(train.iq), subject.model.stem(validation.iq)
        for block in (nn.Identity(), *subject.model.blocks):
            x, y = block(x), block(y)
            rows = [part.flatten(1) for part in (x, y)]
            assert rows[0].shape[1] == 256  # channels times samples: nothing to average here
            accuracies.append(by_scikit_learn(rows[0], train.labels, rows[1], validation.labels))
    assert found == {k: pytest.approx(accuracies[k] - accuracies[k - 1], abs=1e-9) for k in (1, 2, 3)}
    assert max(found.values()) > 0.05


def test_the_first_unit_is_compared_with_the_frames_themselves():
    found = criterion.scores(subject_of(nn.Sequential(nn.Identity(), nn.ReLU()), chain_of("0", "1")))
    assert found[0] == 0
    assert found[1] != 0


def test_a_unit_behind_code_is_compared_with_what_that_code_makes():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.second(self.first(x)[:, :, :1])  # one sample tells less than all

    assert criterion.scores(subject_of(Cut(), chain_of("first", "second"))) == {0: 0.0, 1: 0.0}


def test_few_features_are_left_as_they_are():
    activations = torch.rand(3, 4, 5)
    assert torch.equal(pooled(activations), activations.flatten(1))
    assert torch.equal(pooled(activations[:, :, 0]), activations[:, :, 0])
    assert torch.equal(pooled(activations[:, 0, 0]), activations[:, 0, :1])


def test_many_features_are_averaged_over_stretches(monkeypatch):
    monkeypatch.setattr(linear_probe, "FEATURES", 6)
    signal = torch.arange(24.0).reshape(1, 2, 12)
    assert pooled(signal).tolist() == [[1.5, 5.5, 9.5, 13.5, 17.5, 21.5]]
    assert torch.equal(pooled(signal.reshape(1, 2, 3, 4)), pooled(signal))
    assert pooled(signal.reshape(1, 12, 2)).tolist() == [[1.5, 5.5, 9.5, 13.5, 17.5, 21.5]]
    assert pooled(signal.reshape(1, 24)).tolist() == [[1.5, 5.5, 9.5, 13.5, 17.5, 21.5]]


def test_layers_that_work_in_place():
    torch.manual_seed(3)
    convolution = nn.Conv1d(2, 3, 3)
    plain, in_place = (nn.Sequential(convolution, nn.ReLU(inplace)) for inplace in (False, True))
    assert criterion.scores(subject_of(plain, chain_of("0", "1"))) == criterion.scores(
        subject_of(in_place, chain_of("0", "1"))
    )


def test_values_that_are_not_finite():
    model = nn.Sequential(nn.Conv1d(2, 2, 1))
    nn.init.constant_(model[0].bias, float("inf"))
    with pytest.raises(ModelError, match="the outputs of unit 0 are not finite"):
        criterion.scores(subject_of(model, chain_of("0")))
