"""A bounded number of frames, and a network's outputs for them."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from edgeprune.errors import ModelError
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.protocols import Labelled

BATCH = 64


def not_finite(what: str) -> ModelError:
    """Error for a network whose activations, outputs or gradients are not finite."""
    return ModelError(f"{what} are not finite", "Check the weights, the frames and their normalization")


def spread(frames: Labelled, count: int, seed: int) -> Labelled:
    """Take at most `count` frames, spread evenly over their order, and shuffle them."""
    total = len(frames.labels)
    places = torch.linspace(0, total - 1, min(count, total), dtype=torch.float64).round().long()
    chosen = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))]
    return Labelled(frames.iq[chosen], frames.labels[chosen])


def batches(frames: Labelled) -> list[Labelled]:
    """Split the frames, in order, into as few batches of at most `BATCH` as possible; sizes differ by at most one."""
    parts = math.ceil(len(frames.labels) / BATCH)
    split = zip(frames.iq.tensor_split(parts), frames.labels.tensor_split(parts), strict=True)
    return [Labelled(iq, labels) for iq, labels in split]


@torch.no_grad()
def answers(model: nn.Module, frames: Labelled) -> Tensor:
    """Logits (n, classes) of frames, in evaluation mode; in main memory, as the frames are."""
    with evaluating(model):
        return torch.cat([model(beside(model, batch.iq)).float().cpu() for batch in batches(frames)])


def accuracy(logits: Tensor, frames: Labelled) -> float:
    """Share of frames whose class has the largest logit."""
    return float((logits.argmax(dim=1) == frames.labels).double().mean())


def log_loss(logits: Tensor, frames: Labelled) -> float:
    """Mean cross-entropy in nats; infinite when a logit is not a number."""
    loss = float(cross_entropy(logits.double(), frames.labels))
    return math.inf if math.isnan(loss) else loss
