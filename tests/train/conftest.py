import pytest
import synthetic
import torch

from edgeprune.train import precision
from edgeprune.train.feed import TrainingData


@pytest.fixture
def single_precision(monkeypatch):
    """Train in float32 whatever this machine computes fast in, so that results can be worked out by hand."""
    monkeypatch.setattr(precision, "mixed", lambda device: "no")


@pytest.fixture
def data():
    """54 frames of three tones to learn from, and 15 to choose by."""
    frames = synthetic.frames_of(synthetic.cells(per_cell=23, snrs=(10,), length=16))
    iq, labels = torch.from_numpy(frames.iq), torch.from_numpy(frames.labels)
    train_part = torch.arange(len(labels)) % 23 < 18
    return TrainingData(iq[train_part], labels[train_part], iq[~train_part], labels[~train_part])
