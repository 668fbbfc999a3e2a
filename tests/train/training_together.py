"""Trainings for several processes, run with the folder that the results go to and what to train."""

import pickle
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgeprune.network.normalisation import normalise
from edgeprune.protocols import NullProgress
from edgeprune.train import precision
from edgeprune.train.feed import Stored, StreamedData, TrainingData
from edgeprune.train.finetune import Recipe, learn_along, train
from edgeprune.train.parallel import follow, joined

FRAMES, LENGTH = 53, 16
ROWS = np.random.default_rng(0).normal(size=(FRAMES, 2, LENGTH)).astype(np.float32)
LABELS = torch.arange(FRAMES) % 3


class Network(nn.Module):
    """Convolutions with batch norms: a usual one, and one without weights that averages over all batches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(
            *(nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 5, 3)),
            *(nn.BatchNorm1d(5, affine=False, momentum=None), nn.ReLU(), nn.Flatten(), nn.Linear(60, 3)),
        )

    def forward(self, x):
        return self.body(x)


def rows(places):
    return ROWS[places]


def feed(kind):
    if kind == "streamed":
        stored = Stored(rows, LABELS, 128)
        return StreamedData(stored, stored, "rms", block_bytes=1280, window_bytes=5120)
    iq = normalise(torch.from_numpy(ROWS), "rms")
    return TrainingData(iq, LABELS, iq[:20], LABELS[:20])


def run(folder, kind):
    torch.manual_seed(3)
    teacher = None if kind == "alone" else nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
    recipe = Recipe(epochs=3, batch_size=12, learning_rate=0.1, mix=0.5 if kind == "mixed" else 0.0)
    state = folder / f"{kind}.state"
    train(Network(), feed(kind), recipe, NullProgress(), teacher=teacher, state_path=state)
    kept = torch.load(state, weights_only=True)
    (folder / kind).write_bytes(pickle.dumps({"weights": kept["parts"]["model"], "curve": kept["curve"]}))


if __name__ == "__main__":
    precision.mixed = lambda device: "no"
    with joined() as processes:
        if processes.rank > 0:
            follow(processes, learn_along)
        else:
            for kind in sys.argv[2:]:
                run(Path(sys.argv[1]), kind)
