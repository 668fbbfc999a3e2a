"""The trainer beside a bare PyTorch loop: frames a second on resnet56-1d, in turns in one run.

    python benchmarks/training.py [--out FILE]

The bare loop takes the same steps (batch, mixed precision, SGD, schedule, quarter turns, validation) and nothing else.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.nn import functional

from edgeprune.network.checkpoint import build
from edgeprune.protocols import NullProgress
from edgeprune.records.pruning import Arch
from edgeprune.train import precision
from edgeprune.train.augment import rotate
from edgeprune.train.feed import TrainingData
from edgeprune.train.finetune import Recipe, train

TRAIN, VALIDATION, BATCH, EPOCHS = 2560, 256, 256, 2


def bare(model: torch.nn.Module, data: TrainingData) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=EPOCHS * TRAIN // BATCH + 1)
    for _ in range(EPOCHS):
        model.train()
        for chosen in torch.randperm(TRAIN).split(BATCH):
            frames = rotate(data.train_iq[chosen], torch.randint(0, 4, (len(chosen),)))
            with precision.autocast(torch.device("cpu")):
                logits = model(frames)
            functional.cross_entropy(logits.float(), data.train_labels[chosen]).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            model(data.validation_iq).argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    data = TrainingData(
        torch.randn(TRAIN, 2, 128),
        torch.randint(0, 11, (TRAIN,)),
        torch.randn(VALIDATION, 2, 128),
        torch.randint(0, 11, (VALIDATION,)),
    )

    def fresh() -> torch.nn.Module:
        return build(Arch("resnet56-1d", {"channels": 2, "length": 128, "classes": 11}))

    works = {
        "bare": lambda: bare(fresh(), data),
        "edgeprune": lambda: train(fresh(), data, Recipe(EPOCHS, BATCH), NullProgress()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(arguments.rounds + 1):
        for name, work in works.items() if turn % 2 else reversed(works.items()):
            began = time.perf_counter()
            work()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
    ratios = [slow / fast for slow, fast in zip(seconds["bare"], seconds["edgeprune"], strict=True)]
    result = {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "frames_per_s": {name: EPOCHS * TRAIN / statistics.median(times) for name, times in seconds.items()},
        "seconds": seconds,
        "precision": precision.mixed(torch.device("cpu")),
        "threads": torch.get_num_threads(),
    }
    print(f"trainer / bare loop: {result['ratio']:.3f} of its throughput (median of {arguments.rounds})")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
