"""How much accuracy a random split owes to neighbours: a small network trained and tested under either split.

    python benchmarks/splits.py gr2016a_high.pkl [--frames N] [--epochs N] [--seeds N] [--raw FOLDER] [--out FILE.json]
    python benchmarks/splits.py gr2016a_high.pkl --networks BASELINE.pt PRUNED.pt [--out FILE.json]

A residual network of three blocks (that of `resnet56-1d` with one block a stage) learns from equally many frames of the
train part under `stratified` and under `contiguous`, and answers all test frames of both. The frames that are test
frames of both splits tell the two apart on the same signals. Answers are kept in the folder of --raw, and a training
whose answers are there is not done again. With --networks nothing is trained: two networks that were trained under
`stratified` answer its test frames, and the design effect of runs of neighbours is told of each and of their drop.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeprune import datasets
from edgeprune.files.store import write_json
from edgeprune.frames.labelled import table_of
from edgeprune.frames.splits import split_table
from edgeprune.frames.splits.groups import runs
from edgeprune.models.resnet import ResNet
from edgeprune.network import checkpoint
from edgeprune.protocols import NullProgress
from edgeprune.records.frames import Frames
from edgeprune.records.pruning import InputSpec
from edgeprune.tasks.data.frames import at_most, splits_of
from edgeprune.tasks.train import training_data
from edgeprune.train.accuracy import paired, rate
from edgeprune.train.design_effect import Grouping
from edgeprune.train.evaluate import predict
from edgeprune.train.finetune import Recipe, train

METHODS = ("contiguous", "stratified")
SPLIT_SEED = 2016
BLOCKS = 1  # a stage


def answers(frames: Frames, method: str, most: int, recipe: Recipe) -> np.ndarray:
    """Frames that a network trained on the train part of a split classifies correctly, bool (N,)."""
    parts = at_most(splits_of(frames, SPLIT_SEED, method), most)
    shape = InputSpec(channels=frames.iq.shape[1], length=frames.iq.shape[2])
    torch.manual_seed(recipe.seed)
    model = ResNet(dims=1, blocks=BLOCKS, classes=len(frames.classes))
    train(model, training_data(parts, shape), recipe, NullProgress())
    right: np.ndarray = predict(model, frames.iq, shape, NullProgress(), "frames").argmax(axis=1) == frames.labels
    return right


def grouping_by_runs(frames: Frames, test: np.ndarray) -> Grouping:
    """Runs of neighbours for groups, of some of the frames."""
    _, cells = np.unique(np.stack([frames.labels, frames.snrs]), axis=1, return_inverse=True)
    return Grouping(runs(table_of(frames))[test], cells.reshape(-1)[test])


def told(right: np.ndarray, grouping: Grouping) -> dict[str, Any]:
    """Accuracy on some frames, with the interval for independent frames and that of runs of neighbours."""
    count, top1 = int(right.sum()), float(right.mean())
    effect = grouping.effect(right, top1 * (1 - top1))
    return {
        "frames": len(right),
        "top1": top1,
        "ci95_independent": rate(count, len(right)).ci95,
        "ci95": rate(count, len(right), effect.share).ci95,
        "groups": len(grouping),
        "design_effect": effect.design_effect,
    }


def of_networks(frames: Frames, paths: list[Path]) -> dict[str, Any]:
    """What runs of neighbours do to the accuracy of two networks and to the drop between them."""
    test = split_table(table_of(frames), SPLIT_SEED, "stratified")["test"]
    grouping = grouping_by_runs(frames, test)
    rights = []
    for path in paths:
        network = checkpoint.load(path)
        logits = predict(network.model, frames.iq[test], network.input, NullProgress(), "frames")
        rights.append(logits.argmax(axis=1) == frames.labels[test])
    change = rights[0].astype(np.int64) - rights[1]
    effect = grouping.effect(change, float((change != 0).mean() - change.mean() ** 2))
    drop = {
        "drop": float(change.mean()),
        "ci95_independent": paired(*rights)[1],
        "ci95": paired(*rights, grouping)[1],
        "design_effect": effect.design_effect,
    }
    names = {"baseline": rights[0], "pruned": rights[1]}
    return {**{name: told(right, grouping) for name, right in names.items()}, "paired": drop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--frames", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--raw", type=Path, default=Path("splits-raw"))
    parser.add_argument("--networks", type=Path, nargs=2, help="train nothing: tell of these")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    frames = datasets.read(chosen.data)
    about = {"benchmark": "splits", "data_sha256": frames.sha256}
    if chosen.networks:
        found = of_networks(frames, chosen.networks)
        print(found)
        if chosen.out:
            write_json(chosen.out, {**about, **found})
        return
    test = {method: split_table(table_of(frames), SPLIT_SEED, method)["test"] for method in METHODS}
    both = np.intersect1d(*test.values())
    chosen.raw.mkdir(parents=True, exist_ok=True)
    trainings = []
    for seed in range(chosen.seeds):
        for method in METHODS:
            kept = chosen.raw / f"{method}-{chosen.frames}-{chosen.epochs}-{seed}.npy"
            if not kept.exists():
                np.save(kept, answers(frames, method, chosen.frames, Recipe(chosen.epochs, seed=seed)))
            right = np.load(kept)
            own, shared = (told(right[part], grouping_by_runs(frames, part)) for part in (test[method], both))
            trainings.append({"split": method, "seed": seed, "test": own, "test_of_both": shared})
            print(f"{method}, seed {seed}: {own['top1']:.2%} ({own['ci95'][0]:.2%} to {own['ci95'][1]:.2%}), ", end="")
            print(f"design effect {own['design_effect']:.2f}; of both splits {shared['top1']:.2%}", flush=True)
    if chosen.out:
        about |= {"train_frames": chosen.frames, "epochs": chosen.epochs}
        write_json(chosen.out, {**about, "trainings": trainings})


if __name__ == "__main__":
    main()
