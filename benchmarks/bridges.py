"""What a pruned network is worth before any fine-tuning: bridged, bridged and then re-estimated, and both in order.

    python benchmarks/bridges.py [--networks densenet,vgg16,signet50] [--sets 12] [--weights DIR] [--out FILE.json]

Each network is trained on the shipped frames (unless DIR holds its weights), then pruned to random sets of units. Top-1
of the shipped test frames is measured with layers bridged by least squares and old statistics; with statistics
estimated again once all are bridged, by torch's own `update_bn`; and with both layer by layer, as `prune` does it.
"""

import argparse
import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from edgeprune.errors import ModelError
from edgeprune.files.shipped import shipped
from edgeprune.network.checkpoint import build
from edgeprune.network.edits import apply_edits
from edgeprune.network.normalisation import normalise
from edgeprune.network.unfold import unfolded
from edgeprune.protocols import NullProgress
from edgeprune.prune import bridge as bridges
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Arch, Edit, InputSpec
from edgeprune.train.feed import TrainingData
from edgeprune.train.finetune import Recipe, train

CLASSES, SHAPE = 11, InputSpec(2, 128)
SHARES = (0.75, 0.5, 0.25)
BATCH = 256
WAYS = ("bridged", "re-estimated after", "in order")
RATES = {"densenet": (8, 0.1), "vgg16": (8, 0.05), "signet50": (4, 0.05)}


class Dense(nn.Module):
    """A layer of DenseNet (Huang et al. 2017, arXiv 1608.06993): what it makes is put behind what it is given."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm1d(width), nn.Conv1d(width, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, L) to (N, C + growth, L)."""
        return torch.cat([x, self.conv(torch.relu(self.norm(x)))], dim=1)


