"""A bound on the accuracy that pruning may cost, on the validation split; the test split is for the report alone."""

from collections.abc import Callable

from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.protocols import Progress
from edgeprune.records.frames import Frames
from edgeprune.train.accuracy import accuracy
from edgeprune.train.evaluate import predict


def fewest(least: int, most: int, holds: Callable[[int], bool]) -> int | None:
    """The smallest number that holds, by bisection: what holds for one is taken to hold for all larger ones.

    Args:
        least: The smallest that may be tried.
        most: The largest that may be tried.
        holds: Is asked for about log2(most - least) of them, for none twice.

    Returns:
        A number that holds and whose predecessor does not, or is below `least`; None when not even `most` holds.
    """
    low, high = least, most + 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high if high <= most else None


def top1(model: Checkpoint, frames: Frames, progress: Progress, compute: Compute = CPU) -> float:
    """Compute the share of validation frames that a model classifies correctly."""
    with compute.lent(model.model):
        logits = predict(model.model, frames.iq, model.input, progress, f"{frames.source}: validation")
    return accuracy(logits, frames, "validation").top1
