"""Access of a criterion to a network: its outputs for some frames, parameters of a unit, the network without units."""

import math
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from edgeprune.errors import ModelError
from edgeprune.network.compute import beside
from edgeprune.network.edits import apply_edits, lost_parameters
from edgeprune.network.running import evaluating
from edgeprune.network.tracing import Code
from edgeprune.protocols import Labelled, Subject
from edgeprune.records.pruning import Unit

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
def logits_of(model: nn.Module, frames: Labelled) -> Tensor:
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


def droppable(subject: Subject) -> list[Unit]:
    """List the units that can be dropped, in order."""
    return [unit for unit in subject.chain.units if unit.droppable]


def without(subject: Subject, indices: Collection[int]) -> nn.Module:
    """Copy the network without some of its units."""
    edits = [unit.edit for unit in subject.chain.units if unit.index in indices and unit.edit is not None]
    return apply_edits(subject.model, edits, (subject.shape.channels, subject.shape.length))


def code_of(subject: Subject) -> Code:
    """Return the code of the network, traced if a unit is code."""
    return Code(subject.model, (subject.shape.channels, subject.shape.length))


def lost_names(code: Code, unit: Unit) -> list[str]:
    """List the parameters that a network loses with a unit; a shortcut that stays keeps its own."""
    names = {parameter: name for name, parameter in code.model.named_parameters()}
    return [names[parameter] for parameter in lost_parameters(code, unit)]


def lost_state(code: Code, unit: Unit) -> list[str]:
    """List the parameters that a network loses with a unit, and the buffers of the modules that hold them."""
    parameters = lost_names(code, unit)
    holders = {name.rpartition(".")[0] for name in parameters}
    return parameters + [name for name, _ in code.model.named_buffers() if name.rpartition(".")[0] in holders]


def whole_state(code: Code, unit: Unit) -> list[str]:
    """List all parameters and buffers of a unit, including those of its shortcut."""
    assert unit.edit is not None
    return lost_state(code, replace(unit, edit=replace(unit.edit, drop="identity", expand=None)))