class Transition(nn.Module):
    """Half the channels at half the length."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm1d(width), nn.Conv1d(width, width // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, L) to (N, C / 2, L / 2)."""
        return nn.functional.avg_pool1d(self.conv(torch.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """Three blocks of six dense layers."""

    def __init__(self, width: int = 24, growth: int = 12, blocks: int = 3, layers: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, width, 7, padding=3, bias=False)
        body: list[nn.Module] = []
        for block in range(blocks):
            for _ in range(layers):
                body.append(Dense(width, growth))
                width += growth
            if block < blocks - 1:
                body.append(Transition(width))
                width //= 2
        self.body, self.norm, self.fc = nn.Sequential(*body), nn.BatchNorm1d(width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of frames (N, 2, L)."""
        return self.fc(torch.relu(self.norm(self.body(self.stem(x)))).mean(dim=2))


@dataclass(frozen=True)
class Part:
    """Normalised frames of one split, and their labels."""

    iq: Tensor
    labels: Tensor


def frames() -> list[Part]:
    """The shipped frames for training, validation and test."""
    with np.load(shipped("calib_data") / "gr2016a-high" / "frames.npz") as stored:
        iq, labels, split = (stored[name] for name in ("iq", "labels", "split"))
    return [
        Part(normalise(torch.from_numpy(iq[split == part]), "rms"), torch.from_numpy(labels[split == part]).long())
        for part in range(3)
    ]


def trained(name: str, parts: list[Part], weights: Path | None) -> nn.Module:
    torch.manual_seed(0)
    arch = Arch(name, {"channels": SHAPE.channels, "length": SHAPE.length, "classes": CLASSES})
    model = DenseNet() if name == "densenet" else build(arch)
    stored = None if weights is None else weights / f"{name}.pt"
    if stored is not None and stored.is_file():
        model.load_state_dict(torch.load(stored, weights_only=True))
        return model.eval()
    epochs, rate = RATES[name]
    data = TrainingData(parts[0].iq, parts[0].labels, parts[1].iq, parts[1].labels)
    train(model, data, Recipe(epochs, 64, rate), NullProgress())
    if stored is not None:
        torch.save(model.state_dict(), stored)
    return model.eval()


def drawn(model: nn.Module, share: float, seed: int) -> tuple[list[int], nn.Module]:
    """A network without random units, that can run without them, and which they are."""
    chain = layers_of(model, SHAPE, "benchmark")
    generator = np.random.default_rng(seed)
    for _ in range(100):
        count = max(1, round((1 - share) * len(chain.droppable)))
        dropped = sorted(int(unit) for unit in generator.choice(chain.droppable, count, replace=False))
        edits: list[Edit] = [chain.units[unit].edit for unit in dropped]  # type: ignore[misc]
        try:
            return dropped, apply_edits(model, edits, (SHAPE.channels, SHAPE.length)).eval()
        except ModelError:
            continue
    raise SystemExit("no set of units can be dropped together")


@torch.no_grad()
def top1(model: nn.Module, part: Part) -> float:
    answers = torch.cat([model.eval()(batch).argmax(dim=1) for batch in part.iq.split(BATCH)])
    return float((answers == part.labels).double().mean())


def without_order(unpruned: nn.Module, pruned: nn.Module, batches: list[Tensor]) -> None:
    """Bridge all layers, one after the other, and leave every statistic as it was."""
    fitting = [
        path for path in bridges.rebuilt_layers(unpruned, pruned) if bridges._can_be_fitted(pruned.get_submodule(path))
    ]
    parts = [part for whole in batches for part in whole.split(bridges._FRAMES_AT_ONCE)][: bridges._MOST_PARTS]
    wanted = bridges._old_outputs(unpruned, pruned, fitting, parts)
    for path in fitting:
        bridges._fit(pruned, path, parts, wanted[path])


def measured(model: nn.Module, share: float, seed: int, batches: list[Tensor], test: Part) -> dict[str, object]:
    """Top-1 of one set of units, each way."""
    unpruned = unfolded(copy.deepcopy(model))
    dropped, bridged = drawn(model, share, seed)
    in_order = copy.deepcopy(bridged)
    without_order(unpruned, bridged, batches)
    afterwards = copy.deepcopy(bridged)
    torch.manual_seed(seed)
    update_bn(batches, afterwards)
    bridges.bridge(unpruned, in_order, batches, "least-squares", seed)
    ways = zip(WAYS, (bridged, afterwards, in_order), strict=True)
    return {"share": share, "dropped": dropped, **{name: top1(network, test) for name, network in ways}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(RATES))
    parser.add_argument("--sets", type=int, default=12)
    parser.add_argument("--frames", type=int, default=4096, help="to estimate on (default: %(default)s)")
    parser.add_argument("--test-frames", type=int, default=2200)
    parser.add_argument("--weights", type=Path, help="folder of trained weights, NETWORK.pt")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    parts = frames()
    order = torch.randperm(len(parts[0].labels), generator=torch.Generator().manual_seed(0))
    batches = list(parts[0].iq[order[: chosen.frames]].split(BATCH))
    every = -(-len(parts[2].labels) // chosen.test_frames)
    test = Part(parts[2].iq[::every], parts[2].labels[::every])
    found: dict[str, object] = {}
    for name in chosen.networks.split(","):
        model = trained(name, parts, chosen.weights)
        sets: list[dict[str, object]] = []
        for seed in range(chosen.sets):
            sets.append(measured(model, SHARES[seed % len(SHARES)], seed, batches, test))
            print(name, sets[-1], flush=True)
            means = {way: float(np.mean([each[way] for each in sets])) for way in WAYS}  # type: ignore[arg-type]
            found[name] = {"means": means, "sets": sets}
            result = {"frames": chosen.frames, "test_frames": len(test.labels), "networks": found}
            if chosen.out:
                chosen.out.write_text(json.dumps({"benchmark": "bridges", **result}, indent=2) + "\n")
        print(name, found[name]["means"], flush=True)  # type: ignore[index]


if __name__ == "__main__":
    main()
